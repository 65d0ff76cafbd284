"""Boards that rank each row by what it can do: groups against boards of a single value, and what is said of them."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.boards.board import Board
from latentbench.boards.means import means
from latentbench.boards.render.leaderboard import render
from latentbench.boards.rows import Row
from latentbench.boards.standings import Group, ranking_values, standings
from latentbench.records.record import Environment, Failure, Record, Value
from latentbench.spec import RunSpec

MAPS, SCORES = "aupro@test", "auroc@test"
WHERE = Environment(python="3", platform="p", packages={}, cpu="c", threads=1, device="cpu", plugins={})


def board(*rank: str, **fields: Any) -> Board:
    given = {"name": "b", "title": "B", "datasets": ["d"], "rank": list(rank), "seeds": 3, **fields}
    return Board.model_validate(given)


def run(model: str, seed: int, dataset: str = "d", **numbers: float) -> Record:
    """A run with values by the name of the metric; a failed one without any."""
    spec = RunSpec(
        model=model, model_version=1, config={}, dataset=dataset, dataset_version=1, options={}, split_hash="s",
        seed=seed,
    )  # fmt: skip
    null = model.startswith("null")
    values = {
        f"{metric}@test": Value(
            value=number, metric=metric, version=1, title=metric.upper(), higher_is_better=True, bounds=(0, 1)
        )
        for metric, number in numbers.items()
    }
    failure = None if numbers else Failure(type="E", message="out of memory", traceback="")
    return Record(
        key=spec.key, status="finished" if numbers else "failed", spec=spec, values=values, started="s", finished="f",
        environment=WHERE, failure=failure, null=null,
    )  # fmt: skip


def runs(model: str, dataset: str = "d", **numbers: list[float]) -> list[Record]:
    lists = zip(*numbers.values(), strict=True)
    return [run(model, seed, dataset, **dict(zip(numbers, values, strict=True))) for seed, values in enumerate(lists)]


def groups(records: list[Record], the_board: Board) -> list[Group[Row]]:
    (table,) = standings(the_board, records)
    return list(table.groups)


LOCALIZERS = [
    *runs("ae", aupro=[0.50, 0.51, 0.52], auroc=[0.90, 0.91, 0.92]),
    *runs("vae", aupro=[0.70, 0.71, 0.72], auroc=[0.60, 0.61, 0.62]),
]
DETECTORS = [
    *runs("centre", auroc=[0.99, 0.98, 0.99]),
    *runs("flow", auroc=[0.40, 0.41, 0.42]),
]
NULLS = [
    *runs("null-patch", aupro=[0.30, 0.31, 0.32], auroc=[0.50, 0.51, 0.52]),
    *runs("null-mean", auroc=[0.80, 0.81, 0.80]),
]


def test_a_row_is_ranked_by_the_first_value_that_it_has_among_those_like_it() -> None:
    found = groups(LOCALIZERS + DETECTORS, board(MAPS, SCORES))
    assert [(group.ranking.name, [(row.label, str(row.rank)) for row in group.rows]) for group in found] == [
        (MAPS, [("vae", "1"), ("ae", "2")]),
        (SCORES, [("centre", "1"), ("flow", "2")]),
    ]


number = st.floats(0, 1).map(lambda value: round(value, 2))
models = st.dictionaries(
    st.sampled_from("abcdef"),
    st.tuples(st.booleans(), st.lists(st.tuples(number, number), min_size=1, max_size=3)),
    min_size=1,
)


@settings(max_examples=40)
@given(models)
def test_each_group_is_the_table_of_a_board_that_ranks_its_rows_alone(made: dict[str, Any]) -> None:
    """Values, order, ranks and what stands beside nulls: nothing in a group depends on the other one."""
    records: dict[str, list[Record]] = {MAPS: [], SCORES: []}
    for model, (localizes, pairs) in made.items():
        for seed, (maps, scores) in enumerate(pairs):
            numbers = {"aupro": maps, "auroc": scores} if localizes else {"auroc": scores}
            records[MAPS if localizes else SCORES].append(run(model, seed, **numbers))
    found = groups(records[MAPS] + records[SCORES] + NULLS, board(MAPS, SCORES))
    alone = [groups(of + NULLS, board(name))[0] for name, of in records.items() if of]
    assert [
        [(row.label, row.rank, row.beside_null.get(group.ranking.name)) for row in group.rows] for group in found
    ] == [[(row.label, row.rank, row.beside_null.get(group.ranking.name)) for row in group.rows] for group in alone]


def test_a_list_of_one_value_and_the_value_alone_give_the_same_bytes() -> None:
    records = LOCALIZERS + DETECTORS + NULLS
    plain = Board.model_validate({**board(MAPS).model_dump(), "rank": MAPS})
    assert render(plain, records) == render(board(MAPS), records)


def test_a_row_without_any_of_the_values_stands_last_in_the_first_group_that_there_is() -> None:
    failed = run("broken", 0)
    for others, ranking in ((LOCALIZERS + DETECTORS, MAPS), (DETECTORS, SCORES)):
        first = groups([*others, failed], board(MAPS, SCORES))[0]
        assert first.ranking.name == ranking
        assert (first.rows[-1].label, first.rows[-1].rank) == ("broken", None)


def test_nulls_stand_beside_the_rows_of_every_group_whose_value_they_have() -> None:
    found = groups(LOCALIZERS + DETECTORS + NULLS, board(MAPS, SCORES))
    best = [{row.beside_null[group.ranking.name].label for row in group.rows} for group in found]
    assert best == [{"null-patch"}, {"null-mean"}]


def test_the_page_has_a_grid_for_each_group_and_the_csv_says_what_ranks_a_row() -> None:
    files = render(board(MAPS, SCORES), LOCALIZERS + DETECTORS + NULLS)
    shown = files["b.md"].partition("<details>")[0]
    headings = [line for line in shown.splitlines() if line.startswith("#")]
    assert headings == [
        "# B", "## `d`", "### Ranked by AUPRO ↑ test", "### Ranked by AUROC ↑ test: rows that have no AUPRO ↑ test"
    ]  # fmt: skip
    by_maps, by_scores = shown.split("### Ranked by ")[1:]
    assert "| `vae`" in by_maps
    assert "null-mean" not in by_maps
    assert "| `centre`" in by_scores
    assert by_scores.index("null-mean") < by_scores.index("null-patch"), "best first by what ranks here"
    found = {
        (line["variant"], line["ranked_by"], line["rank_first"]) for line in csv.DictReader(io.StringIO(files["b.csv"]))
    }
    assert found == {
        ("vae", MAPS, "1"), ("ae", MAPS, "2"), ("centre", SCORES, "1"), ("flow", SCORES, "2"),
        ("null-patch", "", ""), ("null-mean", "", ""),
    }  # fmt: skip


def test_a_group_by_itself_says_what_its_rows_lack() -> None:
    text = render(board(MAPS, SCORES), DETECTORS)["b.md"]
    assert "### Ranked by AUROC ↑ test: rows that have no aupro test\n" in text


def test_means_are_in_groups_as_well() -> None:
    two = board(MAPS, SCORES, datasets=["d", "e"], average=True)
    records = [
        *runs("ae", aupro=[0.5, 0.6], auroc=[0.9, 0.9]), *runs("ae", "e", aupro=[0.7, 0.8], auroc=[0.9, 0.9]),
        *runs("centre", auroc=[0.5, 0.6]), *runs("centre", "e", auroc=[0.7, 0.8]),
    ]  # fmt: skip
    found = means(two, standings(two, records))
    assert found is not None
    rows = [(group.ranking.name, row.label) for group in found.groups for row in group.rows]
    assert rows == [(MAPS, "ae"), (SCORES, "centre")]
    values = [row.summaries[group.ranking.name].mean for group in found.groups for row in group.rows]
    assert values == pytest.approx([0.65, 0.65])


def test_every_value_that_ranks_some_row_is_known_for_the_replicates() -> None:
    assert ranking_values([board(MAPS, SCORES)]) == {"d": [MAPS, SCORES]}
