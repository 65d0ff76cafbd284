"""Verdicts: what the tests say of each claim, and the rules that may only downgrade that.

**Multiplicity.** *Reproduced* rests on the claim's own test, at 5 %: of the claims that do not hold, each is called
reproduced in at most 5 % of cases. No correction is needed to say of a table that all of its claims hold, since each
test has to pass (an intersection-union test: Berger, Technometrics 24, 1982); of many claims that do not hold, some of
those on the edge of their margin will pass. *Refuted* and *differs* speak against a paper, so that one false word about
any number of a table weighs as much: there Holm's method corrects over the tested claims of the table or figure, and in
at most 5 % of tables is any claim called so that holds. A claim's verdict does not depend on which claims are asked
for.

The two sides are treated differently because their errors differ: a false *refuted* wrongs a paper, and any one of a
table's would; a false *reproduced* credits a single number, and its rate is stated for a single number. Bioequivalence
is decided likewise, where each of several measures has to pass at 5 %. Who picks one of many *reproduced* numbers after
seeing them needs a correction of his own: evidence tells the p-value with Holm's correction beside it. That only what
speaks against a paper is corrected was decided when verdicts with a correction on both sides had been seen, on the
records of that day; the alternative would leave some of what is reproduced inconclusive.

**Rules.** Each names a verdict that a claim comes down to; none can raise one. What is computed or timed rests on no
records, so neither seeds nor baselines matter to it.
"""

import shlex
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from latentbench.boards.gathering import grouped
from latentbench.boards.rank_sets import holm
from latentbench.boards.seeds_needed import SeedRange, seeds_to_tell
from latentbench.boards.significance import CONFIDENCE
from latentbench.claims.evidence import Evidence, evidence
from latentbench.claims.ledger import Ledger
from latentbench.claims.schema import Citation, Claim, Computed, Equivalence, OnBoard, Paper, Timed
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.plugins.registry import Plugins

__all__ = ["LOWER", "RULES", "Judgement", "Rule", "Verdict", "called", "judge", "ruled"]

Verdict = Literal["reproduced", "refuted", "differs", "inconclusive", "not run", "not testable"]

#: The names of a paper and of a claim of it.
_Place = tuple[str, str]

#: What a verdict can be downgraded to.
LOWER: Mapping[Verdict, Sequence[Verdict]] = {
    "refuted": ("differs", "inconclusive"),
    "differs": ("inconclusive",),
    "reproduced": ("inconclusive",),
}

#: Of two numbers that are computed: float64 has 16 digits, and a published decimal is no float64.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Judgement:
    """The verdict on one claim, and what it rests on."""

    paper: Paper
    claim: Claim
    verdict: Verdict
    by_tests: Literal["reproduced", "refuted", "inconclusive"] | None = None
    """What the tests alone say, before the rules; None if there was none."""
    reasons: Sequence[str] = ()
    """Why the verdict is another one than the tests give, or why there is no test: parts of a sentence."""
    command: str = ""
    """What mends that, if anything can."""
    evidence: Evidence = field(default_factory=Evidence)
    computed: float | None = None
    """What a function gives, in the claim's unit; of what was timed the median ratio."""
    rounds: int = 0
    """How often it was timed."""
    p: float | None = None
    """Of the decision, or of the one on whose side the number lies."""
    family: int = 1
    """The number of claims that ``p`` is corrected for, by Holm's method."""
    table: int = 1
    """The number of tested claims of its table or figure."""
    p_corrected: float | None = None
    """``p`` with Holm's correction for these, which decides where it speaks against a paper."""
    seeds_to_settle: SeedRange | None = None
    """Of an inconclusive claim; None where no number is in sight."""

    @property
    def name(self) -> str:
        """``PAPER/CLAIM``."""
        return self.paper.full_name(self.claim)

    @property
    def measured(self) -> list[float]:
        """Our numbers in the claim's unit, the row's own first; of a gap how much better the row is."""
        if self.computed is not None:
            return [self.computed]
        means = [side.summary.mean / self.claim.factor for side in self.evidence.sides]
        if self.claim.test.how != "gap" or len(means) < 2:
            return means
        sign = 1 if self.evidence.sides[0].column.higher_is_better else -1
        return [sign * (means[0] - means[1])]


