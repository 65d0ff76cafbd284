"""The exception that a user is meant to see, one line that says what is wrong, where, and how to mend it; its words."""

import shlex
from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike, fspath

__all__ = ["LatentbenchError", "command_line", "did_you_mean"]


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


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped name: similar names first, then every name that would have been right.

    Returns:
        ``"did you mean 'vae'? known: ae, pca, vae"``, or without the question if no name is similar.
    """
    names = sorted(known)
    near = get_close_matches(wrong, names, n=3, cutoff=0.6)
    question = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{question}known: {', '.join(names) if names else '(none)'}"


def command_line(*words: str | PathLike[str]) -> str:
    """A command of latentbench that can be pasted into a shell.

    >>> command_line("run", "my parts.yaml", "--seeds", "3")
    "latentbench run 'my parts.yaml' --seeds 3"
    """
    return shlex.join(["latentbench", *(fspath(word) for word in words)])
