"""Findings: each verdict from simulated records whose truth is known, and files with mistakes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.latentbench.boards.test_references import (
    ERROR,
    RANK,
    answers,
    board,
    measured,
    null,
    of_answers,
    run,
    runs,
    table,
)

from latentbench.boards.board import Board
from latentbench.boards.findings import Evidence, Finding, Findings, boards_of, evidence, load_findings
from latentbench.boards.lineup import Lineup
from latentbench.boards.references import against
from latentbench.boards.render.findings import render_findings
from latentbench.boards.standings import standings
from latentbench.errors import LatentbenchError
from latentbench.plugins.registry import Plugins
from latentbench.records.record import Record, Value

ONE_SEED = board(seeds=1)
OWN, HOLES = "auroc@test", "auroc[holes]@test"
SCORES = Board(name="b", title="B", datasets=["d"], rank=OWN, columns=[HOLES], seeds=3)


def finding(*against: Any, row: str = "m", value: str = RANK, **fields: Any) -> Finding:
    places = fields.pop("places", [{"dataset": "d", "value": value}])
    return Finding(title="T", headline="H.", board="b", row=row, places=places, against=list(against), **fields)


def found(records: list[Record], asked: Finding, the_board: Board | None = None, replicates: Any = None) -> Evidence:
    the_board = the_board or board()
    tables = standings(the_board, records, None, replicates)
    return evidence(asked, asked.places[0], the_board, tables)


def rendered(records: list[Record], *asked: Finding, the_board: Board | None = None, replicates: Any = None) -> str:
    papers = [{"title": "P", "reference": "R", "findings": [one.model_dump() for one in asked]}]
    findings = Findings.model_validate({"title": "F", "papers": papers})
    return render_findings(findings, {"b": the_board or board()}, records, {"b": Lineup()}, replicates or {})


def verdicts(text: str) -> list[str]:
    said = text[text.index("**What is left of it.**") :].split("\n\n")[1]
    return [line.removeprefix("- ") for line in said.splitlines()]


def outcomes(one: Evidence) -> dict[str, str | None]:
    names = {"null": "null", "twin": "twin"}
    return {names.get(other.kind, other.label): other.outcome for other in one.others}


def scored(model: str, values: Mapping[str, list[float]], **fields: Any) -> list[Record]:
    """Runs with values of several scores, by the value's name."""
    made = []
    for seed in range(len(next(iter(values.values())))):
        of_seed = {
            name: Value(
                value=numbers[seed], metric="auroc", version=1, title="AUROC", higher_is_better=True, capability="score"
            )
            for name, numbers in values.items()
        }
        made.append(run(model, None, seed, **fields).model_copy(update={"values": of_seed}))
    return made


M = runs("m", [0.80, 0.81, 0.82])
TWINS = runs("m", [0.30, 0.31, 0.30], untrained=True)
LOW, LEVEL, HIGH = runs("low", [0.60, 0.61, 0.60]), runs("level", [0.80, 0.83, 0.79]), runs("high", [0.95, 0.96, 0.95])
NULLS = [*null("null-low", 0.5, deterministic=True), *null("null-poor", 0.1, 0.1, 0.11)]
HIGH_NULL = null("null-high", 0.9, deterministic=True)


# What the records have


def test_the_row_is_read_against_the_best_null_its_twin_and_what_the_finding_names() -> None:
    one = found([*M, *TWINS, *LOW, *LEVEL, *HIGH, *NULLS], finding("low", "level", "high"))
    assert outcomes(one) == {
        "null": "ahead", "twin": "ahead", "low": "ahead", "level": "undecided", "high": "behind"
    }  # fmt: skip
    assert [other.label for other in one.others] == ["null-low", "m", "low", "level", "high"]
    assert one.row.row is not None
    assert one.row.row.summaries[RANK].mean == pytest.approx(0.81)


@pytest.mark.parametrize(("values", "outcome"), [([0.9], "behind"), ([0.80, 0.81, 0.83], "undecided")])
def test_a_null_that_is_better_or_level_is_told(values: list[float], outcome: str) -> None:
    one = found([*M, *NULLS, *null("null-x", *values, deterministic=len(values) == 1)], finding())
    assert (one.null.label, one.null.outcome) == ("null-x", outcome)


