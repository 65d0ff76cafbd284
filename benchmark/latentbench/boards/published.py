"""Published numbers as a table shows them beside its own: what the renderer needs to know of a claim."""

from dataclasses import dataclass

from latentbench.boards.rows import Column

__all__ = ["MEANS", "Published"]

#: What stands for a dataset's label where a number is a mean over all datasets of a board.
MEANS = "mean"


@dataclass(frozen=True)
class Published:
    """A published number that is about a row of a board's table."""

    dataset: str
    """What the board calls it; ``MEANS`` for the mean over all of them."""
    row: str
    """The row's label."""
    column: Column
    """The row's value that it is compared with; the table need not show it."""
    claim: str
    """The claim's full name."""
    cell: str
    """Where the number stands in its paper."""
    published: str
    """With its unit."""
    here: str
    """Our number in the same form; empty if there is none."""
    verdict: str
