"""Base, MI, CMI and a balanced Base: supervised codes under correlation shift (Funke et al., CoLLAs 2022).

An encoder gives z = (z_1, ..., z_K), a subspace for each attribute s_k, and a linear head reads s_k from z_k alone. If
attributes are correlated in training, Base lets z_k lean on the other attributes. MI makes the subspaces independent,
which for correlated attributes is impossible without losing one of them (proposition 3.1). CMI makes z_k independent of
the other subspaces given s_k, which is possible:

    Base   sum_k L(R_k z_k, s_k)                                 (section 3)
    MI     sum_k L(R_k z_k, s_k) + lambda I(z_1; ...; z_K)       (section 3)
    CMI    sum_k L(R_k z_k, s_k) + lambda I(z_k; z_-k | s_k)     (section 4, eq. 6, algorithm 1)

The paper leaves out a baseline that needs no discriminator: Base on data in which every combination of attributes
weighs the same (``ShiftBalanced``).

Where the paper and its released code differ, this follows the code; README.md beside this file lists these places.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from math import prod, sqrt
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from latentbench import MISSING, Batch, DataInfo, Losses, Model, Split, TrainingOptions
from latentbench_autoencoders.networks import encoder as convolutional
from latentbench_cmi.dependence import (
    Contrast,
    Discriminators,
    conditional,
    maximum_mean_discrepancy,
    two_sided,
    unconditional,
)
from latentbench_cmi.detector import SubspaceGaussians
from latentbench_cmi.presets import presets

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["Shift", "ShiftBalanced", "ShiftBase", "ShiftCMI", "ShiftMI"]

#: Units in each hidden layer of encoder and discriminators (appendix B).
HIDDEN = 50
#: Of the MMD's kernel: the value in the authors' code. The paper reports nothing of MMD.
BANDWIDTH = 1.0
#: Images that are drawn at a time when no gradients are needed.
DRAWN_AT_ONCE = 1000
#: Combinations of attribute values, missing ones included, that ``ShiftBalanced`` counts at most.
MOST_CELLS = 2**20


class Shift(Model):
    """Encoder, subspaces and heads, with the classification loss: what all of the methods share.

    Labels may be MISSING: an attribute is learned from the items that have its label.
    """

    needs = ("attributes",)

    class Config(TrainingOptions):
        subspace_dim: int = Field(5, ge=1, description="d: dimensions of the subspace of each attribute")
        encoder: Literal["mlp", "conv"] = Field("mlp", description="mlp: two hidden layers of 50, the published one")
        channel_copies: int = Field(
            1, ge=1, description="as if the encoder saw every channel so often; published for grey images: 3"
        )
        encoder_learning_rate: float = Field(1e-4, gt=0, description="of Adam")
        head_learning_rate: float = Field(1e-3, gt=0, description="of Adam")
        score: Literal["mahalanobis", "free_energy"] = Field(
            "mahalanobis", description="as a detector, our extension: distance in the subspaces, or energy of the heads"
        )

    config: Config

    def build(self, info: DataInfo) -> None:
        """Make encoder, heads and detector.

        ``channel_copies`` = c stands for an encoder that sees c copies of each channel. Only the sum of the copies'
        weights acts on the image. ``nn.Linear`` and ``nn.Conv2d`` draw it with the variance of a single weight without
        copies, but the bias with a c-th of that variance, because it depends on the number of inputs.
        """
        config, attributes = self.config, info.attributes
        code, values = len(attributes) * config.subspace_dim, max(attributes.values())
        self.encoder = (
            convolutional(info, code, "conv", width=16)
            if config.encoder == "conv"
            else nn.Sequential(
                nn.Flatten(),
                *(nn.Linear(info.image_numel, HIDDEN), nn.ReLU()),
                *(nn.Linear(HIDDEN, HIDDEN), nn.ReLU()),
                nn.Linear(HIDDEN, code),
            )
        )
        _, first_bias, *_ = self.encoder.parameters()
        with torch.no_grad():
            first_bias.div_(sqrt(config.channel_copies))
        self.heads = nn.ModuleList(nn.Linear(config.subspace_dim, cardinality) for cardinality in attributes.values())
        self.gaussians = SubspaceGaussians(len(attributes), config.subspace_dim, values)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each component, with a learning rate of its own (appendix B).

        With ``channel_copies`` the weights of the first layer learn so many times as fast: those of all copies have the
        same gradient, so Adam moves them alike.
        """
        config, (first, *others) = self.config, self.encoder.parameters()
        rate = config.encoder_learning_rate
        groups: list[dict[str, Any]] = [{"params": [first], "lr": config.channel_copies * rate}, {"params": others}]
        return {
            "encoder": torch.optim.Adam(groups, rate, fused=True),
            "heads": torch.optim.Adam(self.heads.parameters(), config.head_learning_rate, fused=True),
        }

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Losses]]:
        """One update of each component: the encoder; then, on its old code, the heads."""
        z, s = self.code(batch.images), self.labels(batch)
        yield "encoder", self.classification(z, s)
        yield "heads", self.classification(z.detach(), s)

    def validation_step(self, batch: Batch) -> Tensor:
        """The classification loss, by which ``patience`` selects."""
        return self.classification(self.code(batch.images), self.labels(batch))

    def code(self, images: Tensor) -> Tensor:
        """z, (B, K, d) in float32."""
        z: Tensor = self.encoder(images)
        return z.float().view(len(z), len(self.heads), -1)

    def labels(self, batch: Batch) -> Tensor:
        """s, (K, B) int64; MISSING where an item's attribute is not known."""
        unknown = torch.full((len(batch.images),), MISSING, device=batch.images.device)
        return torch.stack([batch.attributes.get(name, unknown) for name in self.info.attributes])

    def classification(self, z: Tensor, s: Tensor) -> Tensor:
        """L: weighted cross entropy of the heads, its mean over an attribute's labelled items, then over attributes.

        An attribute without a labelled item in the batch counts as 0.
        """
        weights = self.weights(s)
        losses = [
            cross_entropy(head(z[:, k]).float(), s[k], ignore_index=MISSING, reduction="none").mul(weights).sum()
            / (s[k] >= 0).sum().clamp_min(1)
            for k, head in enumerate(self.heads)
        ]
        return torch.stack(losses).mean()

    def weights(self, s: Tensor) -> Tensor:
        """(B,): how much each item with the labels s, (K, B), counts in the classification loss; by default 1."""
        return torch.ones(s.shape[1], device=s.device)

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Attribute -> (B, d): its subspace z_k."""
        return dict(zip(self.info.attributes, self.code(images).unbind(1), strict=True))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Attribute -> (B, cardinality): the logits of its head, R_k z_k."""
        codes = self.encode(images)
        return {name: head(codes[name]) for name, head in zip(codes, self.heads, strict=True)}

    # From here on ours: the paper does not detect anomalies.

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Train in the harness's loop, then fit the detector to the codes of one more pass over ``train``."""
        trainer.fit(self, train, validation)
        self.eval()
        with torch.no_grad():
            batches = [(self.code(batch.images), self.labels(batch)) for batch in _one_pass(train, trainer)]
            codes, labels = zip(*batches, strict=True)
            self.gaussians.fit(torch.cat(codes), torch.cat(labels, dim=1))

    def score(self, images: Tensor) -> Tensor:
        """(B,): how unlike the training images an image is, by the option ``score``.

        mahalanobis: see ``SubspaceGaussians``. free_energy: -log sum exp of a head's logits (Liu et al. 2020, eq. 4),
        summed over the attributes.
        """
        if self.config.score == "mahalanobis":
            distance: Tensor = self.gaussians(self.code(images))
            return distance
        return -torch.stack([logits.logsumexp(1) for logits in self.predict(images).values()]).sum(0)


