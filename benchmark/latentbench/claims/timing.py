"""Claims about speed: two things that are timed by turns in one process, and the verdict on how much faster one is.

Each round times both, so that its ratio is of one machine at one time. Whether the median ratio is above the claim's
bound is for the sign test over rounds, which asks nothing of how timings are distributed. It speaks of the machine and
of the process that were timed: which other ones agree, no number of rounds can tell.
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, cast

from scipy.stats import binomtest

from latentbench.boards.significance import CONFIDENCE
from latentbench.claims.schema import Claim, Paper, Speedup, Timed
from latentbench.claims.verdicts import Judgement, called, ruled

if TYPE_CHECKING:
    from latentbench.plugins.registry import Plugins

__all__ = ["prepare", "timed"]


def prepare(paper: Paper, claim: Claim, plugins: "Plugins") -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What is timed, and what it is compared with.

    Raises:
        LatentbenchError: a function is not there, fails, or returns nothing that can be called; with file and line.
    """
    selection, test = claim.selection, claim.test
    assert isinstance(selection, Timed)
    assert isinstance(test, Speedup)
    arguments = selection.arguments

    def prepared(name: str, place: tuple[str, str]) -> Callable[[], Any]:
        made = called(paper, claim, name, arguments, place, plugins)
        if not callable(made):
            raise paper.mistake(claim, place, f"{name} gives {made!r}, which cannot be called")
        return cast(Callable[[], Any], made)

    return prepared(selection.timed, ("selection", "timed")), prepared(test.over, ("test", "over"))


def timed(paper: Paper, claim: Claim, seconds: Sequence[float], others: Sequence[float]) -> Judgement:
    """The verdict on a claim about speed.

    Args:
        paper: of the claim.
        claim: whose selection was timed.
        seconds: of each round, > 0, for what the claim selects.
        others: of the same rounds, for what it is compared with.
    """
    assert isinstance(claim.test, Speedup)
    ratios = [other / own for own, other in zip(seconds, others, strict=True)]
    above = sum(ratio > claim.test.at_least for ratio in ratios)
    below = sum(ratio < claim.test.at_least for ratio in ratios)
    holds, fails = (binomtest(count, len(ratios), alternative="greater").pvalue for count in (above, below))
    level = 1 - CONFIDENCE
    verdict: Literal["reproduced", "refuted", "inconclusive"] = (
        "reproduced" if holds < level else "refuted" if fails < level else "inconclusive"
    )
    p = float(min(holds, fails))
    return ruled(Judgement(paper, claim, verdict, verdict, computed=median(ratios), rounds=len(ratios), p=p), None)
