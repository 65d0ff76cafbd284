"""Parameter types of the command line, and what the shell completes them with."""

from collections.abc import Callable, Collection, Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from latentbench.commands.common import Invocation
from latentbench.errors import did_you_mean

if TYPE_CHECKING:
    from latentbench.boards.board import Board

__all__ = [
    "BoardName",
    "Names",
    "RunName",
    "datasets_of_the_board",
    "metrics_offered",
    "models_of_the_board",
    "names_of_the_runs",
    "names_option",
    "run_argument",
]

F = TypeVar("F", bound=Callable[..., Any])
#: The names that the shell may complete an option with, from what stands before it on the command line.
Complete = Callable[[click.Context], Iterable[str]]


class Names(click.ParamType[list[str]]):
    """Names separated by commas; an empty one is a mistake.

    Args:
        complete: gives the names for the shell.
        known: the only names that there are; empty: the command knows them.
    """

    name = "A,B"

    def __init__(self, complete: Complete = lambda _: (), known: Collection[str] = ()) -> None:
        self._complete, self._known = complete, known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """The names, without the blanks around them."""
        if isinstance(value, list):
            return value
        names = [name.strip() for name in str(value).split(",")]
        if not all(names):
            where = f"there is an empty name in '{value}'" if any(names) else "it names nothing"
            self.fail(f"{where}: give names separated by commas, as in a,b", param, ctx)
        for name in names:
            if self._known and name not in self._known:
                self.fail(f"there is no '{name}': {did_you_mean(name, self._known)}", param, ctx)
        return names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that the last one may become, after those that are there."""
        before, comma, start = incomplete.rpartition(",")
        taken = before.split(",")
        names = self._known or _quietly(self._complete, ctx)
        return [
            CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(start) and name not in taken
        ]


def names_option(
    *flag: str, text: str, complete: Complete = lambda _: (), known: Collection[str] = ()
) -> Callable[[F], F]:
    """An option for a list of names: ``--models a,b`` means the same as ``--models a --models b``.

    The command gets the names in their order, each once; None where the option is not given.

    Args:
        flag: of the option, and where it is not the flag's, the name of the command's parameter.
        text: its help.
        complete: gives the names for the shell.
        known: the only names that there are; empty: the command knows them.
    """
    kind = Names(complete, known)
    return click.option(*flag, type=kind, multiple=True, callback=_together, help=f"{text} Repeatable.")


def _together(_: click.Context, __: click.Parameter, values: tuple[list[str], ...]) -> list[str] | None:
    return [*dict.fromkeys(chain.from_iterable(values))] or None


class BoardName(click.ParamType[str]):
    """A board's name, or the path of its YAML file."""

    name = "board"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The boards that there are, or else files."""
        boards = _quietly(lambda context: context.ensure_object(Invocation).plugins.offers("boards"), ctx)
        return _starting(boards, incomplete) or [CompletionItem(incomplete, type="file")]


class RunName(click.ParamType[str]):
    """A run: a key or its beginning, "last", or MODEL/DATASET/SEED (``latentbench.records.store.Store.find``)."""

    name = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The keys of the records in the results folder, each with its model and dataset."""
        from latentbench.records.store import LAST

        keys = {path.stem: f"{path.parts[-2]} on {path.parts[-3]}" for path in _quietly(_record_files, ctx)}
        items = [CompletionItem(LAST, help="the run that ended last")] if LAST.startswith(incomplete) else []
        return items + [CompletionItem(key, help=what) for key, what in keys.items() if key.startswith(incomplete)]


#: One run.
run_argument = click.argument("run", type=RunName())


def models_of_the_board(context: click.Context) -> Iterable[str]:
    """The models and variants of the board that stands on the command line."""
    plugins, board = context.ensure_object(Invocation).plugins, _board(context)
    models = plugins.offers("models") if board.models == "all" else board.models
    return [*models, *(variant.label for variant in board.variants)]


def datasets_of_the_board(context: click.Context) -> Iterable[str]:
    """The labels of the datasets of the board that stands on the command line."""
    return [entry.label for entry in _board(context).datasets]


def _board(context: click.Context) -> "Board":
    from latentbench.boards.board import find_board

    # Before an option that has no value yet, click has not told options from arguments.
    asked = context.params["board"] or next(iter(context.args))
    return find_board(asked, context.ensure_object(Invocation).plugins)


def metrics_offered(context: click.Context) -> Iterable[str]:
    """The metrics that plugins offer."""
    return context.ensure_object(Invocation).plugins.offers("metrics")


def names_of_the_runs(place: int) -> Complete:
    """The models (2) or datasets (3) of the records in the results folder; the place counts from a path's end."""
    return lambda context: dict.fromkeys(path.parts[-place] for path in _record_files(context))


def _record_files(context: click.Context) -> list[Path]:
    from latentbench.records.store import Store

    return Store(context.params.get("results") or context.params["out"]).paths()


def _starting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _quietly(complete: Callable[[click.Context], Iterable[Any]], context: click.Context) -> list[Any]:
    """What it gives; nothing where it fails, since a shell that completes is no place for an error."""
    try:
        return [*complete(context)]
    except Exception:
        return []
