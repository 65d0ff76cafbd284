"""Links that lead nowhere: what is missing behind one is told as such, and not as a file that is absent or corrupt."""

from collections.abc import Iterable
from pathlib import Path

from latentbench import LatentbenchError

__all__ = ["refuse_broken_links"]


def refuse_broken_links(paths: Iterable[Path]) -> None:
    """Refuse a path that is a link to nothing, or lies in a folder that is one.

    Raises:
        LatentbenchError: names the link and what it leads to.
    """
    for path in paths:
        for link in (path, *path.parents):
            if link.is_symlink() and not link.exists():
                what = f"{link} is a link to {link.readlink()}, which is not there"
                raise LatentbenchError(what, "mend the link, or put there what it leads to")
