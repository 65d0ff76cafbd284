"""The rows of a leaderboard: which runs a line has, and what is never mixed."""

import csv
import io
import json
import re

import numpy as np
import pytest
from scipy import stats
from tests.latentbench.boards.render.given import (
    BOARD,
    FPR,
    GAP,
    LARGE,
    RANK,
    SMALL,
    SSIM,
    column,
    labelled,
    lines,
    markdown,
    record,
    runs,
    said,
    tables,
    value,
    with_variants,
)

from latentbench.boards.board import Board
from latentbench.boards.lineup import Lineup
from latentbench.boards.render.leaderboard import render
from latentbench.spec import UNTRAINED, Budget


def test_a_table_has_one_line_for_each_model_and_variant_that_the_board_names():
    board = with_variants({"model": "vae", "label": "vae-large", "options": {"latent_dim": 10}})
    records = [
        *runs("vae", [0.7, 0.71], config=LARGE),
        *runs("vae", [0.8, 0.81], config=SMALL),
        *runs("vae", [0.9], config=SSIM),
        record("vae", 1, config=SSIM),
        *runs("vae", [0.95], config={"latent_dim": 5, "loss": "bernoulli"}),
        *runs("ae", [0.5, 0.51], config={"latent_dim": 10}),
    ]
    lineup = Lineup(rows={"pairs": {"vae": SMALL, "vae-large": LARGE, "ae": {"latent_dim": 10}}})
    files = render(board, records, lineup)
    table = tables(files["pairs.md"])[0]
    assert [(row[0], row[1]) for row in table[1:]] == [("1", "vae"), ("2", "vae-large"), ("3", "ae")]
    assert "- 3 runs in 2 other settings stand in the CSV.\n" in files["pairs.md"]
    assert "- `vae-large` is `vae` with `latent_dim=10`.\n" in files["pairs.md"]
    found = list(csv.DictReader(io.StringIO(files["pairs.csv"])))[::2]
    assert [
        (line["variant"], line["model"], json.loads(line["options"]), line["rank_first"], line["n"]) for line in found
    ] == [
        ("vae", "vae", {}, "1", "2"),
        ("vae-large", "vae", {"latent_dim": 10}, "2", "2"),
        ("ae", "ae", {}, "3", "2"),
        ("", "vae", {"latent_dim": 10, "loss": "ssim", "window": None}, "", "1"),
        ("", "vae", {"latent_dim": 5}, "", "1"),
    ]
    assert [float(line["mean"]) for line in found[3:]] == [0.9, 0.95]


def test_settings_that_the_board_does_not_name_change_nothing_in_the_lines_of_those_that_it_names():
    """Not their ranks, cells or labels, not the notes, and not the metric's version that they are compared by."""
    records = [*runs("vae", [0.8, 0.81], config=SMALL), *runs("ae", [0.5, 0.51])]
    lineup = Lineup(rows={"pairs": {"vae": SMALL}})
    others = [
        record("vae", seed, values={RANK: value(0.9 + seed, version=2)}, config=LARGE) for seed in range(2)
    ]  # fmt: skip
    alone, among = (render(BOARD, some, lineup)["pairs.md"] for some in (records, [*records, *others]))
    assert among.replace("- 2 runs in 1 other setting stand in the CSV.\n", "", 1) == alone
    assert among != alone


def test_a_table_of_nothing_but_other_settings_says_so_and_has_no_lines():
    files = render(BOARD, [record("vae", 0, 0.9, config=LARGE)], Lineup(rows={"pairs": {"vae": SMALL}}))
    assert tables(files["pairs.md"]) == []
    assert "1 run in 1 other setting stands in the CSV.\n" in files["pairs.md"]
    (line,) = (line for line in csv.DictReader(io.StringIO(files["pairs.csv"])) if line["value"] == RANK)
    assert (line["variant"], line["options"], line["mean"], line["rank_first"]) == ("", '{"latent_dim": 10}', "0.9", "")