class ShiftBase(Shift):
    """Base: the classification loss alone."""

    config: Shift.Config
    version = 2
    presets = presets(mnist_rates=(1e-4, 1e-3), adversarial=False)


class ShiftBalanced(Shift):
    """Base on balanced data: an item weighs by the inverse frequency of its combination of attribute values.

    This is the reweighting of Idrissi et al. (*Simple data balancing achieves competitive worst-group-accuracy*, CLeaR
    2022), which Funke et al. do not compare with. If attributes are correlated in training, but each combination of
    their values is there, the weighted loss is the one of uncorrelated attributes.

    What to do with MISSING labels is ours: an item counts for each attribute whose label it has, and its combination is
    that of the labels it has. Among the items with labels of the same attributes, all combinations that occur weigh the
    same in sum, and the mean weight is 1.
    """

    config: Shift.Config
    presets = ShiftBase.presets
    strides: Tensor
    cell_weights: Tensor

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """Not where there are too many combinations to count."""
        cells = prod(cardinality + 1 for cardinality in info.attributes.values())
        return None if cells <= MOST_CELLS else f"{len(info.attributes)} attributes have too many combinations to count"

    def build(self, info: DataInfo) -> None:
        """Make the parts of Base, and a weight for each cell: a combination of labels, of which any may be missing."""
        super().build(info)
        values = torch.tensor([cardinality + 1 for cardinality in info.attributes.values()])
        self.register_buffer("strides", values.cumprod(0).div(values, rounding_mode="floor"))
        self.register_buffer("cell_weights", torch.ones(int(values.prod())))

    def start(self, train: Split, trainer: "Trainer") -> None:
        """Count the cells of one pass over the training split."""
        s = torch.cat([self.labels(batch) for batch in _one_pass(train, trainer)], dim=1)
        cells, labelled = self.cells(s), ((s >= 0) * self.strides[:, None]).sum(0)  # which attributes have labels
        for attributes in set(labelled.tolist()):
            counts = cells[labelled == attributes].bincount(minlength=len(self.cell_weights))
            occurring = counts > 0
            self.cell_weights[occurring] = counts.sum() / (occurring.sum() * counts[occurring])

    def cells(self, s: Tensor) -> Tensor:
        """(B,) int64: the combination of labels of each item of s, (K, B), as a number."""
        return (self.strides[:, None] * (s + 1)).sum(0)

    def weights(self, s: Tensor) -> Tensor:
        """(B,): the weights of the items' cells."""
        return self.cell_weights[self.cells(s)]


