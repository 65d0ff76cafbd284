"""The plot of one column against another: its points and bars are the table's numbers, and its file is reproducible."""

import csv
import io
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.transforms import Bbox
from PIL import Image
from tests.latentbench.boards.render.given import record

from latentbench.boards.board import Board
from latentbench.boards.render.plot import Kind, Point, column_of, draw, points, serialize
from latentbench.boards.render.table_csv import table_csv
from latentbench.boards.standings import Table, standings
from latentbench.commands.cli import main
from latentbench.errors import LatentbenchError
from latentbench.records.record import Record, Value
from latentbench.records.store import Store
from latentbench.spec import UNTRAINED

X, Y, NOWHERE = "fd@test", "mig@test", "dci@test"
BOARD_FILE = f"""\
name: trade
title: Quality against disentanglement
datasets: [pairs]
models: [vae, ae, mute, null-chance]
seeds: 3
rank: {Y}
columns: [{X}, {NOWHERE}]
"""
#: By model: the values of each seed.
VALUES = {
    "vae": ([4.0, 5.0, 9.0], [0.1, 0.2, 0.4]),
    "ae": ([30.0], [0.05]),
    "mute": ([], [0.3, 0.3, 0.3]),
    "null-chance": ([100.0, 110.0, 120.0], [0.0, 0.0, 0.001]),
}


def values(x: float | None, y: float) -> dict[str, Value]:
    mig = Value(value=y, metric="mig", version=1, title="MIG", higher_is_better=True, bounds=(0.0, 1.0))
    fd = {} if x is None else {X: Value(value=x, metric="fd", version=1, title="FD", higher_is_better=False)}
    return {Y: mig, **fd}


def made() -> list[Record]:
    found = []
    for model, (x, y) in VALUES.items():
        for seed, number in enumerate(y):
            null = model.startswith("null")
            found.append(record(model, seed, values=values(x[seed] if x else None, number), null=null))
    found += [record("vae", seed, values=values(200.0 + seed, 0.02), budget=UNTRAINED) for seed in range(3)]
    return found


@pytest.fixture(scope="module")
def table() -> Table:
    board = Board(
        name="trade", title="Trade", datasets=["pairs"], models=[*VALUES], seeds=3, rank=Y, columns=[X, NOWHERE]
    )
    (found,) = standings(board, made())
    return found


def drawn(table: Table, **options):
    x, y = column_of(table, X), column_of(table, Y)
    found, _ = points(table, x, y)
    return draw("trade", x, y, found, **options)


def test_points_and_bars_of_the_figure_are_the_numbers_of_the_csv(table: Table) -> None:
    lines = [line for line in csv.DictReader(io.StringIO(table_csv([table]))) if line["mean"]]
    cells = {(line["group"], line["variant"], line["value"]): line for line in lines}
    rows = {key[:2] for key in cells if {(*key[:2], X), (*key[:2], Y)} <= cells.keys()}
    assert rows == {("model", "vae"), ("model", "ae"), ("null", "null-chance"), ("untrained", "vae")}
    expected = {tuple(float(cells[*row, name]["mean"]) for name in (X, Y)) for row in rows}
    axes = drawn(table).axes[0]
    shown = {kind: line for line in axes.lines if (kind := line.get_gid()) in ("models", "nulls", "twins")}
    assert set(shown) == {"models", "nulls", "twins"}
    assert {point for line in shown.values() for point in zip(*line.get_data(), strict=True)} == expected

    ends = set()
    for row in rows:
        mean = {name: float(cells[*row, name]["mean"]) for name in (X, Y)}
        for name, other, horizontal in ((X, Y, True), (Y, X, False)):
            if cells[*row, name]["low"]:
                low, high = (float(cells[*row, name][end]) for end in ("low", "high"))
                ends.add((horizontal, round(mean[other], 6), round(low, 6), round(high, 6)))
    found = set()
    for line in axes.lines:
        if line.get_gid() == "interval":
            (x0, x1), (y0, y1) = line.get_data()
            found.add((True, round(y0, 6), round(x0, 6), round(x1, 6)) if y0 == y1 and x0 != x1 else None)
            found.add((False, round(x0, 6), round(y0, 6), round(y1, 6)) if x0 == x1 else None)
    assert found - {None} == {end for end in ends if end[2] != end[3] or not end[0]}
    assert len(ends) == 6  # a single seed has none


