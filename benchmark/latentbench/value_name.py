"""The name of a measured value, ``metric[selector]@split/condition``: the only place that parses and prints it."""

import re
from dataclasses import dataclass, replace
from typing import Self

from latentbench.errors import LatentbenchError

__all__ = ["FORM", "ValueName", "wrong_piece"]

#: What a value's name looks like, for messages.
FORM = "metric[part]@split/condition, as in auroc@test"

#: Characters of the longest name of a split, condition, score, subspace, attribute or facet.
_LONGEST = 64
#: What none of these names contains, because it has a meaning in the name of a value or of kept predictions.
_RESERVED = re.compile(r"[][@/:\s]")

_NAME = re.compile(
    r"(?P<metric>[^][@/\s]+)(\[(?P<selector>[^][]+)\])?@(?P<split>[^][@/\s]+)(/(?P<condition>[^][@/\s]+))?"
)


@dataclass(frozen=True)
class ValueName:
    """How records, boards and tables call one measured number.

    >>> name = ValueName.parse("accuracy[left]@test/uncorrelated")
    >>> name.metric, name.selector, name.split, name.condition
    ('accuracy', 'left', 'test', 'uncorrelated')
    >>> str(ValueName.of("auroc", "test", score="kl"))
    'auroc[kl]@test'

    The selector says which of a metric's values it is. It is made from up to two texts: the name of the score that the
    metric read, where a model gives several, and the part of the metric's result, where it has several. The text alone
    does not say which of them it holds: that follows from what the metric reads (``resolve``).

    Metric, split and condition contain no whitespace and none of ``[]@/``; a selector contains no brackets.

    Raises:
        LatentbenchError: the pieces do not form a valid name.
    """

    metric: str
    split: str
    condition: str = ""
    """Empty where the value was measured once for the split."""
    selector: str = ""
    """The text in brackets; empty for the metric's main value, of the model's own score."""

    def __post_init__(self) -> None:
        found = _NAME.fullmatch(str(self))
        if not found or found.groupdict(default="") != vars(self):
            raise LatentbenchError(f"'{self}' cannot be the name of a value", f"one is of the form {FORM}")

    def __str__(self) -> str:
        selector = f"[{self.selector}]" if self.selector else ""
        condition = f"/{self.condition}" if self.condition else ""
        return f"{self.metric}{selector}@{self.split}{condition}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name as ``str`` prints it.

        Raises:
            LatentbenchError: it is not of the form ``metric[selector]@split/condition``.
        """
        found = _NAME.fullmatch(text)
        if not found:
            raise LatentbenchError(f"'{text}' is not the name of a value", f"one is of the form {FORM}")
        return cls(**found.groupdict(default=""))

    @classmethod
    def of(cls, metric: str, split: str, condition: str = "", *, score: str = "", part: str = "") -> Self:
        """The name of a metric's value, for one of several scores and for one of several parts where there are any."""
        return cls(metric, split, condition, ":".join(filter(None, (score, part))))

    def resolve(self, capability: str) -> tuple[str, str]:
        """The selector as (score, part), each empty where there is none.

        Args:
            capability: what the metric reads. Of a metric that reads ``score``, the text before the first colon names
                the score and the rest the part; of any other, all of it is the part.
        """
        if capability != "score":
            return "", self.selector
        score, _, part = self.selector.partition(":")
        return score, part

    @property
    def whole(self) -> Self:
        """The same without the selector: what all parts and scores of one measurement share."""
        return replace(self, selector="")


def wrong_piece(name: object) -> str:
    """Why ``name`` cannot be that of a split, condition, score, subspace, attribute or facet; empty if it can.

    >>> wrong_piece("test")
    ''
    >>> wrong_piece("test/new")
    "a name has no blank and none of [ ] @ / :, unlike 'test/new'"
    """
    if not isinstance(name, str):
        return f"a name is a text, unlike {name!r:.{_LONGEST}}"
    if not name:
        return "a name is not empty"
    if len(name) > _LONGEST:
        return f"a name has at most {_LONGEST} characters, unlike '{name[:_LONGEST]}...' of {len(name):,}"
    if _RESERVED.search(name) or not name.isprintable():
        return f"a name has no blank and none of [ ] @ / :, unlike {name!r}"
    return ""
