"""How a board's tables are to be read: what their ranks, cells and marks mean, and by which tests they are set."""

from collections.abc import Iterator, Sequence

from latentbench.boards.board import Board
from latentbench.boards.means import Means
from latentbench.boards.notes import Code, Note
from latentbench.boards.standings import Table
from latentbench.config import format_options

__all__ = ["IN_SHORT", "introduction", "reading"]

#: What a reader of ranks and cells has to know at least.
IN_SHORT = (
    "A rank is an interval: 2-4 leaves open which of the second to fourth places a row has. Behind a value stands its "
    "95 % interval in brackets, or ± half of its interval over seeds."
)


def introduction(board: Board) -> Iterator[Note]:
    """What a board's page says before its tables."""
    budget = format_options(board.budget.model_dump(exclude_none=True)) or "unlimited"
    threads = f", {board.threads} CPU threads for each run" if board.threads > 1 else ""
    yield ["Board ", Code(board.name), f", budget: {budget}{threads}."]
    yield [IN_SHORT]
    yield [
        "What explains the tables is folded below; ",
        Code(f"{board.name}.csv"),
        " has every value in full precision.",
    ]


def reading(board: Board, tables: Sequence[Table | Means]) -> Iterator[Note]:
    """What ranks, cells and marks mean, in full.

    Args:
        board: of the tables.
        tables: those that the page shows.
    """
    images = any(row.replicates for table in tables for row in table.rows)
    yield from _ranking(board, images)
    yield from _cells(images)
    yield from _references(tables)


def _ranking(board: Board, images: bool) -> Iterator[Note]:
    """What ranks mean, and how often they claim what is not so; ``images`` as in ``_cells``."""
    rate = "of tables of equal models about 5 % show any separation."
    if board.seeds == 1:
        yield [
            "The first value of a table orders its rows. The board has one seed: what order other seeds would give is "
            "not known, and a rank is of these trained models, by their test images alone."
        ]
        if images:
            yield [
                "A rank is the interval of places that t tests of all pairs on the same images leave, with Holm's "
                f"correction: {rate}"
            ]
        return
    paired = ", the paired variance over test images where that is known," if images else ""
    yield [
        "The first value of a table ranks. A rank is the interval of places that the data leave to a row among those "
        f"of several seeds, by t tests of all pairs with moderated variances over seeds{paired} and Holm's correction: "
        f"{rate}"
    ]


def _cells(images: bool) -> Iterator[Note]:
    """What cells cover.

    Args:
        images: whether what the test images add is known of any row.
    """
    both = "seeds and, where that is known, test images of the same kind, by a bootstrap" if images else "seeds"
    yield [
        f"The value that ranks is the mean over seeds with its 95 % interval over {both}, cut at the metric's bounds. "
        "Other cells are the mean over seeds ± half of its 95 % Student-t interval over seeds; (n = 2) says that two "
        "seeds alone have the value."
    ]


def _references(tables: Sequence[Table | Means]) -> Iterator[Note]:
    """What the marks mean, and by which tests they are set."""
    nulls = any(table.nulls for table in tables)
    twins = any(row.twin for table in tables for row in table.rows)
    if nulls:
        yield [
            "Nulls are rows without a trained network that others are read against; they have no rank and change none. "
            "A value is ahead of the best null if it is ahead of every null: the greatest p-value of these tests "
            "counts, which allows for the choice of the best. Beside a value of a score that nulls lack they are read "
            "by their own."
        ]
    if twins:
        yield [
            "An untrained twin is the same model without a training step. It is paired with the trained one by seed "
            "and, where that is known, by test image; what training adds is the mean of the differences ± half of its "
            "95 % interval."
        ]
    if nulls or twins:
        yield [
            "These comparisons have Holm's correction for the rows of each column. Where no uncertainty is known, "
            "marks go by the values themselves, and ° says that a value is ahead by that alone. The notes say what is "
            "compared with nothing."
        ]
