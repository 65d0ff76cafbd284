"""The verdicts as Markdown and in leaderboards: each claim is there, and what stands in files of claims is harmless."""

from pathlib import Path

from markdown_it import MarkdownIt
from tests.latentbench.boards.test_references import board, null, runs
from tests.latentbench.claims.given import BOARD, claim, row, rows, verdicts

from latentbench.boards.board import Board
from latentbench.boards.render.leaderboard import render
from latentbench.claims.render import render_claims
from latentbench.claims.telling import as_json, evidence_line, published_on, published_text

FOLD = "<summary>Published numbers</summary>"
RECORDS = [*rows(m=[0.80, 0.801, 0.802], x=[0.5, 0.501, 0.502]), *null("n", 0.4, 0.41, 0.42)]
CLAIMS = [
    claim("level", 82.0, unit="percent", test={"how": "equivalence", "margin": 5}),
    claim("gap", 0.3, test={"how": "gap", "over": "x", "at_least": 0.1}, explanation="It | is <so>."),
    claim("order", [0.8, 0.5], protocol="near", differences=["Smaller."], test={"how": "order", "ahead_of": ["x"]}),
    claim("missing", selection=row("y"), cell={"place": "table 2", "row": "a|b"}),
    claim("cited", 0.9, test={"how": "citation", "reason": "Other images."}),
]  # fmt: skip


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table, by another reader of Markdown."""
    found: list[list[list[str]]] = []
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    for token, after in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("td_open", "th_open"):
            found[-1][-1].append(after.content)
    return found


def test_every_claim_has_a_line_with_its_evidence_and_every_paper_a_line_of_counts(tmp_path: Path) -> None:
    judged = [*verdicts(tmp_path, RECORDS, CLAIMS, differences=["Everything | else."]).values()]
    text = render_claims(judged)
    summary, lines = tables(text)
    assert dict(zip(*summary, strict=True)) == {
        "paper": "P", "reproduced": "3", "refuted": "", "differs": "", "inconclusive": "", "not run": "1",
        "not testable": "1",
    }  # fmt: skip
    assert all(len(line) == 6 for line in lines)
    by_id = {line[1].strip("`"): line for line in lines[1:]}
    assert [*by_id] == [one["id"] for one in CLAIMS]
    for one in judged:
        verdict, _, cell, published, _, evidence = by_id[one.claim.id]
        assert verdict == f"**{one.verdict}**"
        assert cell == str(one.claim.cell).replace("|", "\\|") or cell == str(one.claim.cell)
        assert published == published_text(one.claim)
        assert evidence.startswith(evidence_line(one))
    assert by_id["order"][4] == "near (1, 2)"
    assert "1. Smaller.\n2. Everything \\| else." in text
    assert "is &lt;so>." in text
    assert f"latentbench run {tmp_path / 'claims/../b.yaml'} --datasets d --models y" in by_id["missing"][5]


def test_numbers_are_told_with_their_unit_and_the_test_that_they_pass(tmp_path: Path) -> None:
    judged = verdicts(tmp_path, RECORDS, CLAIMS, differences=["All."])
    told = {name: (published_text(one.claim), evidence_line(one).partition(" (p")[0]) for name, one in judged.items()}
    assert told == {
        "level": ("82 %", "80.1 ± 0.25 % over 3 seeds, within 5 points of it"),
        "gap": ("0.3 ahead of x", "0.3 ahead of x over 3 seeds, shown to be more than 0.1"),
        "order": ("0.8, 0.5", "0.801, 0.501 over 3 seeds, shown to be in this order"),
        "missing": ("0.8", "no record of y on d"),
        "cited": ("0.9", "0.801 ± 0.0025 over 3 seeds here; Other images"),
    }
    assert "after Holm's" not in evidence_line(judged["gap"])
    assert evidence_line(judged["gap"]).endswith(" with Holm's correction for 3)")
    apart = [claim(name, published, selection=row("m")) for name, published in (("a", 0.5), ("b", 0.6))]
    far = verdicts(tmp_path / "apart", RECORDS, apart)["a"]
    assert evidence_line(far).endswith("after Holm's correction for 2)")


def test_json_has_the_runs_and_the_tests_behind_a_verdict(tmp_path: Path) -> None:
    judged = verdicts(tmp_path, RECORDS, CLAIMS, differences=["All."])
    one = as_json(judged["gap"])
    keys = [record.key for record in RECORDS if record.spec.model in ("m", "x")]
    assert (one["claim"], one["verdict"], one["by_tests"], one["family"]) == ("p/gap", "reproduced", "reproduced", 1)
    assert sorted(one["runs"]) == sorted(keys)
    assert one["seeds"] == [3, 3]
    assert one["p"] < 0.05
    assert as_json(judged["missing"])["measured"] == []


def test_a_leaderboard_shows_what_is_published_once_beside_our_number(tmp_path: Path) -> None:
    judged = verdicts(tmp_path, RECORDS, CLAIMS, differences=["All."]).values()
    published = published_on("b", judged)
    the_board = Board.model_validate(BOARD)
    text = render(the_board, RECORDS, published=published)["b.md"]
    grid = next(one for one in tables(text) if "published" in one[0])
    assert grid[0] == ["model", "value", "here", "published", "verdict", "where"]
    assert [line[4] for line in grid[1:]] == [one.verdict for one in judged]
    assert grid[1][:4] == ["`m`", "accuracy ↑ test", "80.1 ± 0.25 %", "82 %"]
    assert grid[1][5] == "`p/level`: table 1, level"
    assert grid[4][2] == "-"
    others = [*RECORDS, *runs("m", [0.1], dataset="d")]
    assert text.count(FOLD) == 1
    assert FOLD not in render(the_board, others)["b.md"]
    assert published_on("c", judged) == []


def test_a_dataset_with_two_tables_has_its_published_numbers_once(tmp_path: Path) -> None:
    published = published_on("b", verdicts(tmp_path, RECORDS, CLAIMS, differences=["All."]).values())
    older = [
        one.model_copy(update={"spec": one.spec.model_copy(update={"split_hash": "0"}), "key": f"k{n}"})
        for n, one in enumerate(RECORDS[:2])
    ]
    text = render(board(), [*RECORDS, *older], published=published)["b.md"]
    assert text.count("\n## `d`") == 2
    assert text.count(FOLD) == 1
    assert text.count("table 1, level") == 1
