"""A board's lineup: the full configuration behind each line, so that tables can be made without loading models."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from latentbench.boards.board import Board
from latentbench.config import one_line
from latentbench.errors import LatentbenchError, command_line
from latentbench.files import replacing

__all__ = ["Lineup", "lineup_path", "read_lineup", "write_lineup"]

log = logging.getLogger("latentbench")

#: Label of a board's dataset -> name of a model, or label of a variant -> the model's full Config there.
Lineup = Mapping[str, Mapping[str, Mapping[str, Any]]]

_FORM = TypeAdapter(dict[str, dict[str, dict[str, Any]]])


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
        return _FORM.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        mend = f"write it again with: {command_line('plan', board.on_the_command_line, '--out', results)}"
        raise LatentbenchError(f"{path} is no lineup: {one_line(error)}", mend) from None


def write_lineup(results: Path, board: Board, lineup: Lineup) -> None:
    """Write the board's lineup, one configuration on each line.

    Models that ``lineup`` lacks, because they are not installed here, keep the configuration that is in the file.

    Raises:
        StorageError: the folder cannot be written.
    """
    try:
        before = read_lineup(results, board)
    except LatentbenchError as error:
        log.warning("%s", error)
        before = {}
    variants = {variant.label for variant in board.variants}
    merged: dict[str, dict[str, Mapping[str, Any]]] = {}
    for label in (entry.label for entry in board.datasets):
        kept = {
            row: config
            for row, config in before.get(label, {}).items()
            if row not in variants and (board.lists(row) or any(one.model == row for one in board.variants))
        }
        if rows := {**kept, **lineup.get(label, {})}:
            merged[label] = dict(sorted(rows.items()))
    blocks = []
    for label, rows in merged.items():
        lines = ",\n".join(f"  {json.dumps(row)}: {json.dumps(config)}" for row, config in rows.items())
        blocks.append(f" {json.dumps(label)}: {{\n{lines}\n }}")
    text = "{\n" + ",\n".join(blocks) + "\n}\n" if blocks else "{}\n"
    path = lineup_path(results, board)
    if not path.is_file() or path.read_bytes() != text.encode():  # a folder that cannot be written may still be read
        with replacing(path) as file:
            file.write(text.encode())
