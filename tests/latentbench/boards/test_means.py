"""The means over a board's datasets: what is averaged, what is not, and what is said of it; from hand-made records."""

import csv
import io
import json
import random
import statistics
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from scipy import stats

from latentbench.boards.board import Board
from latentbench.boards.lineup import Lineup
from latentbench.boards.means import Means, means
from latentbench.boards.render.leaderboard import render
from latentbench.boards.render.table_csv import CSV_COLUMNS
from latentbench.boards.standings import standings
from latentbench.records.record import Environment, Failure, Phase, Record, Value
from latentbench.spec import RunSpec

RANK, PIXEL, MISSING = "auroc@test", "pixel-auroc@test", "missing-masks@test"
TITLES = {"auroc": "AUROC", "pixel-auroc": "pixel AUROC", "missing-masks": "images without a mask"}
BOARD = Board(
    name="parts",
    title="Parts",
    datasets=[
        {"name": "parts", "label": label, "options": {"category": label}} for label in ("screw", "bottle", "pill")
    ],
    seeds=3,
    rank=RANK,
    columns=[PIXEL],
    average=True,
)
ENVIRONMENT = Environment(python="3.11", platform="Linux", packages={}, cpu="CPU", threads=1, device="cpu", plugins={})


def run(model: str, label: str, seed: int, values: Mapping[str, float] | None, **fields: Any) -> Record:
    """A finished run with these values, of metrics of version 1 where ``versions`` names no other; a failed one."""
    versions = fields.pop("versions", {})
    spec = RunSpec(
        **{
            "model": model,
            "model_version": 1,
            "config": {"latent_dim": 8},
            "dataset": "parts",
            "dataset_version": 1,
            "options": {"category": label, "seed": 0},
            "split_hash": label.encode().hex() * 4,
            "seed": seed,
            **fields,
        }
    )
    measured = {
        name: Value(
            value=number,
            metric=(metric := name.partition("@")[0]),
            version=versions.get(name, 1),
            title=TITLES.get(metric, metric),
            higher_is_better=metric != "missing-masks",
        )
        for name, number in (values or {}).items()
    }
    return Record(
        key=spec.key,
        status="failed" if values is None else "finished",
        spec=spec,
        values=measured,
        phases={"fit": Phase(seconds=4.0, peak_memory_bytes=1)},
        environment=ENVIRONMENT,
        failure=Failure(type="E", message="no", traceback="") if values is None else None,
        started="-",
        finished="-",
    )


def runs(model: str, label: str, numbers: list[float], name: str = RANK, **fields: Any) -> list[Record]:
    return [run(model, label, seed, {name: number}, **fields) for seed, number in enumerate(numbers)]


def means_of(records: list[Record], board: Board = BOARD) -> Means:
    found = means(board, standings(board, records))
    assert found is not None
    return found


def section(records: list[Record], board: Board = BOARD) -> str:
    """The Markdown of the table of means alone."""
    parts = render(board, records)[f"{board.name}.md"].split("\n## ")
    assert parts[1].startswith("Means\n"), "it comes first"
    assert not any(part.startswith("Means") for part in parts[2:])
    return "## " + parts[1]


def notes_of(records: list[Record], board: Board = BOARD) -> str:
    """The notes on the means, and on nothing else."""
    folded = render(board, records)[f"{board.name}.md"].partition("<summary>Notes</summary>")[2]
    return folded[folded.index("**Means**") :].partition("</details>")[0].partition("**`")[0]


def cells(text: str) -> list[list[str]]:
    """The first table of a Markdown text, as an independent parser sees it: the heading, then the rows."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            rows[-1].append("".join(child.content for child in token.children or []))
        elif token.type == "table_close":
            break
    return rows


def lines(records: list[Record], board: Board = BOARD) -> list[dict[str, str]]:
    text = render(board, records)[f"{board.name}.csv"]
    return [line for line in csv.DictReader(io.StringIO(text)) if line["dataset"] == "mean"]


WHOLE = """\
## Means

Mean over 2 of 3 datasets (`screw`, `bottle`).

|   rank | model   |           AUROC ↑ test |        seeds |   pixel AUROC ↑ test (1 of 2 datasets) |
|-------:|:--------|-----------------------:|-------------:|---------------------------------------:|
|      1 | `vae`   | 0.700 (0.573 to 0.827) |            2 |                          0.900 ± 0.000 |
|      ? | `pca`   |                  0.550 | 1 (1 failed) |                                      - |
|      - | `ae`    |                      - |            0 |                          0.800 (n = 1) |

