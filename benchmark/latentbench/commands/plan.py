"""``latentbench plan``: a board's runs, listed without its data, and its lineup."""

from pathlib import Path

import click

from latentbench.commands.common import Invocation, common_options, pass_invocation, results_option
from latentbench.commands.parameters import BoardName

__all__ = ["command"]


@click.command("plan")
@click.argument("boards", nargs=-1, required=True, metavar="BOARD...", type=BoardName())
@results_option("--out")
@common_options
@pass_invocation
def command(invocation: Invocation, boards: tuple[str, ...], out: Path) -> None:
    """List the runs of BOARD, a board's name or its YAML file. Its data is not needed.

    The settings behind each line of its tables are written beside the records, as BOARD.lineup.json, from which
    `latentbench leaderboard` knows presets and variants. `latentbench run` writes this file, too.
    """
    from latentbench.boards.board import find_board
    from latentbench.boards.lineup import lineup_path, write_lineup
    from latentbench.config import format_options
    from latentbench.running.plan import lineup_of, plan_series

    for board in [find_board(name, invocation.plugins) for name in boards]:
        variants = {variant.label: variant for variant in board.variants}
        series = plan_series(board, invocation.plugins)
        for one in series:
            variant = variants.get(one.label)
            what = f" ({variant.model}: {format_options(variant.options)})" if variant else ""
            seeds = "seed 0" if one.seeds == 1 else f"seeds 0 to {one.seeds - 1}"
            label = f"untrained {one.label}" if one.untrained else one.label
            click.echo(f"{label} on {one.entry.label}, {seeds}{what}")
        write_lineup(out, board, lineup_of(board, invocation.plugins))
        runs = sum(one.seeds for one in series)
        click.echo(f"board {board.name}: {runs} runs; their settings are in {lineup_path(out, board)}")