def test_what_models_tell_of_themselves_is_shown_where_the_board_asks_for_it():
    """Means and half-widths over the seeds that tell it, twins by themselves; what nobody tells is named."""
    board = BOARD.model_copy(update={"facts": ["bound", "unheard"], "seeds": 3})
    told = [record("vae", seed, 0.8, facts={"bound": bound}) for seed, bound in enumerate([1.0, 2.0, 4.0])]
    twins = [record("vae", seed, 0.5, budget=UNTRAINED, facts={"bound": 7.0}) for seed in range(2)]
    records = [*told, *twins, *runs("ae", [0.7, 0.6])]
    files = render(board, records)
    shown = files["pairs.md"].partition("<summary>What the fitted models tell of themselves</summary>")[2]
    half = stats.t.ppf(0.975, 2) * np.std([1, 2, 4], ddof=1) / 3**0.5
    assert tables(shown)[0] == [
        ["model", "bound", "unheard", "seeds"],
        ["vae", f"{7 / 3:.3f} ± {half:.3f}", "-", "3"],
        ["untrained vae", "7.000 ± 0.000", "-", "2"],
    ]
    assert "- No model tells `unheard`.\n" in files["pairs.md"]
    lines = [line for line in csv.DictReader(io.StringIO(files["pairs.csv"])) if line["value"].startswith("fact:")]
    assert [(line["value"], line["group"], line["n"], line["split_hash"]) for line in lines] == [
        ("fact:bound", "model", "3", "ab" * 32), ("fact:bound", "untrained", "2", "ab" * 32)
    ]  # fmt: skip
    assert [float(line["mean"]) for line in lines] == [pytest.approx(7 / 3), 7]
    assert float(lines[0]["half_width"]) == pytest.approx(half)
    without = render(BOARD, records)
    assert "fact" not in without["pairs.csv"]
    assert "tell of themselves" not in without["pairs.md"]


def test_a_variant_of_a_model_that_the_board_does_not_list_stands_alone():
    board = with_variants({"model": "vae", "label": "vae-large", "options": {"latent_dim": 10}}, models=[])
    records = [*runs("vae", [0.8], config=SMALL), *runs("vae", [0.7], config=LARGE), record("ae", 0, 0.5)]
    for lineup in (Lineup(rows={"pairs": {"vae": SMALL, "vae-large": LARGE}}), None):
        files = render(board, records, lineup)
        assert [row[1] for row in tables(files["pairs.md"])[0][1:]] == ["vae-large"]
        assert "1 run in 1 other setting stands in the CSV." in files["pairs.md"]


def test_a_variant_of_some_datasets_stands_in_their_tables_alone():
    variant = {"model": "vae", "label": "vae-large", "options": {"latent_dim": 10}, "datasets": ["apple"]}
    board = with_variants(variant, datasets=["apple", "pairs"])
    lineup = Lineup(rows={label: {"vae": SMALL, "vae-large": LARGE} for label in ("apple", "pairs")})
    records = [
        one for data in ("apple", "pairs") for c in (SMALL, LARGE) for one in runs("vae", [0.5], config=c, dataset=data)
    ]
    found = tables(render(board, records, lineup)["pairs.md"])[:2]
    assert [[row[1] for row in table[1:]] for table in found] == [["vae", "vae-large"], ["vae"]]


def test_where_no_lineup_tells_the_settings_those_with_the_most_finished_runs_are_shown_and_the_note_says_so():
    board = with_variants({"model": "vae", "label": "vae-large", "options": {"latent_dim": 10}})
    records = [
        *runs("vae", [0.8, 0.81], config=SMALL),
        *runs("vae", [0.1], config={**SMALL, "latent_dim": 3}),
        *runs("vae", [0.7, 0.71, 0.72], config=LARGE),  # the most, and the variant's
        *runs("vae", [0.6], config=SSIM),
    ]
    files = render(board, records)
    assert {row[1]: row[2][:5] for row in tables(files["pairs.md"])[0][1:]} == {"vae": "0.805", "vae-large": "0.710"}
    note = "- No lineup of the board says which settings of `vae{}` are meant; of several that fit, those with the most"
    text = " ".join(files["pairs.md"].split())
    assert note.format("") in text
    assert note.format("-large") in text
    assert "2 runs in 2 other settings" in files["pairs.md"]