No rank: `pca` (one seed, so the uncertainty over seeds is not known); `ae` (no mean AUROC ↑ test, as there is none on
`bottle`).
"""
NOTES = """\
**Means**

- pixel AUROC ↑ test is the mean over `screw`: on the other datasets no run has it.
- `pca`: no mean pixel AUROC ↑ test, as there is none on `screw`.

"""


def test_a_whole_table_of_means_as_text():
    records = [
        *(run("vae", "screw", seed, {RANK: 0.8, PIXEL: 0.9}) for seed in range(2)),
        run("vae", "bottle", 0, {RANK: 0.58}),
        run("vae", "bottle", 1, {RANK: 0.62}),
        run("pca", "screw", 0, {RANK: 0.5}),
        run("pca", "screw", 1, None),
        run("pca", "bottle", 0, {RANK: 0.6}),
        run("ae", "screw", 0, {RANK: 0.99, PIXEL: 0.8}),
    ]
    assert section(records) == WHOLE
    assert notes_of(records) == NOTES


def test_values_are_averaged_over_datasets_by_seed_and_then_over_seeds():
    screw, bottle, pill = [0.91, 0.84, 0.97, 0.5], [0.71, 0.62, 0.7], [0.5, 0.55, 0.52]
    records = [*runs("vae", "screw", screw), *runs("vae", "bottle", bottle), *runs("vae", "pill", pill)]
    (row,) = means_of(records).rows
    by_seed = [sum(values) / 3 for values in zip(screw, bottle, pill, strict=False)]  # the fourth seed is one's alone
    summary = row.summaries[RANK]
    assert summary.n == row.seeds == 3
    assert summary.mean == pytest.approx(sum(by_seed) / 3, rel=1e-15)
    _, high = stats.t.interval(0.95, 2, loc=summary.mean, scale=stats.sem(by_seed))
    assert summary.half_width == pytest.approx(high - summary.mean, rel=1e-9)
    assert (summary.least, summary.greatest) == pytest.approx((min(by_seed), max(by_seed)), rel=1e-15)
    assert len(row.finished) == 10


def test_rows_are_ranked_by_the_spread_of_their_means_and_not_by_that_of_the_datasets():
    """On each dataset a and b cross from seed to seed; their means vary little, so they are separated."""
    records = [
        *runs("a", "screw", [0.9, 0.1, 0.5]), *runs("a", "bottle", [0.1, 0.9, 0.51]),
        *runs("b", "screw", [0.1, 0.5, 0.8]), *runs("b", "bottle", [0.7, 0.3, 0.0]),
    ]  # fmt: skip
    assert [(row.model, row.rank) for row in means_of(records).rows] == [("a", (1, 1)), ("b", (2, 2))]
    tied = next(table for table in standings(BOARD, records) if table.label == "screw")
    assert {row.rank for row in tied.rows} == {(1, 2)}


def test_where_lower_is_better_the_least_mean_ranks_first():
    board = BOARD.model_copy(update={"rank": MISSING, "columns": []})
    records = [
        *runs("a", "screw", [3.0, 4.0], MISSING), *runs("a", "bottle", [1.0, 1.0], MISSING),
        *runs("b", "screw", [0.0, 0.0], MISSING), *runs("b", "bottle", [1.0, 2.0], MISSING),
    ]  # fmt: skip
    assert [row.model for row in means_of(records, board).rows] == ["b", "a"]


values = st.lists(st.floats(0, 1), min_size=2, max_size=5)


@given(st.dictionaries(st.sampled_from("abcd"), values, min_size=1))
def test_the_mean_over_one_dataset_is_its_own_table_and_over_equal_ones_too(numbers):
    """Nothing but the averaging is new: summaries, ranks and order are those of a dataset's table."""
    alone = [one for model, found in numbers.items() for one in runs(model, "screw", found)]
    twice = [*alone, *(one for model, found in numbers.items() for one in runs(model, "bottle", found))]
    (table,) = standings(BOARD, alone)
    expected = [(row.label, row.rank, row.seeds, row.summaries) for row in table.rows]
    for records in (alone, twice):
        assert [(row.label, row.rank, row.seeds, row.summaries) for row in means_of(records).rows] == expected