class Independent(Shift, ABC):
    """Base whose encoder also minimizes how dependent the subspaces are: what MI and CMI share.

    Items without a label of attribute k take part in MI, and are left out of CMI's condition k (appendix B.5).
    """

    class Config(Shift.Config):
        weight: float = Field(1.0, ge=0, description="lambda: weight of the dependence")
        estimator: Literal["adversarial", "mmd"] = Field(
            "adversarial", description="how dependence is measured: by discriminators, or by a kernel without training"
        )
        discriminator_learning_rate: float = Field(1e-3, gt=0, description="of Adam")

        def unused(self) -> Mapping[str, str]:
            """The discriminators' learning rate, if there are none."""
            own = {"discriminator_learning_rate": "the estimator mmd has no discriminators"}
            return {**super().unused(), **(own if self.estimator == "mmd" else {})}

    config: Config
    discriminators: Discriminators | None

    def build(self, info: DataInfo) -> None:
        """Make the parts of Base, and discriminators."""
        super().build(info)
        self.discriminators = self.make_discriminators(info) if self.config.estimator == "adversarial" else None

    @abstractmethod
    def make_discriminators(self, info: DataInfo) -> Discriminators:
        """Those that tell ``contrast.real`` from ``contrast.fake``."""

    @abstractmethod
    def contrast(self, z: Tensor, s: Tensor) -> Contrast:
        """The codes as they are, and with their subspaces permuted: over the batch (MI), or within each value (CMI)."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Those of Base, and Adam for the discriminators."""
        optimizers = super().optimizers()
        if self.discriminators is not None:
            rate = self.config.discriminator_learning_rate
            optimizers["discriminators"] = torch.optim.Adam(self.discriminators.parameters(), rate, fused=True)
        return optimizers

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Losses]]:
        """One update of each component (algorithm 1): the encoder; then, on its old code, heads and discriminators."""
        z, s = self.code(batch.images), self.labels(batch)
        classification, dependence = self.classification(z, s), self.dependence(z, s)
        yield (
            "encoder",
            {
                "loss": classification + self.config.weight * dependence,
                "classification": classification,
                "dependence": dependence,
            },
        )
        z = z.detach()
        yield "heads", self.classification(z, s)
        if self.discriminators is not None:
            yield "discriminators", self.discrimination(self.discriminators, z, s)

    def dependence(self, z: Tensor, s: Tensor) -> Tensor:
        """What the encoder minimizes beside the classification loss: I, as the discriminators or the MMD see it."""
        contrast = self.contrast(z, s)
        if self.discriminators is None:
            return self.over_groups(maximum_mean_discrepancy(contrast, BANDWIDTH), contrast)
        real, fake = self.discriminators(contrast)
        return self.over_groups(two_sided(fake, real, contrast), contrast)

    def discrimination(self, discriminators: Discriminators, z: Tensor, s: Tensor) -> Tensor:
        """What the discriminators minimize, with fresh permutations."""
        contrast = self.contrast(z, s)
        real, fake = discriminators(contrast)
        return self.over_groups(two_sided(real, fake, contrast), contrast)

    def over_groups(self, total: Tensor, contrast: Contrast) -> Tensor:
        """A loss, given its sum over the groups of the contrast: by default that sum."""
        return total


