"""Claims: the published numbers of one paper as a YAML file, with where they stand and how each is to be tested.

Every number of a claim (the published one, its spread, the test's margin) is in the unit that the paper prints, percent
or a plain number. Records hold plain numbers; ``Claim.factor`` converts.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, PrivateAttr, Tag, ValidationError, model_validator

from latentbench.boards.board import Label, ValueText, is_board_file
from latentbench.boards.published import MEANS
from latentbench.boards.yaml_source import Source, read_form
from latentbench.config import Options
from latentbench.errors import LatentbenchError, did_you_mean

__all__ = [
    "Cell",
    "Citation",
    "Claim",
    "Computed",
    "Equivalence",
    "Gap",
    "OnBoard",
    "Order",
    "Other",
    "Paper",
    "Runs",
    "Speedup",
    "Spread",
    "Timed",
    "json_schema",
    "load_paper",
]

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Cell(Options):
    """Where a number stands, so that a reader finds it."""

    place: str = Field(min_length=1, description="the table, figure or section: 'table 5', 'figure 6b', 'abstract'")
    row: str = Field("", description="the row's heading, as printed")
    column: str = Field("", description="the column's heading, as printed")

    def __str__(self) -> str:
        """``table 1, Base, VE train``."""
        return ", ".join(filter(None, (self.place, self.row, self.column)))


class Spread(Options):
    """What a paper prints behind ±, in the claim's unit."""

    value: Finite = Field(ge=0)
    kind: Literal["std", "population-std", "standard-error", "confidence-interval", "range", "not-stated"] = Field(
        description="over runs: std has n - 1 in the denominator and population-std n; of a confidence interval and a "
        "range, value is half of the width; not-stated: the paper does not say"
    )
    level: float | None = Field(None, gt=0, lt=1, description="of a confidence interval, as in 0.95")

    @model_validator(mode="after")
    def _level_of_an_interval(self) -> Self:
        if (self.level is None) == (self.kind == "confidence-interval"):
            raise ValueError("a confidence interval has a 'level', and nothing else has one")
        return self


class OnBoard(Options):
    """The measured number as a board has it: a row of one of its tables."""

    board: str = Field(description="its name, or the path of its YAML file, from the folder of the claims")
    dataset: Label = Field(
        description=f"its label on the board; '{MEANS}' for the mean over all datasets, where the board has 'average'"
    )
    row: Label = Field(description="a model or variant of the board, by label")
    value: ValueText = Field(description="metric[part]@split/condition; the board need not show it")
    metric_version: int = Field(1, ge=1, description="the version of the metric that was compared with the paper's")

    @cached_property
    def board_name(self) -> str:
        """The board's name, which is also that of its file."""
        return Path(self.board).stem if is_board_file(self.board) else self.board

    @property
    def is_mean(self) -> bool:
        """Whether it is the mean over the board's datasets."""
        return self.dataset == MEANS


class Runs(Options):
    """The measured number as that of all finished runs of one setting, on whatever board."""

    dataset: str = Field(description="the dataset's name")
    options: dict[str, Any] = Field({}, description="option values that the dataset must have; it may have others")
    model: str
    config: dict[str, Any] = Field({}, description="option values that the model must have; it may have others")
    value: ValueText
    metric_version: int = Field(1, ge=1, description="as of a selection on a board")


#: ``package.module:function``, of a package that a plugin is in.
FunctionName = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class Computed(Options):
    """The number as a function computes it: a closed form or a theorem."""

    function: FunctionName = Field(
        description="package.module:function, of a package that a plugin is in; it returns a number"
    )
    arguments: dict[str, Any] = Field({}, description="by name")


class Timed(Options):
    """The number as ``pytest --claims`` times it: how many times as fast one thing is as another."""

    timed: FunctionName = Field(
        description="package.module:function, of a package that a plugin is in; it prepares, untimed, and returns what "
        "is timed: a function without arguments"
    )
    arguments: dict[str, Any] = Field({}, description="by name, of this function and of the other one")
    rounds: int = Field(30, ge=10, description="how often each of the two is timed, by turns")


#: The key that a selection of each form has, and one of another form has not; of runs there is none.
_FORMS: dict[str, type[Options]] = {"function": Computed, "timed": Timed, "board": OnBoard}


def _form(value: Any) -> str:
    """Which of the forms a selection has, by its keys."""
    if isinstance(value, Options):
        return type(value).__name__
    return next((form.__name__ for key, form in _FORMS.items() if isinstance(value, dict) and key in value), "Runs")


Selection = Annotated[
    Annotated[OnBoard, Tag("OnBoard")]
    | Annotated[Runs, Tag("Runs")]
    | Annotated[Computed, Tag("Computed")]
    | Annotated[Timed, Tag("Timed")],
    Discriminator(_form),
]


