"""Running a fitted model: its capabilities are matched to what metrics need and to the targets that splits have.

What it gave is kept as ``Predictions``, from which ``measuring`` goes on without the model.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentbench.capabilities import capabilities_of
from latentbench.data.splits import Data, Role, content_hash
from latentbench.errors import LatentbenchError, blame
from latentbench.evaluation.applicability import evaluated_splits, is_due
from latentbench.evaluation.company import TOLERANCE, TOLERANCE_OF_ACCELERATORS, change_in_batches
from latentbench.evaluation.inference import Parts, infer
from latentbench.evaluation.predictions import Predictions
from latentbench.evaluation.readouts import MAX_IMAGES, READOUTS, Codes, Reader, Readout, TrainingCodes
from latentbench.metric import Metric, why_unavailable
from latentbench.model import Model
from latentbench.records.record import BatchDependence

__all__ = ["collect", "output_on", "refuse_transductive"]

#: Images that a model is given, or draws, at a time.
BATCH_SIZE = 500


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
    for name, split in evaluated_splits(data):
        for capability in sorted({metric.capability for metric in available if is_due(metric, split)}):
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
            f"({', '.join(found)} of their spread)",
            "make them depend on the image alone; or allow it with 'transductive: allowed' in the board, "
            "which marks the row, and --retry-failed",
        )


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
                reader = readout.fit(given)
                self._readers[readout.name] = reader
                if reader and reader.refused:
                    self.refused[readout.capability] = "; ".join(reader.refused.values())
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