class ShiftMI(Independent):
    """Base+MI: also the mutual information of the subspaces."""

    config: Independent.Config
    version = 2
    presets = presets(mnist_rates=(1e-5, 1e-4))

    def make_discriminators(self, info: DataInfo) -> Discriminators:
        """One, of the whole code."""
        return Discriminators(1, len(self.heads) * self.config.subspace_dim, 0, HIDDEN)

    def contrast(self, z: Tensor, s: Tensor) -> Contrast:
        """Every subspace is permuted over the batch (algorithm 3)."""
        return unconditional(z)


class ShiftCMI(Independent):
    """Base+CMI: also, for each attribute, the mutual information of its subspace and the others given its value."""

    class Config(Independent.Config):
        groups: Literal["sum", "mean"] = Field(
            "sum", description="over the groups of equal attribute values; sum is the published one"
        )

    config: Config
    version = 2
    presets = presets(mnist_rates=(1e-5, 1e-4))

    def make_discriminators(self, info: DataInfo) -> Discriminators:
        """One for each attribute, of the whole code and the attribute's value."""
        code = len(self.heads) * self.config.subspace_dim
        return Discriminators(len(self.heads), code, max(info.attributes.values()), HIDDEN)

    def contrast(self, z: Tensor, s: Tensor) -> Contrast:
        """Each subspace is permuted within the items that have the same value of its attribute (algorithm 1)."""
        return conditional(z, s, max(self.info.attributes.values()))

    def over_groups(self, total: Tensor, contrast: Contrast) -> Tensor:
        """The sum over the groups, or the mean over those that take part (option ``groups``)."""
        return total if self.config.groups == "sum" else total / contrast.count.clamp_min(1)


def _one_pass(train: Split, trainer: "Trainer") -> Iterator[Batch]:
    """The training split, in its order and in batches."""
    for part in torch.split(torch.arange(len(train), device=trainer.device), DRAWN_AT_ONCE):
        yield train.batch(part, trainer.generator)
