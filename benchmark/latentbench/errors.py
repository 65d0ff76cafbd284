"""The exception that a user is meant to see: one line that says what is wrong, where, and how to mend it."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["LatentbenchError", "describe", "did_you_mean"]


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


def describe(error: BaseException) -> str:
    r"""An exception in one line: its type and its message; of a ``LatentbenchError`` the message, which says enough.

    >>> describe(ValueError("two\nlines"))
    'ValueError: two lines'
    """
    try:
        message = " ".join(str(error).split())
    except Exception:  # of a plugin's own class of exceptions
        message = "(its message cannot be shown)"
    if isinstance(error, LatentbenchError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def did_you_mean(wrong: str, known: Iterable[str], remark: str = "") -> str:
    """A suggestion for a mistyped name: similar names first, then every name that would have been right.

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
    return f"{question}{f'{remark}; ' if remark else ''}known: {', '.join(names) if names else '(none)'}"
