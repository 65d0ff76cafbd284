"""q(z | x), the distribution of the code that an encoder gives for an image, and what compares it with p(z)."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Gaussian", "Posterior", "kl_divergence"]

#: log sigma^2 is clamped here, so that the decoder stays finite in float32 for images far outside of [0, 1].
WIDEST = 60.0


class Posterior(ABC):
    """q(z | x) for each of B images."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """(B, D): the code of an image."""

    @property
    @abstractmethod
    def spread(self) -> Tensor:
        """(B,): the width of q(z | x), in units of z."""

    @abstractmethod
    def rsample(self) -> Tensor:
        """(B, D): z ~ q(z | x), one for each image, reparametrized; drawn with PyTorch's global generator."""

    @abstractmethod
    def kl(self) -> Tensor:
        """(B,): KL(q(z | x) || p(z)) in nats."""

    @abstractmethod
    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """N draws for each image, from noise that all images share: the batch of an image does not change them.

        Args:
            noise: (N, 1, E), the random numbers that the draws are a function of.

        Returns:
            z (N, B, D), and log p(z) - log q(z | x) (N, B).
        """


class Gaussian(Posterior):
    """q(z | x) = N(mu, diag(sigma^2)), p(z) = N(0, I) (Kingma & Welling, ICLR 2014). Noise is standard normal, E = D.

    Args:
        mu: (B, D).
        log_var: (B, D), log sigma^2.
    """

    def __init__(self, mu: Tensor, log_var: Tensor) -> None:
        self.mu, self.log_var = mu, log_var.clamp(max=WIDEST)

    @property
    def mean(self) -> Tensor:
        """(B, D): mu."""
        return self.mu

    @property
    def spread(self) -> Tensor:
        """(B,): the mean of sigma over the dimensions."""
        return (self.log_var / 2).exp().mean(1)

    def rsample(self) -> Tensor:
        """(B, D): z = mu + sigma eps, eps ~ N(0, I) (eq. 10)."""
        return self.mu + (self.log_var / 2).exp() * torch.randn_like(self.mu)

    def kl(self) -> Tensor:
        """(B,): the closed form of appendix B."""
        return kl_divergence(self.mu, self.log_var)

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """As ``rsample``. In the difference of the log densities their constants cancel."""
        z = self.mu + (self.log_var / 2).exp() * noise
        return z, (self.log_var + noise.square() - z.square()).sum(2) / 2


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, diag(sigma^2)) || N(0, I)), (B, D) each -> (B,) in nats (appendix B).

    >>> kl_divergence(torch.tensor([[0.5, 0.0], [1.0, 0.0]]), torch.zeros(2, 2)).tolist()
    [0.125, 0.5]
    """
    return -(1 + log_var - mu.square() - log_var.exp()).sum(1) / 2
