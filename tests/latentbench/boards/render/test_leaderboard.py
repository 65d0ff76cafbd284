"""Leaderboards from hand-made records: what they say, what they never mix, and that equal records give equal bytes."""

import csv
import io
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from scipy import stats

from latentbench.boards.board import Board
from latentbench.boards.lineup import Lineup
from latentbench.boards.render.escaping import code_span
from latentbench.boards.render.leaderboard import render
from latentbench.boards.render.table_csv import CSV_COLUMNS
from latentbench.commands.leaderboard import command
from latentbench.records.record import Environment, Failure, Phase, Record, Value
from latentbench.records.store import Store
from latentbench.spec import UNTRAINED, Budget, RunSpec

RANK, GAP, FPR = "accuracy@test/uncorrelated", "gap@test", "fpr95[left]@test/correlated"
BOARD = Board(
    name="pairs",
    title="Pairs of digits",
    description="Two digits,\nside by side.",
    datasets=[{"name": "pairs", "options": {"noise": 0.4}}],
    seeds=3,
    rank=RANK,
    columns=[FPR, RANK],
)
ENVIRONMENT = Environment(
    python="3.11.9",
    platform="Linux",
    packages={"torch": "2.13.0", "numpy": "2.4.6"},
    cpu="Some CPU",
    threads=2,
    device="cpu",
    commit="0123456789abcdef",
    dirty=False,
    plugins={"model": "autoencoders 0.1.0", "dataset": "datasets 0.1.0"},
)


def value(number: float, metric: str = "accuracy", **fields: Any) -> Value:
    facts = {"version": 1, "title": metric, "higher_is_better": metric == "accuracy", **fields}
    return Value(value=number, metric=metric, **facts)


def record(model: str, seed: int = 0, accuracy: float | None = None, **fields: Any) -> Record:
    """A finished run with one accuracy; a failed one without. Fields of the spec and of the record by name."""
    spec = {
        "model": model,
        "model_version": 1,
        "config": {"latent_dim": 4, "epochs": 20},
        "dataset": "pairs",
        "dataset_version": 1,
        "options": {"noise": 0.4, "seed": 0},
        "split_hash": "ab" * 32,
        "seed": seed,
    }
    spec |= {name: fields.pop(name) for name in list(fields) if name in RunSpec.model_fields}
    given = {
        "status": "finished" if accuracy is not None or "values" in fields else "failed",
        "values": {RANK: value(accuracy)} if accuracy is not None else {},
        "phases": {"fit": Phase(seconds=10.0 + seed, peak_memory_bytes=1)},
        "environment": ENVIRONMENT,
        **fields,
    }
    run = RunSpec(**spec)
    return Record(key=run.key, spec=run, started="2026-01-01T00:00:00Z", finished="2026-01-01T00:01:00Z", **given)


def runs(model: str, accuracies: list[float], **fields: Any) -> list[Record]:
    return [record(model, seed, accuracy, **fields) for seed, accuracy in enumerate(accuracies)]


def markdown(records: list[Record], board: Board = BOARD) -> str:
    return render(board, records)[f"{board.name}.md"]


def said(records: list[Record], board: Board = BOARD) -> str:
    """The Markdown in one line: its sentences may be broken anywhere."""
    return " ".join(markdown(records, board).split())


def tables(text: str) -> list[list[list[str]]]:
    """Every table of a Markdown text as an independent parser sees it: rows of cells, the heading first."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level >= 4 and found and found[-1]:
            found[-1][-1].append("".join(child.content for child in token.children or []))
    return found


def lines(records: list[Record], board: Board = BOARD) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(board, records)[f"{board.name}.csv"])))


def column(records: list[Record], heading: str) -> dict[str, str]:
    """Model -> cell of one column of the first table of the Markdown that has it."""
    head, *rows = next(table for table in tables(markdown(records)) if heading in table[0])
    return {row[head.index("model")]: row[head.index(heading)] for row in rows}


# What stands there

WHOLE = """\
# Pairs of digits

Two digits, side by side.

Board `pairs`, budget: unlimited. A rank is an interval: 2-4 leaves open which of the second to fourth places a row has.
Behind a value stands its 95 % interval in brackets, or ± half of its interval over seeds. What explains the tables is
folded below; `pairs.csv` has every value in full precision.

## `pairs`

Dataset `pairs` (`noise=0.4`), split `abababababab`.

