"""How fast the command line answers: whole processes, against processes that only import what the answer needs."""

import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from time import perf_counter

import pytest

ROUNDS = 7


def seconds(arguments: Sequence[str]) -> float:
    """Wall seconds of one Python process."""
    start = perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return perf_counter() - start


@pytest.mark.parametrize(
    ("verb", "imports", "limit"),
    [
        (["--help"], "import click, pluggy, importlib.metadata", 2.0),
        (["list", "boards"], "import click, pluggy, importlib.metadata, yaml; from pydantic import BaseModel", 2.0),
    ],
    ids=["help", "list-boards"],
)
def test_an_answer_costs_little_more_than_its_imports(benchmark, verb, imports, limit):
    command, floor = ["-m", "latentbench", *verb], ["-c", imports]
    seconds(command)  # bytecode and file caches
    floors: list[float] = []
    benchmark.pedantic(seconds, args=(command,), setup=lambda: floors.append(seconds(floor)), rounds=ROUNDS)

    answer, least = median(benchmark.stats.stats.data), median(floors)
    benchmark.extra_info.update(seconds=answer, floor_seconds=least, ratio=answer / least)
    assert answer / least < limit
