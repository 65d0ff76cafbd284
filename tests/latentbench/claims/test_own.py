"""Committed runs beside the same runs made again: bit for bit on the same hardware, as other seeds give elsewhere."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from tests.latentbench.boards.test_references import ERROR, RANK, WHERE, run, runs

from latentbench.claims.own import compare_runs, differing_hardware, sample, siblings
from latentbench.records.record import Artefact, Failure, Phase, Record

HERE = WHERE.model_copy(update={"kernels": {"cpu": "x"}, "packages": {"torch": "2", "latentbench": "1"}})
OTHER = HERE.model_copy(update={"kernels": {"cpu": "y"}})
SEEDS = [one.model_copy(update={"environment": HERE}) for one in runs("m", [0.80, 0.82, 0.84])]


def again(number: float, **changes: Any) -> Record:
    """The first run once more, with another value."""
    return run("m", number).model_copy(update={"environment": HERE, **changes})


def outcome(new: Record | None, alike: list[Record] = SEEDS) -> str:
    return compare_runs(SEEDS[0], new, alike, [RANK]).outcome


def test_on_the_same_hardware_every_bit_counts() -> None:
    assert outcome(again(0.80)) == "identical"
    assert outcome(again(float(np.nextafter(0.80, 1)))) == "changed"
    other = Artefact(file="a.npz.xz", sha256="0" * 64)
    old = SEEDS[0].model_copy(update={"predictions": other})
    new = again(0.80, predictions=other.model_copy(update={"sha256": "1" * 64}))
    assert compare_runs(old, new, SEEDS, [RANK]).evidence.endswith("predictions")


def test_elsewhere_a_new_run_lies_in_the_prediction_interval_of_one_more_seed() -> None:
    half = stats.t.ppf(0.975, 2) * 0.02 * np.sqrt(1 + 1 / 3)
    for number, expected in ((0.80, "identical"), (0.82 + 0.99 * half, "within"), (0.82 - 1.01 * half, "changed")):
        assert outcome(again(number, environment=OTHER)) == expected


def test_several_values_share_the_rate_of_error() -> None:
    alike = [
        one.model_copy(update={"values": {**one.values, **run("m", None, error=n / 10).values}})
        for n, one in enumerate(SEEDS)
    ]
    half = stats.t.ppf(1 - 0.025 / 2, 2) * 0.02 * np.sqrt(1 + 1 / 3)
    for factor, expected in ((0.99, "within"), (1.01, "changed")):
        new = run("m", 0.82 + factor * half, error=0.0).model_copy(update={"environment": OTHER})
        assert compare_runs(alike[0], new, alike, [RANK, ERROR]).outcome == expected


def test_a_value_that_no_seed_changes_may_move_by_a_few_images() -> None:
    same = [one.model_copy(update={"environment": HERE}) for one in runs("m", [0.8, 0.8, 0.8])]
    assert compare_runs(same[0], again(0.8005, environment=OTHER), same, [RANK]).outcome == "within"
    assert compare_runs(same[0], again(0.802, environment=OTHER), same, [RANK]).outcome == "changed"


def test_a_single_seed_tells_no_interval_and_a_failed_run_does_not_come_out() -> None:
    assert outcome(again(0.9, environment=OTHER), SEEDS[:1]) == "undecided"
    assert outcome(None) == "failed"
    failure = Failure(type="E", message="out of memory", traceback="")
    found = compare_runs(SEEDS[0], again(0.8, status="failed", failure=failure), SEEDS, [RANK])
    assert (found.outcome, found.evidence) == ("failed", "out of memory")


def test_about_5_of_100_new_runs_are_falsely_called_changed() -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        *old, new = rng.normal(0.5, 0.05, 4).tolist()
        seeds = [one.model_copy(update={"environment": HERE}) for one in runs("m", old)]
        wrong += compare_runs(seeds[0], again(new, environment=OTHER), seeds, [RANK]).outcome == "changed"
    assert stats.binomtest(wrong, 400, 0.05).pvalue > 0.001


@pytest.mark.parametrize(
    ("changes", "differing"),
    [
        ({}, []),
        ({"cpu": "d"}, ["cpu"]),
        ({"kernels": {}}, ["kernels"]),
        ({"variables": {"MKL_CBWR": "AVX2"}}, ["variables"]),
        ({"packages": {"torch": "3", "latentbench": "1"}}, ["torch"]),
        ({"packages": {"torch": "2", "latentbench": "2"}}, []),
        ({"device": "H100", "cuda": "13"}, ["device", "cuda"]),
    ],
)
def test_hardware_is_of_one_class_if_nothing_differs_that_decides_the_last_bits(
    changes: Any, differing: list[str]
) -> None:
    assert differing_hardware(HERE, HERE.model_copy(update=changes)) == differing
    assert differing_hardware(WHERE, WHERE) == ["kernels"]  # of earlier records it is not known


def test_a_sample_is_the_same_for_a_seed_and_fits_into_its_budget() -> None:
    records = [
        one.model_copy(update={"phases": {"fit": Phase(seconds=10.0 * (1 + n % 3), peak_memory_bytes=1)}})
        for n, one in enumerate(runs("m", [0.5] * 30))
    ]
    failed = [records[0].model_copy(update={"status": "failed", "key": "f"})]
    chosen = sample([*records, *failed], 5, None, seed=1)
    assert [one.key for one in chosen] == [one.key for one in sample(records[::-1], 5, None, seed=1)]
    assert chosen != sample(records, 5, None, seed=2)
    within = sample(records, None, 95.0)
    assert sum(one.phases["fit"].seconds for one in within) <= 95
    assert len(within) >= 3
    assert sample(records, 2, 1000.0) == sample(records, 2, None)
    assert sample(records, None, 5.0) == []


def test_siblings_are_the_finished_runs_that_differ_in_their_seeds_alone() -> None:
    others = [
        *runs("m", [0.5], untrained=True), *runs("x", [0.5]), *runs("m", [0.5], config={"width": 2}),
        SEEDS[1].model_copy(update={"status": "failed"}),
    ]  # fmt: skip
    assert siblings(SEEDS[0], [*others, *SEEDS]) == SEEDS
