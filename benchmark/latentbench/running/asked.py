"""What a board asks for, held against the metrics that there are and against the data: a typo costs no run."""

import logging
from collections.abc import Iterator, Mapping, Sequence

from latentbench.boards.board import Board, BoardDataset
from latentbench.capabilities import capabilities_of
from latentbench.data.splits import Data, IndexedSplit, Role, Split, StoredSplit
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.evaluation.readouts import READOUTS
from latentbench.model import Model
from latentbench.plugins.registry import Plugins
from latentbench.value_name import ValueName

__all__ = [
    "Outline",
    "can_be_shown",
    "check_lengths",
    "check_metrics",
    "check_values",
    "outline",
    "warn_of_shared_images",
]

log = logging.getLogger("latentbench")

#: The conditions of each split that is measured, by the split's name: what is kept of data that is let go.
Outline = Mapping[str, Sequence[str]]
#: Where in a board a value is named, its name, and the dataset whose own it is; None: the board's.
_Asked = tuple[tuple[int | str, ...], ValueName, BoardDataset | None]


def check_metrics(board: Board, plugins: Plugins) -> None:
    """That there is each metric that the board names in ``rank`` and ``columns``.

    Raises:
        LatentbenchError: an unknown one; with file and line, and near misses.
    """
    known = plugins.offers("metrics")
    for place, name, _ in _asked(board):
        if name.metric not in known:
            what = f"'{name}': unknown metric '{name.metric}'"
            raise board.mistake(place, what, did_you_mean(name.metric, known))


def can_be_shown(board: Board, entry: BoardDataset, model: type[Model], plugins: Plugins) -> bool:
    """Whether a value in the table of ``entry`` is of something that the model can do, or is read out of its codes."""
    metrics = plugins.offers("metrics")
    asked = {metrics[ValueName.parse(name).metric].value.capability for name in board.values(entry)}
    able = {*capabilities_of(model)}
    if "encode" in able:
        able |= {readout.capability for readout in READOUTS}
    return not asked.isdisjoint(able)


def outline(data: Data) -> Outline:
    """What ``check_values`` needs to know of a dataset."""
    return {name: list(split.conditions) for name, split in data.splits.items() if split.role is not Role.TRAIN}


def check_values(board: Board, plugins: Plugins, loaded: Mapping[str, Outline]) -> None:
    """That the splits and conditions which the board names are there.

    A column of the whole board may be lacking on some of its datasets; it is refused where no dataset has it.

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
            for one in owners
            if loaded.get(one.label)  # of a dataset without such splits nothing is measured
        }
        somewhere = field == "columns" and (len(wrong) < len(owners) or not all(wrong.values()))
        for label, mistake in wrong.items():
            if mistake and not somewhere:
                raise board.mistake(place, f"'{name}': dataset '{label}' has {mistake[0]}", mistake[1])


def check_lengths(dataset: str, data: Data) -> None:
    """That a dataset has as many entries of every target and condition as images.

    Raises:
        LatentbenchError: it has not; names the dataset, the split and the target.
    """
    for name, split in data.splits.items():
        targets = split.targets
        whole = {"anomaly": targets.anomaly, "mask": targets.mask, "mask_known": targets.mask_known}
        arrays = {
            **{f"target '{target}'": array for target, array in whole.items() if array is not None},
            **{f"attribute '{attribute}'": array for attribute, array in targets.attributes.items()},
            **{f"condition '{condition}'": weights for condition, weights in split.conditions.items()},
        }
        for what, array in arrays.items():
            if len(array) != len(split):
                raise LatentbenchError(
                    f"dataset '{dataset}', split '{name}': {what} has {len(array)} entries for {len(split)} images"
                )


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
    conditions: Sequence[str] = () if spans else measured[name.split]
    if name.condition in conditions or (not name.condition and not conditions):
        return None
    if not name.condition:
        return f"no values of split '{name.split}' without a condition", did_you_mean("", conditions)
    of_all = " that this metric is measured under" if spans else ""
    return f"no condition '{name.condition}' in split '{name.split}'{of_all}", did_you_mean(name.condition, conditions)


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