|   rank | model   |   accuracy ↑ test, uncorrelated |        seeds |
|-------:|:--------|--------------------------------:|-------------:|
|    1-2 | `vae`   |          0.810 (0.760 to 0.860) |            3 |
|    1-2 | `ae`    |          0.800 (0.750 to 0.850) |            3 |
|      ? | `pca`   |                           0.600 |            1 |
|      - | `flow`  |                               - | 0 (1 failed) |

No rank: `pca` (one seed, so the uncertainty over seeds is not known); `flow` (every run failed:
`the loss is NaN in epoch 2`).

<details><summary>How to read the tables</summary>

- The first value of a table ranks. A rank is the interval of places that the data leave to a row among those of several
  seeds, by t tests of all pairs with moderated variances over seeds and Holm's correction: of tables of equal models
  about 5 % show any separation.
- The value that ranks is the mean over seeds with its 95 % interval over seeds, cut at the metric's bounds. Other cells
  are the mean over seeds ± half of its 95 % Student-t interval over seeds; (n = 2) says that two seeds alone have the
  value.

</details>

<details><summary>Spread, time and hardware</summary>

| model   |   accuracy ↑ test, uncorrelated |   seeds |   failed |   fit, s | hardware               |
|:--------|--------------------------------:|--------:|---------:|---------:|:-----------------------|
| `vae`   |                   0.810 ± 0.050 |       3 |        0 |     11.0 | `Some CPU, threads: 2` |
| `ae`    |                   0.800 ± 0.050 |       3 |        0 |     11.0 | `Some CPU, threads: 2` |
| `pca`   |                           0.600 |       1 |        0 |     10.0 | `Some CPU, threads: 2` |
| `flow`  |                               - |       0 |        1 |        - | `Some CPU, threads: 2` |

</details>

<details><summary>Notes</summary>

- `vae` and `ae` are not separated, and a number of seeds that would separate them is not in sight.
- A row whose uncertainty is not known is placed by its value and has no rank; no other rank depends on it.
- No null and no untrained twin stands here to read values against, so none is marked.
- No run has fpr95 `left` test, correlated.

</details>

<details><summary>Failed runs</summary>

- `flow`, seed 0: `the loss is NaN in epoch 2`

</details>

<details><summary>Provenance</summary>

- dataset `pairs` version 1, options `noise=0.4, seed=0`, split hash
  `abababababababababababababababababababababababababababababababab`, harness version 1
- metric versions: `accuracy 1`
- commit: `0123456789ab`
- plugins: `autoencoders 0.1.0`, `datasets 0.1.0`
- packages: `numpy 2.4.6`, `torch 2.13.0`
- Python: `3.11.9`

