"""Evaluating a fitted model: its capabilities are matched to what metrics need and to the targets that splits have.

``collect`` runs the model and keeps what it gave; ``measure`` computes metrics from that and the data alone, so that
a metric can be computed again, or for the first time, without the model.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import repeat
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentbench.capabilities import PER_IMAGE, capabilities_of
from latentbench.data.splits import Data, Role, Split, content_hash
from latentbench.errors import LatentbenchError, blame, describe
from latentbench.evaluation.company import TOLERANCE, TOLERANCE_OF_ACCELERATORS, change_in_batches
from latentbench.evaluation.inference import Parts, infer
from latentbench.evaluation.readouts import MAX_IMAGES, READOUTS, Codes, Reader, Readout, TrainingCodes
from latentbench.metric import Evaluation, Metric, why_unavailable
from latentbench.model import Model
from latentbench.records.record import BatchDependence, Value
from latentbench.value_name import ValueName

__all__ = ["Measurement", "Predictions", "collect", "evaluation_of", "measure", "output_on", "refuse_transductive"]

#: Images that a model is given, or draws, at a time.
BATCH_SIZE = 500


@dataclass(frozen=True)
class Predictions:
    """What a model gave for the splits that it was evaluated on."""

    arrays: Mapping[str, npt.NDArray[Any]]
    """``split/capability``, or ``split/capability/part`` by subspace, attribute, facet or score's name -> (N, ...).

    In the forms of ``latentbench.metric.Evaluation.output``; a code without named subspaces is the part "z". Of
    ``sample`` every test split has the same images, as many as the metric that needs most.
    """
    readouts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Name of each readout that read codes -> what its fit chose (``Reader.facts``)."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Capability -> why a readout that would have supplied it could not be fitted, in one line."""
    images: int = 0
    """Images that the model was given or drew, counted once for each capability."""
    batches: Mapping[str, BatchDependence] = field(default_factory=dict)
    """Capability -> how far an image's result depends on the others in its batch."""

    @property
    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that are kept with a record: numbers and labels of images; no codes, maps or pictures."""
        return {key: array for key, array in self.arrays.items() if key.split("/")[1] in PER_IMAGE}

    def kept(self, split: str, statistic: str, condition: str) -> dict[str, npt.NDArray[Any]]:
        """What is kept of a larger output in its place: the arrays of a ``Statistic`` by name, if there are any."""
        start = _kept_name(split, statistic, condition, "")
        return {
            name.removeprefix(start): array
            for name, array in self.arrays.items()
            if name.startswith(start) and "/" not in name.removeprefix(start)
        }

    def output(self, split: str, capability: str) -> Any:
        """The array of one capability on one split, or its arrays by part; None if there is none."""
        key = f"{split}/{capability}"
        parts = {
            name.removeprefix(f"{key}/"): array for name, array in self.arrays.items() if name.startswith(f"{key}/")
        }
        return self.arrays.get(key, parts or None)

    def readout(self, capability: str, part: str = "") -> str:
        """What gave a capability, or one of several scores: the name of a readout, or "native" for the model itself."""
        read = (one.name for one in READOUTS if one.capability == capability and one.name in self.readouts)
        return next((name for name in read if part in ("", name) or capability != "score"), "native")


@dataclass(frozen=True)
class Measurement:
    """What metrics made of predictions."""

    values: Mapping[str, Value]
    """By name: ``metric[part]@split/condition``."""
    unmeasured: Mapping[str, str]
    """``metric@split/condition`` -> why there is no value, in one line: one metric's failure costs no other's value."""
    kept: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """What metrics keep of outputs that are not kept themselves: ``split/statistic/array``, or with a condition
    ``split/statistic/condition/array``."""


def collect(
    model: Model,
    data: Data,
    metrics: Mapping[str, type[Metric]],
    *,
    owner: str,
    device: torch.device,
    seed: int,
    batch_size: int = BATCH_SIZE,
) -> Predictions:
    """Run every capability that the model has and an applicable metric needs, once over each validation and test split.

    What a model that gives codes cannot do itself is read from its codes by ``READOUTS``, which are all fitted on the
    same codes of the training split. Each pass has a seed of its own, derived from ``seed``, split and capability: what
    one capability gives does not depend on which others ran. PyTorch's global generators are left as they were.

    Samples are drawn once, for the test splits: they are no split's, and the validation split's share would be spent on
    a number that nobody selects by. They are drawn in whole batches, so that a metric that needs few of them sees the
    first of those that another needs.

    At the end the model is given some images once more, in other batches.

    Args:
        model: a fitted model, on ``device``; it is left in eval mode.
        data: on ``device``. Validation and test splits are fixed: the images at an index are always the same.
        metrics: by name.
        owner: the model's plugin, for errors ("acme 1.2").
        device: where model and data are.
        seed: the run's.
        batch_size: images at a time.

    Raises:
        LatentbenchError: an output breaks its capability's promise. A readout that refuses the codes raises nothing,
            and the reason is in ``Predictions.refused``.
    """
    able = set(capabilities_of(model))
    passes = _Passes(model, data, owner, device, seed, batch_size)
    available = [metric for metric in metrics.values() if not why_unavailable(metric)]
    most = max((metric.samples or 0 for metric in available), default=0)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, split in _measured(data):
        for capability in sorted({metric.capability for metric in available if _asks(metric, split)}):
            if capability in able:
                parts = passes.samples(most) if capability == "sample" else passes.run(name, capability)
                if capability == "predict":
                    parts = {attribute: logits.argmax(1) for attribute, logits in parts.items()}
            elif "encode" in able:
                parts = passes.read(name, capability)
            else:
                continue
            for part, array in parts.items():
                arrays["/".join(filter(None, (name, capability, part)))] = array
    return Predictions(
        arrays, readouts=passes.facts, refused=passes.refused, images=passes.images, batches=passes.dependences()
    )


def output_on(
    model: Model, data: Data, splits: Sequence[str], capability: str, *, owner: str, device: torch.device, seed: int
) -> dict[str, Parts]:
    """What one capability gives for the images of some splits; read from codes where the model lacks it.

    Args:
        model: a fitted model, on ``device``; it is left in eval mode.
        data: on ``device``.
        splits: their names.
        capability: its name.
        owner: the model's plugin, for errors.
        device: where model and data are.
        seed: the run's.

    Returns:
        By split; what ``collect`` would give. No parts where the model has no such capability, nor codes to read it
        from.

    Raises:
        LatentbenchError: an output breaks its capability's promise, or a readout refuses the codes.
    """
    able = capabilities_of(model)
    passes = _Passes(model, data, owner, device, seed, BATCH_SIZE)
    if capability in able:
        return {split: passes.run(split, capability) for split in splits}
    found = {split: passes.read(split, capability) if "encode" in able else {} for split in splits}
    if refusal := passes.refused.get(capability):
        raise LatentbenchError(refusal)
    return found


def refuse_transductive(model: str, predictions: Predictions) -> None:
    """Refuse results of an image that depend on the others in its batch.

    Raises:
        LatentbenchError: names the model, its capabilities, and how far they depend.
    """
    found = [f"{name} by {one.change:.2g}" for name, one in predictions.batches.items() if one.transductive]
    if found:
        raise LatentbenchError(
            f"model '{model}' is transductive: an image's results change with the other images in its batch "
            f"({', '.join(found)} of the largest)",
            "make them depend on the image alone; or allow it with 'transductive: allowed' in the board, "
            "which marks the row, and --retry-failed",
        )


def measure(predictions: Predictions, data: Data, metrics: Mapping[str, type[Metric]]) -> Measurement:
    """Compute every metric for which there are predictions and targets.

    A metric is computed under each condition of a split; where there are none, or where it spans them, once, all
    images weighted 1. The order is that of the splits, the metrics' names, and the conditions. A metric that is
    undefined for a split, gives a value out of its bounds, fails or is unavailable here is left out, and the reason
    kept. Metrics of samples are computed on test splits alone. Of a model that gives several scores a metric sees one
    at a time, and its value is the part of the score's name; the first one's is the value without a part, too.

    Where the output itself is not among the predictions, a metric that has a ``statistic`` is computed from what is
    kept of it.

    Raises:
        LatentbenchError: the predictions are not of the split's images, or of too few samples.
    """
    values: dict[str, Value] = {}
    unmeasured: dict[str, str] = {}
    kept: dict[str, npt.NDArray[Any]] = {}
    for name, split in _measured(data):
        even = np.ones(len(split))
        images = cache(partial(_images, split))  # read once if a metric asks for them, and let go with the split
        for metric_name, metric_class in sorted(metrics.items()):
            output = predictions.output(name, metric_class.capability)
            from_kept = output is None and metric_class.statistic is not None  # where something is kept, it applies
            try:
                metric = metric_class()
                if not from_kept and (output is None or not _applies(metric_class, split)):
                    if output is not None and (lacking := _lacking(metric_class, split)):
                        unmeasured[str(ValueName(metric_name, name))] = lacking
                    elif output is None and metric.capability in predictions.refused and _applies(metric_class, split):
                        unmeasured[str(ValueName(metric_name, name))] = predictions.refused[metric.capability]
                    continue
            except (Exception, SystemExit) as error:
                unmeasured[str(ValueName(metric_name, name))] = describe(error)
                continue
            if reason := why_unavailable(metric_class):
                unmeasured[str(ValueName(metric_name, name))] = reason
                continue
            if from_kept:
                pass
            elif metric.samples is None:
                _check_length(output, len(split), name, metric.capability)
            else:
                output = _first(output, metric.samples, name, metric.name)
            conditions = split.conditions if metric.spans is None and split.conditions else {"": even}
            for condition, weights in conditions.items():
                for score, given in _one_by_one(output, metric.capability).items():
                    evaluation = Evaluation(given, split.targets, weights, split.conditions, images)
                    try:
                        if from_kept:
                            parts = _measure_kept(metric, predictions, name, condition)
                        else:
                            parts = metric.measure(evaluation)
                            kept |= _summary(metric, evaluation, name, condition)
                        named = {
                            str(ValueName.of(metric.name, name, condition, score=score, part=part)): value
                            for part, value in parts.items()
                        }
                        version = metric.measured_version()
                    except (Exception, SystemExit) as error:
                        unmeasured[str(ValueName.of(metric.name, name, condition, score=score))] = describe(error)
                        continue
                    for full_name, value in named.items():
                        values[full_name] = Value(
                            value=value,
                            metric=metric.name,
                            version=version,
                            title=metric.title,
                            higher_is_better=metric.higher_is_better,
                            capability=metric.capability,
                            bounds=_finite(metric.bounds),
                            readout=predictions.readout(metric.capability, score),
                            instrument=metric.instrument,
                        )
    return Measurement(values, unmeasured, kept)


def evaluation_of(
    predictions: Predictions, data: Data, metric: Metric, name: ValueName
) -> tuple[Evaluation, str] | None:
    """What ``measure`` gives ``metric`` to see for the value of that name, and which part of the result the value is.

    Returns:
        None where the output, the split or its condition is not there.
    """
    split, output = data.splits.get(name.split), predictions.output(name.split, metric.capability)
    if split is None or output is None:
        return None
    outputs = _one_by_one(output, metric.capability)
    score, part = name.resolve(metric.capability)
    if score not in outputs:  # the model has one score, and what is in brackets is the part alone
        score, part = "", name.selector
    weights = split.conditions.get(name.condition) if name.condition else np.ones(len(split))
    return None if weights is None else (Evaluation(outputs[score], split.targets, weights, split.conditions), part)


def _summary(metric: Metric, evaluation: Evaluation, split: str, condition: str) -> dict[str, npt.NDArray[Any]]:
    """What the metric's statistic keeps of an output that is not kept itself, by the names of ``Measurement.kept``."""
    if metric.statistic is None or metric.capability in PER_IMAGE:
        return {}
    arrays = metric.statistic().summarize(evaluation)
    return {_kept_name(split, metric.statistic.name, condition, name): array for name, array in arrays.items()}


