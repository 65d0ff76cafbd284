"""What a fitted model can do: one Protocol per capability, matched at run time with what metrics need.

A model has a capability if it has the method; it need not inherit from the Protocol or register anything. At test time
the methods receive images only, (B, C, H, W) float32 in [0, 1] on the run's device; ``decode`` and ``sample`` receive
codes or a number. An image's result must not depend on the others in its batch. The methods run in eval mode under
``torch.inference_mode``, with PyTorch's global generator seeded by the run.

A method that needs gradients at test time, for example for a projection to latent codes, enables them in a block and
computes everything that it differentiates inside. Images, parameters and buffers can be used there as they are::

    def score(self, images):
        with torch.inference_mode(False), torch.enable_grad():
            z = torch.zeros(len(images), self.config.latent_dim, device=images.device, requires_grad=True)
            for _ in range(self.config.projection_steps):
                distance = (self.decoder(z) - images).square().flatten(1).sum(1)
                (gradient,) = torch.autograd.grad(distance.sum(), z)  # of z alone: no parameter gets one
                z = (z - self.config.projection_rate * gradient).detach().requires_grad_()
            return (self.decoder(z) - images).square().flatten(1).sum(1)
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CAPABILITIES",
    "MEASURABLE",
    "PER_IMAGE",
    "Clusters",
    "Decodes",
    "Encodes",
    "HasLogLikelihood",
    "Localizes",
    "Predicts",
    "Reconstructs",
    "Samples",
    "Scores",
    "capabilities_of",
    "samples_at_codes",
]


@runtime_checkable
class Scores(Protocol):
    """Image anomaly score."""

    def score(self, images: Tensor) -> Tensor | Mapping[str, Tensor]:
        """(B,), larger = more anomalous; or several by name, each (B,), of which the first is the model's own.

        It may use gradients, as the module's docstring shows.
        """


@runtime_checkable
class Localizes(Protocol):
    """Anomaly map."""

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W), larger = more anomalous. It may use gradients, as the module's docstring shows."""


@runtime_checkable
class Encodes(Protocol):
    """Latent code."""

    def encode(self, images: Tensor) -> Tensor | Mapping[str, Tensor]:
        """(B, D); or named subspaces, each (B, D_k)."""


@runtime_checkable
class Decodes(Protocol):
    """Images of latent codes."""

    def decode(self, codes: Tensor | Mapping[str, Tensor]) -> Tensor:
        """(B, C, H, W) in [0, 1], for codes as ``encode`` gives them: (B, D), or all named subspaces, each (B, D_k)."""


@runtime_checkable
class Predicts(Protocol):
    """Attributes of an image."""

    def predict(self, images: Tensor) -> Mapping[str, Tensor]:
        """Attribute -> (B, cardinality) logits or probabilities; the largest is the prediction."""


@runtime_checkable
class Clusters(Protocol):
    """One assignment per facet."""

    def cluster(self, images: Tensor) -> Mapping[str, Tensor]:
        """Facet -> (B,) int64 cluster index."""


@runtime_checkable
class Reconstructs(Protocol):
    """The model's rendering of an image."""

    def reconstruct(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1]."""


@runtime_checkable
class Samples(Protocol):
    """New images.

    The argument ``codes`` is optional. A model that has it can hold a part of an image fixed.
    """

    def sample(self, count: int, codes: Tensor | Mapping[str, Tensor] | None = None) -> Tensor:
        """(count, C, H, W) in [0, 1], drawn with PyTorch's global generator.

        Args:
            count: images to draw.
            codes: the part of each image that is given, while the rest is drawn: codes (count, D) as ``encode`` returns
                them, or some of its named subspaces, each (count, D_k); for a model that clusters, also facets, each
                (count,) int64 with the cluster to draw from.
        """


@runtime_checkable
class HasLogLikelihood(Protocol):
    """Log density of an image under the model."""

    def log_likelihood(self, images: Tensor) -> Tensor:
        """(B,) in nats."""


#: Every capability by its method's name.
CAPABILITIES: Mapping[str, type] = {
    "score": Scores,
    "localize": Localizes,
    "encode": Encodes,
    "decode": Decodes,
    "predict": Predicts,
    "cluster": Clusters,
    "reconstruct": Reconstructs,
    "sample": Samples,
    "log_likelihood": HasLogLikelihood,
}

#: Capabilities that give a number or a label for each image: their output is kept beside a record.
PER_IMAGE = ("score", "predict", "cluster", "log_likelihood")

#: Capabilities whose output a metric can read: all except those that take codes.
MEASURABLE = tuple(name for name in CAPABILITIES if name != "decode")


def capabilities_of(model: object) -> list[str]:
    """Names of the capabilities that ``model`` (an object or its class) has, in the order of the table above."""
    return [name for name in CAPABILITIES if callable(getattr(model, name, None))]


def samples_at_codes(model: object) -> bool:
    """Whether the ``sample`` method of ``model`` (an object or its class) takes codes."""
    sample = getattr(model, "sample", None)
    return callable(sample) and "codes" in signature(sample).parameters
