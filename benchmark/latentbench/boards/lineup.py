"""A board's lineup: the options behind datasets and lines, so that tables can be made without loading plugins."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from latentbench.boards.board import Board
from latentbench.config import one_line
from latentbench.errors import LatentbenchError, command_line
from latentbench.files import replacing

__all__ = ["Lineup", "lineup_path", "read_lineup", "write_lineup"]

log = logging.getLogger("latentbench")


class Lineup(BaseModel):
    """What the options of a board's datasets, models and variants are, those that it leaves open among them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    datasets: Mapping[str, Mapping[str, Any]] = {}
    """Label of a dataset -> its full Config."""
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]] = {}
    """Label of a dataset -> name of a model, or label of a variant -> the model's full Config there."""


def lineup_path(results: Path, board: Board) -> Path:
    """Where the lineup of a board lies in a results folder."""
    return results / f"{board.name}.lineup.json"


def read_lineup(results: Path, board: Board) -> Lineup:
    """The board's lineup, as ``latentbench run`` or ``latentbench plan`` last wrote it into the results folder.

    Returns:
        The lineup; empty if there is none.

    Raises:
        LatentbenchError: the file cannot be read or is no lineup.
    """
    path = lineup_path(results, board)
    try:
        return Lineup.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Lineup()
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        mend = f"write it again with: {command_line('plan', board.on_the_command_line, '--out', results)}"
        raise LatentbenchError(f"{path} is no lineup: {one_line(error)}", mend) from None


def write_lineup(results: Path, board: Board, lineup: Lineup) -> None:
    """Write the board's lineup, one configuration on each line.

    Datasets and models that ``lineup`` lacks, because they are not installed here, keep what is in the file.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        before = read_lineup(results, board)
    except LatentbenchError as error:
        log.warning("%s", error)
        before = Lineup()
    variants = {variant.label for variant in board.variants}
    known = {**before.datasets, **lineup.datasets}
    datasets = {label: known[label] for label in (entry.label for entry in board.datasets) if label in known}
    merged: dict[str, dict[str, Mapping[str, Any]]] = {}
    for label in (entry.label for entry in board.datasets):
        kept = {
            row: config
            for row, config in before.rows.get(label, {}).items()
            if row not in variants and (board.lists(row) or any(one.model == row for one in board.variants))
        }
        if rows := {**kept, **lineup.rows.get(label, {})}:
            merged[label] = dict(sorted(rows.items()))
    tables = {json.dumps(label): _lines(rows, 3) for label, rows in merged.items()}
    text = f'{{\n "datasets": {_lines(datasets, 2)},\n "rows": {_block(tables, 2)}\n}}\n'
    path = lineup_path(results, board)
    if not path.is_file() or path.read_bytes() != text.encode():  # a folder that cannot be written may still be read
        with replacing(path) as file:
            file.write(text.encode())


def _lines(configs: Mapping[str, Mapping[str, Any]], indent: int) -> str:
    """A JSON object of configurations, each on a line of its own."""
    return _block({json.dumps(name): json.dumps(config) for name, config in configs.items()}, indent)


def _block(members: Mapping[str, str], indent: int) -> str:
    """A JSON object of members that are JSON already, each indented by so many blanks."""
    lines = ",\n".join(f"{' ' * indent}{name}: {value}" for name, value in members.items())
    return f"{{\n{lines}\n{' ' * (indent - 1)}}}" if members else "{}"
