"""One column of a table against another, with the intervals of both: the same records give the same bytes."""

import io
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from latentbench.boards.intervals import Interval
from latentbench.boards.notes import Code, Part, Title, heading
from latentbench.boards.render.escaping import printable
from latentbench.boards.rows import Column, Row
from latentbench.boards.standings import Table
from latentbench.errors import LatentbenchError, did_you_mean

__all__ = ["FORMATS", "KINDS", "Kind", "Point", "column_of", "draw", "points", "serialize"]

Kind = Literal["models", "nulls", "twins"]
Axis = Literal["x", "y"]

#: Endings of the files that a plot can be written as.
FORMATS = ("svg", "png")
#: The kinds of rows: shape and colour of their points, and what the legend says.
KINDS: dict[Kind, tuple[str, str, str]] = {
    "models": ("o", "#1f5fa8", "models"),
    "nulls": ("D", "#8a8a8a", "nulls"),
    "twins": ("o", "#1f5fa8", "untrained twins"),
}
#: Colours of models that have several rows, in the table's order; where there are more, they are used again.
COLOURS = (KINDS["models"][1], "#c8561b", "#2e8b57", "#8a4fa3", "#b03a5b", "#6b6b1f")
#: Text stays text in an SVG, so that it can be searched, and its identifiers are always the same.
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "latentbench",
    "font.size": 9.0,
    "savefig.dpi": 150,
}
#: Written into a file instead of the date and the version of the library.
_METADATA = {"svg": {"Date": None, "Creator": "latentbench"}, "png": {"Software": "latentbench"}}
#: Where a label may stand beside its point, in points of print, the best place first.
_PLACES = [(4.0 * x, 4.0 * y) for y, x in product((1, -1, 2.5, -2.5), (1, -1))]


@dataclass(frozen=True)
class Point:
    """A row that has both values."""

    label: str
    """The row's, printable."""
    model: str
    """The row's, printable."""
    kind: Kind
    x: float
    """The mean over seeds, as the tables have it."""
    y: float
    x_interval: Interval | None
    """Its 95 % interval, as the tables' CSV has it: low and high; None for a single seed."""
    y_interval: Interval | None


def column_of(table: Table, name: str) -> Column:
    """The column of that name.

    Raises:
        LatentbenchError: the table has none; with near misses.
    """
    found = next((column for column in table.columns if column.name == name), None)
    if found is None:
        mend = did_you_mean(name, [column.name for column in table.columns])
        raise LatentbenchError(f"the table of '{table.label}' has no column '{name}'", mend)
    return found


def points(table: Table, x: Column, y: Column, without: Collection[Kind] = ()) -> tuple[list[Point], list[str]]:
    """The rows that have both values, in the table's order, models first; and the labels of those that do not.

    Args:
        table: whose rows they are.
        x: the horizontal column.
        y: the vertical one.
        without: the kinds of rows to leave out. Twins and nulls that lack a value are never told.

    Raises:
        LatentbenchError: no row has both values; which columns some row has.
    """
    found, lacking = [], []
    for kind, row in _rows(table):
        if kind in without:
            continue
        if x.name in row.summaries and y.name in row.summaries:
            label = printable(f"{row.label}, untrained" if kind == "twins" else row.label)
            means = row.summaries[x.name].mean, row.summaries[y.name].mean
            found.append(Point(label, printable(row.model), kind, *means, row.interval(x), row.interval(y)))
        elif kind == "models":
            lacking.append(printable(row.label))
    if not found:
        there = [one.name for one in table.columns if any(one.name in row.summaries for _, row in _rows(table))]
        raise LatentbenchError(
            f"no row of '{table.label}' has both {x.name} and {y.name}", f"some have: {', '.join(there) or 'no value'}"
        )
    return found, lacking


def _rows(table: Table) -> Iterator[tuple[Kind, Row]]:
    yield from (("models", row) for row in table.rows)
    yield from (("nulls", row) for row in table.nulls)
    yield from (("twins", row.twin) for row in table.rows if row.twin)


