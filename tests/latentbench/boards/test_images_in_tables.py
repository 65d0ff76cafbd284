"""Test images in tables, on hand-made runs whose right and wrong answers are known: against SciPy's paired tests."""

import csv
import io
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from latentbench.boards.board import Board
from latentbench.boards.means import means
from latentbench.boards.render.leaderboard import render
from latentbench.boards.standings import ranking_values, standings
from latentbench.evaluation.bootstrap import image_weights
from latentbench.records.record import Environment, Record, Value
from latentbench.spec import RunSpec

Array = npt.NDArray[np.float64]
IMAGES = 400
WHERE = Environment(python="3", platform="p", packages={}, cpu="c", threads=1, device="cpu", plugins={})


def board(seeds: int = 1, datasets: tuple[str, ...] = ("d",), **fields: Any) -> Board:
    return Board(name="b", title="B", datasets=list(datasets), rank="accuracy@test", seeds=seeds, **fields)


def run(model: str, accuracy: float, seed: int = 0, dataset: str = "d") -> Record:
    spec = RunSpec(
        model=model, model_version=1, config={}, dataset=dataset, dataset_version=1, options={},
        split_hash=f"split of {dataset}", seed=seed,
    )  # fmt: skip
    value = Value(
        value=accuracy, metric="accuracy", version=1, title="accuracy", higher_is_better=True, bounds=(0.0, 1.0)
    )
    return Record(
        key=spec.key, status="finished", spec=spec, values={"accuracy@test": value}, started="s", finished="f",
        environment=WHERE,
    )  # fmt: skip


def measured(answers: dict[str, list[Array]], dataset: str = "d") -> tuple[list[Record], dict[str, dict[str, Array]]]:
    """Runs whose answers to each image, right (1) or wrong (0), are given by model and seed; and their replicates."""
    records, replicates = [], {}
    for model, of_seeds in answers.items():
        for seed, right in enumerate(of_seeds):
            record = run(model, float(right.mean()), seed, dataset)
            weights = image_weights(record.spec.split_hash, len(right))
            replicates[record.key] = {"accuracy@test": np.array([np.average(right, weights=w) for w in weights])}
            records.append(record)
    return records, replicates


def answers(right: int, start: int = 0) -> Array:
    """The first ``right`` images from ``start`` on are right, around the end."""
    return np.isin(np.arange(IMAGES), np.arange(start, start + right) % IMAGES).astype(np.float64)


def lines(*given: Any) -> dict[str, dict[str, str]]:
    text = render(given[0], given[1], None, given[2] if len(given) > 2 else None)["b.csv"]
    return {line["variant"]: line for line in csv.DictReader(io.StringIO(text))}


def ranks(*given: Any) -> dict[str, str]:
    return {name: f"{line['rank_first']}-{line['rank_last']}" for name, line in lines(*given).items()}


def test_the_same_gap_is_separated_where_models_agree_on_the_other_images_and_not_where_they_do_not() -> None:
    good, worse_alike, worse_elsewhere = answers(300), answers(285), answers(285, start=150)
    assert ranks(board(), *measured({"a": [good], "b": [worse_alike]})) == {"a": "1-1", "b": "2-2"}
    assert ranks(board(), *measured({"a": [good], "b": [worse_elsewhere]})) == {"a": "1-2", "b": "1-2"}
    assert stats.ttest_rel(good, worse_alike).pvalue < 0.001
    assert stats.ttest_rel(good, worse_elsewhere).pvalue > 0.2


def test_the_p_values_are_those_of_a_paired_t_test_over_images() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(IMAGES)
    given = {name: [(base + rng.normal(0, 0.3, IMAGES) < 0.7).astype(float)] for name in "abcd"}
    records, replicates = measured(given)
    (table,) = standings(board(), records, None, replicates)
    with np.errstate(invalid="ignore"):  # on the diagonal
        t = table.groups[0].comparison.difference / np.sqrt(table.groups[0].comparison.variance)
    for i, one in enumerate(table.rows):
        for j, other in enumerate(table.rows):
            if i != j:
                expected = stats.ttest_rel(given[one.label][0], given[other.label][0]).statistic
                assert t[i, j] == pytest.approx(expected, rel=0.2)  # of 200 replicates: four standard errors


def test_models_that_answer_alike_are_not_told_apart() -> None:
    assert ranks(board(), *measured({"a": [answers(300)], "b": [answers(300)]})) == {"a": "1-2", "b": "1-2"}