def test_best_null_and_twin_are_compared_as_in_the_table() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        records = [
            *runs("m", draw.normal(0.6, 0.05, 3).clip(0, 1).tolist()),
            *runs("m", draw.normal(0.5, 0.05, 3).clip(0, 1).tolist(), untrained=True),
            *runs("low", draw.normal(0.5, 0.05, 3).clip(0, 1).tolist()),
            *null("n", *draw.normal(0.5, 0.05, 3).clip(0, 1).tolist()),
        ]
        one = found(records, finding("low"))
        row = next(row for row in table(records).rows if row.label == "m")
        assert one.null.outcome == row.beside_null[RANK].verdict
        assert one.twin is not None
        assert one.twin.outcome == row.beside_twin[RANK].verdict


def test_one_named_row_is_compared_as_student_s_t_compares_two_samples() -> None:
    """Of equal spread, so that the two variances are pooled whatever the moderation does."""
    one, other = [0.70, 0.72, 0.74, 0.76, 0.78], [0.66, 0.68, 0.70, 0.72, 0.74]
    decided = set()
    for shift in (0.0, 0.01, 0.02, 0.05):
        records = [*runs("m", [x + shift for x in one]), *runs("x", other)]
        outcome = found(records, finding("x"), board(seeds=5)).named[0].outcome
        p = stats.ttest_ind([x + shift for x in one], other).pvalue
        assert outcome == ("ahead" if p < 0.05 else "undecided")
        decided.add(outcome)
    assert decided == {"ahead", "undecided"}


def test_several_named_rows_are_corrected_for_their_number_by_holm_and_others_are_not_counted() -> None:
    """Four rows of equal spread: its degrees of freedom are at least those of all four together."""
    a, b = [0.7034, 0.7234, 0.7434, 0.7634, 0.7834], [0.66, 0.68, 0.70, 0.72, 0.74]
    t = (np.mean(a) - np.mean(b)) / np.sqrt(2 * np.var(b, ddof=1) / 5)
    for p in (2 * stats.t.sf(t, 16), 2 * stats.norm.sf(t)):
        assert 0.05 / 3 < p < 0.05  # alone it is separated; of three that are alike none is
    records = [*runs("m", a), *(one for name in "xyz" for one in runs(name, b))]
    five = board(seeds=5)
    assert outcomes(found(records, finding("x"), five))["x"] == "ahead"
    assert {outcomes(found(records, finding("x", "y", "z"), five))[name] for name in "xyz"} == {"undecided"}


def test_false_verdicts_beside_named_rows_are_rare() -> None:
    """The row and five others are equal: any verdict but undecided is false."""
    draw = np.random.default_rng(1)
    false = 0
    for _ in range(200):
        records = [one for name in "mabcde" for one in runs(name, draw.normal(0.5, 0.03, 3).clip(0, 1).tolist())]
        rows = {row.label: row for row in table(records).rows}
        named = [rows[name] for name in "abc"]
        told = against(rows["m"], named, [rows["d"], rows["e"]], table(records).columns[0], seeds=True)
        false += any(one.verdict != "undecided" for one in told)
    assert stats.binomtest(false, 200, 0.05, alternative="greater").pvalue > 0.001


def test_with_one_seed_named_rows_are_paired_over_test_images() -> None:
    right, alike, elsewhere = answers(300), answers(285), answers(285, start=150)
    for other, outcome in ((alike, "ahead"), (elsewhere, "undecided")):
        records, replicates = measured(of_answers("m", right), of_answers("x", other))
        assert found(records, finding("x"), ONE_SEED, replicates).named[0].outcome == outcome
        assert (stats.ttest_rel(right, other).pvalue < 0.05) == (outcome == "ahead")


