"""A board: its datasets, models, variants, seeds, budget and ranking value. Errors in its YAML file name the line."""

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, PrivateAttr, Tag, model_validator

from latentbench.boards.yaml_source import Source, read_form
from latentbench.config import Options
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.spec import Budget
from latentbench.value_name import FORM, ValueName

if TYPE_CHECKING:
    from latentbench.plugins.registry import Plugins

__all__ = [
    "Board",
    "BoardDataset",
    "Diagnosis",
    "Label",
    "ValueText",
    "Variant",
    "all_boards",
    "board_path",
    "find_board",
    "is_board_file",
    "load_board",
]

log = logging.getLogger("latentbench")

#: Endings of a board's file.
_SUFFIXES = (".yaml", ".yml")

#: Characters that a label must not contain, because they have a meaning on the command line.
_NO_LABEL = re.compile(r"[\s,=]")


@cache
def _value_name(value: str) -> str:
    try:
        return str(ValueName.parse(value))
    except LatentbenchError:
        raise ValueError(f"is not of the form {FORM}") from None


def _label(value: str) -> str:
    if not value or _NO_LABEL.search(value):
        raise ValueError("is not a word without blanks, commas and equals signs")
    return value


#: A ``ValueName`` as text.
ValueText = Annotated[str, AfterValidator(_value_name)]
#: What ranks: a value, or several in the order in which a row is asked for them.
Ranking = Annotated[
    Annotated[ValueText, Tag("value")] | Annotated[list[ValueText], Field(min_length=1), Tag("values")],
    Discriminator(lambda value: "values" if isinstance(value, list) else "value"),
]
#: The name of a dataset or a variant of a board in tables and on the command line.
Label = Annotated[str, AfterValidator(_label)]


class Diagnosis(Options):
    """What tells whether anomalies lie inside the normal images. ``NULL`` is short for ``{row: NULL}``."""

    row: Label = Field(description="the null whose value tells")
    value: ValueText | None = Field(
        None, description="one that the board shows there, of which .5 is chance; by default the one that ranks"
    )

    @model_validator(mode="before")
    @classmethod
    def _called_by_its_row(cls, value: Any) -> Any:
        return {"row": value} if isinstance(value, str) else value


class BoardDataset(Options):
    """One entry of a board's datasets: a dataset with the options that the board fixes.

    ``- mnist-shift`` is short for ``- name: mnist-shift``.
    """

    name: str
    label: Label = Field(
        description="its name in tables and on the command line: one word, unique in the board; by default `name`"
    )
    options: dict[str, Any] = {}
    optional: bool = Field(False, description="left out, with a warning, if its data is missing")
    rank: Ranking | None = Field(None, description="what ranks here, in place of the board's")
    columns: list[ValueText] | None = Field(None, description="further values to show, in place of the board's")
    seeds: int | None = Field(None, ge=1, description="runs of each model here, in place of the board's number")
    budget: Budget | None = Field(None, description="of every run here, in place of the board's")
    twins: bool | None = Field(None, description="whether untrained twins run here, in place of the board's")
    diagnosis: Diagnosis | None = Field(
        None,
        description="for anomalies that are classes held out of the normal ones: the null whose value tells whether "
        "they lie inside these, and which value that is, if it is not the one that ranks",
    )

    @model_validator(mode="before")
    @classmethod
    def _called_by_its_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        return {"label": value["name"], **value} if isinstance(value, dict) and "name" in value else value


class Variant(Options):
    """A model with options that the board sets; it is planned and shown under its own label, like a model."""

    model: str
    label: Label = Field(description="its name in tables and on the command line: unique among models and variants")
    options: dict[str, Any] = Field({}, description="those in which it differs from the model's preset")
    datasets: list[str] | None = Field(
        None, description="labels of the board's datasets that it runs on; by default all"
    )
    seeds: int | None = Field(None, ge=1, description="its runs on each dataset, in place of the dataset's and board's")
    budget: Budget | None = Field(None, description="of its runs, in place of the dataset's and the board's")


