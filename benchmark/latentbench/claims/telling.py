"""Verdicts in words: what is published, what was measured, and one line of evidence; and the same as JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from latentbench.boards.gathering import make_column
from latentbench.boards.published import Published
from latentbench.claims.schema import Claim, Computed, Equivalence, Gap, OnBoard, Other, Speedup
from latentbench.claims.verdicts import Judgement, Verdict
from latentbench.errors import did_you_mean

__all__ = [
    "as_json",
    "evidence_line",
    "measured_text",
    "names_of",
    "published_on",
    "published_text",
    "tally",
    "unknown_name",
]


def published_text(claim: Claim) -> str:
    """``82.4 %``; ``4.6 points ahead of shift-base`` for a gap; ``92 %, 84.2 %, 74.1 %`` for an order."""
    if isinstance(claim.test, Speedup):
        return f"{claim.numbers[0]:.4g} times as fast as {claim.test.over}"
    if isinstance(claim.test, Gap):
        return f"{_size(claim.numbers[0], claim)} ahead of {_other(claim.test.over)}"
    return ", ".join(_number(number, claim) for number in claim.numbers)


def measured_text(one: Judgement) -> str:
    """Our numbers in the same form, a single mean ± half of its 95 % interval over seeds; empty if there are none."""
    claim, numbers = one.claim, one.measured
    if isinstance(claim.test, Gap) and len(one.evidence.sides) == 2:
        return f"{_size(numbers[0], claim)} ahead of {_other(claim.test.over)}"
    half = one.evidence.sides[0].summary.half_width if len(one.evidence.sides) == 1 else None
    if half:
        return _with_unit(f"{numbers[0]:.4g} ± {half / claim.factor:.2g}", claim)
    return ", ".join(_number(number, claim) for number in numbers)


def evidence_line(one: Judgement) -> str:
    """What a verdict rests on, in one line without a full stop."""
    parts = [_finding(one), *one.reasons]
    if one.verdict == "inconclusive" and one.by_tests == "inconclusive" and one.evidence.sides:
        parts.append(
            f"{one.seeds_to_settle} seeds would settle it with a probability of 80 %"
            if one.seeds_to_settle
            else "no number of seeds that would settle it is in sight"
        )
    return "; ".join(part.rstrip(".") for part in parts if part)


def names_of(one: Judgement) -> list[str]:
    """What a claim can be asked for by: its own name, its paper's, and that of the board that it selects from."""
    board = [one.claim.selection.board_name] if isinstance(one.claim.selection, OnBoard) else []
    return [one.name, one.paper.name, *board]


def unknown_name(name: str, judged: Sequence[Judgement]) -> tuple[str, str]:
    """That nothing can be asked for by a name, and the names that are near: of a claim, those of its paper first."""
    known = {one for judgement in judged for one in names_of(judgement)}
    paper = name.partition("/")[0]
    near = [one for one in known if ("/" in one) == ("/" in name)]
    of_paper = [one for one in near if "/" in one and one.startswith(f"{paper}/")]
    return f"there is no claim, paper or board of claims '{name}'", did_you_mean(name, of_paper or near)


def tally(verdicts: Iterable[Verdict]) -> str:
    """``5 reproduced, 2 differs``; empty if there are none."""
    counts = Counter(verdicts)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict])


def published_on(board: str, judged: Iterable[Judgement]) -> list[Published]:
    """What is published of the rows of a board, as its tables show it."""
    return [
        Published(
            dataset=selection.dataset,
            row=selection.row,
            column=one.evidence.sides[0].column if one.evidence.sides else make_column(selection.value, []),
            claim=one.name,
            cell=str(one.claim.cell),
            published=published_text(one.claim),
            here=measured_text(one),
            verdict=one.verdict,
        )
        for one in judged
        if isinstance(selection := one.claim.selection, OnBoard) and selection.board_name == board
    ]


def as_json(one: Judgement) -> dict[str, Any]:
    """What there is to a verdict, for other programs."""
    claim, seeds = one.claim, one.seeds_to_settle
    return {
        "claim": one.name,
        "paper": one.paper.title,
        "version": one.paper.version,
        "cell": str(claim.cell),
        "kind": claim.kind,
        "protocol": claim.protocol,
        "differences": one.paper.differences_of(claim),
        "selection": claim.selection.model_dump(mode="json") if claim.selection else None,
        "test": claim.test.model_dump(mode="json"),
        "published": claim.published,
        "unit": claim.unit,
        "measured": one.measured,
        "seeds": [side.summary.n for side in one.evidence.sides],
        "runs": [record.key for side in one.evidence.sides for record in side.records],
        "verdict": one.verdict,
        "by_tests": one.by_tests,
        "p": one.p,
        "family": one.family,
        "p_corrected": one.p_corrected,
        "table": one.table,
        "seeds_to_settle": [seeds.least, seeds.most] if seeds else None,
        "evidence": evidence_line(one),
        "command": one.command,
        "explanation": claim.explanation,
    }


#: What is said of our numbers where a test shows that the claim holds, that it fails, or neither.
_EQUIVALENCE = {
    "reproduced": "within {} of it",
    "refuted": "more than {} from it",
    "inconclusive": "not shown to lie within {} of it, nor beyond",
}
_GAP = {
    "reproduced": "shown to be more than {}",
    "refuted": "shown to be less than {}",
    "inconclusive": "not shown to be more than {}, nor less",
}
_ORDER = {
    "reproduced": "shown to be in this order",
    "refuted": "shown not to be in the published order",
    "inconclusive": "not shown to be in the published order, nor in another",
}


def _finding(one: Judgement) -> str:
    """Our number, and what the test says of it."""
    claim, measured = one.claim, measured_text(one)
    if isinstance(claim.selection, Computed) and isinstance(claim.test, Equivalence) and one.by_tests:
        said = _EQUIVALENCE[one.by_tests].format(_size(claim.test.margin, claim))
        return f"{measured} by {claim.selection.function}, {said}"
    if isinstance(claim.test, Speedup) and one.by_tests:
        said = _GAP[one.by_tests].format(f"{claim.test.at_least:g}")
        return f"{measured} times as fast, the median of {one.rounds} rounds, {said} (p = {one.p:.2g})"
    counts = sorted({side.summary.n for side in one.evidence.sides})
    over = f" over {' and '.join(map(str, counts))} seed{'' if counts == [1] else 's'}"
    if one.by_tests is None:
        return f"{measured}{over} here" if measured else ""
    match claim.test:
        case Equivalence(margin=margin):
            said = _EQUIVALENCE[one.by_tests].format(_size(margin, claim))
        case Gap(at_least=least):
            said = _GAP[one.by_tests].format(_size(least, claim))
        case _:
            said = _ORDER[one.by_tests]
    corrected = f" after Holm's correction for {one.family}" if one.family > 1 else ""
    if one.table > one.family:
        corrected = f"; {one.p_corrected:.2g} with Holm's correction for {one.table}"
    return f"{measured}{over}, {said} (p = {one.p:.2g}{corrected})"


def _number(number: float, claim: Claim) -> str:
    return _with_unit(f"{round(number, 9):z.4g}", claim)


def _with_unit(text: str, claim: Claim) -> str:
    return f"{text} %" if claim.unit == "percent" else text


def _size(number: float, claim: Claim) -> str:
    """A difference of two numbers."""
    return f"{number:.3g} points" if claim.unit == "percent" else f"{number:.3g}"


def _other(other: Other) -> str:
    return f"{other.row} ({other.value})" if other.value else other.row
