"""What the command shows: lines that fit the window, of text that no terminal obeys, and where the rest is."""

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.boards.board import Board
from latentbench.boards.render.leaderboard import board_tables
from latentbench.boards.render.terminal import terminal
from latentbench.records.record import Environment, Failure, Record, Value
from latentbench.records.store import Store
from latentbench.spec import RunSpec

WHERE = Environment(python="3", platform="p", packages={}, cpu="c", threads=1, device="cpu", plugins={})
NAMES = ["accuracy@test", "worst-case-accuracy@test", "auroc[hole_indicator]@test", "fpr95@test/correlated"]
BOARD = Board(name="b", title="A board", datasets=["d"], rank=NAMES[0], columns=NAMES[1:], seeds=3)


def run(model: str, seed: int, *numbers: float, title: str = "", **fields: Any) -> Record:
    """A run with the first values of ``NAMES``; a failed one without any."""
    spec = RunSpec(
        model=model, model_version=1, config={}, dataset=fields.pop("dataset", "d"), dataset_version=1, options={},
        split_hash="0" * 64, seed=seed,
    )  # fmt: skip
    values = {
        name: Value(
            value=number, metric=(metric := re.split(r"[@\[]", name)[0]), version=1, title=title or metric,
            higher_is_better=metric != "fpr95",
        )
        for name, number in zip(NAMES, numbers, strict=False)
    }  # fmt: skip
    return Record(
        key=spec.key, status="finished" if numbers else "failed", spec=spec, values=values, started="s", finished="f",
        environment=WHERE, **fields,
    )  # fmt: skip


def rows(model: str, *numbers: float, **fields: Any) -> list[Record]:
    return [run(model, seed, *(number + seed / 100 for number in numbers), **fields) for seed in range(3)]


def shown(records: list[Record], width: int = 100, board: Board = BOARD, encoding: str = "utf-8") -> list[str]:
    return [line for line, _ in terminal(board, board_tables(board, records), width, encoding)]


MODELS = [*rows("autoencoder", 0.9, 0.8, 0.7, 0.1), *rows("vae", 0.6, 0.5, 0.4, 0.2)]
NULLS = [one for number in range(5) for one in rows(f"null-{number}", 0.1 * number, null=True)]


def test_a_whole_table_as_text() -> None:
    failed = run("flow", 0, failure=Failure(type="E", message="out of memory", traceback=""))
    assert "\n".join(shown([*MODELS, *NULLS, failed], 90)) == (
        """\
A board

d: split 000000000000

                                                         worst-case-accuracy
rank  model               accuracy ↑ test         seeds               ↑ test
----  -----------  ----------------------  ------------  -------------------
   1  autoencoder  0.910 (0.885 to 0.935)             3        0.810 ± 0.025
   2  vae          0.610 (0.585 to 0.635)             3        0.510 ± 0.025
   -  flow                              -  0 (1 failed)                    -
----  -----------  ----------------------  ------------  -------------------
null  null-4       0.410 (0.385 to 0.435)             3                    -
null  null-3       0.310 (0.285 to 0.335)             3                    -
null  null-2       0.210 (0.185 to 0.235)             3                    -
and 2 more nulls

No rank: flow (every run failed: out of memory).

A rank is an interval: 2-4 leaves open which of the second to fourth places a row has.
Behind a value stands its 95 % interval in brackets, or ± half of its interval over seeds.
"""
    )


def test_more_columns_are_shown_where_more_fit_and_all_of_them_in_the_end() -> None:
    headings = [" ".join(" ".join(shown(MODELS, width)[4:8]).split()) for width in (40, 60, 80, 120, 200)]
    counts = [text.count("↑") + text.count("↓") for text in headings]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (1, len(NAMES))


@settings(max_examples=60)
@given(
    width=st.integers(60, 200),
    labels=st.lists(st.text("abc-_", min_size=1, max_size=60), min_size=1, max_size=4, unique=True),
    long=st.booleans(),
)
def test_no_line_is_wider_than_the_window(width: int, labels: list[str], long: bool) -> None:
    title = "the mean over facets and labels" if long else ""
    records = [one for label in labels for one in rows(label, 0.5, 0.5, 0.5, title=title)]
    lines = shown([*records, *NULLS], width)
    assert max(map(len, lines)) <= width
    text = "".join(line[6:] for line in lines)
    for label in labels:  # a label that is too long stands in several lines
        assert set(label) <= set(text)


def test_a_label_that_does_not_fit_is_broken_and_not_cut() -> None:
    label = "a-model-with-a-very-long-name-that-says-all-of-its-options"
    column = [line[6:].split("  ")[0].strip() for line in shown(rows(label, 0.5), 50)]
    assert label in "".join(column)


