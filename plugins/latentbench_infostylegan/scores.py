"""The anomaly scores of the model: detectors on features, and what generator, discriminator and Q say of an image.

The paper's detection systems are not known; its abstract says that there are several, on what was learned. These are
the usual ones. All are larger for anomalies, and none has a setting that was chosen by anomalies. Which of them stands
for the model was not chosen blindly: see ``OWN``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentbench_infostylegan.codes import Codes
from latentbench_infostylegan.detectors import DETECTORS, Detector

__all__ = ["Readings", "Scores"]

#: The score that stands for the model. It was named before any score of this model was measured: a density of features
#: is what detectors on deep features most often use, it has nothing to be set, and every training has a trunk, whatever
#: its lambda. But in an earlier run of throw-away code on MNIST, it had been the best of the scores that were tried.
OWN = "trunk_mahalanobis"
#: Weight of the pixels in the reconstruction score. Ours: the proportion is AnoGAN's (Schlegl et al., 2017), but AnoGAN
#: weighs sums of absolute differences, where this is a mean absolute and a root mean square error.
ALPHA = 0.9


@dataclass(frozen=True)
class Readings:
    """What the networks say of B images."""

    trunk: Tensor
    """(B, features): the means of the trunk's maps, before the minibatch deviation."""
    outputs: Tensor
    """(B, outputs): what Q gives."""
    logit: Tensor
    """(B,): D(x)."""

    @classmethod
    def joined(cls, parts: Sequence["Readings"]) -> "Readings":
        """The readings of several batches as one."""
        trunk, outputs, logit = zip(*((one.trunk, one.outputs, one.logit) for one in parts), strict=True)
        return cls(torch.cat(trunk), torch.cat(outputs), torch.cat(logit))


class Scores(nn.Module):
    """Every detector on the trunk's features, on the means of Q, and on both, and the scores without a detector.

    Args:
        codes: c.
        features: of the trunk.
        count: images that the detectors are fitted to at most.
    """

    def __init__(self, codes: Codes, features: int, count: int) -> None:
        super().__init__()
        self.codes = codes
        sizes = {"trunk": features, "codes": codes.size, "both": features + codes.size}
        self.detectors = nn.ModuleDict(
            {
                f"{of}_{name}": detector(size, count)
                for of, size in sizes.items()
                for name, detector in DETECTORS.items()
            }
        )

    def fit(self, x: Readings) -> None:
        """Fit every detector to the readings of normal images.

        Raises:
            LatentbenchError: the readings are not finite, or all alike.
        """
        features = self.features(x)
        for name, detector in self.detectors.items():
            assert isinstance(detector, Detector), "a ModuleDict has modules"
            detector.fit(features[name.partition("_")[0]])

    def forward(self, images: Tensor, rebuilt: Tensor, x: Readings, y: Readings) -> dict[str, Tensor]:
        """Scores by name, each (B,).

        Args:
            images: (B, C, H, W).
            rebuilt: what the generator makes of them, of the same shape.
            x: readings of the images.
            y: readings of what is rebuilt.
        """
        features = self.features(x)
        found = {name: detector(features[name.partition("_")[0]]) for name, detector in self.detectors.items()}
        of_pixels = (images - rebuilt).abs().flatten(1).mean(1)
        of_features = (x.trunk - y.trunk).square().mean(1).sqrt()
        return {
            OWN: found.pop(OWN),
            **found,
            "code_surprise": self.codes.surprise(x.outputs),
            "reconstruction": ALPHA * of_pixels + (1 - ALPHA) * of_features,
            "code_cycle": (self.codes.mean(x.outputs) - self.codes.mean(y.outputs)).norm(dim=1),
            "negative_logit": -x.logit,
        }

    def features(self, x: Readings) -> dict[str, Tensor]:
        """What the detectors see: trunk, codes, and both side by side; each is standardised by the detectors."""
        codes = self.codes.mean(x.outputs)
        return {"trunk": x.trunk, "codes": codes, "both": torch.cat([x.trunk, codes], 1)}