class Board(Options):
    """A board's YAML file.

    A name in ``models`` is the model in its preset for the dataset. Seeds and budget are those of the variant, else
    those of the dataset, else the board's.
    """

    name: str
    title: str
    description: str = ""
    datasets: list[BoardDataset] = Field(min_length=1)
    models: list[str] | Literal["all"] = "all"
    variants: list[Variant] = Field([], description="models in other options, each shown in a line of its own")
    seeds: int = Field(1, ge=1, description="runs of each model, with seeds 0, 1, ...")
    budget: Budget = Budget()
    threads: int = Field(1, ge=1, description="CPU threads of each run, on which its result depends")
    rank: Ranking | None = Field(
        None,
        description="the value that ranks: metric[part]@split/condition. Of several, a row is ranked by the first that "
        "it has, among the rows of which that is so. May be absent if every dataset has one",
    )
    columns: list[ValueText] = Field([], description="further values to show, in order")
    twins: bool = Field(True, description="each trained model is also run without a training step, with equal seeds")
    no_merit: list[ValueText] = Field(
        [],
        description="values that are no merit by themselves, as a gap of 0 is had by guessing: shown, and not read "
        "against nulls and twins",
    )
    ceilings: list[Label] = Field(
        [],
        description="nulls that nothing can be ahead of, such as real images: shown, and nothing is read against them",
    )
    facts: list[str] = Field(
        [],
        description="what fitted models tell of themselves (``Model.facts``) to be shown in a table of its own: they "
        "rank nothing, and no test compares them",
    )
    transductive: Literal["refused", "allowed"] = Field(
        "refused",
        description="runs in which an image's results depend on the others in its batch: allowed ones are marked",
    )
    average: bool = Field(False, description="a table of means over the datasets comes first")

    _source: Source | None = PrivateAttr(None)
    _asked_for: str = PrivateAttr("")

    @property
    def on_the_command_line(self) -> str:
        """What a command names the board by: the path of its file where it was asked for so, else its name."""
        return self._asked_for or self.name

    def __eq__(self, other: object) -> bool:
        """Boards are equal if their contents are, whatever file they come from."""
        return isinstance(other, Board) and self.__dict__ == other.__dict__

    def ranking(self, entry: BoardDataset | None = None) -> list[str]:
        """The names of the values that rank in the table of ``entry``, or of the means: a row goes by its first one."""
        rank = (entry and entry.rank) or self.rank or []
        return [rank] if isinstance(rank, str) else list(dict.fromkeys(rank))

    def values(self, entry: BoardDataset | None = None) -> list[str]:
        """The names of the values in the table of ``entry``, or of the means: the first that ranks comes first."""
        ranking = self.ranking(entry)
        columns = self.columns if entry is None or entry.columns is None else entry.columns
        return list(dict.fromkeys([*ranking[:1], *columns, *ranking[1:]]))

    def lists(self, model: str) -> bool:
        """Whether the board runs the model in its preset."""
        return self.models == "all" or model in self.models

    def variants_on(self, entry: BoardDataset) -> list[Variant]:
        """The variants that run on the dataset ``entry``."""
        return [variant for variant in self.variants if variant.datasets is None or entry.label in variant.datasets]

    def seeds_of(self, entry: BoardDataset, variant: Variant | None = None) -> int:
        """How many runs a model, or a variant of it, has on a dataset."""
        return (variant and variant.seeds) or entry.seeds or self.seeds

    def budget_of(self, entry: BoardDataset, variant: Variant | None = None) -> Budget:
        """The budget of each run of a model, or of a variant of it, on a dataset."""
        own = variant.budget if variant else None
        return next((budget for budget in (own, entry.budget) if budget is not None), self.budget)

    def twins_on(self, entry: BoardDataset) -> bool:
        """Whether the untrained twins of the models run on a dataset."""
        return self.twins if entry.twins is None else entry.twins

    def mistake(self, loc: Sequence[int | str], what: str, mend: str = "") -> LatentbenchError:
        """An error about one part of the board, with file and line where it was read from a file.

        Args:
            loc: path of keys and indices to the part, as in ``("variants", 0, "options", "latent_dim")``.
            what: what is wrong there.
            mend: how to put it right.
        """
        if self._source is None:
            return LatentbenchError(f"board '{self.name}': {what}", mend)
        return self._source.mistake(loc, what, mend)


def find_board(board: str, plugins: "Plugins") -> Board:
    """The board of that name, or the one in the file of that path (``is_board_file``).

    Raises:
        LatentbenchError: no such board or file, or a mistake in it.
    """
    found = load_board(Path(board) if is_board_file(board) else plugins.get("boards", board).value)
    found._asked_for = board
    return found


def board_path(board: str, folder: Path, plugins: "Plugins", mistake: Callable[[str, str], LatentbenchError]) -> Path:
    """The file of a board that another file names: by the board's name, or by a path (``is_board_file``).

    Args:
        board: what stands there.
        folder: of the file that names it, from which a path is taken.
        plugins: where boards come from.
        mistake: makes the error from what is wrong and how to mend it.

    Raises:
        LatentbenchError: there is no such board or file.
    """
    if is_board_file(board):
        path = folder / board
        if not path.is_file():
            raise mistake(f"there is no board {path}", "give its path from the folder of this file")
        return path
    offers = plugins.offers("boards")
    if board not in offers:
        raise mistake(f"there is no board '{board}'", did_you_mean(board, offers))
    return Path(offers[board].value)


def is_board_file(text: str | Path) -> bool:
    """Whether a text or path ends as the path of a board's file does, in ``.yaml`` or ``.yml``."""
    return Path(text).suffix.lower() in _SUFFIXES


