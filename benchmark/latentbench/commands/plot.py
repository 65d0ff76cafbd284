"""``latentbench plot``: one column of a board against another as a picture, from records, without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import FILE, Invocation, common_options, pass_invocation, results_option
from latentbench.commands.parameters import BoardName, names_option
from latentbench.errors import LatentbenchError, did_you_mean

if TYPE_CHECKING:
    from latentbench.boards.board import Board
    from latentbench.boards.render.plot import Axis, Kind
    from latentbench.boards.standings import Table

__all__ = ["command"]


@click.command("plot")
@click.argument("board", type=BoardName())
@click.option("--x", metavar="COLUMN", required=True, help="Column for the horizontal axis, as fd-scenes@test.")
@click.option("--y", metavar="COLUMN", required=True, help="Column for the vertical axis, as mig@test.")
@click.option("--to", metavar="FILE", type=FILE, required=True, help="File to write, .svg or .png.")
@click.option("--dataset", metavar="LABEL", help="Dataset of the rows, where the board has records of several.")
@names_option("--without", text="Rows to leave out.", known=("nulls", "twins"))
@names_option("--log", text="Axes that are logarithmic.", known=("x", "y"))
@results_option("--results")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    board: str,
    x: str,
    y: str,
    to: Path,
    dataset: str | None,
    without: "list[Kind] | None",
    log: "list[Axis] | None",
    results: Path,
) -> None:
    """Draw one column of BOARD, a board's name or its YAML file, against another, with a point for each row.

    Points are the means over seeds, and bars their 95 % intervals, as in the CSV that `latentbench leaderboard` writes.
    Nulls are diamonds, and untrained twins are hollow. The same records give the same bytes.
    """
    from latentbench.boards.board import find_board
    from latentbench.boards.lineup import read_lineup
    from latentbench.boards.render.plot import FORMATS, column_of, draw, points, serialize
    from latentbench.boards.standings import standings
    from latentbench.commands.leaderboard import replicates_of
    from latentbench.files import replacing
    from latentbench.records.belief import believed
    from latentbench.records.store import Store

    form = to.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        raise LatentbenchError(f"cannot write {to}: a plot is no '{to.suffix}'", f"end it in .{' or .'.join(FORMATS)}")
    found = find_board(board, invocation.plugins)
    store = Store(results)
    records = dict(believed(store.records(), invocation.plugins.values("metrics")))
    replicates = replicates_of([found], records, store, invocation.plugins)
    tables = standings(found, records.values(), read_lineup(results, found), replicates)
    if not tables:
        run = invocation.command_line("run", board, "--out", results)
        raise LatentbenchError(f"no records of board '{board}' in {results}", f"make them with: {run}")
    table = _chosen(found, tables, dataset)
    columns = column_of(table, x), column_of(table, y)
    drawn, lacking = points(table, *columns, without or ())
    figure = draw(f"{found.name}: {table.label}", *columns, drawn, log or ())
    with replacing(to) as file:
        file.write(serialize(figure, form))
    if lacking:
        click.echo(f"not drawn, as they lack a value: {', '.join(lacking)}", err=True)
    click.echo(to)


def _chosen(board: "Board", tables: "Sequence[Table]", dataset: str | None) -> "Table":
    """The newest table of the dataset, or of the only one that there is."""
    labels = [*dict.fromkeys(table.label for table in tables)]
    if dataset is None and len(labels) > 1:
        raise LatentbenchError(
            f"board '{board.name}' has records of {len(labels)} datasets",
            f"choose one by --dataset: {', '.join(labels)}",
        )
    if dataset is not None and dataset not in labels:
        raise LatentbenchError(
            f"board '{board.name}' has no records of a dataset '{dataset}'", did_you_mean(dataset, labels)
        )
    return next(table for table in tables if dataset in (None, table.label))
