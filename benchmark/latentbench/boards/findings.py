"""Published headlines beside the rows that they have to be read against: a file of them, and what the records say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from latentbench.boards.board import Board, Label, ValueText, board_path, find_board, is_board_file
from latentbench.boards.gathering import make_column
from latentbench.boards.references import against, best_of, read_as, read_in
from latentbench.boards.rows import Beside, Column, Row, Verdict
from latentbench.boards.standings import Table
from latentbench.boards.yaml_source import Source, read_form
from latentbench.config import Options
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.value_name import ValueName

if TYPE_CHECKING:
    from latentbench.plugins.registry import Plugins

__all__ = [
    "Evidence",
    "Finding",
    "Findings",
    "Other",
    "Outcome",
    "Paper",
    "Place",
    "Reference",
    "boards_of",
    "evidence",
    "load_findings",
]


class Reference(Options):
    """A row that a finding's row is read against. ``- NAME`` is short for ``- row: NAME``."""

    row: Label
    selector: str | None = Field(
        None,
        description="what stands in the brackets of the value that it is read by, '' for its own score; by default "
        "what stands in those of the finding's value. A null without that is read by its own score in any case",
    )

    @model_validator(mode="before")
    @classmethod
    def _called_by_its_row(cls, value: Any) -> Any:
        return {"row": value} if isinstance(value, str) else value


class Place(Options):
    """Where a headline is looked up: one value on one of the board's datasets."""

    dataset: Label = Field(description="its label on the board")
    value: ValueText = Field(description="one that the board shows there")
    published: str = Field("", description="the published figure for it, as printed")


class Finding(Options):
    """One headline of a paper: the row that it is about, and those that it is read against."""

    title: str
    headline: str = Field(description="what the paper says")
    source: str = Field("", description="where it says so: a table, a figure")
    board: str = Field(description="its name; or the path of its file, from the folder of this one")
    row: Label = Field(description="the paper's method: a model or variant of the board")
    places: list[Place] = Field(min_length=1)
    against: list[Reference] = Field([], description="rows beside the best null and the untrained twin")
    differences: list[str] = Field([], description="sentences: in what the protocol may differ from the paper's")


class Paper(Options):
    """A paper and its headlines."""

    title: str
    reference: str = Field(description="authors, title, venue, year")
    differences: list[str] = Field([], description="as of a finding, for all of them")
    findings: list[Finding] = Field(min_length=1)


class Findings(Options):
    """A YAML file of published headlines. No measured number stands in it."""

    title: str
    introduction: list[str] = Field([], description="paragraphs")
    papers: list[Paper] = Field(min_length=1)
    closing: list[str] = Field([], description="paragraphs")

    _source: Source | None = PrivateAttr(None)

    def each(self) -> Iterator[tuple[tuple[int | str, ...], Finding]]:
        """Every finding, with its place in the file."""
        for number, paper in enumerate(self.papers):
            for place, finding in enumerate(paper.findings):
                yield ("papers", number, "findings", place), finding

    @property
    def folder(self) -> Path:
        """Of the file that they were read from."""
        return self._source.path.parent if self._source else Path()

    def mistake(self, loc: Sequence[int | str], what: str, mend: str = "") -> LatentbenchError:
        """An error about one part, with file and line where it was read from a file."""
        return self._source.mistake(loc, what, mend) if self._source else LatentbenchError(what, mend)


def load_findings(path: Path) -> Findings:
    """Read a file of findings.

    Raises:
        LatentbenchError: the file cannot be read; or ``path:line:`` and what is wrong there.
    """
    parts: dict[str, type[Options]] = {"papers": Paper, "findings": Finding, "places": Place, "against": Reference}
    source, findings = read_form(path, Findings, "findings", "file of findings", parts)
    findings._source = source
    return findings


def boards_of(findings: Findings, plugins: "Plugins") -> dict[str, Board]:
    """The boards that the findings name, by what they call them.

    Raises:
        LatentbenchError: there is no such board, dataset or row, or the board does not show such a value.
    """
    boards: dict[str, Board] = {}
    for loc, finding in findings.each():
        if finding.board not in boards:
            mistake = partial(findings.mistake, (*loc, "board"))
            path = board_path(finding.board, findings.folder, plugins, mistake)
            called = str(path) if is_board_file(finding.board) else finding.board
            boards[finding.board] = find_board(called, plugins)
        for part, what, mend in _mistakes(finding, boards[finding.board], list(plugins.offers("models"))):
            raise findings.mistake((*loc, *part), what, mend)
    return boards


