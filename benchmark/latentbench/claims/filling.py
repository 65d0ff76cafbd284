"""Verdicts filled into a text: a document says of published numbers what claims and records say, and nothing else.

A *place* is a name in double braces. That of a claim, ``{{ PAPER/CLAIM }}``, becomes its verdict with what is published
and what was found; the sentences after it, in the same paragraph, explain that claim. That of a paper or of a board
becomes the number of its claims by verdict. Words of verdicts stand nowhere else: a text that writes one by hand is
refused.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from latentbench.boards.render.escaping import code_span
from latentbench.claims.telling import evidence_line, names_of, published_text, tally, unknown_name
from latentbench.claims.verdicts import Judgement
from latentbench.errors import LatentbenchError

__all__ = ["fill"]

_PLACE = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
#: Verdicts, but for "differs", which is a word of every day.
_BY_HAND = re.compile(r"\b(reproduced?|refuted?|inconclusive|not\s+run|not\s+testable)\b", re.IGNORECASE)


def fill(text: str, path: Path, judged: Sequence[Judgement]) -> str:
    """The text with every place filled.

    Args:
        text: in Markdown.
        path: of the file that it is from, for errors and for the line that says where the result comes from.
        judged: the verdicts on all claims.

    Raises:
        LatentbenchError: a place names no claim, paper or board of claims; or a verdict is written by hand. With file
            and line.
    """
    for found in _BY_HAND.finditer(_PLACE.sub(lambda place: " " * len(place[0]), text)):
        what = f"a verdict is written by hand: '{found[0]}'"
        raise _mistake(path, text, found.start(), what, "name the claim instead: {{ PAPER/CLAIM }}")
    claims = {one.name: one for one in judged}
    known = {name for one in judged for name in names_of(one)}

    def told(place: re.Match[str]) -> str:
        name = place[1]
        if name in claims:
            return _claim(claims[name])
        if name not in known:
            raise _mistake(path, text, place.start(), *unknown_name(name, judged))
        return tally(one.verdict for one in judged if name in names_of(one))

    origin = f"<!-- Made from {path.name} by `latentbench claims fill`: edit that file. -->"
    return f"{origin}\n\n{_PLACE.sub(told, text)}"


def _claim(one: Judgement) -> str:
    """**differs** `paper/claim` (table 1, row): published 82 %; 75 % over 3 seeds, more than 5 points from it."""
    text = f"{published_text(one.claim)}; {evidence_line(one)}"
    plain = " ".join(f"({one.claim.cell}): published {text}".split()).replace("<", "&lt;")
    return f"**{one.verdict}** {code_span(one.name)} {plain}."


def _mistake(path: Path, text: str, place: int, what: str, mend: str) -> LatentbenchError:
    line = text.count("\n", 0, place) + 1
    return LatentbenchError(f"{path}:{line}: {what}", mend)