</details>
"""


def test_a_whole_leaderboard_as_text():
    records = [
        *runs("vae", [0.81, 0.83, 0.79]),
        *runs("ae", [0.80, 0.82, 0.78]),
        record("pca", 0, 0.6),
        record("flow", 0, failure=Failure(type="NaNLoss", message="the loss is NaN in epoch 2", traceback="")),
    ]
    assert markdown(records) == WHOLE


def test_intervals_are_those_of_scipy_in_the_table_and_in_full_precision_in_the_csv():
    accuracies = [0.512, 0.547, 0.601, 0.583]
    low, high = stats.t.interval(0.95, 3, loc=sum(accuracies) / 4, scale=stats.sem(accuracies))
    assert column(runs("vae", accuracies), "accuracy ↑ test, uncorrelated") == {
        "vae": f"{(low + high) / 2:.3f} ({low:.3f} to {high:.3f})"
    }
    spread = tables(markdown(runs("vae", accuracies)))[1]
    assert spread[1][1] == f"{(low + high) / 2:.3f} ± {(high - low) / 2:.3f}"
    line = lines(runs("vae", accuracies))[0]
    assert float(line["mean"]) == pytest.approx((low + high) / 2, rel=1e-14)
    assert float(line["half_width"]) == pytest.approx((high - low) / 2, rel=1e-9)
    assert (float(line["min"]), float(line["max"])) == (0.512, 0.601)


def test_the_csv_has_one_line_for_each_row_and_value():
    records = [*runs("vae", [0.8, 0.9]), record("vae", 2), record("flow")]
    found = lines(records)
    assert list(found[0]) == list(CSV_COLUMNS)
    assert [(line["model"], line["value"], line["n"], line["finished"], line["failed"]) for line in found] == [
        ("vae", RANK, "2", "2", "1"),
        ("vae", FPR, "0", "2", "1"),
        ("flow", RANK, "0", "0", "1"),
        ("flow", FPR, "0", "0", "1"),
    ]
    assert found[0]["mean"] == repr(0.8500000000000001)  # of the two floats, exactly rounded
    assert (found[0]["rank_first"], found[0]["higher_is_better"], found[0]["readout"]) == ("1", "true", "native")
    assert found[0]["runs"].split() == [one.key for one in records[:2]]
    assert (found[1]["mean"], found[1]["higher_is_better"], found[2]["rank_last"]) == ("", "", "")


def test_headings_tell_part_place_and_direction():
    values = {RANK: value(0.5), FPR: value(0.25, "fpr95", title="FPR95")}
    head = tables(markdown([record("vae", values=values)]))[0][0]
    assert head[2:4] == ["accuracy ↑ test, uncorrelated", "FPR95 left ↓ test, correlated"]


def test_where_lower_is_better_the_least_ranks_first():
    board = BOARD.model_copy(update={"rank": GAP, "columns": []})
    records = [record(name, values={GAP: value(gap, "gap")}) for name, gap in (("a", 0.3), ("b", -0.1), ("c", 0.2))]
    assert [(row[0], row[1], row[2]) for row in tables(markdown(records, board))[0][1:]] == [
        ("?", "b", "-0.100"),
        ("?", "c", "0.200"),
        ("?", "a", "0.300"),
    ]


def test_a_mean_that_rounds_to_zero_has_no_sign():
    board = BOARD.model_copy(update={"rank": GAP, "columns": []})
    assert tables(markdown([record("a", values={GAP: value(-0.0001, "gap")})], board))[0][1][2] == "0.000"


def test_ranks_tie_where_the_data_do_not_separate_and_the_note_says_how_many_seeds_would():
    records = [*runs("a", [0.90, 0.92, 0.94]), *runs("b", [0.89, 0.91, 0.93]), *runs("c", [0.5, 0.51, 0.52])]
    assert column(records, "rank") == {"a": "1-2", "b": "1-2", "c": "3"}
    text = said(records)
    assert "`a` and `b` are not separated, and a number of seeds that would separate them is not in sight." in text
    assert text.count("not separated") == 1
    assert "no rank" not in text
    behind = [run for name in "bcde" for run in runs(name, [0.85, 0.87, 0.89])]
    assert re.search("`a` and `b` are not separated; [0-9]+ to [0-9]+ seeds", said([*records[:3], *behind]))


def test_equal_means_tie_and_no_number_of_seeds_is_promised():
    records = [*runs("pca", [0.5, 0.5]), *runs("other", [0.25, 0.75])]
    assert column(records, "rank") == {"other": "1-2", "pca": "1-2"}
    assert "`other` and `pca` have the same mean." in markdown(records)


def test_equal_means_go_by_name():
    names = ["f", "b", "e", "a", "d", "c"]
    assert list(column([record(name, 0, 0.5) for name in names], "rank").items()) == [(name, "?") for name in "abcdef"]
    assert list(column([record(name) for name in names], "rank")) == list("abcdef")


def test_a_value_that_some_runs_lack_shows_its_own_number_of_seeds():
    records = runs("vae", [0.8, 0.9, 0.7])
    without = records[2].model_copy(update={"values": {}})
    assert column([*records[:2], without], "accuracy ↑ test, uncorrelated")["vae"].endswith(") (n = 2)")
    assert column([*records[:2], without], "seeds")["vae"] == "3"


def test_what_the_probe_read_is_named():
    probed = record("vae", values={RANK: value(0.5, readout="probe")})
    records = [probed, record("cmi", 0, 0.6)]
    assert "Read by the harness's probe from the codes of `vae`: accuracy." in markdown(records)
    assert {line["model"]: line["readout"] for line in lines(records) if line["value"] == RANK} == {
        "vae": "probe",
        "cmi": "native",
    }


def test_what_k_means_clustered_is_named_and_what_a_model_clusters_itself_is_not():
    facet = "cluster-accuracy[digit]@test"
    board = BOARD.model_copy(update={"rank": facet, "columns": []})
    readouts = {"ae": "k-means", "mixture": "native"}
    records = [
        record(model, values={facet: value(0.5, "cluster-accuracy", title="cluster accuracy", readout=readout)})
        for model, readout in readouts.items()
    ]
    files = render(board, records)
    assert "Read by the harness's k-means from the codes of `ae`: cluster accuracy." in files["pairs.md"]
    assert {line["model"]: line["readout"] for line in csv.DictReader(io.StringIO(files["pairs.csv"]))} == readouts


def test_readouts_that_the_renderer_does_not_know_are_named_as_the_records_name_them():
    values = {RANK: value(0.5, readout="knn"), "f1@test": value(0.5, "f1", title="F1", readout="mahala|nobis")}
    board = BOARD.model_copy(update={"columns": ["f1@test"]})
    text = render(board, [record("code", values=values)])["pairs.md"]
    assert "Read by the harness's knn from the codes of `code`: accuracy." in text
    assert r"Read by the harness's `mahala\x7cnobis` from the codes of `code`: F1." in text


def test_hardware_commits_and_packages_of_all_runs_are_listed_once_each():
    gpu = ENVIRONMENT.model_copy(update={"device": "Some GPU", "commit": "f" * 40, "dirty": True})
    none = ENVIRONMENT.model_copy(update={"commit": None, "packages": {"torch": "2.11.0"}})
    records = [
        *runs("vae", [0.8, 0.81]),
        record("vae", 2, 0.82, environment=gpu),
        record("ae", 0, 0.5, environment=none),
    ]
    assert column(records, "hardware") == {"vae": "Some CPU, threads: 2, Some GPU", "ae": "Some CPU, threads: 2"}
    text = markdown(records)
    assert "- commit: `0123456789ab`, `ffffffffffff with local changes`, `none`\n" in text
    assert "- packages: `numpy 2.4.6`, `torch 2.11.0`, `torch 2.13.0`\n" in text


def test_the_time_of_fitting_is_the_median_over_seeds():
    times = [Phase(seconds=seconds, peak_memory_bytes=1) for seconds in (50.0, 10.0, 20.0)]
    records = [record("vae", seed, 0.5, phases={"fit": time}) for seed, time in enumerate(times)]
    assert column(records, "fit, s") == {"vae": "20.0"}
    assert column([record("vae", 0, 0.5, phases={})], "fit, s") == {"vae": "-"}


# What a page can hold


MANY = [f"metric-{number}@test" for number in range(20)]


def test_no_table_has_more_than_eight_columns_and_every_value_is_in_one():
    board = BOARD.model_copy(update={"rank": MANY[0], "columns": MANY[1:], "seeds": 1})
    numbers = {name: 0.5 + number / 1000 for number, name in enumerate(MANY)}

    def run(model: str, lift: float, **fields: Any) -> Record:
        values = {name: value(number + lift, name.partition("@")[0]) for name, number in numbers.items()}
        return record(model, values=values, **fields)

    models = [run("a", 0.1), run("b", 0.2), run("null", 0.3, null=True), run("a", 0.4, budget=UNTRAINED)]
    for records in (models, [*models, record("b", 1)]):  # with a failed run, seeds are told
        found = tables(markdown(records, board))
        assert max(len(line) for table in found for line in table) == 8
        shown = {cell.partition(" ")[0] for table in found for line in table[1:] for cell in line}
        for lift in (0.1, 0.2, 0.3):
            assert {f"{number + lift:.3f}" for number in numbers.values()} <= shown


def test_columns_come_in_the_order_of_the_board_and_those_without_a_value_take_no_room():
    board = BOARD.model_copy(update={"rank": MANY[0], "columns": MANY[1:]})
    values = {name: value(0.5, name.partition("@")[0]) for name in MANY[::3]}
    head = tables(markdown([record("a", values=values)], board))[0][0]
    assert head[2:] == [f"{name.partition('@')[0]} ↓ test" for name in MANY[:18:3]]
    assert "- No run has metric-1 test, metric-2 test, metric-4 test," in markdown([record("a", values=values)], board)


def test_a_reason_that_many_runs_share_is_told_once():
    reason = "the masks are missing"
    lacking = [
        record(model, seed, values={RANK: value(0.5)}, unmeasured={"gap@test": reason, "fpr95@test": reason})
        for model in "abcdefgh"
        for seed in range(2)
    ]
    board = BOARD.model_copy(update={"columns": [GAP, FPR]})
    text = said(lacking, board)
    assert text.count(reason) == 1
    rows = "; ".join(f"`{model}`, seeds 0, 1" for model in "abcdefgh")
    assert f"- {rows}, no gap test, fpr95 `left` test, correlated: `{reason}`" in text
    failed = [record(m, 0, failure=Failure(type="E", message="no memory", traceback="")) for m in "abcdefgh"]
    text = said(failed)
    assert "No row has a rank: every run failed: `no memory`." in text
    assert text.count("no memory") == 2, "there, and in the list of failed runs"


@settings(max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.text(alphabet="`|\\<>&*_[]()!#~:/@=+-' ab1.\n", min_size=1, max_size=30).map(code_span),
            st.sampled_from(["word", "and", "1.", "-", "+", "#", "1)", "=", ">", "0.5", "-0.5", "†", "(n = 2)"]),
        ),
        max_size=60,
    )
)
def test_lines_of_running_text_are_broken_where_that_changes_nothing(words):
    """Against the same text in one line: hostile spans, and words that would begin a list or heading in a new line."""
    text = " ".join(["Text", *words])
    broken = markdown([record("a", 0, 0.5)], BOARD.model_copy(update={"description": text})).split("\n\n")[1]
    assert broken.replace("\n", " ") == " ".join(text.split())
    tokens = MarkdownIt("commonmark").enable("table").parse(broken)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]


# What is never mixed


SMALL: dict[str, Any] = {"latent_dim": 4, "loss": "bernoulli"}
LARGE: dict[str, Any] = {"latent_dim": 10, "loss": "bernoulli"}
SSIM: dict[str, Any] = {"latent_dim": 10, "loss": "ssim", "window": None}


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


def with_variants(*variants: Any, **fields: Any) -> Board:
    return Board.model_validate({**BOARD.model_dump(exclude_defaults=True), "variants": variants, **fields})


def labelled(*datasets: Any) -> Board:
    return Board.model_validate({**BOARD.model_dump(), "datasets": datasets})


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


# Untrusted records, equal bytes


def test_hostile_names_and_messages_stay_text():
    evil = "x` | <script>alert(1)</script>\n\n# [a](http://b) | y \x1b[31m"
    failure = Failure(type="E", message=evil, traceback=evil)
    environment = ENVIRONMENT.model_copy(update={"cpu": evil, "commit": evil, "packages": {evil: evil}})
    values = {RANK: value(0.5, title=evil), FPR: value(0.1, "fpr95")}
    records = [
        record(evil, 0, values=values, config={evil: evil}, environment=environment),
        record(evil, 1, config={evil: evil}, failure=failure),
        record(evil, 2, config={evil: 1}),
        record("=cmd()", 0, values={RANK: value(0.4, title=evil)}),
    ]
    text = markdown(records)
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    spans = [child.type for token in tokens for child in token.children or []]
    assert set(spans) <= {"text", "code_inline", "softbreak"}
    assert not [token for token in tokens if token.type in ("fence", "code_block")]
    assert {token.content.strip() for token in tokens if token.type == "html_block"} == {
        "</details>",
        *(f"<details><summary>{title}</summary>" for title in (
            "How to read the tables", "Spread, time and hardware", "Notes", "Failed runs", "Provenance"
        )),
    }  # fmt: skip
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", "h2"]
    assert [{len(row) for row in table} for table in tables(text)] == [{5}, {6}]
    assert text.replace("\n", "").replace("±", "").replace("↑", "").replace("↓", "").isprintable()
    csv_text = render(BOARD, records)["pairs.csv"]
    assert csv_text.count("\n") == 1 + 3 * 2  # the third model's line is of another setting
    assert {line["model"] for line in lines(records) if line["mean"] == "0.4"} == {"'=cmd()"}


def test_title_and_direction_are_those_of_most_runs():
    others = [record("b", seed, values={RANK: value(0.9, title="a", higher_is_better=False)}) for seed in range(2)]
    records = [*runs("a", [0.5, 0.6, 0.7]), *others]
    assert column(records, "accuracy ↑ test, uncorrelated")["b"] == "0.900 (0.900 to 0.900)"


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_records_does_not_change_a_byte(seed):
    records = [
        *(one for name in ("c", "a", "b") for one in runs(name, [0.1, 0.2, 0.7])),
        *runs("a", [0.3, 0.4], config={"latent_dim": 5}),
        *runs("d", [0.5], split_hash="cd" * 32),
        record("e"),
        record("e", 1),
    ]
    shuffled = random.Random(seed).sample(records, len(records))
    assert render(BOARD, shuffled) == render(BOARD, records)


def test_times_of_day_leave_no_trace():
    records = runs("a", [0.5, 0.6])
    later = [
        one.model_copy(update={"started": "2031-01-01T00:00:00Z", "finished": "2031", "resumed": 3}) for one in records
    ]
    assert render(BOARD, later) == render(BOARD, records)


# The command


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path / "results")
    for one in [*runs("vae", [0.8, 0.9]), record("ae", 0, 0.5)]:
        store.save_record(one)
    board = {**BOARD.model_dump(exclude_defaults=True), "name": "mine"}
    (tmp_path / "mine.yaml").write_text(json.dumps(board))  # JSON is YAML
    return store.root


def test_the_command_writes_both_files_of_a_board_file_and_says_where(results, tmp_path):
    done = CliRunner().invoke(
        command, [str(tmp_path / "mine.yaml"), "--results", str(results), "--to", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    board = BOARD.model_copy(update={"name": "mine"})
    expected = render(board, [*runs("vae", [0.8, 0.9]), record("ae", 0, 0.5)])
    assert {path.name: path.read_bytes().decode() for path in (tmp_path / "out").iterdir()} == expected
    assert done.output.splitlines()[-2:] == [f"in full: {tmp_path / 'out' / name}" for name in ("mine.md", "mine.csv")]


def test_the_command_writes_the_formats_that_it_is_asked_for(results, tmp_path):
    call = [str(tmp_path / "mine.yaml"), "--results", str(results), "--to", str(tmp_path / "out")]
    done = CliRunner().invoke(command, [*call, "--format", "latex", "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["mine.csv", "mine.tex"]
    refused = CliRunner().invoke(command, [*call, "--format", "html"])
    assert refused.exit_code == 2
    assert "there is no 'html': known: csv, latex, markdown" in refused.output
    for together in ("latex,csv", " latex , csv "):
        assert CliRunner().invoke(command, [*call, "--format", together]).exit_code == 0
    assert CliRunner().invoke(command, [*call, "--format", ""]).exit_code == 2


def test_tables_go_beside_the_records_by_default(results, tmp_path):
    assert CliRunner().invoke(command, [str(tmp_path / "mine.yaml"), "--results", str(results)]).exit_code == 0
    assert sorted(path.name for path in results.glob("mine.*")) == ["mine.csv", "mine.md"]


def test_a_file_that_is_no_record_is_named_in_one_line_and_left_out(results, tmp_path):
    call = [str(tmp_path / "mine.yaml"), "--results", str(results)]
    CliRunner().invoke(command, call)
    before = (results / "mine.md").read_bytes()
    good = next(results.glob("pairs/vae/*.json"))
    for name, text in {
        "junk": "{",
        "empty": "",
        "nan": re.sub(r'": 0\.[89]\d*', '": NaN', good.read_text()),
        "more": json.dumps({**json.loads(good.read_text()), "unknown": 1}),
    }.items():
        (results / "pairs" / "vae" / f"{name}.json").write_text(text)
    process = subprocess.run(
        [sys.executable, "-m", "latentbench", "leaderboard", *call], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    told = process.stderr.splitlines()
    assert len(told) == 4
    for name in ("empty", "junk", "more", "nan"):
        assert sum(f"{name}.json is not a record" in line for line in told) == 1
    assert (results / "mine.md").read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["mine.yaml"]])
def test_without_records_the_error_names_the_folder_and_the_command_that_makes_them(results, tmp_path, arguments):
    empty = tmp_path / "nothing"
    arguments = [str(tmp_path / name) for name in arguments]
    process = subprocess.run(
        [sys.executable, "-m", "latentbench", "leaderboard", *arguments, "--results", str(empty)],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 1
    name = arguments[0] if arguments else "BOARD"
    assert f"in {empty}: make them with: latentbench run {name} --out {empty}" in process.stderr


def test_the_command_needs_no_torch_and_writes_the_same_bytes_in_any_locale(results, tmp_path):
    program = (
        "import sys; from latentbench.commands.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or (3 if 'torch' in sys.modules else 0))"
    )
    written = set()
    for locale in ("C", "C.UTF-8", "tr_TR.UTF-8"):
        arguments = [
            "leaderboard",
            str(tmp_path / "mine.yaml"),
            "--results",
            str(results),
            "--to",
            str(tmp_path / locale),
        ]
        process = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={"PATH": "", "LC_ALL": locale, "LANG": locale},
            capture_output=True,
        )
        assert process.returncode == 0, process.stderr
        written.add((tmp_path / locale / "mine.md").read_bytes())
    assert len(written) == 1


def test_a_board_of_one_seed_says_that_it_does_not_rank_over_seeds():
    board = BOARD.model_copy(update={"seeds": 1})
    text = markdown([record("a", 0, 0.9), record("b", 0, 0.1)], board)
    assert "The board has one seed: what order other seeds would give is not known" in " ".join(text.split())
    assert "Holm" not in text
    assert [row[0] for row in tables(text)[0][1:]] == ["?", "?"]
