"""Estimates of how long runs take: medians of the runs most alike, and a schedule against a brute-force one."""

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench.records.record import Environment, Phase, Record
from latentbench.running.durations import Durations, wall_seconds
from latentbench.spec import UNTRAINED, Budget, RunSpec


def spec(seed: int = 0, *, model: str = "m", beta: int = 1, max_steps: int | None = None) -> RunSpec:
    return RunSpec(
        model=model, model_version=1, config={"beta": beta}, dataset="d", dataset_version=1, options={},
        split_hash="", seed=seed, budget=Budget(max_steps=max_steps),
    )  # fmt: skip


def record(of: RunSpec, seconds: float, device: str = "cpu", status: str = "finished") -> Record:
    where = Environment(python="3", platform="p", packages={}, cpu="c", threads=1, device=device, plugins={})
    phases = {
        "fit": Phase(seconds=seconds * 0.75, peak_memory_bytes=0),
        "evaluate": Phase(seconds=seconds * 0.25, peak_memory_bytes=0),
    }
    return Record.model_validate(
        {"key": of.key, "status": status, "spec": of, "phases": phases, "started": "", "finished": "",
         "environment": where}
    )  # fmt: skip


@given(st.lists(st.integers(1, 1000), min_size=1), st.lists(st.integers(1, 1000)))
def test_a_run_takes_as_long_as_those_that_differ_in_the_seed_alone(alike, others):
    records = [record(spec(seed), seconds) for seed, seconds in enumerate(alike)]
    records += [record(spec(seed, beta=4), seconds) for seed, seconds in enumerate(others)]
    assert Durations("cpu", records).expected(spec(99)) == pytest.approx(median(alike))
    assert Durations("cpu", records).expected(spec(99, beta=9)) == pytest.approx(median(alike + others))


def test_what_is_not_alike_tells_nothing():
    gpu, failed = record(spec(), 5, device="NVIDIA H100"), record(spec(1), 6, status="failed")
    assert Durations("cpu", [gpu, failed]).expected(spec(2)) is None
    assert Durations("cuda", [gpu, failed]).expected(spec(2)) == 5
    known = Durations("cpu", [record(spec(), 7)])
    assert known.expected(spec(model="n")) is None
    assert known.expected(spec(max_steps=10)) is None
    assert known.expected(spec(max_steps=UNTRAINED.max_steps)) is None


def test_a_record_that_is_added_counts():
    known = Durations("cpu")
    assert known.expected(spec()) is None
    known.add(record(spec(1), 4))
    assert known.expected(spec()) == 4


@given(st.lists(st.integers(1, 50), max_size=12), st.integers(1, 4))
def test_the_wall_time_is_that_of_a_clock_which_starts_a_run_whenever_a_slot_is_free(durations, slots):
    left: list[int] = []
    waiting, clock = list(durations), 0
    while waiting or left:
        while waiting and len(left) < slots:
            left.append(waiting.pop(0))
        clock += 1
        left = [seconds - 1 for seconds in left if seconds > 1]
    assert wall_seconds(durations, slots) == clock
