"""A plugin in one local file, as a stranger writes it: a tiny dataset, an honest model, and ones with real faults."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from latentbench import (
    MISSING,
    Batch,
    Data,
    DataInfo,
    Dataset,
    Evaluation,
    Executor,
    LatentbenchError,
    Metric,
    Model,
    Options,
    Outcome,
    Progress,
    Role,
    StoredSplit,
    Targets,
    Task,
    execute,
    hookimpl,
)


class Blobs(Dataset):
    """Grey 8x8 images with a bright left or right half; anomalies are bright everywhere."""

    name = "toy-blobs"
    title, licence, citation, source = "Toy blobs", "CC0-1.0", "none", "this file"

    class Config(Options):
        """How many images a split has."""

        size: int = 60

    config: Config

    def load(self, data_root: Path) -> Data:
        size = self.config.size
        splits = {}
        for number, role in enumerate(Role):
            draw = np.random.default_rng(number)
            side = np.arange(size) % 2
            anomaly = (np.arange(size) >= size * 3 // 4).astype(np.uint8) * (role is Role.TEST)
            images = draw.integers(0, 100, (size, 1, 8, 8))
            images[np.arange(size) % 2 == 0, :, :, :4] += 100
            images[np.arange(size) % 2 == 1, :, :, 4:] += 100
            images[anomaly == 1] += 50
            targets = Targets(
                anomaly=anomaly if role is Role.TEST else None,
                attributes={"side": np.where(anomaly == 1, MISSING, side)},
            )
            splits[str(role)] = StoredSplit(role, torch.from_numpy(images.clip(0, 255).astype(np.uint8)), targets)
        return Data(DataInfo(1, 8, 8, size, {"side": 2}), splits)


class CentreDistance(Model):
    """One-class detector: squared distance of a code to the centre of the normal codes (Ruff et al., 2018, eq. 3)."""

    class Config(Model.Config):
        """A linear code."""

        epochs: int = 3
        batch_size: int = 16
        latent_dim: int = 4
        learning_rate: float = 1e-3

    config: Config
    centre: Tensor

    def build(self, info: DataInfo) -> None:
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(info.image_numel, self.config.latent_dim, bias=False))
        self.register_buffer("centre", torch.ones(self.config.latent_dim))

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), self.config.learning_rate)

    def training_step(self, batch: Batch) -> Tensor:
        return self.score(batch.images).mean()

    def encode(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def score(self, images: Tensor) -> Tensor:
        return (self.encode(images) - self.centre).square().sum(1)


class NanLoss(CentreDistance):
    """Its loss is not a number from the fifth step on."""

    steps = 0

    def training_step(self, batch: Batch) -> Tensor:
        self.steps += self.training
        return super().training_step(batch) * (float("nan") if self.training and self.steps >= 5 else 1.0)


class WrongShape(CentreDistance):
    """Its scores have a dimension too many."""

    def score(self, images: Tensor) -> Tensor:
        return super().score(images)[:, None]

    def training_step(self, batch: Batch) -> Tensor:
        return super().score(batch.images).mean()


class NanScores(CentreDistance):
    """One of its scores is not a number."""

    def score(self, images: Tensor) -> Tensor:
        scores = super().score(images)
        return torch.where(torch.arange(len(scores)) == 3, torch.nan, scores)

    def training_step(self, batch: Batch) -> Tensor:
        return super().score(batch.images).mean()


class Crash(CentreDistance):
    """Its process dies."""

    def training_step(self, batch: Batch) -> Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class DividesByZero(CentreDistance):
    """It has a plain bug."""

    def training_step(self, batch: Batch) -> Tensor:
        return torch.tensor(1 // 0)


class Refuses(CentreDistance):
    """It names what it cannot do."""

    def build(self, info: DataInfo) -> None:
        raise LatentbenchError("toy models refuse", "choose another")


class Broken(Metric):
    """A metric with a plain bug."""

    name = "toy-broken"
    title, source = "broken", "this file"
    capability, targets = "score", ("anomaly",)
    higher_is_better, bounds = True, (0.0, 1.0)

    def compute(self, evaluation: Evaluation) -> float:
        return [][0]


class Here(Executor):
    """Carries runs out in the process that asks, so that a test can put a fault into it."""

    name = "here"

    def run(self, tasks: Sequence[Task], jobs: int, progress: Callable[[Progress], None]) -> Iterator[Outcome]:
        for task in tasks:
            yield execute(task, progress=progress)


class Silent(Executor):
    """Carries nothing out and says nothing."""

    name = "silent"

    def run(self, tasks: Sequence[Task], jobs: int, progress: Callable[[Progress], None]) -> Iterator[Outcome]:
        return iter(())


@hookimpl
def latentbench_executors() -> list[type[Executor]]:
    """Offer one that tests can reach into, and a faulty one."""
    return [Here, Silent]


@hookimpl
def latentbench_metrics() -> list[type[Metric]]:
    """Offer the broken one."""
    return [Broken]


@hookimpl
def latentbench_models() -> list[type[Model]]:
    """Offer the toys."""
    return [CentreDistance, NanLoss, WrongShape, NanScores, Crash, DividesByZero, Refuses]


@hookimpl
def latentbench_datasets() -> list[type[Dataset]]:
    """Offer the blobs."""
    return [Blobs]