def test_several_seeds_do_not_separate_what_the_images_leave_open() -> None:
    """Seeds that hardly vary separate a gap of 0.01; over other images of the same kind it may be none."""
    given = {"a": [answers(300 + k) for k in (0, 1, 0)], "b": [answers(296 + k, start=100) for k in (0, 1, 0)]}
    records, replicates = measured(given)
    assert ranks(board(3), records) == {"a": "1-1", "b": "2-2"}
    assert ranks(board(3), records, replicates) == {"a": "1-2", "b": "1-2"}


def test_intervals_cover_what_is_known_and_stay_within_bounds() -> None:
    records, replicates = measured({"a": [answers(398)], "b": [answers(300)]})
    found = lines(board(), records, replicates)
    half = stats.t.ppf(0.975, 199) * np.std(replicates[records[1].key]["accuracy@test"], ddof=1)
    assert found["b"]["covers"] == "test images"
    assert float(found["b"]["low"]) == pytest.approx(0.75 - half, rel=1e-9)
    assert float(found["b"]["high"]) == pytest.approx(0.75 + half, rel=1e-9)
    assert half == pytest.approx(1.97 * np.sqrt(0.75 * 0.25 / (IMAGES + 1)), rel=0.2)
    assert float(found["a"]["high"]) == 1
    assert {line["covers"] for line in lines(board(), records).values()} == {""}
    several = measured({"a": [answers(300), answers(310), answers(305)]})
    assert lines(board(3), *several)["a"]["covers"] == "seeds, test images"
    assert lines(board(3), several[0])["a"]["covers"] == "seeds"


def test_a_table_of_one_seed_says_that_it_ranks_by_images_alone_also_on_a_board_of_several() -> None:
    records, replicates = measured({"a": [answers(300)], "b": [answers(200)]})
    for seeds in (1, 3):
        text = " ".join(render(board(seeds), records, None, replicates)["b.md"].split())
        assert "Split `split of d`, 1 seed, ranked by test images alone." in text
        assert "what order other seeds would give is not known" in text
        assert "± test images" in text
    text = " ".join(render(board(1), records)["b.md"].split())
    assert "ranked by test images alone" not in text
    assert "No row has a rank: the uncertainty over test images is not known." in text
    assert "is not known for any row" in text


def test_a_row_without_replicates_is_placed_by_its_value_and_named() -> None:
    records, replicates = measured({"a": [answers(350)], "b": [answers(300)], "c": [answers(200)]})
    del replicates[records[1].key]
    assert ranks(board(), records, replicates) == {"a": "1-1", "b": "-", "c": "2-2"}
    assert "is not known for `b`" in render(board(), records, None, replicates)["b.md"]


def test_a_seed_without_replicates_leaves_its_row_without() -> None:
    records, replicates = measured({"a": [answers(300), answers(310), answers(305)]})
    del replicates[records[0].key]
    assert lines(board(3), records, replicates)["a"]["covers"] == "seeds"


def test_images_of_different_datasets_are_independent_in_a_mean() -> None:
    one, other = measured({"a": [answers(300)]}, "d"), measured({"a": [answers(200)]}, "e")
    records, replicates = one[0] + other[0], one[1] | other[1]
    both = board(1, ("d", "e"), average=True)
    table = means(both, standings(both, records, None, replicates), replicates)
    assert table is not None
    found = table.rows[0].replicates["accuracy@test"][:, 0]
    first, second = (of_run["accuracy@test"] for of_run in replicates.values())
    assert found == pytest.approx([mean(pair) for pair in zip(first, second, strict=True)])
    expected = (0.75 * 0.25 + 0.5 * 0.5) / (IMAGES + 1) / 4
    assert np.var(found, ddof=1) == pytest.approx(expected, rel=0.4)  # four standard errors of 200 replicates


def test_what_ranks_is_known_by_dataset() -> None:
    average = board(1, ("d", "e"), average=True).model_copy(
        update={"datasets": board(1, ("d", "e")).datasets[:1] + Board(
            name="x", title="X", datasets=[{"name": "e", "rank": "auroc@test"}], rank="accuracy@test"
        ).datasets}
    )  # fmt: skip
    assert ranking_values([average]) == {"d": ["accuracy@test"], "e": ["accuracy@test", "auroc@test"]}