@pytest.mark.parametrize(("other", "outcome"), [(0.2, "better"), (0.9, "worse")])
def test_without_any_uncertainty_only_the_values_are_told(other: float, outcome: str) -> None:
    one = found([run("m", 0.8), run("x", other), *null("n", other)], finding("x"), ONE_SEED)
    assert (one.named[0].outcome, one.null.outcome) == (outcome, outcome)
    several = found([run("m", 0.8), *runs("x", [other, other + 0.01, other])], finding("x"))
    assert several.named[0].outcome == outcome  # one seed of the row, where the board has several


def test_for_a_value_that_is_better_when_smaller_ahead_is_below() -> None:
    records = [
        *(run("m", 0.5, seed, error=0.1 + seed / 100) for seed in range(3)),
        *(run("x", 0.5, seed, error=0.6 + seed / 100) for seed in range(3)),
    ]
    the_board = board(columns=["error@test"])
    assert found(records, finding("x", value="error@test"), the_board).named[0].outcome == "ahead"
    assert found(records, finding("m", row="x", value="error@test"), the_board).named[0].outcome == "behind"


def test_rows_and_nulls_are_read_by_another_score_where_the_finding_says_so() -> None:
    records = [
        *scored("m", {OWN: [0.1, 0.1, 0.1], HOLES: [0.80, 0.81, 0.82]}),
        *scored("x", {OWN: [0.95, 0.96, 0.95], HOLES: [0.2, 0.21, 0.2]}),
        *scored("n", {OWN: [0.5, 0.5, 0.51]}, null=True),
    ]
    asked = finding("x", {"row": "x", "selector": ""}, {"row": "m", "selector": ""}, "n", value=HOLES)
    one = found(records, asked, SCORES)
    assert [(other.label, other.selector, other.outcome) for other in one.others] == [
        ("n", "", "ahead"),
        ("m", None, "no record"),
        ("x", None, "ahead"),
        ("x", "", "behind"),
        ("m", "", "ahead"),
        ("n", "", "ahead"),
    ]


def test_the_best_null_is_known_where_no_run_has_the_finding_s_value() -> None:
    nulls = [scored(name, {OWN: [mean, mean, mean + 0.01]}, null=True) for name, mean in (("low", 0.1), ("high", 0.9))]
    one = found([*scored("m", {OWN: [0.5, 0.5, 0.5]}), *nulls[0], *nulls[1]], finding(value=HOLES), SCORES)
    assert (one.null.label, one.row.outcome) == ("high", "no value")


def test_a_null_that_is_named_may_be_behind_where_the_best_one_is_ahead() -> None:
    records = [*M, *HIGH_NULL, *null("null-low", 0.5, 0.51, 0.5)]
    one = found(records, finding("null-low", "null-high"))
    assert (one.null.label, one.null.outcome) == ("null-high", "behind")
    assert [other.outcome for other in one.named] == ["ahead", "behind"]
    told = verdicts(rendered(records, finding("null-low", "null-high"), the_board=board(twins=False)))
    assert told == [
        f"**Behind a row that it is read against** {WHERE}: `m` is ahead of `null-low` and behind the best null "
        "(`null-high`)."
    ]


def test_no_finding_contradicts_what_it_says_of_the_best_null_by_what_it_says_of_a_named_one() -> None:
    """Near the level of the tests, where nulls of another family of tests would be told apart and these are not."""
    draw = np.random.default_rng(3)
    told = set()
    for _ in range(60):
        rows = {name: draw.normal(0.5, 0.02, 3).round(3).tolist() for name in "mabcd"}
        nulls = {f"n{place}": (draw.normal(0.52, 0.02, 3)).round(3).tolist() for place in range(4)}
        records = [one for name, numbers in rows.items() for one in runs(name, numbers)]
        records += [one for name, numbers in nulls.items() for one in null(name, *numbers)]
        one = found(records, finding(*nulls, "a", "b"))
        of_nulls = {other.label: other.outcome for other in one.named if other.label in nulls}
        assert of_nulls[one.null.label] == one.null.outcome
        if "behind" in of_nulls.values():
            assert one.null.outcome == "behind"
        if one.null.outcome == "ahead":
            assert set(of_nulls.values()) == {"ahead"}
        told |= {(one.null.outcome, outcome) for outcome in of_nulls.values()}
    assert {("behind", "behind"), ("behind", "undecided"), ("undecided", "undecided")} <= told


