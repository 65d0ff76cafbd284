"""Leaderboards from hand-made records: what they say, what they never mix, and that equal records give equal bytes."""

import csv
import io
import random
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from scipy import stats
from tests.latentbench.boards.render.given import (
    BOARD,
    ENVIRONMENT,
    FPR,
    GAP,
    RANK,
    column,
    lines,
    markdown,
    record,
    runs,
    said,
    tables,
    value,
)

from latentbench.boards.render.escaping import code_span
from latentbench.boards.render.leaderboard import render
from latentbench.boards.render.table_csv import CSV_COLUMNS
from latentbench.records.record import Failure, Phase, Record, Training
from latentbench.spec import UNTRAINED

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

<details><summary>Spread</summary>

| model   |   accuracy ↑ test, uncorrelated |   seeds |   failed |
|:--------|--------------------------------:|--------:|---------:|
| `vae`   |                   0.810 ± 0.050 |       3 |        0 |
| `ae`    |                   0.800 ± 0.050 |       3 |        0 |
| `pca`   |                           0.600 |       1 |        0 |
| `flow`  |                               - |       0 |        1 |

</details>

<details><summary>Size, steps, time and hardware</summary>

| model   |   parameters |   steps |   fit, s | hardware               |
|:--------|-------------:|--------:|---------:|:-----------------------|
| `vae`   |            - |       - |     11.0 | `Some CPU, threads: 2` |
| `ae`    |            - |       - |     11.0 | `Some CPU, threads: 2` |
| `pca`   |            - |       - |     10.0 | `Some CPU, threads: 2` |
| `flow`  |            - |       - |        - | `Some CPU, threads: 2` |

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


def test_size_and_steps_are_medians_over_the_runs_that_tell_them():
    told = [(30, 1200), (10, 1100), (20, 2400)]
    records = [
        record("vae", seed, 0.5, parameters=1000 * size, training=Training(steps=steps, epochs=1, stopped="epochs"))
        for seed, (size, steps) in enumerate(told)
    ]
    records += [record("pca", 0, 0.4, parameters=0)]
    assert column(records, "parameters") == {"vae": "20,000", "pca": "0"}
    assert column(records, "steps") == {"vae": "1,200", "pca": "-"}
    assert {(line["variant"], line["parameters"], line["steps"]) for line in lines(records)} == {
        ("vae", "20000", "1200"), ("pca", "0", "")
    }  # fmt: skip


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
            "How to read the tables", "Spread", "Size, steps, time and hardware", "Notes", "Failed runs", "Provenance"
        )),
    }  # fmt: skip
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", "h2"]
    assert [{len(row) for row in table} for table in tables(text)] == [{5}, {4}, {5}]
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


def test_a_board_of_one_seed_says_that_it_does_not_rank_over_seeds():
    board = BOARD.model_copy(update={"seeds": 1})
    text = markdown([record("a", 0, 0.9), record("b", 0, 0.1)], board)
    assert "The board has one seed: what order other seeds would give is not known" in " ".join(text.split())
    assert "Holm" not in text
    assert [row[0] for row in tables(text)[0][1:]] == ["?", "?"]