def test_the_best_nulls_stand_below_the_rows_and_the_others_are_counted() -> None:
    lines = shown([*MODELS, *NULLS])
    assert [line.split()[:2] for line in lines if line.startswith("null")] == [
        ["null", "null-4"], ["null", "null-3"], ["null", "null-2"]
    ]  # fmt: skip
    assert "and 2 more nulls" in lines


def test_marks_are_explained_and_only_those_that_are_there() -> None:
    ahead = shown([*MODELS, *NULLS])
    assert not any("†" in line for line in ahead)
    behind = shown([*rows("vae", 0.2), *NULLS])
    assert "† not ahead of the best null, null-4 by accuracy ↑ test." in behind


def test_who_has_no_rank_and_why_is_said_once_for_all_of_which_it_holds() -> None:
    failure = Failure(type="E", message="out of memory", traceback="")
    failed = [run(model, 0, failure=failure) for model in ("flow", "glow")]
    lines = shown([*MODELS, *failed, run("once", 0, 0.5)])
    once = "once (one seed, so the uncertainty over seeds is not known)"
    assert f"No rank: {once}; flow, glow (every run failed: out of memory)." in " ".join(lines)


def test_of_a_board_with_means_these_alone_are_shown() -> None:
    board = Board.model_validate({**BOARD.model_dump(), "datasets": ["d", "e"], "average": True})
    records = [*MODELS, *rows("vae", 0.6, dataset="e")]
    lines = shown(records, board=board)
    assert [line for line in lines if line.startswith(("d:", "e:", "means:"))] == [
        "means: mean over 2 of 2 datasets (d, e)"
    ]
    assert "The tables of 2 datasets are not shown here." in lines


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_what_the_encoding_lacks_is_shown_otherwise(encoding: str) -> None:
    board = BOARD.model_copy(update={"title": "Über Kanten → Flächen"})
    text = "\n".join(shown([*rows("vae", 0.2, 0.3), *NULLS], board=board, encoding=encoding))
    text.encode(encoding)
    assert text.isascii() or encoding != "ascii"
    if encoding == "utf-8":
        assert "† not ahead" in text
    elif encoding == "ascii":
        assert "* not ahead of the best null, null-4 by accuracy ^ test." in text


@given(st.text(min_size=1, max_size=40))
@settings(max_examples=60)
def test_what_records_hold_is_obeyed_by_no_terminal(text: str) -> None:
    evil = f"{text}\x1b[2J\r\n\u202e"
    failure = Failure(type="E", message=evil, traceback="")
    records = [*rows(evil, 0.5, title=evil), run("flow", 0, failure=failure), *rows(f"null {evil}", 0.1, null=True)]
    lines = shown(records, board=BOARD.model_copy(update={"title": evil.replace("\r\n", " ")}))
    title = next(place for place, line in enumerate(lines) if not line)
    assert "".join(lines[:title]).isprintable()
    lines = lines[title:]
    words = "".join(lines)
    assert words.isprintable()
    assert not set(words) - set(map(chr, range(32, 127))) - set("±↑↓†‡§")


# The command in a real terminal


def in_terminal(call: list[str], columns: int) -> tuple[int, str]:
    """Exit code and output of a command whose standard output is a terminal of that width."""
    reader, end = os.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    environment |= {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(call, stdin=end, stdout=end, env=environment) as process:
        os.close(end)
        output = b""
        while chunk := _read(reader):
            output += chunk
    os.close(reader)
    return process.returncode, output.decode().replace("\r\n", "\n")


def _read(end: int) -> bytes:
    try:
        return os.read(end, 4096)
    except OSError:  # Linux's word for the end of a terminal
        return b""


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path / "results")
    for one in (*MODELS, *NULLS):
        store.save_record(one)
    (tmp_path / "b.yaml").write_text(BOARD.model_dump_json(exclude_defaults=True))  # JSON is YAML
    return store.root


@pytest.mark.parametrize("columns", [70, 100])
def test_in_a_terminal_the_table_fits_the_window_and_the_way_to_all_of_it_is_named(results: Path, columns: int) -> None:
    call = [
        sys.executable,
        "-m",
        "latentbench",
        "leaderboard",
        str(results.parent / "b.yaml"),
        "--results",
        str(results),
    ]
    code, output = in_terminal(call, columns)
    assert code == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines()
    expected = [*shown([*MODELS, *NULLS], columns), *(f"in full: {results / name}" for name in ("b.md", "b.csv"))]
    assert lines == expected
    assert max(map(len, lines[:-2])) <= columns
    assert "\x1b[1m" in output, "headings are bold"