def test_the_row_s_own_score_under_its_name_has_the_verdicts_of_its_own_score() -> None:
    """The table of own scores has eleven rows, and the column of the named score one: Holm's correction differs."""
    base = np.array([-0.04, -0.02, 0.0, 0.02, 0.04])
    twins, numbers = [0.5] * 5, (0.5396 + base).tolist()
    alone = stats.ttest_rel(numbers, twins)
    assert alone.pvalue < 0.05 < 11 * 2 * stats.norm.sf(alone.statistic)  # whatever is pooled of equal spreads
    records = [*scored("m", {OWN: numbers, HOLES: numbers}), *scored("m", {OWN: twins, HOLES: twins}, untrained=True)]
    others = [
        one
        for name in "abcdefghij"
        for one in (*scored(name, {OWN: numbers}), *scored(name, {OWN: twins}, untrained=True))
    ]
    five = SCORES.model_copy(update={"seeds": 5})
    for of_all, outcome in ((records, "ahead"), ([*records, *others], "undecided")):
        for value in (OWN, HOLES):
            twin = found(of_all, finding(value=value), five).twin
            assert twin is not None
            assert twin.outcome == outcome


def failed(model: str, seed: int = 0, **fields: Any) -> Record:
    return run(model, None, seed, **fields).model_copy(update={"status": "failed"})


@pytest.mark.parametrize(
    ("records", "row", "expected"),
    [
        ([], "no record", {"null": "no record", "twin": "no record", "x": "no record"}),
        (M, None, {"null": "no record", "twin": "no record", "x": "no record"}),
        (LOW, "no record", {"null": "no record", "twin": "no record", "x": "no record"}),
        (NULLS, "no record", {"null": None, "twin": "no record", "x": "no record"}),
        ([*M, failed("x"), failed("m", untrained=True)], None, {"null": "no record", "twin": "failed", "x": "failed"}),
        ([failed("m"), *runs("x", [0.5, 0.6])], "failed", {"null": "no record", "twin": "no record", "x": None}),
        (
            [run("m", None), run("x", 0.5), run("n", None, null=True)],
            "no value",
            {"null": "no value", "twin": "no record", "x": None},
        ),
    ],
)
def test_what_is_missing_is_told_apart(records: list[Record], row: str | None, expected: dict[str, str | None]) -> None:
    one = found(records, finding("x"))
    assert (one.row.outcome, outcomes(one)) == (row, expected)


def test_where_a_board_runs_no_twins_none_is_missed() -> None:
    assert outcomes(found(M, finding(), board(twins=False))) == {"null": "no record"}


# What a reader sees


WHERE = "on `d` (accuracy ↑ test)"
RUN = "`latentbench run b --datasets d"


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (
            [*M, *TWINS, *LOW, *NULLS],
            f"**Ahead of every row that it is read against** {WHERE}: `m` is ahead of the best null (`null-low`), its "
            "untrained twin and `low`.",
        ),
        (
            [*M, *TWINS, *LOW, *HIGH_NULL],
            f"**Behind a row that it is read against** {WHERE}: `m` is ahead of its untrained twin and `low` and "
            "behind the best null (`null-high`).",
        ),
        (
            [*M, *runs("m", [0.8, 0.83, 0.79], untrained=True), *LOW, *NULLS],
            f"**Not ahead of every row that it is read against** {WHERE}: `m` is ahead of the best null (`null-low`) "
            "and `low` and not separated from its untrained twin.",
        ),
        (
            [*M, *TWINS, *NULLS],
            f"**Open** {WHERE}: `m` is ahead of the best null (`null-low`) and its untrained twin. No record yet of "
            f"`low`: {RUN} --models low` makes it.",
        ),
        (
            [*M, *LOW],
            f"**Open** {WHERE}: `m` is ahead of `low`. No record yet of the nulls and its untrained twin: {RUN}` makes "
            "them.",
        ),
        (
            [*M, *TWINS, *LOW],
            f"**Open** {WHERE}: `m` is ahead of its untrained twin and `low`. No record yet of the nulls: {RUN}` makes "
            "them.",
        ),
        (
            [*LOW, *NULLS],
            f"**Open** {WHERE}: No record yet of `m` and its untrained twin: {RUN} --models m` makes them.",
        ),
        (
            [run("m", 0.8), *LOW, *null("null-x", 0.9), failed("m", untrained=True)],
            f"**Open** {WHERE}: `m` is better than `low` and worse than the best null (`null-x`) by value alone, whose "
            f"uncertainty is not known. Every run of its untrained twin failed: {RUN} --models m --retry-failed` makes "
            "it again.",
        ),
        (
            [run("m", 0.8), run("low", None), *TWINS, *NULLS],
            f"**Open** {WHERE}: `m` is better than the best null (`null-low`) and its untrained twin by value alone, "
            "whose uncertainty is not known. The records of `low` lack this value: `latentbench evaluate b` computes "
            "it if what they kept suffices.",
        ),
    ],
)
def test_verdicts_follow_by_rule(records: list[Record], said: str) -> None:
    assert verdicts(rendered(records, finding("low"))) == [said]