@given(st.data())
def test_means_are_those_of_a_slow_loop(data):
    labels, models, seeds = ("screw", "bottle", "pill"), ("a", "b"), range(3)
    number = st.none() | st.sampled_from([0.0, 0.125, 0.5, 0.625, 1.0])
    table = {
        (label, model, seed): data.draw(number) for label in labels for model in models for seed in seeds
    }  # fmt: skip
    records = [
        run(model, label, seed, {} if value is None else {RANK: value}) for (label, model, seed), value in table.items()
    ]
    found = means_of(records)
    over = [
        label for label in labels if any(table[label, model, seed] is not None for model in models for seed in seeds)
    ]
    assert found.over[RANK] == over
    for model in models:
        by_seed = []
        for seed in seeds:
            row = [table[label, model, seed] for label in over]
            if over and None not in row:
                by_seed.append(sum(row) / len(row))
        summary = next(row for row in found.rows if row.model == model).summaries.get(RANK)
        assert (summary.n if summary else 0) == len(by_seed)
        if summary:
            assert summary.mean == pytest.approx(statistics.fmean(by_seed), abs=1e-15)


# What counts


def test_a_dataset_without_a_finished_run_is_not_one_of_them():
    records = [*runs("a", "screw", [0.5]), run("a", "pill", 0, None)]
    assert means_of(records).labels == ["screw"]
    assert "\nMean over 1 of 3 datasets (`screw`), 1 seed.\n" in section(records)
    assert means(BOARD, standings(BOARD, records[1:])) is None
    assert "Mean" not in render(BOARD, records[1:])["parts.md"]


def test_a_board_that_does_not_ask_for_means_has_none():
    records = runs("a", "screw", [0.5, 0.6])
    board = BOARD.model_copy(update={"average": False})
    assert means(board, standings(board, records)) is None
    assert "Mean" not in render(board, records)["parts.md"]
    assert lines(records, board) == []


def test_a_failed_run_leaves_its_seed_out_and_is_counted():
    records = [*runs("a", "screw", [0.5, 0.7, 0.9]), *runs("a", "bottle", [0.5, 0.5]), run("a", "bottle", 2, None)]
    (row,) = means_of(records).rows
    assert (row.summaries[RANK].n, row.summaries[RANK].mean, row.seeds, len(row.failed)) == (2, 0.55, 2, 1)


def test_a_model_without_a_seed_that_all_datasets_share_has_no_mean_and_the_note_says_so():
    records = [run("a", "screw", 0, {RANK: 0.5}), run("a", "bottle", 1, {RANK: 0.5})]
    assert means_of(records).rows[0].rank is None
    assert "No row has a rank" not in section(records)
    assert "\nNo rank: `a` (no mean AUROC ↑ test, as no seed has it on every dataset).\n" in section(records)


def test_a_value_that_no_run_has_is_over_no_dataset():
    records = runs("a", "screw", [0.5])
    assert cells(section(records))[0] == ["rank", "model", "AUROC ↑ test"]
    assert "no mean pixel" not in render(BOARD, records)["parts.md"]
    assert "- No run has pixel-auroc test.\n" in render(BOARD, records)["parts.md"]


def test_each_dataset_counts_by_its_first_table_the_newest_with_the_most_runs():
    records = [
        *runs("a", "screw", [0.1, 0.2, 0.3]),
        *runs("a", "screw", [0.6, 0.8], dataset_version=2),
        *runs("a", "bottle", [0.5, 0.5, 0.5]),
        *runs("a", "bottle", [1.0], split_hash="ff" * 32),
    ]
    assert means_of(records).rows[0].summaries[RANK].mean == pytest.approx(0.6)


@pytest.mark.parametrize("told", [True, False])
def test_runs_on_a_dataset_in_options_that_are_not_the_board_s_are_in_no_mean_however_many(told: bool):
    """``seed`` is an option of the dataset that the board leaves open, as --set gives it another value."""
    listed = [*runs("a", "screw", [0.3, 0.5, 0.4]), *runs("a", "bottle", [0.6, 0.7, 0.8])]
    more = 3 if not told else 9  # without a lineup, most runs decide
    others = [
        run("a", "screw", seed, {RANK: 0.9}, options={"category": "screw", "seed": 1}, split_hash="ff" * 32)
        for seed in range(more - 1)
    ]
    lineup = Lineup(datasets={label: {"category": label, "seed": 0} for label in ("screw", "bottle")} if told else {})
    alone, among = (standings(BOARD, some, lineup) for some in (listed, [*listed, *others]))
    assert [table.label for table in among] == ["screw", "bottle"], "one heading each"
    both = [means(BOARD, tables) for tables in (alone, among)]
    assert [one and one.rows[0].summaries[RANK].mean for one in both] == [pytest.approx(0.55)] * 2
    text, before = (render(BOARD, some, lineup)["parts.md"] for some in ([*listed, *others], listed))
    note = f"- {more - 1} runs in 1 other setting stand in the CSV.\n"
    assert note in text
    assert note not in before
    rows = list(csv.DictReader(io.StringIO(render(BOARD, [*listed, *others], lineup)["parts.csv"])))
    (line,) = (one for one in rows if one["split_hash"] == "ff" * 32 and one["value"] == RANK)
    assert float(line["mean"]) == pytest.approx(0.9)
    assert (line["variant"], line["n"]) == ("", str(more - 1))
    assert json.loads(line["dataset_options"]) == {"category": "screw", "seed": 1}