class Other(Options):
    """Another row of the selection's table. ``NAME`` is short for ``{row: NAME}``."""

    row: Label
    value: ValueText | None = Field(None, description="that it is read by; by default the selection's")

    @model_validator(mode="before")
    @classmethod
    def _called_by_its_row(cls, value: Any) -> Any:
        return {"row": value} if isinstance(value, str) else value


class Equivalence(Options):
    """The measured mean lies within a margin around the published value: two one-sided tests."""

    how: Literal["equivalence"]
    margin: Finite = Field(gt=0, description="in the claim's unit, half of the width")


class Gap(Options):
    """The row is better than another one by at least so much; ``published`` is the printed gap, > 0 if it is better."""

    how: Literal["gap"]
    over: Other
    at_least: Finite = Field(0.0, ge=0, description="in the claim's unit")


class Order(Options):
    """The row is better than the next, and that than the next; ``published`` has a number for each, in this order."""

    how: Literal["order"]
    ahead_of: list[Other] = Field(min_length=1, description="the other rows, best first")


class Speedup(Options):
    """What is timed is faster than something else, by at least such a factor; ``published`` is the printed factor."""

    how: Literal["speedup"]
    over: FunctionName = Field(description="prepares the other thing, as the selection's function does")
    at_least: Finite = Field(1.0, gt=0, description="as a factor: 1 is as fast")


class Citation(Options):
    """Shown and not tested."""

    how: Literal["citation"]
    reason: str = Field(min_length=1, description="why it cannot be tested, or is not meant to be")


Test = Annotated[Equivalence | Gap | Order | Speedup | Citation, Field(discriminator="how")]


class Claim(Options):
    """One published number, or a few that make one statement."""

    id: Label = Field(description="a word, unique in the file: table-5-sphere-holes")
    cell: Cell
    kind: Literal["printed", "digitised", "abstract", "second-hand", "computed"] = Field(
        description="printed: in a table, figure or text of the paper or of its authors' files; digitised: read off a "
        "figure; abstract: only the abstract could be read; second-hand: quoted by somebody else; computed: a closed "
        "form or theorem"
    )
    published: Finite | list[Finite] = Field(description="as printed; a list for an order, the row's own first")
    unit: Literal["percent", "plain"] = Field(description="plain: the number itself, as in a fraction of 1 or in nats")
    spread: Spread | None = None
    seeds: int | None = Field(None, ge=1, description="runs behind the published value; absent if they are not stated")
    protocol: Literal["exact", "near", "other"] = Field(
        description="exact: nothing that could matter differs from ours, so the claim can be refuted; near: what "
        "differs is named; other: shown, not tested"
    )
    differences: list[str] = Field(
        [],
        description="sentences: in what a near protocol differs from ours; of another one the test's reason may say it",
    )
    selection: Selection | None = Field(None, description="absent only where there is nothing of ours to show beside")
    role: Literal["method", "baseline"] = Field(
        "method", description="a baseline of its table, or the method, which is judged where its baseline holds"
    )
    baseline: Label | None = Field(None, description="id of the baseline's claim of the same table")
    test: Test
    explanation: str = Field("", description="a sentence for the reader of the verdict")

    @property
    def factor(self) -> float:
        """What a number in the claim's unit is multiplied by to be in that of the records."""
        return 0.01 if self.unit == "percent" else 1.0

    @property
    def numbers(self) -> list[float]:
        """The published numbers, in the claim's unit."""
        return self.published if isinstance(self.published, list) else [self.published]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if fault := next(_contradictions(self), ""):
            raise ValueError(fault)
        return self


def _contradictions(claim: Claim) -> Iterator[str]:
    """What in a claim contradicts the rest of it; that a protocol names its differences is checked with the paper."""
    test, selection = claim.test, claim.selection
    if (claim.kind == "computed") != isinstance(selection, Computed):
        yield "a claim of kind 'computed' selects a 'function', and no other kind does"
    if claim.kind == "computed" and not isinstance(test, Equivalence):
        yield "a computed number is tested for equivalence"
    if isinstance(selection, Timed) != isinstance(test, Speedup):
        yield "a test of 'speedup' selects what is 'timed', and no other test does"
    if isinstance(test, Speedup) and claim.unit != "plain":
        yield "a factor of speed has the unit 'plain'"
    if claim.kind == "second-hand" and not isinstance(test, Citation):
        yield "a second-hand number is no target: its test is 'citation'"
    if claim.protocol == "other" and not isinstance(test, Citation):
        yield "under another protocol nothing is tested: the test is 'citation', or the protocol 'near'"
    if claim.protocol == "exact" and claim.differences:
        yield "an exact protocol has no 'differences'"
    if selection is None and not isinstance(test, Citation):
        yield "what is tested has a 'selection'"
    if isinstance(test, Gap | Order) and not isinstance(selection, OnBoard):
        yield f"a test of {test.how} selects from a 'board', whose table it compares in"
    wanted = 1 + len(test.ahead_of) if isinstance(test, Order) else 1
    if isinstance(claim.published, list) != isinstance(test, Order) or len(claim.numbers) != wanted:
        yield f"'published' is {f'a list of {wanted} numbers, one for each row' if wanted > 1 else 'one number'}"
    if claim.role == "baseline" and claim.baseline:
        yield "a baseline has no 'baseline'"