def _measure_kept(metric: Metric, predictions: Predictions, split: str, condition: str) -> dict[str, float]:
    """The metric from what is kept; nothing where nothing is."""
    assert metric.statistic is not None, "its caller looked"
    kept = predictions.kept(split, metric.statistic.name, condition)
    return metric.measure_kept(kept) if kept else {}


def _kept_name(split: str, statistic: str, condition: str, array: str) -> str:
    return "/".join([*filter(None, (split, statistic, condition)), array])


def _finite(bounds: tuple[float, float]) -> tuple[float | None, float | None]:
    """Bounds as a record has them: None for infinity."""
    low, high = bounds
    return (low if isfinite(low) else None, high if isfinite(high) else None)


def _measured(data: Data) -> list[tuple[str, Split]]:
    """The splits that are evaluated, by name: all but the training split."""
    return [(name, split) for name, split in data.splits.items() if split.role is not Role.TRAIN]


def _applies(metric_class: type[Metric], split: Split) -> bool:
    """Whether the split has what the metric needs; samples are held against test images in [0, 1] alone."""
    measured = metric_class.capability != "sample" or (split.role is Role.TEST and split.image_range == (0, 1))
    return measured and metric_class().applies(split.targets, split.conditions)


def _lacking(metric_class: type[Metric], split: Split) -> str:
    """Why a test split with the targets that a metric needs has no value of it; empty where it has, or none is due."""
    metric = metric_class()
    due = split.role is Role.TEST and all(split.targets.has(name) for name in metric.targets)
    return metric.lacking(split.targets) if due else ""


