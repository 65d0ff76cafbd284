"""Values by seed: those of exactly one setting, or an error that says in what the runs differ."""

import doctest
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench.errors import LatentbenchError
from latentbench.records import select as module
from latentbench.records.record import Environment, Record, Value
from latentbench.records.select import select
from latentbench.spec import Budget, RunSpec
from latentbench.value_name import ValueName

AUROC = "auroc@test"
ENVIRONMENT = Environment(python="3.11", platform="Linux", packages={}, cpu="CPU", threads=1, device="cpu", plugins={})


def run(seed: int, number: float | None, version: int = 1, **fields: Any) -> Record:
    spec = RunSpec(
        **{
            "model": "vae",
            "model_version": 1,
            "config": {"latent_dim": 4},
            "dataset": "ood",
            "dataset_version": 1,
            "options": {"pair": "a", "seed": 0},
            "split_hash": "ab",
            "seed": seed,
            **fields,
        }
    )
    measured = Value(value=number or 0.0, metric="auroc", version=version, title="AUROC", higher_is_better=True)
    return Record(
        key=spec.key,
        status="failed" if number is None else "finished",
        spec=spec,
        values={} if number is None else {AUROC: measured},
        environment=ENVIRONMENT,
        started="-",
        finished="-",
    )


def test_the_example_is_right():
    assert doctest.testmod(module) == (0, 6)


def test_only_what_fits_is_taken_and_what_a_run_has_beside_it_may_be_anything():
    mine = [run(0, 0.1), run(1, 0.2), run(2, None)]
    others = [
        run(0, 0.3, model="ae"),
        run(0, 0.4, dataset="mnist"),
        run(0, 0.5, options={"pair": "b", "seed": 0}),
        run(0, 0.6, config={"latent_dim": 3}),
    ]
    wanted: dict[str, Any] = {"dataset": "ood", "options": {"pair": "a"}, "model": "vae", "config": {"latent_dim": 4}}
    assert select([*others, *mine], value=AUROC, **wanted) == {0: 0.1, 1: 0.2}
    assert select(mine, value=AUROC) == {0: 0.1, 1: 0.2}
    assert select(mine, value="auprc@test") == select([], value=AUROC) == {}
    assert select(mine, value=AUROC, config={"latent": 4}) == {}
    assert select(mine, value=ValueName("auroc", "test"), **wanted) == {0: 0.1, 1: 0.2}


def test_what_is_no_name_of_a_value_is_refused():
    with pytest.raises(LatentbenchError, match=r"'auroc'"):
        select([run(0, 0.1)], value="auroc")


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"model": "ae"}, 'model is "ae" or "vae"'),
        ({"model_version": 2}, "model_version is 1 or 2"),
        ({"config": {"latent_dim": 3}}, "config.latent_dim is 3 or 4"),
        ({"config": {"latent_dim": 4, "width": 8}}, "config.width is 8 or absent"),
        ({"dataset_version": 2}, "dataset_version is 1 or 2"),
        ({"options": {"pair": "a", "seed": 1}}, "options.seed is 0 or 1"),
        ({"split_hash": "cd"}, 'split_hash is "ab" or "cd"'),
        ({"budget": Budget(max_steps=9)}, "budget.max_steps is 9 or null"),
        ({"harness_version": 2}, "harness_version is 1 or 2"),
        ({"version": 2}, "metric version is 1 or 2"),
    ],
)
def test_two_settings_are_never_mixed_even_where_their_seeds_differ(fields, difference):
    with pytest.raises(LatentbenchError) as caught:
        select([run(0, 0.1), run(1, 0.2, **fields)], value=AUROC)
    assert str(caught.value) == f"the runs that fit are not of one setting: {difference}"


@given(st.dictionaries(st.integers(0, 50), st.floats(0, 1)), st.randoms(use_true_random=False))
def test_seeds_are_in_order_whatever_the_order_of_the_records(numbers, draw: random.Random):
    records = [run(seed, number) for seed, number in numbers.items()] * 2
    draw.shuffle(records)
    assert list(select(records, value=AUROC).items()) == sorted(numbers.items())


def test_runs_and_measurements_of_different_code_are_not_of_one_setting():
    made = ENVIRONMENT.model_copy(update={"plugins": {"model": "acme 1.0"}, "loaded": {"acme": "acme-models 1.0"}})
    old = run(0, 0.1).model_copy(update={"environment": made})
    with pytest.raises(LatentbenchError, match=r"model's code is .acme 1\.0. or absent"):
        select([old, run(1, 0.2)], value=AUROC)
    other = run(1, 0.2)
    values = {AUROC: other.values[AUROC].model_copy(update={"plugin": "top 2.0"})}
    with pytest.raises(LatentbenchError, match="metric's code is "):
        select([run(0, 0.1), other.model_copy(update={"values": values})], value=AUROC)
