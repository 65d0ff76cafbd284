"""A board's leaderboard as files, from records alone: the same records give the same bytes anywhere."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from latentbench.boards.board import Board
from latentbench.boards.lineup import Lineup
from latentbench.boards.means import Means, means
from latentbench.boards.published import Published
from latentbench.boards.render.latex import latex
from latentbench.boards.render.markdown import markdown
from latentbench.boards.render.table_csv import table_csv
from latentbench.boards.standings import Table, standings
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates

__all__ = ["FORMATS", "board_tables", "render", "written"]


#: What a leaderboard can be written as -> the ending of the file's name, and what writes it.
FORMATS: Mapping[str, tuple[str, Callable[[Board, Sequence[Table | Means], Sequence[Published]], str]]] = {
    "markdown": ("md", markdown),
    "csv": ("csv", lambda board, tables, published: table_csv(tables, board.facts)),
    "latex": ("tex", lambda board, tables, published: latex(board, tables)),
}


def board_tables(
    board: Board, records: Iterable[Record], lineup: Lineup | None = None, replicates: Replicates | None = None
) -> list[Table | Means]:
    """The tables of ``board``, that of means first if it asks for one.

    Args:
        board: what ranks, and what is shown.
        records: in any order; those of other boards are passed over.
        lineup: the settings behind the board's models and variants, as ``read_lineup`` gives them; see ``standings``
            for what is shown without them.
        replicates: of the values that rank; without them intervals and ranks are over seeds alone.

    Returns:
        The tables; none if no record is the board's.
    """
    tables = standings(board, records, lineup, replicates)
    averages = means(board, tables, replicates) if tables else None
    return [averages, *tables] if averages else [*tables]


def written(
    board: Board,
    tables: Sequence[Table | Means],
    formats: Collection[str] = ("markdown", "csv"),
    published: Sequence[Published] = (),
) -> dict[str, str]:
    """The tables in some of ``FORMATS``: file name -> text; empty if there are no tables.

    Args:
        board: whose tables they are.
        tables: from ``board_tables``.
        formats: names of ``FORMATS``.
        published: what papers have of the board's rows; the Markdown shows it.
    """
    chosen = [FORMATS[name] for name in formats] if tables else []
    return {f"{board.name}.{ending}": write(board, tables, published) for ending, write in chosen}


def render(
    board: Board,
    records: Iterable[Record],
    lineup: Lineup | None = None,
    replicates: Replicates | None = None,
    published: Sequence[Published] = (),
) -> dict[str, str]:
    """``written`` of ``board_tables``."""
    return written(board, board_tables(board, records, lineup, replicates), published=published)