#: Where in a finding, what is wrong there, and how to mend it.
_Mistake = tuple[tuple[int | str, ...], str, str]


def _mistakes(finding: Finding, board: Board, models: Sequence[str]) -> Iterator[_Mistake]:
    """What a finding names that its board does not have, or that it names twice."""
    rows = [*(models if board.models == "all" else board.models), *(variant.label for variant in board.variants)]
    named: list[tuple[tuple[int | str, ...], str]] = [(("row",), finding.row)]
    named += [(("against", number), reference.row) for number, reference in enumerate(finding.against)]
    for part, row in named:
        if row not in rows:
            yield part, f"board '{board.name}' has no row '{row}'", did_you_mean(row, rows)
    for number, reference in enumerate(finding.against):
        if reference in (Reference(row=finding.row), *finding.against[:number]):
            yield ("against", number), f"'{reference.row}' is there already", "leave it out or give it a 'selector'"
    entries = {entry.label: entry for entry in board.datasets}
    for number, place in enumerate(finding.places):
        where = ("places", number)
        if place.dataset not in entries:
            what = f"board '{board.name}' has no dataset '{place.dataset}'"
            yield (*where, "dataset"), what, did_you_mean(place.dataset, entries)
            continue
        if place.value in board.no_merit:
            yield (*where, "value"), f"'{place.value}' is no merit on board '{board.name}'", "choose another value"
        shown = board.values(entries[place.dataset])
        selectors = [None, *(reference.selector for reference in finding.against)]
        for name in dict.fromkeys(_selected(place.value, selector) for selector in selectors):
            if name not in shown:
                what = f"board '{board.name}' does not show '{name}' on '{place.dataset}'"
                yield (*where, "value"), what, did_you_mean(name, shown)


def _selected(value: str, selector: str | None) -> str:
    """The name of a value with another text in its brackets."""
    return value if selector is None else str(replace(ValueName.parse(value), selector=selector))


#: Of a finding's row beside another: what the tests say; whose value is better, where there are none; what is missing.
Outcome = Literal["ahead", "undecided", "behind", "better", "worse", "no record", "failed", "no value"]


@dataclass(frozen=True)
class Other:
    """A row that a finding's row is read against; and that row itself."""

    kind: Literal["row", "null", "twin"]
    """A row that the finding names, the best null, or the untrained twin."""
    label: str
    """The row's on the board; of the best null, empty where no null has the value."""
    selector: str | None
    """What it is read by, as in a ``Reference``; of a null, '' where it is read by its own score instead."""
    row: Row | None
    """With the value that it is read by in the column of the finding's value."""
    outcome: Outcome | None
    """Of the finding's row beside it. None where that row alone has no value; and of that row itself, if it has one."""


@dataclass(frozen=True)
class Evidence:
    """What the records have for one place of a finding."""

    place: Place
    column: Column
    table: Table | None
    """None where the dataset has no record."""
    row: Other
    """The finding's own; its outcome says why it has no value, if it has none."""
    null: Other
    """The best one."""
    twin: Other | None
    """None where the board runs no twins."""
    named: Sequence[Other]
    """What the finding names, in its order."""

    @property
    def others(self) -> list[Other]:
        """All that the row is read against."""
        return [self.null, *([self.twin] if self.twin else []), *self.named]


