"""Verdicts in a text: each is that of its claim, names that are not there are refused, and so are verdicts by hand."""

from pathlib import Path

import pytest
from tests.latentbench.claims.given import claim, row, rows, verdicts

from latentbench.claims.filling import fill
from latentbench.claims.telling import evidence_line
from latentbench.claims.verdicts import Judgement
from latentbench.errors import LatentbenchError

RECORDS = rows(m=[0.80, 0.801, 0.802], x=[0.5, 0.501, 0.502])
CLAIMS = [
    claim("good"),
    claim("bad", selection=row("x"), cell={"place": "table <1>"}),
    claim("missing", selection=row("y")),
    claim("cited", selection=None, test={"how": "citation", "reason": "Other images."}),
]


@pytest.fixture
def judged(tmp_path: Path) -> list[Judgement]:
    return [*verdicts(tmp_path, RECORDS, CLAIMS).values()]


def test_a_claim_s_place_becomes_its_verdict_with_its_evidence_and_the_explanation_stays(
    judged: list[Judgement],
) -> None:
    text = fill("# Title\n\n- {{ p/good }} It is a word.\n- {{p/bad}}\n", Path("in.md"), judged)
    lines = text.splitlines()
    assert lines[0] == "<!-- Made from in.md by `latentbench claims fill`: edit that file. -->"
    assert lines[2] == "# Title"
    good, bad = (one for one in judged if one.claim.id in ("good", "bad"))
    assert lines[4] == (
        f"- **reproduced** `p/good` (table 1, good): published 0.8; {evidence_line(good)}. It is a word."
    )
    assert lines[5] == f"- **refuted** `p/bad` (table &lt;1>): published 0.8; {evidence_line(bad)}."


def test_the_place_of_a_paper_or_a_board_becomes_the_number_of_its_claims_by_verdict(judged: list[Judgement]) -> None:
    text = fill("{{ p }}\n{{ b }}\n", Path("in.md"), judged)
    assert text.splitlines()[2:] == [
        "1 reproduced, 1 refuted, 1 not run, 1 not testable",
        "1 reproduced, 1 refuted, 1 not run",
    ]


@pytest.mark.parametrize(
    ("name", "mend"), [("p/god", "p/good"), ("q/good", "p/good"), ("pp", "p"), ("", ""), ("p/", "")]
)
def test_what_explains_an_unknown_claim_is_refused_with_its_line(judged: list[Judgement], name: str, mend: str) -> None:
    with pytest.raises(LatentbenchError) as caught:
        fill(f"One.\n\n- {{{{ {name} }}}} A sentence.\n", Path("in.md"), judged)
    said = str(caught.value)
    assert said.startswith(f"in.md:3: there is no claim, paper or board of claims '{name}'")
    assert mend in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "word", ["reproduced", "Refuted", "not\nreproduced", "inconclusive", "not run", "not testable"]
)
def test_a_verdict_that_is_written_by_hand_is_refused(judged: list[Judgement], word: str) -> None:
    with pytest.raises(LatentbenchError, match=r"in.md:[34]: a verdict is written by hand: '"):
        fill(f"{{{{ p/good }}}} Good.\n\nIt is {word}.\n", Path("in.md"), judged)


def test_a_verdict_follows_the_records_and_the_sentence_beside_it_stays(tmp_path: Path) -> None:
    text = "- {{ p/a }} A sentence.\n"
    told = [
        fill(text, Path("in.md"), [*verdicts(tmp_path / str(place), records, [claim("a")]).values()])
        for place, records in enumerate((RECORDS, rows(m=[0.5, 0.501, 0.502]), []))
    ]
    for one, verdict in zip(told, ("reproduced", "refuted", "not run"), strict=True):
        assert one.splitlines()[2].startswith(f"- **{verdict}** `p/a`")
        assert one.endswith(" A sentence.\n")
