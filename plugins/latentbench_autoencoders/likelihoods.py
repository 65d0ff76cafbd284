"""p(x | z), the distribution of the pixels given a decoder's outputs: Bernoulli, Gaussian, or SSIM in its place."""

from abc import ABC, abstractmethod
from math import log, pi
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from latentbench import import_torchvision

__all__ = ["SSIM", "Bernoulli", "Gaussian", "Likelihood", "Reconstruction", "likelihood"]

Reconstruction = Literal["bernoulli", "gaussian", "ssim"]


def likelihood(reconstruction: Reconstruction, sigma: float) -> "Likelihood":
    """The likelihood called ``reconstruction``; ``sigma`` is the Gaussian's."""
    match reconstruction:
        case "bernoulli":
            return Bernoulli()
        case "gaussian":
            return Gaussian(sigma)
        case "ssim":
            return SSIM()


class Likelihood(ABC):
    """p(x | z), given the outputs of a decoder at z. Outputs and images x are (B, C, H, W), and x is in [0, 1]."""

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1]: the mean image."""

    @abstractmethod
    def outputs(self, mean: Tensor) -> Tensor:
        """(B, C, H, W), finite: the outputs whose mean image is ``mean``, in [0, 1]."""

    @abstractmethod
    def negative_log(self, outputs: Tensor, x: Tensor) -> Tensor:
        """(B,) -log p(x | z) in nats, summed over pixels and channels."""

    def log_prob_of_draws(self, outputs: Tensor, x: Tensor) -> Tensor:
        """(N, B) log p(x | z) of N outputs (N, B, C, H, W) for each image of x (B, C, H, W), in nats."""
        draws = len(outputs)
        return -self.negative_log(outputs.flatten(0, 1), x.repeat(draws, 1, 1, 1)).view(draws, -1)

    @abstractmethod
    def error(self, outputs: Tensor, x: Tensor) -> Tensor:
        """(B, H, W): -log p(x | z) less that of a perfect reconstruction, summed over channels; 0 where perfect.

        It is half the deviance of generalized linear models, and leaves out the part that no decoder can avoid.
        """


class Bernoulli(Likelihood):
    """Bernoulli pixels, outputs as logits (Kingma & Welling 2014, appendix C.1).

    A gray value of x is taken for the probability of a white pixel, as is common. ``negative_log`` is then the cross
    entropy, which is the mean over such binary images. It is never below the entropy of x, and it is not the logarithm
    of a normalized density of x.
    """

    def mean(self, outputs: Tensor) -> Tensor:
        """The probability of a white pixel."""
        return outputs.sigmoid()

    def outputs(self, mean: Tensor) -> Tensor:
        """The log odds, of probabilities at least 1e-6 from 0 and 1."""
        return mean.logit(eps=1e-6)

    def negative_log(self, outputs: Tensor, x: Tensor) -> Tensor:
        """(B,): -x log p - (1 - x) log(1 - p), summed over pixels and channels."""
        return binary_cross_entropy_with_logits(outputs, x, reduction="none").sum((1, 2, 3))

    def log_prob_of_draws(self, outputs: Tensor, x: Tensor) -> Tensor:
        """(N, B): sum of x times logits less that of log(1 + exp(logits)), without a copy of x for every draw."""
        return torch.einsum("nbchw,bchw->nb", outputs, x) - softplus(outputs).sum((2, 3, 4))

    def error(self, outputs: Tensor, x: Tensor) -> Tensor:
        """KL(x || p) of the two Bernoulli distributions."""
        entropy = torch.special.entr(x) + torch.special.entr(1 - x)
        cross_entropy = binary_cross_entropy_with_logits(outputs, x, reduction="none")
        excess: Tensor = cross_entropy - entropy
        return excess.clamp_min(0).sum(1)


class Gaussian(Likelihood):
    """Gaussian pixels of one fixed standard deviation, outputs as means.

    Args:
        sigma: standard deviation, > 0, in units of the images' [0, 1].
    """

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def mean(self, outputs: Tensor) -> Tensor:
        """The outputs, clamped to [0, 1]."""
        return outputs.clamp(0, 1)

    def outputs(self, mean: Tensor) -> Tensor:
        """The mean image itself."""
        return mean

    def negative_log(self, outputs: Tensor, x: Tensor) -> Tensor:
        """(B,): ||x - mean||^2 / (2 sigma^2), plus the normalizing constant."""
        constant = x[0].numel() * (log(self.sigma) + log(2 * pi) / 2)
        return self.error(outputs, x).sum((1, 2)) + constant

    def error(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Squared error over 2 sigma^2."""
        return (x - outputs).square().sum(1) / (2 * self.sigma**2)


class SSIM(Likelihood):
    """Structural dissimilarity 1 - SSIM in place of -log p (Wang et al. 2004; Bergmann et al. 2019, eq. 3-6).

    Outputs are logits. This is not a likelihood. Where a model adds one to a KL divergence, the dissimilarities of all
    pixels and channels, each in [0, 2], are summed with weight 1 and stand for nats, which is the scale of a Bernoulli,
    whose entropy is at most log 2 a pixel.

    The Gaussian window is the standard one (sigma 1.5, 11x11) when the smaller side has at least 11 pixels and shrinks
    with it below. All pixels count: images are padded by reflection.
    """

    def mean(self, outputs: Tensor) -> Tensor:
        """The outputs through a sigmoid."""
        return outputs.sigmoid()

    def outputs(self, mean: Tensor) -> Tensor:
        """The log odds, of probabilities at least 1e-6 from 0 and 1."""
        return mean.logit(eps=1e-6)

    def negative_log(self, outputs: Tensor, x: Tensor) -> Tensor:
        """(B,): the sum of the dissimilarities over pixels and channels."""
        return self.error(outputs, x).sum((1, 2))

    def error(self, outputs: Tensor, x: Tensor) -> Tensor:
        """1 - SSIM of the window around each pixel."""
        import_torchvision()  # first of what torchmetrics imports; late, because they take seconds
        from torchmetrics.functional.image import structural_similarity_index_measure

        window = 1.5 * min(1.0, min(x.shape[2:]) / 11)
        _, similarity = structural_similarity_index_measure(
            self.mean(outputs), x, sigma=window, reduction="none", data_range=1.0, return_full_image=True
        )
        return (1 - similarity).sum(1)
