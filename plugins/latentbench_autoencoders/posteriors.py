"""What an encoder says of the code of an image: q(z | x) for a batch, held against the prior p(z)."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

__all__ = ["Gaussian", "Posterior", "kl_divergence"]

#: log sigma^2 is cut off here, so that what images far beyond [0, 1] are decoded to stays finite in float32.
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
        """(B,): how wide q(z | x) is, in units of z."""

    @abstractmethod
    def rsample(self) -> Tensor:
        """(B, D): z ~ q(z | x), one for each image, reparametrized; drawn with PyTorch's global generator."""

    @abstractmethod
    def kl(self) -> Tensor:
        """(B,): KL(q(z | x) || p(z)) in nats."""

    @abstractmethod
    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """N draws for each image from noise that all images share, so that no image's draws depend on its batch.

        Args:
            noise: (N, 1, E), what the model draws for them.

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
        """The means mu."""
        return self.mu

    @property
    def spread(self) -> Tensor:
        """The mean of sigma over the dimensions."""
        return (self.log_var / 2).exp().mean(1)

    def rsample(self) -> Tensor:
        """By eq. 10: z = mu + sigma eps."""
        return self.mu + (self.log_var / 2).exp() * torch.randn_like(self.mu)

    def kl(self) -> Tensor:
        """The closed form of appendix B."""
        return kl_divergence(self.mu, self.log_var)

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """By eq. 10; in the difference of the log densities their constants cancel."""
        z = self.mu + (self.log_var / 2).exp() * noise
        return z, (self.log_var + noise.square() - z.square()).sum(2) / 2


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, diag(sigma^2)) || N(0, I)), (B, D) each -> (B,) in nats (appendix B).

    >>> kl_divergence(torch.tensor([[0.5, 0.0], [1.0, 0.0]]), torch.zeros(2, 2)).tolist()
    [0.125, 0.5]
    """
    return -(1 + log_var - mu.square() - log_var.exp()).sum(1) / 2