def test_every_row_has_its_label_and_each_kind_its_mark(table: Table) -> None:
    figure = drawn(table)
    axes = figure.axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["ae", "null-chance", "vae", "vae, untrained"]
    marks = {line.get_gid(): (line.get_marker(), line.get_markerfacecolor()) for line in axes.lines}
    marks.pop("interval")
    assert len(set(marks.values())) == 3
    assert [text.get_text() for text in figure.legends[0].texts] == ["models", "nulls", "untrained twins"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("FD ↓ test", "MIG ↑ test")


def test_a_model_with_several_rows_has_a_colour_of_its_own_and_short_labels(table: Table) -> None:
    """The label of a variant without the model's name, in the colour of its point, which the legend names."""
    rows: list[tuple[str, str, Kind]] = [
        ("ae", "ae", "models"),
        ("vae-beta1", "vae", "models"),
        ("vae-beta4", "vae", "models"),
        ("null-chance", "null-chance", "nulls"),
    ]
    found = [Point(*row, float(place), 0.1 * place, None, None) for place, row in enumerate(rows)]
    figure = draw("trade", column_of(table, X), column_of(table, Y), found)
    axes = figure.axes[0]
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert colours.keys() == {"ae", "beta1", "beta4", "null-chance"}
    assert colours["beta1"] == colours["beta4"]
    assert len(set(colours.values())) == 3
    legend = {line.get_label(): line.get_color() for line in axes.lines if line.get_gid() != "interval"}
    assert legend == {"other models": colours["ae"], "vae": colours["beta1"], "nulls": colours["null-chance"]}
    assert [text.get_text() for text in figure.legends[0].texts] == list(legend)


def test_no_label_stands_nearer_to_another_point_than_to_its_own(table: Table) -> None:
    axes = drawn(table).axes[0]
    places = {text.get_text(): axes.transData.transform(text.xy) for text in axes.texts}
    for text in axes.texts:
        box = text.get_window_extent()

        def distance(name: str, box: Bbox = box) -> float:
            x, y = places[name]
            return float(max(box.x0 - x, x - box.x1, 0) ** 2 + max(box.y0 - y, y - box.y1, 0) ** 2)

        assert min(places, key=distance) == text.get_text()


def test_rows_are_left_out_by_kind_and_those_that_lack_a_value_are_named(table: Table) -> None:
    x, y = column_of(table, X), column_of(table, Y)
    found, lacking = points(table, x, y, without=["nulls", "twins"])
    assert [point.label for point in found] == ["vae", "ae"]
    assert lacking == ["mute"]


def test_labels_lie_apart_where_there_is_room(table: Table) -> None:
    axes = drawn(table).axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for number, one in enumerate(boxes) for other in boxes[:number])


def test_a_logarithmic_axis_takes_positive_values_alone(table: Table) -> None:
    assert drawn(table, logarithmic=["x"]).axes[0].get_xscale() == "log"
    x, y = column_of(table, X), column_of(table, NOWHERE)
    with pytest.raises(LatentbenchError, match=r"has both fd@test and dci@test: some have: mig@test, fd@test"):
        points(table, x, y)
    (zero,) = (record("vae", 0, values=values(1.0, 0.0)),)
    (of_zero,) = standings(Board(name="a", title="A", datasets=["pairs"], models=["vae"], rank=Y, columns=[X]), [zero])
    with pytest.raises(LatentbenchError, match=r"'vae' has mig@test of 0, .*: leave --log y out"):
        drawn(of_zero, logarithmic=["y"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trade.yaml").write_text(BOARD_FILE)
    store = Store(tmp_path / "r")
    for one in made():
        store.save_record(one)
    return tmp_path


def plot(folder: Path, *options: str, board: str = "trade.yaml", x: str = X, y: str = Y, to: str = "a.svg") -> int:
    places = ["--results", str(folder / "r"), "--to", str(folder / to)]
    return main(["plot", str(folder / board), "--x", x, "--y", y, *places, *options])


def test_the_files_are_valid_and_the_same_bytes_each_time_whatever_the_users_settings(
    folder: Path, capsys, monkeypatch
) -> None:
    assert plot(folder) == 0
    assert "not drawn, as they lack a value: mute" in capsys.readouterr().err
    first = (folder / "a.svg").read_bytes()
    root = ElementTree.fromstring(first)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert b"dc:date" not in first
    texts = {"".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"vae", "ae", "vae, untrained", "FD ↓ test", "trade: pairs"} <= texts
    (folder / "matplotlibrc").write_text("font.size: 20\nlines.linewidth: 9\nsvg.fonttype: path\n")
    arguments = ["plot", "trade.yaml", "--x", X, "--y", Y, "--results", "r", "--to", "b.svg"]
    code = (
        f"import sys; from latentbench.commands.cli import main; main({arguments!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True)
    assert (folder / "b.svg").read_bytes() == first
    assert plot(folder, to="a.png") == 0
    with Image.open(folder / "a.png") as image:
        image.verify()
        assert image.format == "PNG"
    before = (folder / "a.png").read_bytes()
    assert plot(folder, to="a.png") == 0
    assert (folder / "a.png").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "fdd@test"}, "the table of 'pairs' has no column 'fdd@test': did you mean 'fd@test'"),
        ({"y": NOWHERE}, "no row of 'pairs' has both fd@test and dci@test: some have: mig@test, fd@test"),
        ({"to": "a.jpg"}, "a plot is no '.jpg': end it in .svg or .png"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, capsys, options: dict[str, str], message: str) -> None:
    assert plot(folder, **options) == 2
    assert message in capsys.readouterr().err


def test_a_board_without_records_and_a_dataset_that_it_has_not_are_one_line(folder: Path, capsys) -> None:
    (folder / "other.yaml").write_text(BOARD_FILE.replace("[pairs]", "[elsewhere]").replace("trade", "other"))
    assert plot(folder, board="other.yaml") == 2
    assert "no records of board" in capsys.readouterr().err
    assert plot(folder, "--dataset", "pair") == 2
    assert "has no records of a dataset 'pair': did you mean 'pairs'?" in capsys.readouterr().err
    (folder / "two.yaml").write_text(BOARD_FILE.replace("[pairs]", "[pairs, triples]").replace("trade", "two"))
    Store(folder / "r").save_record(record("vae", 0, values=values(1.0, 0.1), dataset="triples"))
    assert plot(folder, board="two.yaml") == 2
    assert "has records of 2 datasets: choose one by --dataset: pairs, triples" in capsys.readouterr().err
    assert plot(folder, "--dataset", "pairs", board="two.yaml") == 0


def test_serialize_takes_the_figure_as_it_is(table: Table) -> None:
    assert serialize(drawn(table), "svg") == serialize(drawn(table), "svg")