def _asks(metric_class: type[Metric], split: Split) -> bool:
    """Whether a metric is due on a split: it has a value there, or a reason in its place."""
    try:
        return _applies(metric_class, split) or bool(_lacking(metric_class, split))
    except (Exception, SystemExit):
        return True  # ``measure`` then tells what it raises


def _images(split: Split) -> npt.NDArray[np.uint8]:
    """The images of a fixed split, (N, C, H, W) in 0..255: of a stored one, the bytes that it holds."""
    split = split.to(torch.device("cpu"))
    generator = torch.Generator()  # a fixed split draws nothing
    chunks = torch.split(torch.arange(len(split)), BATCH_SIZE)
    images = [split.batch(chunk, generator).images.mul(255).round().to(torch.uint8) for chunk in chunks]
    return torch.cat(images).numpy()


def _first(samples: Any, count: int, split: str, metric: str) -> npt.NDArray[np.float32]:
    """The first ``count`` samples."""
    if len(samples) < count:
        found = f"predictions '{split}/sample' are {len(samples)} images"
        raise LatentbenchError(found, f"metric '{metric}' needs {count}")
    first: npt.NDArray[np.float32] = samples[:count]
    return first


def _one_by_one(output: Any, capability: str) -> dict[str, Any]:
    """What a metric is to see, by the part of its value: the output as it is, or one of several scores."""
    if capability != "score" or not isinstance(output, Mapping):
        return {"": output}
    return {"": next(iter(output.values())), **output}