def all_boards(plugins: "Plugins") -> dict[str, Board]:
    """Every board that plugins offer, by name; a board with a mistake is left out with a warning."""
    boards = {}
    for name, offer in plugins.offers("boards").items():
        try:
            boards[name] = load_board(offer.value)
        except LatentbenchError as error:
            log.warning("%s; left out", error)
    return boards


def load_board(path: Path) -> Board:
    """Read a board's YAML file; the board and the file must have the same name.

    Raises:
        LatentbenchError: the file cannot be read; or ``path:line:`` and what is wrong there: invalid YAML, an unknown,
            repeated or missing key, a wrong type or value, a name that is not the file's, contradicting parts.
    """
    parts: dict[str, type[Options]] = {
        "budget": Budget, "datasets": BoardDataset, "diagnosis": Diagnosis, "variants": Variant
    }  # fmt: skip
    source, board = read_form(path, Board, "board", "board", parts)
    board._source = source
    if board.name != path.stem:
        what = f"the board is called '{board.name}', its file '{path.stem}'"
        raise board.mistake(("name",), what, "name them alike")
    for loc, what, mend in (*_contradictions(board), *_contradicting_variants(board)):
        raise board.mistake(loc, what, mend)
    return board


#: Where in a board, what is wrong there, and how to mend it.
_Contradiction = tuple[tuple[int | str, ...], str, str]


def _contradictions(board: Board) -> Iterator[_Contradiction]:
    """Contradictions between parts that are valid by themselves."""
    budgets: dict[tuple[int | str, ...], Budget | None] = {("budget",): board.budget}
    budgets |= {("datasets", place, "budget"): entry.budget for place, entry in enumerate(board.datasets)}
    budgets |= {("variants", place, "budget"): variant.budget for place, variant in enumerate(board.variants)}
    for loc, budget in budgets.items():
        if budget is not None and budget.max_steps == 0:
            mend = "give it 1 or more: the untrained twins run by themselves, if 'twins' is true"
            yield (*loc, "max_steps"), f"'{'.'.join(map(str, loc))}' leaves no step", mend
    for place, entry in enumerate(board.datasets):
        where, this = ("datasets", place), f"datasets.{place}"
        for other, earlier in enumerate(board.datasets[:place]):
            if entry.label == earlier.label:
                what = f"{this} is called '{entry.label}' as datasets.{other} is"
                yield (*where, "label"), what, "give it a 'label' of its own"
            elif (entry.name, entry.options) == (earlier.name, earlier.options):
                yield where, f"{this} is the same data as datasets.{other}", "leave it out or give it other 'options'"
        if not (entry.rank or board.rank):
            alone = all(one.rank is None for one in board.datasets)
            what = "the board has no 'rank'" if alone else f"{this} has no 'rank', and the board has none"
            yield () if alone else where, what, "the board needs one, or each of its datasets"
        shown = board.values(entry)
        if entry.diagnosis and entry.diagnosis.value not in (None, *shown):
            what = f"'{entry.diagnosis.value}' is no value that the board shows here"
            yield (*where, "diagnosis", "value"), what, did_you_mean(entry.diagnosis.value or "", shown)
    everywhere = {name for entry in (None, *board.datasets) for name in board.values(entry)}
    for place, name in enumerate(board.no_merit):
        if name not in everywhere:
            yield ("no_merit", place), f"'{name}' is no value that the board shows", did_you_mean(name, everywhere)
        elif any(name in board.ranking(entry) for entry in (None, *board.datasets)):
            yield (
                ("no_merit", place),
                f"'{name}' ranks",
                "what ranks is a merit: leave it out of 'no_merit' or of 'rank'",
            )
    rows = [*board.models, *(variant.label for variant in board.variants)]
    for place, label in enumerate(board.ceilings):
        if board.models != "all" and label not in rows:
            yield ("ceilings", place), f"the board has no row '{label}'", did_you_mean(label, rows)
    if board.average and not board.rank:
        yield ("average",), "'average' needs a 'rank' of the board's own", "the rows of means are ranked by it"


def _contradicting_variants(board: Board) -> Iterator[_Contradiction]:
    """Contradictions between variants, models and datasets, as far as they can be found without loading the models."""
    labels = {entry.label for entry in board.datasets}
    models = set() if board.models == "all" else set(board.models)
    for place, variant in enumerate(board.variants):
        this = f"variants.{place}"
        if variant.label in models or variant.label == variant.model:
            yield (
                ("variants", place, "label"),
                f"{this} is called '{variant.label}' as a model is",
                "give it another label",
            )
        for other, earlier in enumerate(board.variants[:place]):
            if variant.label == earlier.label:
                what = f"{this} is called '{variant.label}' as variants.{other} is"
                yield ("variants", place, "label"), what, "give it another label"
        for number, name in enumerate(variant.datasets or ()):
            if name not in labels:
                what = f"{this} runs on '{name}', which no dataset of the board is called"
                yield ("variants", place, "datasets", number), what, did_you_mean(name, labels)