def judge(ledger: Ledger, results: Path, plugins: "Plugins", boards: Collection[str] | None = None) -> list[Judgement]:
    """The verdict on every claim, in the order of the ledger.

    Args:
        ledger: the claims.
        results: the folder of the records.
        plugins: whose functions compute, and whose boards are named where runs are missing.
        boards: just the claims that select from boards of these names; None for all.

    Raises:
        LatentbenchError: the function of a computed claim is not there, or fails; with file and line.
    """
    given = {(paper.name, claim.id): (paper, claim) for paper, claim in ledger.claims()}
    wanted = [
        place
        for place, (_, claim) in given.items()
        if boards is None or (isinstance(claim.selection, OnBoard) and claim.selection.board_name in boards)
    ]
    needed = _with_what_they_rest_on(wanted, given)
    found = evidence(ledger, [given[place] for place in needed], results, plugins)
    judged: dict[_Place, Judgement] = {}
    for place in needed:
        judged[place] = _without_tests(*given[place], found.get(place, Evidence()), plugins)
    tested = (place for place, one in judged.items() if one.evidence.tested)
    for family in grouped(tested, lambda place: _family(*given[place])).values():
        for one in _decided([judged[place] for place in family]):
            judged[one.paper.name, one.claim.id] = one
    baselines_first = sorted(judged, key=lambda place: given[place][1].role == "method")
    for place in baselines_first:
        one = judged[place]
        baseline = judged.get((one.paper.name, one.claim.baseline or ""))
        judged[place] = ruled(one, baseline)
    return [judged[place] for place in wanted]


def _family(paper: Paper, claim: Claim) -> tuple[str, str]:
    """The table or figure of a claim."""
    return paper.name, claim.cell.place


def _with_what_they_rest_on(wanted: Sequence[_Place], given: Mapping[_Place, tuple[Paper, Claim]]) -> list[_Place]:
    """Claims with their baselines, and with the tested claims of the same tables as any of these."""
    baselines = {(paper, given[paper, name][1].baseline or "") for paper, name in wanted}
    asked = {*wanted, *(baselines & given.keys())}
    tested = {place for place, (_, claim) in given.items() if not isinstance(claim.test, Citation)}
    families = {_family(*given[place]) for place in asked & tested}
    beside = {place for place in tested if _family(*given[place]) in families}
    return [place for place in given if place in asked or place in beside]


def _without_tests(paper: Paper, claim: Claim, found: Evidence, plugins: "Plugins") -> Judgement:
    """The verdict on a claim as far as it takes no test of records."""
    if isinstance(claim.test, Citation):
        return Judgement(paper, claim, "not testable", reasons=[claim.test.reason], evidence=found)
    if isinstance(claim.selection, Computed):
        value = _computed(paper, claim, claim.selection, plugins)
        assert isinstance(claim.test, Equivalence)
        holds = abs(value - claim.numbers[0]) <= claim.test.margin + _ROUNDING * abs(value)
        outcome: Literal["reproduced", "refuted"] = "reproduced" if holds else "refuted"
        return Judgement(paper, claim, outcome, outcome, computed=value)
    if isinstance(claim.selection, Timed):
        command = shlex.join(["pytest", "--claims", str(paper.path or ""), "-k", paper.full_name(claim)])
        return Judgement(paper, claim, "not run", reasons=["pytest alone times it"], command=command)
    if found.obstacle:
        verdict: Verdict = "not run" if found.obstacle.not_run else "inconclusive"
        reason, command = found.obstacle.reason, found.obstacle.command
        return Judgement(paper, claim, verdict, reasons=[reason], command=command, evidence=found)
    return Judgement(paper, claim, "inconclusive", evidence=found)


