"""Base, MI and CMI: supervised codes under correlation shift (Funke et al., CoLLAs 2022, PMLR 199:116-141).

An encoder gives z = (z_1, ..., z_K), a subspace for each attribute s_k, and a linear head reads s_k from z_k alone. If
attributes are correlated in training, Base lets z_k lean on the other attributes. MI makes the subspaces independent,
which for correlated attributes is impossible without losing one of them (proposition 3.1). CMI makes z_k independent of
the other subspaces given s_k, which is possible:

    Base   sum_k L(R_k z_k, s_k)                                 (section 3)
    MI     sum_k L(R_k z_k, s_k) + lambda I(z_1; ...; z_K)       (section 3)
    CMI    sum_k L(R_k z_k, s_k) + lambda I(z_k; z_-k | s_k)     (section 4, eq. 6, algorithm 1)

Where the paper and its released code differ, this follows the code; README.md beside this file lists these places.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from latentbench import MISSING, Batch, DataInfo, LatentbenchError, Losses, Model, Split, TrainingOptions
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

__all__ = ["Shift", "ShiftBase", "ShiftCMI", "ShiftMI"]

#: Dimensions of a subspace if ``latent_dim`` is left open (appendix B).
SUBSPACE_DIMS = 5
#: Units in each hidden layer of encoder and discriminators (appendix B).
HIDDEN = 50
#: Of the MMD's kernel: the value in the authors' code. The paper reports nothing of MMD.
BANDWIDTH = 1.0
#: Images that are drawn at a time when no gradients are needed.
DRAWN_AT_ONCE = 1000


class Shift(Model):
    """The three methods in one; the option ``minimize`` tells them apart.

    Labels may be MISSING: an attribute is learned from the items that have its label. MI uses all items, and CMI for
    attribute k those that have its label (appendix B.5).
    """

    needs = ("attributes",)

    class Config(TrainingOptions):
        minimize: Literal["nothing", "mi", "cmi"] = Field(
            "cmi", description="beside the classification loss: mutual information of the subspaces, or conditional"
        )
        weight: float = Field(1.0, ge=0, description="lambda: weight of what is minimized")
        groups: Literal["sum", "mean"] = Field(
            "sum", description="over the groups of equal attribute values; sum is the published one"
        )
        estimator: Literal["adversarial", "mmd"] = Field(
            "adversarial", description="how dependence is measured: by discriminators, or by a kernel without training"
        )
        latent_dim: int | None = Field(
            None, ge=1, description=f"size of z, shared evenly by the attributes; None: {SUBSPACE_DIMS} for each"
        )
        encoder: Literal["mlp", "conv"] = Field("mlp", description="mlp: two hidden layers of 50, the published one")
        channel_copies: int = Field(
            1, ge=1, description="as if the encoder saw every channel so often; published for grey images: 3"
        )
        encoder_learning_rate: float = Field(1e-4, gt=0, description="of Adam")
        head_learning_rate: float = Field(1e-3, gt=0, description="of Adam")
        discriminator_learning_rate: float = Field(1e-3, gt=0, description="of Adam")
        score: Literal["mahalanobis", "free_energy"] = Field(
            "mahalanobis", description="as a detector, our extension: distance in the subspaces, or energy of the heads"
        )

    config: Config
    discriminators: Discriminators | None

    def build(self, info: DataInfo) -> None:
        """Make encoder, heads, discriminators and detector.

        Raises:
            LatentbenchError: the attributes cannot share ``latent_dim`` evenly.
        """
        config, attributes = self.config, info.attributes
        dims = _subspace_dims(self.name, list(attributes), config.latent_dim)
        code, values = len(attributes) * dims, max(attributes.values())
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
        self.heads = nn.ModuleList(nn.Linear(dims, cardinality) for cardinality in attributes.values())
        self.discriminators = None
        if config.estimator == "adversarial" and config.minimize == "mi":
            self.discriminators = Discriminators(1, code, 0, HIDDEN)
        if config.estimator == "adversarial" and config.minimize == "cmi":
            self.discriminators = Discriminators(len(attributes), code, values, HIDDEN)
        self.gaussians = SubspaceGaussians(len(attributes), dims, values)

    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Adam for each of the three components, with a learning rate of its own (appendix B).

        With ``channel_copies`` the first layer learns so many times as fast, which is the same as copying channels: the
        weights of all copies have the same gradient, so Adam moves them alike, and only their sum acts on the image.
        (``nn.Linear`` draws that sum with the variance of a single weight, too.)
        """
        config, (first, *others) = self.config, self.encoder.parameters()
        rate = config.encoder_learning_rate
        groups: list[dict[str, Any]] = [{"params": [first], "lr": config.channel_copies * rate}, {"params": others}]
        optimizers = {
            "encoder": torch.optim.Adam(groups, rate, fused=True),
            "heads": torch.optim.Adam(self.heads.parameters(), config.head_learning_rate, fused=True),
        }
        if self.discriminators is not None:
            optimizers["discriminators"] = torch.optim.Adam(
                self.discriminators.parameters(), config.discriminator_learning_rate, fused=True
            )
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
        """L: cross entropy of the heads, its mean over an attribute's labelled items and then over the attributes.

        An attribute without a labelled item in the batch counts as 0.
        """
        losses = [
            cross_entropy(head(z[:, k]).float(), s[k], ignore_index=MISSING, reduction="sum")
            / (s[k] >= 0).sum().clamp_min(1)
            for k, head in enumerate(self.heads)
        ]
        return torch.stack(losses).mean()

    def dependence(self, z: Tensor, s: Tensor) -> Tensor:
        """What the encoder minimizes beside the classification loss: I, as the discriminators or the MMD see it."""
        if self.config.minimize == "nothing":
            return z.new_zeros(())
        contrast = self.contrast(z, s)
        if self.discriminators is None:
            return self._over_groups(maximum_mean_discrepancy(contrast, BANDWIDTH), contrast)
        real, fake = self.discriminators(contrast)
        return self._over_groups(two_sided(fake, real, contrast), contrast)

    def discrimination(self, discriminators: Discriminators, z: Tensor, s: Tensor) -> Tensor:
        """What the discriminators minimize, with fresh permutations."""
        contrast = self.contrast(z, s)
        real, fake = discriminators(contrast)
        return self._over_groups(two_sided(real, fake, contrast), contrast)

    def contrast(self, z: Tensor, s: Tensor) -> Contrast:
        """The codes as they are, and with their subspaces permuted: over the batch (MI), or within each value (CMI)."""
        return unconditional(z) if self.config.minimize == "mi" else conditional(z, s, self.gaussians.known.shape[1])

    def _over_groups(self, total: Tensor, contrast: Contrast) -> Tensor:
        return total if self.config.groups == "sum" else total / contrast.count.clamp_min(1)

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
        index = torch.arange(len(train), device=trainer.device)
        codes, labels = [], []
        with torch.no_grad():
            for part in torch.split(index, DRAWN_AT_ONCE):
                batch = train.batch(part, trainer.generator)
                codes.append(self.code(batch.images))
                labels.append(self.labels(batch))
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
    """Base: the classification loss alone. The options of what is minimized have no effect."""

    class Config(Shift.Config):
        minimize: Literal["nothing"] = Field("nothing", description="the classification loss alone")

    config: Config
    presets = presets(mnist_rates=(1e-4, 1e-3, 1e-3))