def test_nothing_but_an_ahead_of_every_row_is_called_so() -> None:
    """Whatever is not ahead by a test takes the strongest verdict away."""
    whole = [*M, *TWINS, *LOW, *NULLS]
    ahead = "**Ahead of every row that it is read against**"
    assert verdicts(rendered(whole, finding("low")))[0].startswith(ahead)
    for records in (
        [one for one in whole if one not in TWINS],
        [one for one in whole if one not in NULLS],
        [one for one in whole if one not in LOW],
        [one for one in whole if one not in M[1:]],
        [*whole, *HIGH_NULL],
        [*whole, *null("null-level", 0.80, 0.83, 0.79)],
    ):
        assert not verdicts(rendered(records, finding("low")))[0].startswith(ahead)


def test_values_stand_with_their_intervals_and_numbers_of_seeds() -> None:
    text = rendered(
        [*M, *NULLS, run("x", 0.4)],
        finding("x", places=[{"dataset": "d", "value": RANK, "published": "84 %"}]),
    )
    line = next(line for line in text.splitlines() if line.startswith("| `d`"))
    low, high = stats.t.interval(0.95, 2, 0.81, stats.sem([0.80, 0.81, 0.82]))
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "`d`", "accuracy ↑ test", "84 %", f"0.810 ({low:.3f} to {high:.3f}), 3 seeds", "`null-low` 0.500, 1 seed",
        "no record", "0.400, 1 seed",
    ]  # fmt: skip


def test_places_of_which_the_same_is_to_be_said_share_a_verdict() -> None:
    records = [
        *(run("m", 0.8 + seed / 100, seed, error=0.1 + seed / 100) for seed in range(3)),
        *(run("x", 0.5 + seed / 100, seed, error=0.6 + seed / 100) for seed in range(3)),
    ]
    the_board = board(columns=["error@test"], twins=False)
    places = [{"dataset": "d", "value": RANK}, {"dataset": "d", "value": "error@test"}]
    (said,) = verdicts(rendered(records, finding("x", places=places), the_board=the_board))
    assert said.startswith("**Open** on `d` (accuracy ↑ test; error ↓ test): `m` is ahead of `x`. ")
    swapped = [one if one.spec.model == "m" else run("x", 0.9, one.spec.seed, error=0.6) for one in records]
    first, second = verdicts(rendered(swapped, finding("x", places=places), the_board=the_board))
    assert "behind `x`" in first
    assert "ahead of `x`" in second


def test_the_summary_has_a_line_for_each_finding() -> None:
    text = rendered([*M, *TWINS, *LOW, *NULLS], finding("low", "absent"), finding(row="low"))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| T")]
    assert lines == [
        ["T", "`m`", "ahead", "ahead", "`low`: ahead; `absent`: no record"],
        ["T", "`low`", "ahead", "no record", "-"],
    ]