def evidence(finding: Finding, place: Place, board: Board, tables: Sequence[Table]) -> Evidence:
    """The row of a finding beside those that it is read against, by the tests of the board's tables.

    Nulls and twin are compared as in the tables, also the nulls that the finding names; and the other rows that it
    names as rows named beforehand (``latentbench.boards.references``). A model that is read by another score is one row
    more.

    Args:
        finding: what is asked.
        place: where.
        board: the finding's.
        tables: its standings; the dataset counts by its first one.
    """
    entry = next(entry for entry in board.datasets if entry.label == place.dataset)
    table = next((table for table in tables if table.label == place.dataset and not table.set_options), None)
    everything = {row.label: row for row in (*table.rows, *table.nulls)} if table else {}
    column = _column(place.value, table)
    name = column.name
    group = (
        next((one for one in table.groups if any(row.label == finding.row for row in one.rows)), None)
        if table
        else None
    )
    own = next((row for row in group.rows if row.label == finding.row), None) if group else None
    nulls = {null.label: null for null in read_in(column, table.nulls if table else [])}
    by_null = own.beside_null.get(name) if own else None
    best = nulls[by_null.label if by_null else [*nulls][best_of([*nulls.values()], column)]] if nulls else None
    read = {one: _read(everything[one.row], column, one, nulls) for one in finding.against if one.row in everything}
    found: dict[Reference, Outcome] = {}
    if own is not None and group is not None and name in own.summaries:
        of_each = by_null.each if by_null else {}
        found = {one: _outcome(*of_each[one.row]) for one, row in read.items() if row is nulls.get(one.row)}
        named = {one: row for one, row in read.items() if name in row.summaries and one not in found}
        plain = {finding.row, *(one.row for one in named if one.selector is None)}
        others = [row for row in table.rows if row.label not in plain and name in row.summaries] if table else []
        told = against(own, [*named.values()], others, column, seeds=not group.comparison.images_alone)
        found |= {one: _outcome(by.better, by.verdict) for one, by in zip(named, told, strict=True)}

    def other(
        kind: Literal["row", "null", "twin"], label: str, selector: str | None, row: Row | None, by: Outcome | None
    ) -> Other:
        """With what the comparison says; where there is none, whether it is this row that has no value."""
        return Other(kind, label, selector, row, by or _lacking(row, column))

    some = best or next((null for null in everything.values() if null.null), None)
    by_twin = own.beside_twin.get(name) if own else None
    return Evidence(
        place=place,
        column=column,
        table=table,
        row=other("row", finding.row, None, own, None),
        null=other(
            "null",
            best.label if best else "",
            _score_of(best, everything, column) if best else None,
            some,
            _outcome_of(by_null),
        ),
        twin=other("twin", finding.row, None, own and own.twin, _outcome_of(by_twin))
        if board.twins_on(entry)
        else None,
        named=[
            other(
                "row",
                one.row,
                _score_of(read[one], everything, column) if one in read and one.selector is None else one.selector,
                read.get(one),
                found.get(one),
            )
            for one in finding.against
        ],
    )


def _read(row: Row, column: Column, reference: Reference, nulls: Mapping[str, Row]) -> Row:
    """The row with the value in the column that a reference reads it by; a null as tables read it, where that is so."""
    name = column.name if reference.selector is None else _selected(column.name, reference.selector)
    if row.label in nulls and (reference.selector is None or (name == column.own and column.name not in row.summaries)):
        return nulls[row.label]
    return row if name == column.name else read_as(row, column, name)


def _score_of(row: Row, everything: Mapping[str, Row], column: Column) -> str | None:
    """'' of a null that is read by its own score where the column names another one; else None."""
    as_it_is = everything[row.label]
    return "" if row.null and column.name not in as_it_is.summaries and column.name in row.summaries else None


def _column(name: str, table: Table | None) -> Column:
    """The table's column; where no run has the value, with the facts that other values of its metric tell."""
    bare = make_column(name, [])
    alike = [one for one in (table.columns if table else []) if one.metric == bare.metric and one.version is not None]
    return replace(next((one for one in alike if one.name == name), (alike or [bare])[0]), name=name)


def _lacking(row: Row | None, column: Column) -> Outcome | None:
    """Why there is no value; None where there is one."""
    if row is not None and column.name in row.summaries:
        return None
    if row is None or not row.records:
        return "no record"
    return "no value" if row.finished else "failed"


def _outcome_of(found: Beside | None) -> Outcome | None:
    return None if found is None else _outcome(found.better, found.verdict)


def _outcome(better: bool, verdict: Verdict | None) -> Outcome:
    return verdict or ("better" if better else "worse")