class Paper(Options):
    """A YAML file of claims: the numbers of one version of one paper."""

    name: Label = Field(description="the file's name, as in funke-2022; a claim's full name is NAME/ID")
    title: str
    reference: str = Field(description="authors, title, venue, year")
    version: str = Field(description="whose numbers these are: the proceedings, a preprint's v2, a repository's commit")
    url: str = ""
    differences: list[str] = Field([], description="as of a claim, for every claim with a near protocol")
    claims: list[Claim] = Field(min_length=1)

    _source: Source | None = PrivateAttr(None)

    def full_name(self, claim: Claim) -> str:
        """``funke-2022/table-1-base``."""
        return f"{self.name}/{claim.id}"

    @property
    def path(self) -> Path | None:
        """The file that the paper was read from."""
        return self._source.path if self._source else None

    def line(self, claim: Claim) -> int:
        """Where a claim begins in the paper's file, from 0."""
        return self._source.find(self._loc(claim))[1] if self._source else 0

    def _loc(self, claim: Claim) -> tuple[str, int]:
        """The place of a claim; equal claims are told apart."""
        return "claims", next(place for place, one in enumerate(self.claims) if one is claim)

    def differences_of(self, claim: Claim) -> list[str]:
        """In what the protocol of a claim differs from ours; nothing where it is exact."""
        return [*claim.differences, *self.differences] if claim.protocol != "exact" else []

    def mistake(self, claim: Claim, loc: Sequence[int | str], what: str, mend: str = "") -> LatentbenchError:
        """An error about one part of a claim, with file and line where it was read from a file."""
        what = f"claim '{claim.id}': {what}"
        if self._source is None:
            return LatentbenchError(what, mend)
        return self._source.mistake((*self._loc(claim), *loc), what, mend)


def load_paper(path: Path) -> Paper:
    """Read a file of claims; the paper and the file must have the same name.

    Raises:
        LatentbenchError: the file cannot be read; or ``path:line:`` and what is wrong there.
    """
    source, paper = read_form(path, Paper, "claims", "file of claims", _parts)
    paper._source = source
    if paper.name != path.stem:
        what = f"the paper is called '{paper.name}', its file '{path.stem}'"
        raise source.mistake(("name",), what, "name them alike")
    for claim, loc, what, mend in _contradictions_between(paper):
        raise paper.mistake(claim, loc, what, mend)
    return paper


def _parts(error: ValidationError) -> dict[str, type[Options]]:
    """The form of each part of a file, by its key; of a selection and a test, those that the first error is about."""
    parts: dict[str, type[Options]] = {"claims": Claim, "cell": Cell, "spread": Spread, "over": Other}
    forms: dict[str, dict[str, type[Options]]] = {
        "selection": {form.__name__: form for form in (OnBoard, Runs, Computed, Timed)},
        "test": {"equivalence": Equivalence, "gap": Gap, "order": Order, "speedup": Speedup, "citation": Citation},
    }
    for key, tags in forms.items():
        steps = next((item["loc"] for item in error.errors() if key in item["loc"][:-1]), ())
        tag = str(steps[steps.index(key) + 1]) if key in steps else ""
        parts[key] = tags.get(tag, next(iter(tags.values())))
    return parts


def _contradictions_between(paper: Paper) -> Iterator[tuple[Claim, tuple[int | str, ...], str, str]]:
    """What is wrong between claims, or a claim and its paper: the claim, the place in it, what, and the mend."""
    by_id: dict[str, Claim] = {}
    for claim in paper.claims:
        if claim.id in by_id:
            yield claim, ("id",), "there is an earlier claim of this id", "ids are unique in a file"
        by_id.setdefault(claim.id, claim)
    for claim in paper.claims:
        if claim.protocol == "near" and not paper.differences_of(claim):
            mend = "name what differs, in sentences, under 'differences'"
            yield claim, ("protocol",), f"the protocol is '{claim.protocol}', and nothing is said to differ", mend
        if claim.baseline is None:
            continue
        if claim.baseline not in by_id:
            mend = did_you_mean(claim.baseline, by_id)
            yield claim, ("baseline",), f"the file has no claim '{claim.baseline}'", mend
        elif by_id[claim.baseline].role != "baseline":
            what = f"claim '{claim.baseline}' has not the role of a baseline"
            yield claim, ("baseline",), what, "give it 'role: baseline'"


def json_schema() -> str:
    """The JSON Schema of a file of claims, for editors and for other programs."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Paper.model_json_schema()}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
