"""A board's leaderboard as files, from records alone: the same records give the same bytes anywhere."""

from collections.abc import Iterable, Sequence

from latentbench.boards.board import Board
from latentbench.boards.lineup import Lineup
from latentbench.boards.means import Means, means
from latentbench.boards.published import Published
from latentbench.boards.render.markdown import markdown
from latentbench.boards.render.table_csv import table_csv
from latentbench.boards.standings import Table, standings
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates

__all__ = ["render"]


def render(
    board: Board,
    records: Iterable[Record],
    lineup: Lineup | None = None,
    replicates: Replicates | None = None,
    published: Sequence[Published] = (),
) -> dict[str, str]:
    """The leaderboard of ``board``.

    Args:
        board: what ranks, and what is shown.
        records: in any order; those of other boards are passed over.
        lineup: the settings behind the board's models and variants, as ``read_lineup`` gives them; see ``standings``
            for what is shown without them.
        replicates: of the values that rank; without them intervals and ranks are over seeds alone.

        published: what papers have of the board's rows; the Markdown shows it.

    Returns:
        File name -> text, for ``<board>.md`` and ``<board>.csv``; empty if no record is the board's.
    """
    tables = standings(board, records, lineup, replicates)
    if not tables:
        return {}
    averages = means(board, tables, replicates)
    shown: list[Table | Means] = [averages, *tables] if averages else [*tables]
    return {f"{board.name}.md": markdown(board, shown, published), f"{board.name}.csv": table_csv(shown)}