class ShiftMI(Shift):
    """Base+MI: also the mutual information of the subspaces."""

    class Config(Shift.Config):
        minimize: Literal["mi"] = Field("mi", description="mutual information of the subspaces")

    config: Config
    presets = presets(mnist_rates=(1e-5, 1e-4, 1e-4))


class ShiftCMI(Shift):
    """Base+CMI: also, for each attribute, the mutual information of its subspace and the others given its value."""

    class Config(Shift.Config):
        minimize: Literal["cmi"] = Field("cmi", description="mutual information given each attribute")

    config: Config
    presets = presets(mnist_rates=(1e-5, 1e-4, 1e-4))


def _subspace_dims(model: str, attributes: list[str], size: int | None) -> int:
    """d: the dimensions of each subspace if z has ``size`` of them in all."""
    count = len(attributes)
    if size is None:
        return SUBSPACE_DIMS
    if size < count:
        raise LatentbenchError(
            f"model '{model}': {count} attributes ({', '.join(attributes)}) need a subspace each, and a latent "
            f"size of {size} makes at most {size}",
            f"set latent_dim to a multiple of {count}",
        )
    if size % count:
        below = size - size % count
        raise LatentbenchError(
            f"model '{model}': {count} attributes cannot share a latent size of {size} evenly",
            f"set latent_dim to {below} or {below + count}",
        )
    return size // count