def test_a_dataset_that_was_run_in_other_options_alone_has_a_table_that_says_so_and_no_part_in_the_means():
    lineup = Lineup(datasets={label: {"category": label, "seed": 0} for label in ("screw", "bottle")})
    others = [
        run("a", "screw", seed, {RANK: 0.9}, options={"category": "screw", "seed": 1}, split_hash="ff" * 32)
        for seed in range(3)
    ]
    tables = standings(BOARD, [*others, *runs("a", "bottle", [0.6, 0.7])], lineup)
    assert [(table.label, dict(table.set_options)) for table in tables] == [("screw", {"seed": 1}), ("bottle", {})]
    assert [row.summaries[RANK].mean for row in tables[0].rows] == [pytest.approx(0.9)]
    found = means(BOARD, tables)
    assert found is not None
    assert found.labels == ["bottle"]
    text = render(BOARD, others, lineup)["parts.md"]
    assert "Dataset `parts` (`category=screw, seed=1`), split `ffffffffffff`" in text
    assert "No run is in the board's options for the dataset: these have `seed=1` and no part in means." in text


def test_presets_of_each_dataset_are_one_row_and_the_note_names_the_options():
    records = [
        *runs("a", "screw", [0.4, 0.6], config={"latent_dim": 8, "epochs": 5}),
        *runs("a", "bottle", [0.6, 0.8], config={"latent_dim": 8, "epochs": 9}),
    ]
    assert [row[1:3] for row in cells(section(records))[1:]] == [["a", "0.600 (-0.671 to 1.871)"]]
    assert "- `a` is not configured alike on all datasets: `epochs`.\n" in notes_of(records)


def test_a_variant_has_a_row_of_its_own_and_other_settings_are_in_no_mean():
    configs = {(size, epochs): {"latent_dim": size, "epochs": epochs} for size in (8, 16, 32) for epochs in (5, 9)}
    variant = {"model": "a", "label": "a-large", "options": {"latent_dim": 16}}
    board = Board.model_validate({**BOARD.model_dump(), "variants": [variant]})
    lineup = Lineup(
        rows={
            label: {"a": configs[8, epochs], "a-large": configs[16, epochs]}
            for label, epochs in (("screw", 5), ("bottle", 9))
        }
    )
    records = [
        *runs("a", "screw", [0.4], config=configs[8, 5]), *runs("a", "screw", [0.8], config=configs[16, 5]),
        *runs("a", "bottle", [0.6], config=configs[8, 9]), *runs("a", "bottle", [0.9], config=configs[16, 9]),
        *runs("a", "screw", [1.0], config=configs[32, 5]), *runs("a", "pill", [1.0], config=configs[32, 5]),
    ]  # fmt: skip
    for some in (records[:4], records[:5]):
        found = means(board, standings(board, some, lineup))
        assert found is not None
        assert [(row.label, row.summaries[RANK].mean, row.differing, row.options) for row in found.rows] == [
            ("a-large", pytest.approx(0.85), ["epochs"], {"latent_dim": 16}),
            ("a", 0.5, ["epochs"], {}),
        ]
    tables = standings(board, [*records[:2], records[3]], lineup)
    found = means(board, tables)
    assert found is not None
    assert [(row.label, row.rank) for row in found.rows] == [("a-large", None), ("a", None)]


def test_versions_of_a_model_are_not_mixed():
    records = [
        *runs("a", "screw", [0.4, 0.6]),
        *runs("a", "bottle", [0.5], model_version=2),
        *runs("b", "screw", [0.1]),
    ]
    found = means_of(records)
    assert {(row.model, row.version): row.rank for row in found.rows} == {("a", 2): None, ("b", 1): None}
    assert "the model has a newer version: 2 runs of `a 1`." in notes_of(records)