def test_a_class_split_is_diagnosed_beside_the_verdict() -> None:
    diagnosed = board(datasets=[{"name": "d", "diagnosis": "null-low"}])
    said = verdicts(rendered([*M, *NULLS], finding(), the_board=diagnosed))
    assert len(said) == 2
    assert said[1].startswith("`d`: The anomalies are classes held out of the normal ones. `null-low` has ")


def test_a_class_split_is_diagnosed_only_where_the_finding_is_about_what_tells_it() -> None:
    records = [
        *(run("m", 0.9, seed, error=0.9) for seed in range(3)),
        *(run("null-low", 0.5, seed, error=0.5, null=True) for seed in range(3)),
    ]
    diagnosed = board(datasets=[{"name": "d", "diagnosis": {"row": "null-low", "value": ERROR}}], columns=[ERROR])
    assert len(verdicts(rendered(records, finding(), the_board=diagnosed))) == 1
    assert len(verdicts(rendered(records, finding(value=ERROR), the_board=diagnosed))) == 2


def test_the_text_does_not_depend_on_the_order_of_the_records() -> None:
    records = [*M, *TWINS, *LOW, *LEVEL, *NULLS]
    assert rendered(records, finding("low", "level")) == rendered(records[::-1], finding("low", "level"))


# Files


GOOD = """\
title: F
papers:
  - title: P
    reference: R
    findings:
      - title: T
        headline: H
        board: quick
        row: vae
        places:
          - {dataset: textures, value: aupro30@test}
        against:
          - pca
          - {row: ae, selector: null}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "f.yaml"
    path.write_text(text)
    return path


def test_a_file_is_read_with_the_boards_that_it_names(tmp_path: Path) -> None:
    findings = load_findings(write(tmp_path, GOOD))
    ((loc, one),) = findings.each()
    assert (loc, one.row, [reference.row for reference in one.against]) == (
        ("papers", 0, "findings", 0), "vae", ["pca", "ae"]
    )  # fmt: skip
    assert list(boards_of(findings, Plugins.load())) == ["quick"]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("title: F\n", "title: F\ntitel: F\n", 2, "unknown key 'titel': did you mean 'title'?"),
        ("title: F", "title: [F", 2, "expected ',' or ']'"),
        ("        headline: H\n", "", 6, "papers.0.findings.0 has no 'headline'"),
        ("        row: vae\n", "        row: a b\n", 9, "'papers.0.findings.0.row': is not a word without blanks"),
        ("row: vae", "rwo: vae", 9, "unknown key 'rwo': did you mean 'row'?"),
        ("value: aupro30@test", "value: aupro30", 11, "is not of the form metric[part]@split/condition"),
        ("value: aupro30@test", "vlaue: a@b", 11, "unknown key 'vlaue': did you mean 'value'? known: dataset, "),
        ("selector: null", "score: x", 14, "unknown key 'score'"),
        ("board: quick", "board: quik", 8, "there is no board 'quik': did you mean 'quick'?"),
        ("row: vae", "row: vea", 9, "board 'quick' has no row 'vea': did you mean 'vae'"),
        ("- pca", "- pac", 13, "board 'quick' has no row 'pac': did you mean 'pca'"),
        (
            "dataset: textures",
            "dataset: texture",
            11,
            "board 'quick' has no dataset 'texture': did you mean 'textures'",
        ),
        ("aupro30@test", "auroc@train", 11, "board 'quick' does not show 'auroc@train' on 'textures': did you mean"),
        ("selector: null", "selector: x", 11, "board 'quick' does not show 'aupro30[x]@test' on 'textures'"),
        ("- pca", "- vae", 13, "'vae' is there already: leave it out or give it a 'selector'"),
        ("row: ae", "row: pca", 14, "'pca' is there already"),
    ],
)
def test_a_mistake_names_file_and_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert GOOD.count(old) >= 1
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(LatentbenchError, match=re.escape(f"{path}:{line}: ")) as caught:
        boards_of(load_findings(path), Plugins.load())
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "- title: F\n", "F\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(LatentbenchError, match=re.escape(f"{path}:1: a file of findings maps keys to values")):
        load_findings(path)