def _computed(paper: Paper, claim: Claim, selection: Computed, plugins: "Plugins") -> float:
    """What the claim's function gives, in the claim's unit."""
    place = ("selection", "function")
    value = called(paper, claim, selection.function, selection.arguments, place, plugins)
    if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value):
        raise paper.mistake(claim, place, f"{selection.function} gives {value!r}, which is no number")
    return float(value) / claim.factor


def called(
    paper: Paper, claim: Claim, name: str, arguments: Mapping[str, Any], place: tuple[str, str], plugins: "Plugins"
) -> Any:
    """What a function gives that a part of a claim, at ``place``, names.

    Raises:
        LatentbenchError: it is not there, or fails; with file and line.
    """
    try:
        return plugins.function(name)(**arguments)
    except Exception as error:
        what = str(error) if isinstance(error, LatentbenchError) else f"{type(error).__name__}: {error}"
        raise paper.mistake(claim, place, " ".join(what.split())) from error


def _decided(family: Sequence[Judgement]) -> Iterator[Judgement]:
    """The verdicts by the tests of one family, before the rules."""
    tests = [one.evidence.tested for one in family if one.evidence.tested]
    fails, holds = holm(np.array([test.fails for test in tests])), holm(np.array([test.holds for test in tests]))
    level = 1 - CONFIDENCE
    for one, test, p_fails, p_holds in zip(family, tests, fails.tolist(), holds.tolist(), strict=True):
        verdict: Literal["reproduced", "refuted", "inconclusive"] = (
            "reproduced" if test.holds < level else "refuted" if p_fails < level else "inconclusive"
        )
        p, size = (test.holds, 1) if test.inside else (p_fails, len(family))
        corrected = p_holds if test.inside else p_fails
        told = replace(
            one, verdict=verdict, by_tests=verdict, p=p, family=size, table=len(family), p_corrected=corrected
        )
        if verdict == "inconclusive":
            # to fail, at the next step of Holm's method
            several = 1 if test.inside else int(np.count_nonzero(fails >= level)) * test.ways
            distance = abs(test.estimate.value - test.bound)
            one_sided = 2 * level / several
            told = replace(told, seeds_to_settle=seeds_to_tell(distance, test.estimate.uncertainty, one_sided))
        yield told


#: What may downgrade a verdict: from the judgement and that on its baseline, what it comes down to, and why.
Rule = Callable[[Judgement, Judgement | None], tuple[Verdict, str] | None]


def _near(one: Judgement, _: Judgement | None) -> tuple[Verdict, str] | None:
    if one.claim.protocol == "exact":
        return None
    return "differs", "its protocol is not the paper's"


def _abstract(one: Judgement, _: Judgement | None) -> tuple[Verdict, str] | None:
    return ("differs", "the number is known from an abstract alone") if one.claim.kind == "abstract" else None


def _no_baseline(one: Judgement, baseline: Judgement | None) -> tuple[Verdict, str] | None:
    if one.claim.role == "baseline" or baseline is not None:
        return None
    return "differs", "no baseline of its table shows that the protocol is the same"


def _baseline(one: Judgement, baseline: Judgement | None) -> tuple[Verdict, str] | None:
    if baseline is None or baseline.verdict == "reproduced":
        return None
    return "inconclusive", f"its baseline {baseline.claim.id} does not come out ({baseline.verdict})"


RULES: Sequence[Rule] = (_near, _abstract, _no_baseline, _baseline)


def ruled(one: Judgement, baseline: Judgement | None) -> Judgement:
    """The verdict after the rules."""
    for rule in (_near, _abstract) if isinstance(one.claim.selection, Computed | Timed) else RULES:
        found = rule(one, baseline)
        if found and found[0] in LOWER.get(one.verdict, ()):
            one = replace(one, verdict=found[0], reasons=[*one.reasons, found[1]])
    return one