def test_versions_of_a_metric_are_not_mixed():
    records = [*runs("a", "screw", [0.4, 0.6]), *runs("a", "bottle", [0.5, 0.5], versions={RANK: 2})]
    found = means_of(records)
    assert found.over[RANK] == ["bottle"]
    assert found.rows[0].summaries[RANK].mean == 0.5
    assert "the metric has a newer version: 2 values of AUROC ↑ test." in notes_of(records)


# What is written


def test_the_csv_has_the_means_first_and_says_what_each_is_over():
    records = [
        *(run("a", "screw", seed, {RANK: 0.5, PIXEL: 0.25}) for seed in range(2)), *runs("a", "bottle", [0.75, 1.0])
    ]  # fmt: skip
    text = render(BOARD, records)["parts.csv"]
    everything = list(csv.DictReader(io.StringIO(text)))
    assert everything[:2] == lines(records)
    assert [(line["dataset"], line["label"], line["value"], line["mean"]) for line in everything] == [
        ("mean", "screw bottle", RANK, "0.6875"),
        ("mean", "screw", PIXEL, "0.25"),
        ("parts", "screw", RANK, "0.5"),
        ("parts", "screw", PIXEL, "0.25"),
        ("parts", "bottle", RANK, "0.875"),
        ("parts", "bottle", PIXEL, ""),
    ]
    first = everything[0]
    assert list(first) == list(CSV_COLUMNS)
    assert (first["n"], first["finished"], first["failed"], first["rank_first"]) == ("2", "2", "0", "1")
    assert first["runs"].split() == [one.key for one in records]
    empty = ("dataset_options", "dataset_version", "split_hash", "harness_version")
    assert {first[name] for name in empty} == {""}


def test_a_dataset_s_own_rank_and_columns_are_those_of_its_table_and_the_means_are_of_the_board_s():
    datasets = [
        {"name": "parts", "label": "screw", "options": {"category": "screw"}, "rank": PIXEL, "columns": [MISSING]},
        *BOARD.model_dump()["datasets"][1:],
    ]
    board = Board.model_validate({**BOARD.model_dump(), "datasets": datasets})
    measured = [{RANK: 0.9, PIXEL: 0.1, MISSING: 3.0}, {RANK: 0.1, PIXEL: 0.9, MISSING: 4.0}]
    records = [
        run(model, label, 0, numbers)
        for model, numbers in zip("ab", measured, strict=True)
        for label in ("screw", "bottle")
    ]
    tables = standings(board, records)
    assert [(table.label, [column.name for column in table.columns], table.rows[0].model) for table in tables] == [
        ("screw", [PIXEL, MISSING], "b"), ("bottle", [RANK, PIXEL], "a")
    ]  # fmt: skip
    found = means_of(records, board)
    assert [column.name for column in found.columns] == [RANK, PIXEL]
    assert {row.model: row.summaries[RANK].mean for row in found.rows} == {"a": 0.9, "b": 0.1}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_records_does_not_change_a_byte(seed):
    draw = random.Random(0)
    records = [
        one
        for label in ("screw", "bottle", "pill")
        for model in "cab"
        for one in runs(model, label, [draw.random() for _ in range(3)], config={"latent_dim": len(label)})
    ]
    shuffled = random.Random(seed).sample(records, len(records))
    assert render(BOARD, shuffled) == render(BOARD, records)


def test_a_mean_is_never_over_runs_of_different_code_of_the_model():
    def made(records: list[Record], code: str, at: str) -> list[Record]:
        environment = ENVIRONMENT.model_copy(
            update={"plugins": {"model": f"acme {code}"}, "loaded": {"acme": f"acme-models {code}"}}
        )
        return [one.model_copy(update={"environment": environment, "finished": at}) for one in records]

    old = made(runs("vae", "screw", [0.9, 0.9]), "1.0", "2026-01-01")
    new = made(runs("vae", "bottle", [0.5, 0.7]), "1.1", "2026-01-02")
    builtin = runs("pca", "screw", [0.4, 0.4]) + runs("pca", "bottle", [0.6, 0.6])
    found = means_of(old + new + builtin)
    rows = {row.label: row for row in found.rows}
    assert rows["pca"].summaries[RANK].mean == 0.5
    assert RANK not in rows["vae"].summaries, "there is none by the new code on every dataset"
    assert found.other_code == {("vae", "acme 1.0"): 2}
    assert "2 finished runs of `vae` by `acme 1.0`" in notes_of(old + new + builtin)
    again = made(runs("vae", "screw", [0.1, 0.3]), "1.1", "2026-01-03")
    (row,) = [row for row in means_of(old[2:] + new + again + builtin).rows if row.label == "vae"]
    assert row.summaries[RANK].mean == pytest.approx(0.4)
