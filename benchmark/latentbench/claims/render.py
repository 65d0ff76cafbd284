"""Verdicts as Markdown: a summary, then a table for each paper, with one line of evidence for each claim."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import get_args

from tabulate import tabulate

from latentbench.boards.gathering import grouped
from latentbench.boards.render.escaping import code_span
from latentbench.claims.evidence import LEAST_SEEDS
from latentbench.claims.telling import evidence_line, published_text
from latentbench.claims.verdicts import Judgement, Verdict

__all__ = ["render_claims"]

_READING = (
    "Every line is about a number in one version of a paper, and about nothing else: not about its authors, nor about "
    "what else the paper says. It is made by `latentbench claims render` from the claims in `claims/` and the records "
    "in `results/`.",
    "**reproduced**: a test shows that the claim holds. **refuted**: a test shows that it does not, under the paper's "
    "protocol, and its baseline comes out. **differs**: the same under another protocol, whose differences are named. "
    "**inconclusive**: the records do not decide, or the baseline of the same table does not come out, so that nothing "
    f"can be said of the method. **not run**: the command makes the records. **not testable**: shown, with the reason. "
    f"A verdict takes {LEAST_SEEDS} seeds. Rules can only downgrade what the tests say.",
    "The tests: two one-sided t tests for equivalence within the margin that the claim names (Schuirmann, 1987), and "
    "for gaps and orders the test that ranks the rows of the leaderboards. *Reproduced* rests on the claim's own test, "
    "at 5 %. What speaks against a paper, *refuted* and *differs*, has Holm's correction over the claims of one table "
    "or figure: in at most 5 % of these is any claim called so that holds. That *reproduced* has no such correction "
    "was decided with verdicts at hand. It credits a single number: of numbers that do not hold, up to 5 % are called "
    "so. With a correction on both sides those whose second p-value is 0.05 or more would be inconclusive. "
    "Closed forms are computed, which takes no test.",
)


def render_claims(judged: Sequence[Judgement]) -> str:
    """The verdicts as one Markdown text."""
    papers = grouped(judged, lambda one: one.paper.name)
    blocks = ["# What of published numbers comes out", *_READING, _summary([*papers.values()])]
    for same in papers.values():
        blocks += _paper(same)
    return "\n\n".join(blocks) + "\n"


def _summary(papers: Sequence[Sequence[Judgement]]) -> str:
    """How many verdicts of each kind a paper has."""
    verdicts = get_args(Verdict)
    lines = []
    for same in papers:
        counts = Counter(one.verdict for one in same)
        lines.append([_text(same[0].paper.title), *(counts[verdict] or "" for verdict in verdicts)])
    align = ["left", *["right"] * len(verdicts)]
    return tabulate(lines, headers=["paper", *verdicts], tablefmt="pipe", colalign=align, disable_numparse=True)


def _paper(same: Sequence[Judgement]) -> Iterator[str]:
    """A paper: what it is, in what the protocol differs, and a line for each claim, table by table."""
    paper = same[0].paper
    yield f"## {_text(paper.title)}"
    yield f"{_text(paper.reference).rstrip('.')}. The numbers are those of {_text(paper.version)}."
    if differences := list(dict.fromkeys(one for judged in same for one in paper.differences_of(judged.claim))):
        yield "In what the protocol differs, for the claims that say so below:"
        yield "\n".join(f"{number}. {_text(one)}" for number, one in enumerate(differences, 1))
    numbers = {one: number for number, one in enumerate(differences, 1)}
    lines = []
    for one in same:
        claim = one.claim
        of = ", ".join(str(numbers[difference]) for difference in paper.differences_of(claim))
        said = [f"{_text(evidence_line(one))}."]
        said += [_text(claim.explanation)] if claim.explanation else []
        said += [f"To run it: {code_span(one.command)}"] if one.command else []
        lines.append(
            [
                f"**{one.verdict}**",
                code_span(claim.id),
                _text(str(claim.cell)),
                _text(published_text(claim)),
                f"{claim.protocol} ({of})" if of else claim.protocol,
                " ".join(said),
            ]
        )
    headings = ["verdict", "claim", "cell", "published", "protocol", "evidence"]
    yield tabulate(lines, headers=headings, tablefmt="pipe", disable_numparse=True)


def _text(text: str) -> str:
    """Text from a file in a table's cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