def test_a_budget_of_a_dataset_or_variant_is_that_of_its_runs_and_is_told():
    board = with_variants(
        {"model": "vae", "label": "short", "budget": {"max_steps": 5}},
        datasets=["apple", {"name": "pairs", "budget": {"max_steps": 50}}],
    )
    budgets = {steps: Budget(max_steps=steps) for steps in (5, 50, None, 7)}
    records = [
        record("vae", 0, 0.5, config=SMALL, dataset=data, budget=budget)
        for data in ("apple", "pairs")
        for budget in budgets.values()
    ]
    lineup = Lineup(rows={label: {"vae": SMALL, "short": SMALL} for label in ("apple", "pairs")})
    files = render(board, records, lineup)
    assert files == render(board, records)  # there is nothing to guess
    lines_of = list(csv.DictReader(io.StringIO(files["pairs.csv"])))[::2]
    assert [(line["label"], line["variant"], line["runs"]) for line in lines_of] == [
        ("apple", "short", records[0].key),
        ("apple", "vae", records[2].key),
        ("pairs", "short", records[4].key),
        ("pairs", "vae", records[5].key),
    ]
    notes = re.search(r"Notes</summary>(.*?)</details>", files["pairs.md"], re.DOTALL)
    assert notes
    of_all, of_pairs = notes[1].split("**`pairs`**")
    assert "`short` has a budget of its own here: `max_steps=5`." in of_all
    assert "- `short` is `vae` with `no other options`.\n" in of_all
    assert of_pairs.strip() == "- `vae` has a budget of its own here: `max_steps=50`."


def test_split_hashes_and_dataset_versions_have_tables_of_their_own_newest_first_then_most_runs():
    records = [
        *runs("a", [0.1], split_hash="aa" * 32),
        *runs("b", [0.2, 0.3, 0.4], split_hash="bb" * 32),
        *runs("c", [0.5], split_hash="cc" * 32, dataset_version=2),
        *runs("d", [0.6], split_hash="bb" * 32, harness_version=2),
    ]
    assert [[row[1] for row in table[1:]] for table in tables(markdown(records))[:4]] == [["d"], ["c"], ["b"], ["a"]]
    headings = [line for line in markdown(records).splitlines() if line.startswith("## ")]
    assert headings == [f"## `pairs`, split `{hash_ * 6}`" for hash_ in ("bb", "cc", "bb", "aa")]


def test_datasets_come_in_the_order_of_the_board():
    board = BOARD.model_copy(update={"datasets": Board.model_validate(
        {**BOARD.model_dump(), "datasets": ["zebra", "apple"]}).datasets})  # fmt: skip
    records = [record("a", 0, 0.1, dataset="apple"), record("a", 0, 0.2, dataset="zebra")]
    headings = [line for line in markdown(records, board).splitlines() if line.startswith("## ")]
    assert [heading.split("`")[1] for heading in headings] == ["zebra", "apple"]


def test_a_dataset_is_called_by_its_label_and_its_name_stands_beside_it_where_it_is_another():
    board = labelled("apple", {"name": "pairs", "label": "noisy", "options": {"noise": 0.4}})
    records = [record("a", 0, 0.1, dataset="apple"), record("a", 0, 0.2)]
    found = re.findall(r"^## (.*)\n\n(.*)$", markdown(records, board), re.MULTILINE)
    split = "split `abababababab`, 1 seed."
    assert found == [("`apple`", f"S{split[1:]}"), ("`noisy`", f"Dataset `pairs` (`noise=0.4`), {split}")]
    assert [(line["label"], line["dataset"]) for line in lines(records, board)[::2]] == [
        ("apple", "apple"), ("noisy", "pairs")
    ]  # fmt: skip


