"""Timing functions by turns, so that what else the machine does falls on all of them."""

from collections.abc import Callable
from time import thread_time

__all__ = ["least_seconds"]


def least_seconds(
    *functions: Callable[[], object], rounds: int = 3, clock: Callable[[], float] = thread_time
) -> list[float]:
    """The least time of a call of each, by default this thread's own."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(rounds):
        for function, times in zip(functions, seconds, strict=True):
            begun = clock()
            function()
            times.append(clock() - begun)
    return [min(times) for times in seconds]
