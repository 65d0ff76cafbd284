"""``latentbench leaderboard``: a board's tables from the records that are there, and what is kept beside them.

Nothing is run, and torch is needed only to make replicates that are not kept yet.
"""

import logging
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import (
    FOLDER,
    Invocation,
    claims_beside,
    claims_option,
    common_options,
    pass_invocation,
    results_option,
)
from latentbench.commands.output import shown
from latentbench.commands.parameters import BoardName, names_option
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from latentbench.boards.board import Board
    from latentbench.boards.means import Means
    from latentbench.boards.published import Published
    from latentbench.boards.standings import Table
    from latentbench.plugins.registry import Plugins
    from latentbench.records.record import Record
    from latentbench.records.replicates import Replicates
    from latentbench.records.store import Store

__all__ = ["command", "replicates_of"]

log = logging.getLogger("latentbench")

#: Files that are written unless others are asked for.
_FORMATS = ["markdown", "csv"]
#: Characters of a line where there is no terminal.
_WIDTH = 100


@click.command("leaderboard")
@click.argument("boards", nargs=-1, metavar="[BOARD]...", type=BoardName())
@results_option("--results")
@click.option(
    "--to",
    metavar="FOLDER",
    type=FOLDER,
    help="Folder to write the tables into.  [default: beside the records]",
)
@names_option(
    "--format",
    "formats",
    text="Files to write: markdown, BOARD.md; csv, BOARD.csv with every value in full precision; latex, BOARD.tex.  "
    "[default: markdown,csv]",
    known=("markdown", "csv", "latex"),
)
@claims_option
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    boards: tuple[str, ...],
    results: Path,
    to: Path | None,
    formats: list[str] | None,
    claims: Path | None,
) -> None:
    """Show the tables of BOARD, a board's name or its YAML file, and write them in full into files.

    By default these are the tables of every board that has records. What is shown fits into the terminal, or into 100
    characters where there is none. What the test images add to the uncertainty of the values that rank is computed once
    from the predictions and targets kept with a record, and is then kept beside it.

    Numbers that papers print of a board's rows are shown beside ours: those of the claims that plugins bring, and of
    the folder of claims, by default the one beside the records.
    """
    from latentbench.boards.board import all_boards, find_board
    from latentbench.boards.lineup import read_lineup
    from latentbench.boards.render.leaderboard import board_tables, written
    from latentbench.files import replacing
    from latentbench.records.belief import believed
    from latentbench.records.store import Store

    store = Store(results)
    chosen = {name: find_board(name, invocation.plugins) for name in boards} or all_boards(invocation.plugins)
    records = dict(believed(store.records(), invocation.plugins.values("metrics")))
    _warn_of_other_code(records.values(), invocation.plugins)
    replicates = replicates_of(chosen.values(), records, store, invocation.plugins)
    published = _published([one.name for one in chosen.values()], results, claims, invocation.plugins)
    tables = {
        name: board_tables(board, records.values(), read_lineup(results, board), replicates)
        for name, board in chosen.items()
    }
    missing = next((name for name in boards if not tables[name]), None)
    if missing or not any(tables.values()):
        what = f"no records of {f'board {missing!r}' if missing else 'any board'} in {results}"
        run = invocation.command_line("run", missing or "BOARD", "--out", results)
        raise LatentbenchError(what, f"make them with: {run}")

    for name, board in chosen.items():
        if not tables[name]:
            continue
        _show(board, tables[name])
        for file_name, text in written(board, tables[name], formats or _FORMATS, published(board.name)).items():
            path = (to or results) / file_name
            with replacing(path) as file:
                file.write(text.encode())
            click.echo(f"in full: {path}")


def _show(board: "Board", tables: "list[Table | Means]") -> None:
    """Print what fits into the terminal."""
    from latentbench.boards.render.terminal import terminal

    encoding = sys.stdout.encoding or "ascii"
    if not sys.stdout.isatty():
        for line, _ in terminal(board, tables, _WIDTH, encoding):
            click.echo(line)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for line, style in terminal(board, tables, console.width, encoding):
        console.print(Text(shown(line)), style=style, soft_wrap=True)


def _published(
    boards: "Collection[str]", results: Path, claims: Path | None, plugins: "Plugins"
) -> "Callable[[str], list[Published]]":
    """What is published of the rows of these boards, by the board's name, with the verdicts that the records give."""
    folder = claims or claims_beside(results)
    if not (folder or plugins.offers("claims")):
        return lambda _: []
    from latentbench.claims.ledger import claim_files, load_ledger
    from latentbench.claims.telling import published_on
    from latentbench.claims.verdicts import judge

    files = claim_files(folder) if folder else []
    judged = judge(load_ledger(files, plugins), results, plugins, boards)
    return lambda board: published_on(board, judged)


def _warn_of_other_code(records: "Iterable[Record]", plugins: "Plugins") -> None:
    """Say of finished runs that their code, or that of their values, is not the code that is loaded now."""
    from latentbench.records.code import outdated

    infos = plugins.infos()
    changes = Counter(change for one in records if one.status == "finished" for change in outdated(one, infos).items())
    for (then, now), runs in sorted(changes.items()):
        log.warning("%d finished runs have results of other code than is installed: %s, now %s", runs, then, now)


def replicates_of(
    boards: "Iterable[Board]", records: "Mapping[Path, Record]", store: "Store", plugins: "Plugins"
) -> "Replicates":
    """The replicates of all values that rank. Those that are not kept yet are made where that is possible, and kept."""
    from latentbench.boards.standings import ranking_values
    from latentbench.files import StorageError
    from latentbench.records.replicates import read_replicates, to_be_made, write_replicates

    ranking = ranking_values(boards)
    found = {}
    for path, record in records.items():
        found[record.key] = kept = read_replicates(store, record)
        names = to_be_made(path, record, ranking.get(record.spec.dataset, ()), kept)
        if not names:
            continue
        from latentbench.evaluation.replicates import make_replicates  # needs torch, which the tables do not

        metrics = plugins.offers("metrics")
        try:
            kept |= make_replicates(path, record, names, store, metrics)
            if kept:
                write_replicates(store, record, kept)
        except StorageError as error:
            log.debug("%s", error)  # they are made again next time
        except LatentbenchError as error:
            log.warning("%s; what its test images add is not known", error)
    return found
