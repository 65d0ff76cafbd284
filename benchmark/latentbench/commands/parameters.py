"""Parameter types of the command line."""

from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar

import click

__all__ = ["Names", "names_option"]

F = TypeVar("F", bound=Callable[..., Any])


class Names(click.ParamType[list[str]]):
    """Names separated by commas; an empty one is a mistake."""

    name = "A,B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """The names, without the blanks around them."""
        if isinstance(value, list):
            return value
        names = [name.strip() for name in str(value).split(",")]
        if not all(names):
            where = f"there is an empty name in '{value}'" if any(names) else "it names nothing"
            self.fail(f"{where}: give names separated by commas, as in a,b", param, ctx)
        return names


def names_option(flag: str, text: str) -> Callable[[F], F]:
    """An option for a list of names: ``--models a,b`` means the same as ``--models a --models b``.

    The command gets the names in their order, each once; None where the option is not given.
    """
    return click.option(flag, type=Names(), multiple=True, callback=_together, help=f"{text} Repeatable.")


def _together(_: click.Context, __: click.Parameter, values: tuple[list[str], ...]) -> list[str] | None:
    return [*dict.fromkeys(chain.from_iterable(values))] or None