def draw(
    title: str, x: Column, y: Column, drawn: Sequence[Point], logarithmic: Collection[Axis] = (), size: float = 6.5
) -> Figure:
    """The plot, with a bar of each interval and a label beside each point.

    Args:
        title: above it.
        x: the horizontal column.
        y: the vertical one.
        drawn: at least one point.
        logarithmic: the axes that are. A bar that reaches 0 there ends at the rim.
        size: width in inches; the height is three quarters of it.

    Raises:
        LatentbenchError: a value at or below 0 on a logarithmic axis.
    """
    for axis, column in (("x", x), ("y", y)):
        least = min(drawn, key=lambda point: getattr(point, axis))
        if axis in logarithmic and getattr(least, axis) <= 0:
            what = (
                f"'{least.label}' has {column.name} of {getattr(least, axis):g}, which a logarithmic axis cannot show"
            )
            raise LatentbenchError(what, f"leave --log {axis} out")
    with _settings():
        figure = Figure(figsize=(size, size * 0.75), layout="constrained")
        FigureCanvasAgg(figure)  # measures the labels
        axes = figure.add_subplot()
        axes.set_title(printable(title), parse_math=False)
        axes.set_xlabel(_text(x), parse_math=False)
        axes.set_ylabel(_text(y), parse_math=False)
        axes.grid(visible=True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(0.12)
        for axis in logarithmic:
            (axes.set_xscale if axis == "x" else axes.set_yscale)("log", nonpositive="clip")
        groups = _groups(drawn)
        colours = _colours(groups)
        for (kind, model), of_group in groups.items():
            colour = colours[kind, model]
            others = kind == "models" and any(name for _, name in groups)
            name = model or ("other models" if others else KINDS[kind][2])
            _bars(axes, of_group, colour)
            axes.plot(
                *([getattr(point, axis) for point in of_group] for axis in "xy"),
                KINDS[kind][0], color=colour, markersize=5, label=name, gid=kind,
                markerfacecolor="white" if kind == "twins" else colour,
            )  # fmt: skip
        if len(groups) > 1:
            figure.legend(loc="outside lower center", ncols=len(KINDS), frameon=False)
        figure.draw_without_rendering()
        texts = [
            (point, _short(point, model), colours[kind, model])
            for (kind, model), of_group in groups.items()
            for point in of_group
        ]
        _label(axes, texts)
        return figure


#: The points of one mark, by kind and by the model that has several rows; the model of all others is empty.
Groups = dict[tuple[Kind, str], list[Point]]


def _groups(drawn: Sequence[Point]) -> Groups:
    """The points in the order of drawing. A model with several rows has a group of its own; nulls and twins do not."""
    found: Groups = {}
    rows = Counter(point.model for point in drawn if point.kind == "models")
    for kind in KINDS:
        for point in drawn:
            if point.kind == kind:
                of = point.model if kind == "models" and rows[point.model] > 1 else ""
                found.setdefault((kind, of), []).append(point)
    return found


def _colours(groups: Groups) -> dict[tuple[Kind, str], str]:
    """For nulls and twins that of the kind; one for each model that has several rows, and one for the other models."""
    of_models = dict(zip((group for group in groups if group[0] == "models"), cycle(COLOURS)))
    return {group: of_models.get(group, KINDS[group[0]][1]) for group in groups}


def _short(point: Point, model: str) -> str:
    """The label of a variant without its model's name, if the legend has that."""
    return point.label.removeprefix(f"{model}-") if model else point.label


def _bars(axes: Axes, drawn: Sequence[Point], colour: str) -> None:
    """A line for each interval, from its low to its high end."""
    for point in drawn:
        if point.x_interval:
            axes.plot([point.x_interval.low, point.x_interval.high], [point.y] * 2, color=colour, **_BAR)
        if point.y_interval:
            axes.plot([point.x] * 2, [point.y_interval.low, point.y_interval.high], color=colour, **_BAR)


#: How an interval is drawn.
_BAR: dict[str, Any] = {"linewidth": 1.0, "alpha": 0.6, "gid": "interval"}


def _label(axes: Axes, texts: Sequence[tuple[Point, str, str]]) -> None:
    """Each label, of a point, in a colour, where it covers least of the points, of the bars and of other labels."""
    at = axes.transData.transform([(point.x, point.y) for point, _, _ in texts])
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in at]
    bars = [_thick(axes, point) for point, _, _ in texts]
    for point, text, colour in texts:
        candidates = [_annotation(axes, point, text, colour, place) for place in _PLACES]
        boxes = [one.get_window_extent() for one in candidates]
        covered = [
            sum(_shared(box, other) for other in taken)
            + _outside(box, axes)
            + sum(_shared(box, bar) for both in bars for bar in both) / 4
            for box in boxes
        ]
        best = covered.index(min(covered))
        taken.append(boxes[best])
        for number, one in enumerate(candidates):
            if number != best:
                one.remove()


def _thick(axes: Axes, point: Point) -> list[Bbox]:
    """The bars of a point as boxes of some width."""
    found = []
    for interval, across in ((point.x_interval, True), (point.y_interval, False)):
        if interval:
            ends = [(end, point.y) if across else (point.x, end) for end in (interval.low, interval.high)]
            (x0, y0), (x1, y1) = axes.transData.transform(ends)
            found.append(Bbox.from_extents(min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1))
    return found


def _annotation(axes: Axes, point: Point, text: str, colour: str, place: tuple[float, float]) -> Annotation:
    dx, dy = place
    return axes.annotate(
        text, (point.x, point.y), place, textcoords="offset points", fontsize=8, color=colour,
        horizontalalignment="left" if dx > 0 else "right", verticalalignment="bottom" if dy > 0 else "top",
        parse_math=False,
    )  # fmt: skip


def _shared(one: Bbox, other: Bbox) -> float:
    """The area that two boxes share."""
    both = Bbox.intersection(one, other)
    return float(both.width * both.height) if both else 0.0


def _outside(box: Bbox, axes: Axes) -> float:
    """The area of a box beyond the axes."""
    return float(box.width * box.height) - _shared(box, axes.bbox.frozen())


def _text(column: Column) -> str:
    """The heading that the tables have, on one line."""

    def plain(part: Part) -> str:
        match part:
            case Code() | Title():
                return printable(part.text)
            case Column():
                return _text(part)
            case str():
                return part

    return "".join(map(plain, heading(column)))


def serialize(figure: Figure, form: str) -> bytes:
    """The figure as a file, the same bytes for the same figure and version of the library.

    Args:
        figure: from ``draw``.
        form: one of ``FORMATS``.
    """
    content = io.BytesIO()
    with _settings():
        figure.savefig(content, format=form, metadata=_METADATA[form])
    return content.getvalue()


@contextmanager
def _settings() -> Iterator[None]:
    """Those of the library's own defaults and of this module, whatever the user's file says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