def _check_length(output: Any, images: int, split: str, capability: str) -> None:
    for array in output.values() if isinstance(output, Mapping) else (output,):
        if len(array) != images:
            found = f"predictions '{split}/{capability}' are of {len(array)} images"
            raise LatentbenchError(found, f"split '{split}' has {images}")


class _Passes:
    """Passes of one model over the splits; each is made once and kept."""

    def __init__(self, model: Model, data: Data, owner: str, device: torch.device, seed: int, batch_size: int) -> None:
        self.model, self.data, self.owner = model, data, owner
        self.device, self.seed, self.batch_size = device, seed, batch_size
        self.images = 0
        self._names = {split.role: name for name, split in data.splits.items()}
        self._made: dict[tuple[str, str], Parts] = {}
        self._training: Codes | None = None
        self._readers: dict[str, Reader | None] = {}
        self.refused: dict[str, str] = {}

    def run(self, split: str, capability: str) -> Parts:
        """What the capability gives for all images of a split, in their order."""
        if (split, capability) not in self._made:
            index = torch.arange(len(self.data.splits[split]))
            self._made[split, capability], _ = self._pass(split, capability, index)
        return self._made[split, capability]

    def samples(self, count: int) -> Parts:
        """The first ``count`` images that the model draws, in batches of one size: (count, C, H, W) under ""."""
        if ("", "sample") not in self._made:
            batches = -(-count // self.batch_size)
            self._made["", "sample"] = infer(
                self.model,
                "sample",
                repeat(torch.empty(self.batch_size, 0, device=self.device), batches),
                self.data.info,
                seed=self._derive("sample"),
                device=self.device,
                where=f"plugin '{self.owner}': model '{self.model.name}', capability 'sample'",
            )
            self.images += batches * self.batch_size
        return {"": self._made["", "sample"][""][:count]}

    def read(self, split: str, capability: str) -> Parts:
        """What the readouts of a capability that the model lacks give for a split; empty where none applies."""
        parts: Parts = {}
        for readout in READOUTS:
            if readout.capability == capability and (self.data.info.attributes or not readout.needs_attributes):
                reader = self._reader(readout)
                parts |= reader.read(self.run(split, "encode")) if reader else {}
        return parts

    def dependences(self) -> dict[str, BatchDependence]:
        """How far the results of each capability depend on the batch, by some images of the last split."""
        tolerance = TOLERANCE if self.device.type == "cpu" else TOLERANCE_OF_ACCELERATORS
        last = {capability: split for split, capability in self._made if capability != "sample"}
        found: dict[str, BatchDependence] = {}
        for capability, split in sorted(last.items()):
            run = partial(self._run_again, split, capability)
            change = change_in_batches(run, self._made[split, capability], labels=capability == "cluster")
            found[capability] = BatchDependence(
                change=float(f"{change:.2g}"), split=split, transductive=change > tolerance
            )
        return found

    @property
    def facts(self) -> dict[str, Mapping[str, float]]:
        """Name of each readout that was fitted -> what its fit chose."""
        return {name: reader.facts for name, reader in self._readers.items() if reader}

    def _reader(self, readout: Readout) -> Reader | None:
        """The fitted readout; None where it cannot read these codes."""
        if readout.name not in self._readers:
            given = TrainingCodes(
                self._training_codes(),
                self._validation_codes,
                self.data.info.attributes,
                self._derive(readout.capability),
            )
            try:
                self._readers[readout.name] = readout.fit(given)
            except LatentbenchError as error:
                self._readers[readout.name], self.refused[readout.capability] = None, str(error)
        return self._readers[readout.name]

    def _training_codes(self) -> Codes:
        """Codes and labels of at most ``MAX_IMAGES`` images of the training split."""
        if self._training is None:
            train = self._names[Role.TRAIN]
            generator = torch.Generator().manual_seed(self._derive(train, "encode", "order"))
            index = torch.randperm(len(self.data.train), generator=generator)[:MAX_IMAGES]
            self._training = Codes(*self._pass(train, "encode", index))
        return self._training

    def _validation_codes(self) -> Codes | None:
        """Codes and labels of the validation split, if there is one."""
        name = self._names.get(Role.VALIDATION)
        return Codes(self.run(name, "encode"), self.data.splits[name].targets.attributes) if name else None

    def _pass(self, split: str, capability: str, index: Tensor) -> tuple[Parts, dict[str, npt.NDArray[np.int64]]]:
        """What the capability gives for the images at ``index``, and the labels that came with them."""
        generator = torch.Generator(self.device).manual_seed(self._derive(split, capability, "images"))
        labels: dict[str, list[Tensor]] = defaultdict(list)

        def images() -> Iterator[Tensor]:
            for chunk in torch.split(index.to(self.device), self.batch_size):
                with blame(f"split '{split}' of the dataset, batch()"):
                    batch = self.data.splits[split].batch(chunk, generator)
                for attribute, values in batch.attributes.items():
                    labels[attribute].append(values)
                yield batch.images

        self.images += len(index)
        parts = infer(
            self.model,
            capability,
            images(),
            self.data.info,
            seed=self._derive(split, capability),
            device=self.device,
            where=f"plugin '{self.owner}': model '{self.model.name}', capability '{capability}' on split '{split}'",
        )
        return parts, {attribute: torch.cat(values).cpu().numpy() for attribute, values in labels.items()}

    def _run_again(self, split: str, capability: str, batches: Sequence[npt.NDArray[np.int64]], seed: int) -> Parts:
        """What the capability gives for other batches of a fixed split."""
        generator = torch.Generator(self.device)  # a fixed split draws nothing
        return infer(
            self.model,
            capability,
            (self.data.splits[split].batch(torch.from_numpy(one).to(self.device), generator).images for one in batches),
            self.data.info,
            seed=seed,
            device=self.device,
            where=f"plugin '{self.owner}': model '{self.model.name}', capability '{capability}' on other batches",
        )

    def _derive(self, *purpose: str) -> int:
        """A seed of its own for each purpose."""
        return int(content_hash(self.seed, *purpose)[:15], 16)
