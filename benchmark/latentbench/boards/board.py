"""A board: which datasets, models, seeds and budget, and what ranks; its YAML, read with errors that name the line."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from latentbench.config import Options
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.spec import Budget
from latentbench.value_name import FORM, ValueName

if TYPE_CHECKING:
    from latentbench.plugins.registry import Plugins

__all__ = ["Board", "BoardDataset", "find_board", "load_board"]

#: What a label must not hold, because the command line gives these characters a meaning.
_NO_LABEL = re.compile(r"[\s,=]")


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


class BoardDataset(Options):
    """One entry of a board's datasets: a dataset with the options that the board fixes.

    ``- mnist-shift`` is short for ``- name: mnist-shift``.
    """

    name: str
    label: Annotated[str, AfterValidator(_label)] = Field(
        description="what tables and the command line call it: one word, unique in the board; by default its name"
    )
    options: dict[str, Any] = {}
    optional: bool = Field(False, description="left out, with a warning, where the data is not there")
    rank: ValueText | None = Field(None, description="the value that ranks here, in place of the board's")
    columns: list[ValueText] | None = Field(None, description="further values to show, in place of the board's")

    @model_validator(mode="before")
    @classmethod
    def _called_by_its_name(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"name": value}
        return {"label": value["name"], **value} if isinstance(value, dict) and "name" in value else value


class Board(Options):
    """A board's YAML file."""

    name: str
    title: str
    description: str = ""
    datasets: list[BoardDataset] = Field(min_length=1)
    models: list[str] | Literal["all"] = "all"
    seeds: int = Field(1, ge=1, description="runs of each model, with seeds 0, 1, ...")
    budget: Budget = Budget()
    rank: ValueText | None = Field(
        None, description="the value that ranks: metric[part]@split/condition; may be absent if every dataset has one"
    )
    columns: list[ValueText] = Field([], description="further values to show, in order")
    average: bool = Field(False, description="a table of means over the datasets comes first")

    def values(self, entry: BoardDataset) -> list[str]:
        """The names of the values in the table of ``entry``: the one that ranks, then the columns."""
        columns = self.columns if entry.columns is None else entry.columns
        return list(dict.fromkeys(name for name in (entry.rank or self.rank, *columns) if name))


def find_board(board: str, plugins: "Plugins") -> Board:
    """The board of that name, or the one in the file of that path (it ends in ``.yaml``).

    Raises:
        LatentbenchError: no such board or file, or a mistake in it.
    """
    return load_board(Path(board) if board.endswith(".yaml") else plugins.get("boards", board).value)


def load_board(path: Path) -> Board:
    """Read a board's YAML file; the board is called as the file is.

    Raises:
        LatentbenchError: the file cannot be read; or ``path:line:`` and what is wrong there: no YAML, an unknown,
            repeated or missing key, a wrong type or value, another name than the file's, parts that contradict.
    """
    root, values = _parse(path)
    if root is None or not isinstance(values, dict):
        raise _mistake(path, 0, "a board maps keys to values", f"its keys are {', '.join(Board.model_fields)}")
    try:
        board = Board.model_validate(values)
    except ValidationError as error:
        raise _first_mistake(path, root, error) from None
    if board.name != path.stem:
        _, line = _find(root, ("name",))
        raise _mistake(path, line, f"the board is called '{board.name}', its file '{path.stem}'", "name them alike")
    for loc, what, mend in _contradictions(board):
        raise _mistake(path, _find(root, loc)[1], what, mend)
    return board


def _contradictions(board: Board) -> Iterator[tuple[tuple[int | str, ...], str, str]]:
    """What is wrong between parts that are sound by themselves: where, what, and the mend."""
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
    if board.average and not board.rank:
        yield ("average",), "'average' needs a 'rank' of the board's own", "the rows of means are ranked by it"


def _parse(path: Path) -> tuple[yaml.Node | None, Any]:
    """The file's YAML, as a tree of nodes that know their lines and as plain values."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise LatentbenchError(f"cannot read board {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LatentbenchError(f"cannot read board {path}: it is not UTF-8 text (byte {error.start})") from None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return root, loader.construct_document(root) if root else None
    except yaml.reader.ReaderError as error:
        raise _mistake(path, text.count("\n", 0, error.position), "a character that YAML does not allow") from None
    except yaml.MarkedYAMLError as error:
        raise _mistake(path, error.problem_mark.line if error.problem_mark else 0, str(error.problem)) from None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, where a repeated key is an error and every error has a line."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.composer.ComposerError(None, None, f"the key '{key.value}' is there twice", key.start_mark)
            seen.add(key.value)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # a scalar that looks like a date or a number and is none
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from None


def _first_mistake(path: Path, root: yaml.Node, error: ValidationError) -> LatentbenchError:
    """Of pydantic's errors the one to mend first; those that one place has as a union of types, together.

    What is there and wrong comes before what is missing, and of a wrong value its innermost part.
    """
    ranked = []
    for item in error.errors(include_url=False):
        loc = item["loc"]
        steps, line = _find(root, loc)
        top = _find(root, loc[:1])[1]
        ranked.append(((item["type"] == "missing", top, -len(steps), line), steps, item))
    (*_, line), steps, item = min(ranked, key=lambda one: one[0])
    key = str(item["loc"][-1])
    if item["type"] == "missing":
        return _mistake(path, line, f"{'.'.join(steps) or 'the board'} has no '{key}'")
    if item["type"] == "extra_forbidden":
        sections = {"datasets": BoardDataset.model_fields, "budget": Budget.model_fields}
        known = sections[steps[0]] if len(steps) > 1 else Board.model_fields
        return _mistake(path, line, f"unknown key '{key}'", did_you_mean(key, known))
    messages = [one["msg"].removeprefix("Value error, ") for _, at, one in ranked if at == steps]
    given = "" if isinstance(item["input"], dict | list) else f", got {item['input']!r}"
    return _mistake(path, line, f"'{'.'.join(steps)}': {' or '.join(messages)}{given}")


def _find(root: yaml.Node, loc: Sequence[int | str]) -> tuple[list[str], int]:
    """Where in the YAML a pydantic location is: the keys and indices on the way to it, and its line (from 0).

    Steps that are not in the YAML are passed over: a missing key, and the names that pydantic gives a union's members.
    """
    steps, line, node = [], root.start_mark.line, root
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            entry = next(((key, value) for key, value in node.value if key.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            entry = (node.value[step], node.value[step])
        else:
            entry = None
        if entry:
            place, node = entry
            line = place.start_mark.line
            steps.append(str(step))
    return steps, line


def _mistake(path: Path, line: int, what: str, mend: str = "") -> LatentbenchError:
    return LatentbenchError(f"{path}:{line + 1}: {what}", mend)
