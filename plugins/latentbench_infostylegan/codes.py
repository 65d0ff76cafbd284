"""The codes c of a generator: their prior p(c), and a factorised q(c | x) with which information about them is bounded.

A code is a vector of n numbers from U(-1, 1), followed by a one-hot block for each categorical code. With H(c) of the
prior, E log q(c | x) + H(c) is a lower bound on the mutual information I(c; x) (Barber & Agakov 2003; InfoGAN: Chen et
al. 2016, eq. 4). All is in nats.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor
from torch.special import log_ndtr

__all__ = ["LOG_VARIANCE", "Codes"]

#: Range of the log variance of q(c | x) of a continuous code. Ours. At its lower end a code that is read without error
#: counts log 2 - (log(2 pi) - 4) / 2 = 1.77 nats, the most that the bound can have of it.
LOG_VARIANCE = (-4.0, 1.0)


@dataclass(frozen=True)
class Codes:
    """The prior of independent codes, and what a network's outputs say about them.

    The outputs for an image are the n means of Gaussians, their n log variances, and the logits of each categorical
    code, side by side.
    """

    continuous: int
    """n: codes from U(-1, 1)."""
    categorical: tuple[int, ...]
    """Number of values of each categorical code; all values are as probable."""

    @property
    def size(self) -> int:
        """D: length of the vector.

        >>> Codes(2, (10, 4)).size
        16
        """
        return self.continuous + sum(self.categorical)

    @property
    def outputs(self) -> int:
        """How many numbers a network gives for an image.

        >>> Codes(2, (10, 4)).outputs
        18
        """
        return 2 * self.continuous + sum(self.categorical)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each code.

        >>> Codes(2, (10,)).names
        ('continuous-1', 'continuous-2', 'categorical-1')
        """
        numbered = (("continuous", self.continuous), ("categorical", len(self.categorical)))
        return tuple(f"{kind}-{place + 1}" for kind, count in numbered for place in range(count))

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers in the vector of each code.

        >>> Codes(2, (10,)).widths
        (1, 1, 10)
        """
        return (1,) * self.continuous + self.categorical

    @property
    def entropies(self) -> tuple[float, ...]:
        """H of each code, its differential entropy where it is continuous."""
        return (log(2),) * self.continuous + tuple(log(values) for values in self.categorical)

    @property
    def entropy(self) -> float:
        """H(c).

        >>> round(Codes(2, (10,)).entropy, 4)  # 2 log 2 + log 10
        3.6889
        """
        return sum(self.entropies)

    @property
    def roots(self) -> tuple[float, ...]:
        """The root of the mean square of each number in the vector, under the prior.

        >>> [round(root, 2) for root in Codes(1, (4,)).roots]
        [0.58, 0.5, 0.5, 0.5, 0.5]
        """
        of_categorical = (values**-0.5 for values in self.categorical for _ in range(values))
        return (3**-0.5,) * self.continuous + tuple(of_categorical)

    def draw(self, count: int, device: torch.device | str = "cpu") -> Tensor:
        """(count, D) from the prior, by PyTorch's global generator."""
        parts = [2 * torch.rand(count, self.continuous, device=device) - 1]
        parts += [_one_hot(torch.randint(values, (count,), device=device), values) for values in self.categorical]
        return torch.cat(parts, 1)

    def log_q(self, outputs: Tensor, codes: Tensor) -> Tensor:
        """(B, codes) float32: log q(c_i | x) of each code, a density where it is continuous.

        Args:
            outputs: (B, ``outputs``).
            codes: (B, D).
        """
        mean, log_var, logits = self._parts(outputs)
        blocks = torch.split(codes, [self.continuous, *self.categorical], 1)
        gaussian = -0.5 * ((blocks[0] - mean).square() * (-log_var).exp() + log_var + log(2 * pi))
        softmax = [
            (block * one.log_softmax(1)).sum(1, keepdim=True) for block, one in zip(blocks[1:], logits, strict=True)
        ]
        return torch.cat([gaussian, *softmax], 1)

    def mean_log_q(self, outputs: Tensor, codes: Tensor) -> Tensor:
        """(): E log q(c | x), the sum over codes and the mean over images. With H(c) it is a bound on I(c; x).

        The bound may be negative, where q is worse than the prior.
        """
        return self.log_q(outputs, codes).sum(1).mean()

    def mean(self, outputs: Tensor) -> Tensor:
        """(B, D) float32: the means of the Gaussians, and the probabilities of categorical codes."""
        mean, _, logits = self._parts(outputs)
        return torch.cat([mean, *(one.softmax(1) for one in logits)], 1)

    def nearest(self, codes: Tensor) -> Tensor:
        """(B, D): possible codes, continuous ones in [-1, 1] and categorical ones one-hot, from ones as of ``mean``."""
        first, *blocks = torch.split(codes, [self.continuous, *self.categorical], 1)
        return torch.cat([first.clamp(-1, 1), *(_one_hot(one.argmax(1), one.shape[1]) for one in blocks)], 1)

    def surprise(self, outputs: Tensor) -> Tensor:
        """(B,): how improbable what was read is under the prior, plus how unsure the reading is.

        For continuous codes -log p(mu) + log sigma, for categorical ones the entropy of q. As U(-1, 1) has no density
        outside of its range, p(mu) is that of a draw from it, read with an error of standard deviation sigma. Ours.
        """
        mean, log_var, logits = self._parts(outputs)
        sigma = (0.5 * log_var).exp()
        near, far = log_ndtr((1 - mean.abs()) / sigma), log_ndtr((-1 - mean.abs()) / sigma)
        log_p = near + torch.log1p(-(far - near).exp()) - log(2)
        entropies = [torch.special.entr(one.softmax(1)).sum(1) for one in logits]
        return torch.stack([(0.5 * log_var - log_p).sum(1), *entropies]).sum(0)

    def _parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """The means, the log variances in their range, and the logits by code, in float32."""
        sizes = [self.continuous, self.continuous, *self.categorical]
        mean, log_var, *logits = torch.split(outputs.float(), sizes, 1)
        return mean, log_var.clamp(*LOG_VARIANCE), logits


def _one_hot(index: Tensor, values: int) -> Tensor:
    """(B,) -> (B, values) float32."""
    return (index[:, None] == torch.arange(values, device=index.device)).float()
