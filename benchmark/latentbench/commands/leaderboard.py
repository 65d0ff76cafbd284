"""``latentbench leaderboard``: a board's tables from existing records. It runs nothing and needs no torch."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import Invocation, common_options, pass_invocation, results_option
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.boards.board import Board
    from latentbench.plugins.registry import Plugins
    from latentbench.records.record import Record

__all__ = ["command"]

log = logging.getLogger("latentbench")


@click.command("leaderboard")
@click.argument("boards", nargs=-1, metavar="[BOARD]...")
@results_option("--results")
@click.option(
    "--to",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write the tables into.  [default: beside the records]",
)
@common_options
@pass_invocation
def command(invocation: Invocation, boards: tuple[str, ...], results: Path, to: Path | None) -> None:
    """Write the tables of BOARD, a board's name or its YAML file; by default those of every board that has records.

    The tables of a board are two files, BOARD.md and BOARD.csv.
    """
    from latentbench.boards.board import find_board
    from latentbench.boards.lineup import read_lineup
    from latentbench.boards.render.leaderboard import render
    from latentbench.files import replacing
    from latentbench.records.store import Store

    chosen = {name: find_board(name, invocation.plugins) for name in boards} or _all_boards(invocation.plugins)
    records = [record for _, record in Store(results).records()]
    _warn_of_other_code(records, invocation.plugins)
    rendered = {name: render(board, records, read_lineup(results, board)) for name, board in chosen.items()}
    missing = next((name for name in boards if not rendered[name]), None)
    if missing or not any(rendered.values()):
        what = f"no records of {f'board {missing!r}' if missing else 'any board'} in {results}"
        raise LatentbenchError(what, f"make them with: latentbench run {missing or 'BOARD'} --out {results}")

    for files in rendered.values():
        for name, text in files.items():
            path = (to or results) / name
            with replacing(path) as file:
                file.write(text.encode())
            if path.suffix == ".md" and sys.stdout.isatty():
                click.echo(text)
            click.echo(path)


def _warn_of_other_code(records: "Iterable[Record]", plugins: "Plugins") -> None:
    """Say of finished runs that their code, or that of their values, is not the code that is loaded now."""
    from latentbench.records.code import outdated

    infos = plugins.infos()
    changes = Counter(change for one in records if one.status == "finished" for change in outdated(one, infos).items())
    for (then, now), runs in sorted(changes.items()):
        log.warning("%d finished runs have results of other code than is installed: %s, now %s", runs, then, now)


def _all_boards(plugins: "Plugins") -> "dict[str, Board]":
    """Every board that plugins offer, by name; a board with a mistake is left out with a warning."""
    from latentbench.boards.board import load_board

    boards = {}
    for name, offer in plugins.offers("boards").items():
        try:
            boards[name] = load_board(offer.value)
        except LatentbenchError as error:
            log.warning("%s; left out", error)
    return boards
