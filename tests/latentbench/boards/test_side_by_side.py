"""Two sides: their differences against SciPy's paired t test, and against the spread of paired replicates."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from latentbench.boards.board import Board
from latentbench.boards.lineup import Lineup
from latentbench.boards.side_by_side import Place, Side, compare_sides, rows_called
from latentbench.records.record import Environment, Record, Value
from latentbench.spec import UNTRAINED, RunSpec


def record(
    seed: int,
    value: float,
    model: str = "vae",
    *,
    version: int = 1,
    metric_version: int = 1,
    name: str = "auroc@test",
    higher_is_better: bool = True,
    deterministic: bool = False,
    split_hash: str = "00",
    package: str = "1.0",
    untrained: bool = False,
    **config: object,
) -> Record:
    spec = RunSpec(
        model=model, model_version=version, config={"beta": 1, **config}, dataset="d", dataset_version=1,
        options={"pair": "a"}, split_hash=split_hash, seed=seed, **({"budget": UNTRAINED} if untrained else {}),
    )  # fmt: skip
    measured = Value(value=value, metric="auroc", version=metric_version, title="t", higher_is_better=higher_is_better)
    where = Environment(
        python="3", platform="p", packages={"torch": package}, cpu="c", threads=1, device="cpu", plugins={}
    )
    return Record(
        key=spec.key, status="finished", spec=spec, values={name: measured}, deterministic=deterministic,
        started="s", finished=f"{seed}", environment=where,
    )  # fmt: skip


def side(*records: Record, replicates: Mapping[int, npt.ArrayLike] | None = None) -> Side:
    """The records, and by seed the replicates of their value."""
    known = {
        one.key: {name: np.array(replicates[one.spec.seed]) for name in one.values}
        for one in records
        if replicates and one.spec.seed in replicates
    }
    return Side(records, known)


VALUES = st.lists(st.tuples(st.floats(0.1, 0.9), st.floats(0.1, 0.9)), min_size=2, max_size=8)


@given(VALUES, st.randoms())
def test_over_seeds_the_interval_is_that_of_the_paired_t_test(pairs, random):
    a, b = np.array(pairs).T
    assume(np.ptp(a - b) > 1e-3)
    one, other = ([record(seed, value, model) for seed, value in enumerate(of)] for of, model in ((a, "x"), (b, "y")))
    random.shuffle(one)
    compared = compare_sides(side(*one, record(99, 0.5, "x")), side(record(98, 0.5, "y"), *other))
    (found,) = compared.values
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found.paired == len(a)
    assert found.difference.mean == pytest.approx(np.mean(a - b))
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.interval.covers == ("seeds",)
    assert found.better == ("a" if expected.low > 0 else "b" if expected.high < 0 else "")


def test_two_runs_are_told_apart_by_the_test_images_that_they_share():
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 0.05, 200), rng.normal(0, 0.001, (2, 200))
    replicates = 0.8 + shared + own[0], 0.79 + shared + own[1]
    compared = compare_sides(
        side(record(0, 0.8, "x"), replicates={0: replicates[0]}),
        side(record(0, 0.79, "y"), replicates={0: replicates[1]}),
    )
    (found,) = compared.values
    assert found.interval is not None
    half = stats.t.ppf(0.975, 199) * np.std(replicates[0] - replicates[1], ddof=1)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.01 - half, 0.01 + half), abs=1e-9)
    assert found.interval.covers == ("test images",)
    assert found.better == "a", "unpaired, the spread of 0.05 would hide it"


def test_without_replicates_nothing_is_known_of_two_single_runs():
    (found,) = compare_sides(side(record(0, 0.8, "x")), side(record(0, 0.7, "y"), replicates={0: [0.1, 0.2]})).values
    assert (found.interval, found.better) == (None, "")
    assert found.difference.mean == pytest.approx(0.1)


def test_on_different_data_replicates_are_not_paired():
    replicates = np.linspace(0, 1, 200)
    compared = compare_sides(
        side(record(0, 0.8), replicates={0: replicates}),
        side(record(0, 0.7, split_hash="01"), replicates={0: replicates}),
    )
    assert not compared.same_data
    assert compared.values[0].interval is None
    assert compared.settings["split"] == ("00", "01")


def test_the_value_of_a_deterministic_model_stands_for_every_seed():
    values = [0.7, 0.72, 0.77]
    fixed = side(record(0, 0.8, "pca", deterministic=True))
    (found,) = compare_sides(fixed, side(*(record(seed, value) for seed, value in enumerate(values)))).values
    expected = stats.ttest_1samp(0.8 - np.array(values), 0).confidence_interval(0.95)
    assert found.paired == 3
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))


def test_without_a_common_seed_the_means_are_compared_and_no_interval_is_known():
    (found,) = compare_sides(side(record(0, 0.8), record(1, 0.6)), side(record(2, 0.5, beta=2))).values
    assert (found.paired, found.interval) == (0, None)
    assert found.difference.mean == pytest.approx(0.2)


@pytest.mark.parametrize(("higher_is_better", "better"), [(True, "a"), (False, "b")])
def test_which_is_better_depends_on_the_metric(higher_is_better, better):
    one = [record(seed, 0.8 + seed / 1000, higher_is_better=higher_is_better) for seed in range(3)]
    other = [record(seed, 0.5 + seed / 900, beta=2, higher_is_better=higher_is_better) for seed in range(3)]
    assert compare_sides(side(*one), side(*other)).values[0].better == better


def test_values_of_other_versions_of_a_metric_are_not_compared():
    compared = compare_sides(side(record(0, 0.8, metric_version=1)), side(record(0, 0.7, beta=2, metric_version=2)))
    assert (list(compared.values), compared.left_out) == ([], ["auroc@test"])
    compared = compare_sides(side(record(0, 0.8)), side(record(0, 0.7, name="auprc@test")))
    assert (list(compared.values), compared.left_out) == ([], ["auroc@test", "auprc@test"])
    assert compare_sides(side(record(0, 0.8)), side(record(0, 0.7)), names=["x@test"]).left_out == []


def test_what_differs_is_told_and_what_does_not_is_not():
    one, other = record(0, 0.8, depth=3, package="1.0"), record(1, 0.7, beta=4, version=2, package="1.1")
    compared = compare_sides(side(one), side(other))
    assert compared.settings == {
        "model version": (1, 2), "model.beta": (1, 4), "model.depth": (3, None), "seed": (0, 1)
    }  # fmt: skip
    assert compared.circumstances == {"torch": ("1.0", "1.1")}
    both = compare_sides(side(one, record(1, 0.9, depth=3, package="1.2")), side(one))
    assert both.circumstances == {"torch": ("1.0, 1.2", "1.0")}


BOARD = Board.model_validate(
    {
        "name": "b", "title": "t", "rank": "auroc@test", "datasets": ["d"], "models": ["vae"], "seeds": 3,
        "variants": [{"model": "vae", "label": "vae-4", "options": {"beta": 4}}],
    }
)  # fmt: skip
RECORDS = [
    *(record(seed, 0.8) for seed in range(3)),
    *(record(seed, 0.7, beta=4) for seed in range(2)),
    record(0, 0.6, beta=9),
    record(0, 0.5, untrained=True),
    record(0, 0.9, version=2),
    record(0, 0.4, "other"),
]


@pytest.mark.parametrize(
    ("label", "version", "values"),
    [("vae", None, [0.9]), ("vae", 1, [0.8] * 3), ("vae-4", 1, [0.7] * 2), ("vae-4", 2, []), ("other", None, [])],
)
def test_a_row_is_that_of_the_boards_table(label, version, values):
    found = rows_called(label, version, [(BOARD, Lineup())], RECORDS)
    assert [one.values["auroc@test"].value for runs in found.values() for one in runs] == values
    assert all(place == Place.of(one) for place, runs in found.items() for one in runs)
