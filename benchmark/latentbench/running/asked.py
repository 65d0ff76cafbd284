"""What a board asks for, held against the metrics that there are and against the data: a typo costs no run."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from latentbench.boards.board import Board, BoardDataset
from latentbench.capabilities import capabilities_of
from latentbench.data.splits import MISSING, Data, DataInfo, IndexedSplit, Role, Split, StoredSplit
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.evaluation.applicability import evaluated_splits, is_due
from latentbench.evaluation.readouts import with_readouts
from latentbench.metric import Metric
from latentbench.model import Model
from latentbench.plugins.registry import Plugins
from latentbench.value_name import ValueName, wrong_piece

__all__ = [
    "Outline",
    "SplitOutline",
    "WrongDataError",
    "can_be_shown",
    "check_data",
    "check_metrics",
    "check_nulls",
    "check_values",
    "outline",
    "warn_of_shared_images",
]

log = logging.getLogger("latentbench")


@dataclass(frozen=True)
class SplitOutline:
    """What is kept of a split that is measured, of data that is let go."""

    conditions: Sequence[str]
    due: Collection[str]
    """Those of the metrics that are shown which have a value here, or a reason in its place."""
    parts: Mapping[str, Collection[str] | None]
    """Of these metrics, the parts that they may have."""


#: The splits that are measured, by name.
Outline = Mapping[str, SplitOutline]
#: Where in a board a value is named, its name, and the dataset whose own it is; None: the board's.
_Asked = tuple[tuple[int | str, ...], ValueName, BoardDataset | None]


class WrongDataError(LatentbenchError):
    """A dataset that is there, and is not what it says: its plugin is at fault, and no file."""


def check_metrics(board: Board, plugins: Plugins) -> None:
    """That there is each metric that the board names in ``rank`` and ``columns``.

    Raises:
        LatentbenchError: an unknown one; with file and line, and near misses.
    """
    known = plugins.offers("metrics")
    for place, name, _ in _asked(board):
        if name.metric not in known:
            what = f"'{name}': unknown metric '{name.metric}'"
            raise board.mistake(place, what, plugins.did_you_mean(name.metric, known))


def check_nulls(board: Board, plugins: Plugins) -> None:
    """That what the board names as ``ceilings`` and by ``diagnosis`` are nulls that it runs.

    Raises:
        LatentbenchError: one is not; with file and line, and near misses.
    """
    models = plugins.values("models")
    rows = {name: name for name in models if board.lists(name)} | {one.label: one.model for one in board.variants}
    nulls = [label for label, model in rows.items() if model in models and models[model].null]
    named: list[tuple[tuple[int | str, ...], str]] = [(("ceilings", n), one) for n, one in enumerate(board.ceilings)]
    for number, entry in enumerate(board.datasets):
        if entry.diagnosis:
            named.append((("datasets", number, "diagnosis", "row"), entry.diagnosis.row))
    for place, label in named:
        if label not in nulls:
            raise board.mistake(place, f"the board has no null '{label}'", did_you_mean(label, nulls))


def can_be_shown(board: Board, entry: BoardDataset, model: type[Model], plugins: Plugins) -> bool:
    """Whether a value in the table of ``entry`` is of something that the model can do, or is read out of its codes."""
    metrics = plugins.offers("metrics")
    asked = {metrics[ValueName.parse(name).metric].value.capability for name in board.values(entry)}
    return not asked.isdisjoint(with_readouts(capabilities_of(model)))


def outline(data: Data, board: Board, entry: BoardDataset, plugins: Plugins) -> Outline:
    """What ``check_values`` needs to know of a dataset of the board."""
    offers = plugins.offers("metrics")
    shown = {metric: offers[metric].value for metric in (ValueName.parse(name).metric for name in board.values(entry))}
    return {name: _outlined(split, shown) for name, split in evaluated_splits(data)}


def _outlined(split: Split, metrics: Mapping[str, type[Metric]]) -> SplitOutline:
    due = {name: metric for name, metric in metrics.items() if is_due(metric, split)}
    parts: dict[str, Collection[str] | None] = {}
    for name, metric in due.items():
        with suppress(Exception, SystemExit):  # ``measure`` then tells what it raises
            parts[name] = metric().parts(split.targets)
    return SplitOutline(list(split.conditions), [*due], parts)


def check_values(board: Board, plugins: Plugins, loaded: Mapping[str, Outline]) -> None:
    """That the splits and conditions which the board names are there, and that some value of each ranking can be.

    A column of the whole board may be lacking on some of its datasets; it is refused where no dataset has it, or the
    part that it names. Of several values that rank, one that the data can have suffices.

    Args:
        board: whose metrics are known.
        plugins: which offer them.
        loaded: outlines of the datasets by their labels, as far as they are loaded.

    Raises:
        LatentbenchError: with file and line, and near misses.
    """
    metrics = plugins.offers("metrics")
    for place, name, owner in _asked(board):
        field = place[0]
        owners = [owner] if owner else [one for one in board.datasets if getattr(one, str(field)) is None]
        wrong = {
            one.label: _mistake(name, loaded[one.label], metrics[name.metric].value.spans is not None)
            or (_wrong_part(name, loaded[one.label]) if "columns" in place else None)
            for one in owners
            if loaded.get(one.label)  # of a dataset without such splits nothing is measured
        }
        somewhere = field == "columns" and (len(wrong) < len(owners) or not all(wrong.values()))
        for label, mistake in wrong.items():
            if mistake and not somewhere:
                raise board.mistake(place, f"'{name}': dataset '{label}' has {mistake[0]}", mistake[1])
    for number, entry in enumerate(board.datasets):
        ranking = board.ranking(entry)
        impossible = [_impossible(ValueName.parse(name), loaded.get(entry.label, {})) for name in ranking]
        if impossible and impossible[0] and all(impossible):
            place = ("datasets", number, "rank", 0) if entry.rank else ("rank", 0)
            what, mend = impossible[0]
            raise board.mistake(place, f"'{ranking[0]}': dataset '{entry.label}' has {what}", mend)


def check_data(dataset: str, data: object) -> None:
    """That what ``load`` gave is a dataset that says what it is: a mistake in it would be taken for a model's.

    Every target and condition has an entry for each image; anomalies and masks are 0 or 1, labels are MISSING or in
    their attribute's range, and weights are finite and not negative, nor all 0; and the first image of each split has
    the shape that ``DataInfo`` states.

    Raises:
        WrongDataError: it is not; names the dataset, the split and what is wrong.
    """
    if not isinstance(data, Data):
        raise WrongDataError(f"dataset '{dataset}': load() gave {type(data).__name__}", "return a latentbench.Data")
    names = [
        *data.splits,
        *data.info.attributes,
        *(name for split in data.splits.values() for name in split.conditions),
    ]
    for wrong in filter(None, map(wrong_piece, names)):
        raise WrongDataError(f"dataset '{dataset}': {wrong}", "name its splits, attributes and conditions so")
    for name, split in data.splits.items():
        for wrong in (*_wrong_targets(split, data.info), *_wrong_images(split, data.info)):
            raise WrongDataError(f"dataset '{dataset}', split '{name}': {wrong}")
    if len(data.train) != data.info.train_size:
        what = f"its DataInfo states train_size={data.info.train_size}"
        raise WrongDataError(f"dataset '{dataset}': {what}", f"its training split has {len(data.train)} images")


def _wrong_targets(split: Split, info: DataInfo) -> Iterator[str]:
    targets = split.targets
    whole = {"anomaly": targets.anomaly, "mask": targets.mask, "mask_known": targets.mask_known}
    binary = {f"target '{target}'": np.asarray(array) for target, array in whole.items() if array is not None}
    labels = {name: np.asarray(array) for name, array in targets.attributes.items()}
    weights = {f"condition '{condition}'": np.asarray(array) for condition, array in split.conditions.items()}
    named = {f"attribute '{attribute}'": array for attribute, array in labels.items()}
    for what, array in (binary | named | weights).items():
        if array.shape[:1] != (len(split),):
            yield f"{what} has {len(array) if array.ndim else 'no'} entries for {len(split)} images"
        elif array.ndim > 1 and what != "target 'mask'":
            yield f"{what} has shape {array.shape}: it has one number for each image"
    if targets.mask is not None and targets.mask.shape[1:] != (info.height, info.width):
        yield f"masks have shape {targets.mask.shape[1:]}, its DataInfo states {(info.height, info.width)}"
    for what, array in binary.items():
        if array.size and (stray := _stray(array)) is not None:
            yield f"{what} has a value {stray}: it is 0 or 1 everywhere"
    for attribute, array in labels.items():
        if attribute not in info.attributes:
            yield f"it has labels of attribute '{attribute}', of which its DataInfo states no cardinality"
        elif array.size and not MISSING <= array.min() <= array.max() < info.attributes[attribute]:
            stated = f"its DataInfo states cardinality {info.attributes[attribute]}"
            yield f"labels of attribute '{attribute}' are in [{array.min()}, {array.max()}], {stated}"
        elif (parts := array[array != np.floor(array)]).size:
            yield f"attribute '{attribute}' has a label {parts[0]}: labels are whole numbers"
    for what, array in weights.items():
        wrong = array[~((array >= 0) & np.isfinite(array))]
        if wrong.size:
            yield f"{what} has a weight {wrong[0]}: weights are finite, and not negative"
        elif array.size and not array.any():
            yield f"{what} has no image whose weight is not 0"


def _stray(array: npt.NDArray[Any]) -> Any:
    """A value that is neither 0 nor 1; None if there is none."""
    # Of whole numbers the least and the greatest tell: masks are large.
    some = array[(array != 0) & (array != 1)] if array.dtype.kind == "f" else (array.min(), array.max())
    return next((value for value in some if value not in (0, 1)), None)


def _wrong_images(split: Split, info: DataInfo) -> Iterator[str]:
    if not len(split):
        return
    images = split.batch(torch.zeros(1, dtype=torch.int64), torch.Generator().manual_seed(0)).images
    found = tuple(images.shape[1:])
    if found != info.image_shape:
        yield f"images have shape {found}, its DataInfo states {info.image_shape} (channels, height, width)"
    if images.dtype != torch.float32:
        yield f"images are {images.dtype}, not float32"


def warn_of_shared_images(label: str, data: Data) -> None:
    """Say which test splits hold nothing but training images; told of stored splits alone, byte by byte."""
    for name, split in data.splits.items():
        if split.role is Role.TEST and len(split) and _all_within(split, data.train):
            log.warning("dataset '%s': every image of test split '%s' is a training image, too", label, name)


def _asked(board: Board) -> Iterator[_Asked]:
    for number, name in enumerate(board.ranking()):
        yield ("rank", number), ValueName.parse(name), None
    for number, column in enumerate(board.columns):
        yield ("columns", number), ValueName.parse(column), None
    for place, entry in enumerate(board.datasets):
        for number, name in enumerate(board.ranking(entry) if entry.rank else ()):
            yield ("datasets", place, "rank", number), ValueName.parse(name), entry
        for number, column in enumerate(entry.columns or ()):
            yield ("datasets", place, "columns", number), ValueName.parse(column), entry


def _mistake(name: ValueName, measured: Outline, spans: bool) -> tuple[str, str] | None:
    """Why the data can give no value of this name, and the mend; None if it may."""
    if name.split not in measured:
        return f"no validation or test split '{name.split}'", did_you_mean(name.split, measured)
    conditions: Sequence[str] = () if spans else measured[name.split].conditions
    if name.condition in conditions or (not name.condition and not conditions):
        return None
    if not name.condition:
        return f"no values of split '{name.split}' without a condition", did_you_mean("", conditions)
    of_all = " that this metric is measured under" if spans else ""
    return f"no condition '{name.condition}' in split '{name.split}'{of_all}", did_you_mean(name.condition, conditions)


def _impossible(name: ValueName, measured: Outline) -> tuple[str, str] | None:
    """Why no model can have a value of this name, by the metric or its part, and the mend; None if one may."""
    split = measured.get(name.split)
    if split is None:
        return None
    if name.metric not in split.due:
        return f"nothing in split '{name.split}' that metric '{name.metric}' can be measured against", "rank by another"
    return _wrong_part(name, measured)


def _wrong_part(name: ValueName, measured: Outline) -> tuple[str, str] | None:
    """That the metric has no part of this name, and the mend; None if it has, or if its parts are not known."""
    parts, part = measured[name.split].parts.get(name.metric), name.selector.rpartition(":")[2]
    if not part or parts is None or part in parts:
        return None
    return f"no '{part}' in split '{name.split}' for metric '{name.metric}'", did_you_mean(part, parts)


def _all_within(test: Split, train: Split) -> bool:
    """Whether every image of one split is one of another; False where that would take more than reading them once."""
    if isinstance(test, IndexedSplit) and isinstance(train, IndexedSplit):
        return test.images_hash == train.images_hash and set(test.rows.tolist()) <= set(train.rows.tolist())
    if not (isinstance(test, StoredSplit) and isinstance(train, StoredSplit)):
        return False
    if test.images.shape[1:] != train.images.shape[1:]:
        return False
    known = {hash(image.tobytes()) for image in train.images.cpu().numpy()}
    return all(hash(image.tobytes()) in known for image in test.images.cpu().numpy())