def test_a_run_stands_under_the_dataset_that_fixes_the_most_of_its_options():
    board = labelled(
        "pairs",
        {"name": "pairs", "label": "noisy", "options": {"noise": 0.6}},
        {"name": "pairs", "label": "other", "options": {"noise": 0.6, "seed": 1}},
        {"name": "pairs", "label": "same", "options": {"noise": 0.6, "size": 9}},
    )
    options = {"any": {"noise": 0.4, "seed": 1}, "noisy": {"noise": 0.6, "seed": 0}, "other": {"noise": 0.6, "seed": 1}}
    records = [record(f"on-{name}", 0, 0.5, options=chosen) for name, chosen in options.items()]
    both = record("on-two", 0, 0.5, options={"noise": 0.6, "seed": 1, "size": 9})
    found = {line["model"]: line["label"] for line in lines([*records, both], board)}
    assert found == {"on-any": "pairs", "on-noisy": "noisy", "on-other": "other", "on-two": "other"}


def test_every_table_has_its_own_rank_and_columns():
    board = labelled({"name": "pairs", "rank": GAP, "columns": [RANK]}, "apple")
    both = {RANK: value(0.5), GAP: value(0.25, "gap"), FPR: value(0.75, "fpr95")}
    records = [record("a", 0, values=both), record("a", 0, values=both, dataset="apple")]
    assert [table[0][2:4] for table in tables(markdown(records, board))[:2]] == [
        ["gap ↓ test", "accuracy ↑ test, uncorrelated"],
        ["accuracy ↑ test, uncorrelated", "fpr95 left ↓ test, correlated"],
    ]
    assert [line["value"] for line in lines(records, board)] == [GAP, RANK, RANK, FPR]


def test_values_of_an_older_metric_version_are_counted_and_not_averaged():
    records = runs("vae", [0.8, 0.9])
    older = record("vae", 2, values={RANK: value(0.1, version=0)})
    assert column([*records, older], "accuracy ↑ test, uncorrelated")["vae"].startswith("0.850 (")
    assert "the metric has a newer version: 1 values of accuracy ↑ test, uncorrelated." in said([*records, older])
    assert "- metric versions: `accuracy 1`\n" in markdown([*records, older])


def test_runs_of_an_older_model_version_are_counted_and_not_shown():
    records = [*runs("vae", [0.8, 0.9], model_version=2), *runs("vae", [0.1, 0.2, 0.3]), record("ae", 0, 0.5)]
    assert column(records, "seeds") == {"vae": "2", "ae": "1"}
    assert "the model has a newer version: 3 runs of `vae 1`." in markdown(records)


def test_a_run_that_is_recorded_twice_counts_once_and_the_finished_record_is_taken():
    records = runs("vae", [0.8, 0.9])
    failed = record("vae", 1)
    assert failed.key == records[1].key
    again = records[0].model_copy(update={"started": "2026-02-02T00:00:00Z"})
    for order in ([*records, again, failed], [failed, again, *reversed(records)]):
        assert column(order, "seeds") == {"vae": "2"}
        assert column(order, "failed") == {"vae": "0"}


@pytest.mark.parametrize(
    "fields",
    [
        {"dataset": "others"},
        {"options": {"noise": 0.6, "seed": 0}},
        {"options": {"seed": 0}},
        {"budget": Budget(max_steps=10)},
    ],
    ids=["dataset", "other option", "missing option", "budget"],
)
def test_a_run_that_is_not_the_board_s_is_passed_over(fields):
    assert render(BOARD, [record("vae", 0, 0.5, **fields)]) == {}
    mine = runs("vae", [0.5, 0.6])
    assert render(BOARD, [record("vae", 7, 0.1, **fields), *mine]) == render(BOARD, mine)


def test_a_board_may_restrict_the_models_and_leaves_other_options_open():
    board = BOARD.model_copy(update={"models": ["ae"]})
    assert render(board, [record("vae", 0, 0.5)]) == {}
    assert render(board, [record("ae", 0, 0.5, options={"noise": 0.4, "seed": 5})])


def test_a_budget_is_part_of_the_board():
    board = BOARD.model_copy(update={"budget": Budget(max_steps=10)})
    assert "budget: max_steps=10." in markdown([record("vae", 0, 0.5, budget=Budget(max_steps=10))], board)
