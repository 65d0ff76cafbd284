"""Promises that are checked one after the other, so that all broken ones are reported together."""

from collections.abc import Iterator
from contextlib import contextmanager

from latentbench.errors import LatentbenchError

__all__ = ["Promises", "expect"]


class Promises:
    """The promises that were checked, and the results.

    Args:
        subject: who makes the promises ("model 'vae'").
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._kept: list[str] = []
        self._broken: list[tuple[str, Exception]] = []

    @contextmanager
    def that(self, promise: str, *, vital: bool = False) -> Iterator[None]:
        """Check a promise: it is broken if the block raises. After a broken vital promise nothing else can be checked.

        Raises:
            AssertionError: a vital promise is broken; lists all that were broken so far.
        """
        try:
            yield
        except Exception as error:
            self._broken.append((promise, error))
            if vital:
                self.kept()
        else:
            self._kept.append(promise)

    @property
    def broken(self) -> bool:
        """Whether a promise has been broken so far."""
        return bool(self._broken)

    def note(self, remark: str) -> None:
        """Add a line to what ``kept`` returns."""
        self._kept.append(remark)

    def kept(self) -> list[str]:
        """The promises, one line each, if all are kept.

        Raises:
            AssertionError: some are broken; one line for each, with the first exception as its cause.
        """
        if self._broken:
            lines = [f"- {promise}: {_one_line(error)}" for promise, error in self._broken]
            raise AssertionError("\n".join([f"{self.subject} breaks what it promises", *lines])) from self._broken[0][1]
        return self._kept


def expect(condition: bool, otherwise: str) -> None:
    """Raise an AssertionError with the message ``otherwise`` unless ``condition`` holds."""
    if not condition:
        raise AssertionError(otherwise)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, AssertionError | LatentbenchError) else f"{type(error).__name__}: {text}"
