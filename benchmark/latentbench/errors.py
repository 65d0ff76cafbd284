"""The exception that a user is meant to see, and how any other becomes one line: what is wrong, where, and the mend."""

import re
import shlex
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from os import PathLike, fspath
from types import TracebackType

__all__ = [
    "LatentbenchError",
    "blame",
    "command_line",
    "describe",
    "did_you_mean",
    "is_interrupt",
    "origin",
    "outliving",
]

#: How the note begins that says where an exception was raised.
_RAISED_IN = "raised in "
#: Whose fault it is, in the text of such a note.
_OWNER = re.compile(r"(?:model|dataset|metric|executor) '[^']*'")


class LatentbenchError(Exception):
    """A mistake that the user can mend. The command line prints it as one line and exits with code 2.

    Args:
        what: what is wrong, and where, in one line ("unknown model 'vea'").
        mend: how to put it right ("known models: ae, pca, vae"); empty if ``what`` says enough.
    """

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(f"{what}: {mend}" if mend else what)
        self.what = what
        """What is wrong, without the mend."""


class blame:  # noqa: N801  # used as a statement: with blame(...)
    """A block of somebody else's code: whatever leaves it by exception carries a note of where it was raised.

    Of nested blocks the innermost counts. A ``LatentbenchError`` that names the owner itself gets no note.

    >>> try:
    ...     with blame("plugin 'acme 1.2': dataset 'nuts', load()"):
    ...         raise OSError("disk is on fire")
    ... except OSError as error:
    ...     print(describe(error))
    plugin 'acme 1.2': dataset 'nuts', load(): OSError: disk is on fire

    Args:
        where: names plugin, owner ("model 'vae'") and method or phase; or a function that does, called when it is
            needed.
    """

    __slots__ = ("_where",)

    def __init__(self, where: str | Callable[[], str]) -> None:
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or is_interrupt(error) or origin(error):
            return
        where = self._where if isinstance(self._where, str) else self._where()
        owner = _OWNER.search(where)
        if not (isinstance(error, LatentbenchError) and owner and owner[0] in str(error)):
            error.add_note(_RAISED_IN + where)


@contextmanager
def outliving(where: str) -> Iterator[None]:
    """A block of somebody else's code in the process of a command, which goes on: ``blame``, and no more than an error.

    >>> with outliving("plugin 'acme 1.2': model 'nut', suits()"):
    ...     raise SystemExit(0)
    Traceback (most recent call last):
    latentbench.errors.LatentbenchError: plugin 'acme 1.2': model 'nut', suits(): SystemExit: 0

    Args:
        where: as for ``blame``.

    Raises:
        LatentbenchError: the block raised what is no ``Exception``, as ``sys.exit`` does. An interrupt is left alone.
    """
    try:
        with blame(where):
            yield
    except BaseException as error:
        if isinstance(error, Exception) or is_interrupt(error):
            raise
        raise LatentbenchError(describe(error)) from error


def is_interrupt(error: BaseException) -> bool:
    """Whether an exception is the user's interrupt, and no plugin's fault.

    In the process of a run, where interrupts are ignored because the command that started it handles them, it is none.
    """
    if type(error) is not KeyboardInterrupt:
        return isinstance(error, KeyboardInterrupt)  # as one that a signal raises
    from multiprocessing import parent_process

    return parent_process() is None or signal.getsignal(signal.SIGINT) != signal.SIG_IGN


def origin(error: BaseException) -> str:
    """Where an exception was raised, as ``blame`` has noted it; empty if it has not."""
    notes: Iterable[object] = getattr(error, "__notes__", ())
    found = (note for note in notes if isinstance(note, str) and note.startswith(_RAISED_IN))
    return next(found, "").removeprefix(_RAISED_IN)


def describe(error: BaseException) -> str:
    r"""An exception in one line: where it was raised, if that is known, its type and its message.

    A ``LatentbenchError`` needs no type.

    >>> describe(ValueError("two\nlines"))
    'ValueError: two lines'
    """
    try:
        message = " ".join(str(error).split())
    except Exception:  # of a plugin's own class of exceptions
        message = "(its message cannot be shown)"
    kind = "" if isinstance(error, LatentbenchError) else type(error).__name__
    return ": ".join(filter(None, (origin(error), kind, message)))


#: More names than these are not told in an error.
_MOST_NAMES = 60


def did_you_mean(wrong: str, known: Iterable[str], remark: str = "") -> str:
    """A suggestion for a mistyped name: similar names first, then the names that would have been right, 60 at most.

    Args:
        wrong: the name.
        known: the names that would have been right.
        remark: another reason why the name may be unknown, which is said before these.

    Returns:
        ``"did you mean 'vae'? known: ae, pca, vae"``, or without the question if no name is similar.
    """
    names = sorted(known)
    near = get_close_matches(wrong, names, n=3, cutoff=0.6)
    question = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    told = f"{', '.join(names[:_MOST_NAMES])}{more}" if names else "(none)"
    return f"{question}{f'{remark}; ' if remark else ''}known: {told}"


def command_line(*words: str | PathLike[str]) -> str:
    """A command of latentbench that can be pasted into a shell.

    >>> command_line("run", "my parts.yaml", "--seeds", "3")
    "latentbench run 'my parts.yaml' --seeds 3"
    """
    return shlex.join(["latentbench", *(fspath(word) for word in words)])
