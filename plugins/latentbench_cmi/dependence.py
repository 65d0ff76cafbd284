"""Dependence among the subspaces of a code: codes are compared with codes whose subspaces were permuted.

Everything here is computed for all attributes and all their values at once, on the device of the codes.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

__all__ = [
    "Contrast",
    "Discriminators",
    "conditional",
    "maximum_mean_discrepancy",
    "permutation_within",
    "two_sided",
    "unconditional",
]

#: Random keys are below this. With 40 bits a tie, which is not broken at random, is rare: one pair in 10^12.
_KEYS = 2**40


@dataclass(frozen=True)
class Contrast:
    """Codes as they are, and codes from the product of the marginals, which they would follow if independent.

    There are R conditions: the K attributes, or none (R = 1). Each sorts the B items of a batch into at most V groups.
    """

    real: Tensor
    """(R, B, D): z, from the joint p(z | group)."""
    fake: Tensor
    """(R, B, D): z with subspaces permuted among the items of a group, from the product of marginals."""
    groups: Tensor
    """(R, B, V) float: 1 where the item is in the group; all 0 for an item without a label, which is in none."""
    shares: Tensor
    """(R, B, V): 1 / n in a group of n items; 0 outside of it, and for a group of one, which has none to swap with."""

    @classmethod
    def of(cls, real: Tensor, fake: Tensor, groups: Tensor) -> "Contrast":
        """The contrast of ``real`` and ``fake`` over these groups; the shares follow from them."""
        size = groups.sum(1, keepdim=True)
        return cls(real, fake, groups, groups * (size >= 2) / size.clamp_min(1))

    @property
    def count(self) -> Tensor:
        """(): the number of groups that take part, which are those with two or more items."""
        return self.shares.sum()


def conditional(z: Tensor, s: Tensor, values: int) -> Contrast:
    """For I(z_k; z_-k | s_k), k = 1..K (eq. 6, algorithm 1): within each value of s_k, z_k is permuted against z_-k.

    The other subspaces keep their joint distribution. Items without a label of attribute k are left out of condition k.

    Args:
        z: (B, K, d), a subspace of d dimensions for each attribute.
        s: (K, B) int64 in [0, values), or negative where the label is missing.
        values: V, the largest cardinality.

    >>> z, s = torch.randn(6, 2, 3), torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, -1]])
    >>> contrast = conditional(z, s, values=2)
    >>> contrast.fake.shape, int(contrast.count)
    (torch.Size([2, 6, 6]), 4)
    """
    own = torch.eye(len(s), dtype=torch.bool, device=z.device)[:, None, :, None]
    fake = torch.where(own, _permuted(z, s)[:, :, None], z).flatten(2)
    groups = (s[:, :, None] == torch.arange(values, device=s.device)).to(z.dtype)
    return Contrast.of(z.flatten(1).expand_as(fake), fake, groups)


def unconditional(z: Tensor) -> Contrast:
    """For I(z_1, ..., z_K) (algorithm 3): every subspace is permuted on its own, over the whole batch.

    Args:
        z: (B, K, d).

    >>> contrast = unconditional(torch.randn(6, 2, 3))
    >>> contrast.fake.shape, int(contrast.count)
    (torch.Size([1, 6, 6]), 1)
    """
    everyone = torch.zeros(z.shape[1], len(z), dtype=torch.int64, device=z.device)
    fake = _permuted(z, everyone).transpose(0, 1).flatten(1)
    return Contrast.of(z.flatten(1)[None], fake[None], torch.ones_like(z[None, :, 0, :1]))


def _permuted(z: Tensor, groups: Tensor) -> Tensor:
    """(K, B, d): subspace k of z (B, K, d), its items permuted within the groups of row k of (K, B)."""
    subspaces = z.transpose(0, 1)
    return subspaces.gather(1, permutation_within(groups)[:, :, None].expand_as(subspaces))


def permutation_within(groups: Tensor) -> Tensor:
    """Permute the items of every group among themselves, uniformly and independently.

    Sorting by (group, random key) lists each group's items in a random order; sorting by group alone lists them as they
    came, at the same places. The first list is put where the second one says.

    Args:
        groups: (R, B) int64, |group| < 2^22; each row is on its own.

    Returns:
        (R, B) int64: in whose place item b is put; a permutation of 0..B-1 in each row.

    >>> permutation_within(torch.tensor([[0, 1, 1, 2]])).sort().values.tolist()
    [[0, 1, 2, 3]]
    >>> permutation_within(torch.tensor([[0, 1, 1, 2]]))[0, [0, 3]].tolist()  # alone in their groups
    [0, 3]
    """
    keys = torch.randint(_KEYS, groups.shape, device=groups.device)
    shuffled = (groups * _KEYS + keys).argsort(dim=1)
    in_order = groups.argsort(dim=1, stable=True)
    return torch.empty_like(groups).scatter_(1, in_order, shuffled)


class Discriminators(nn.Module):
    """R discriminators side by side, one for each condition: (z, one-hot group) -> 50 -> 50 -> a logit of being real.

    One matrix product serves a layer of all of them; each begins as a stack of ``nn.Linear`` would.

    Args:
        count: R.
        code: D, the size of z.
        values: V; 0 for discriminators that do not see the group.
        hidden: units of both hidden layers.
    """

    def __init__(self, count: int, code: int, values: int, hidden: int) -> None:
        super().__init__()
        self.values = values
        layers = [*pairwise([code + values, hidden, hidden, 1])]
        self.weights = nn.ParameterList(_uniform((count, a, b), 1 / sqrt(a)) for a, b in layers)
        self.biases = nn.ParameterList(_uniform((count, 1, b), 1 / sqrt(a)) for a, b in layers)

    def forward(self, contrast: Contrast) -> tuple[Tensor, Tensor]:
        """Logits of the real and of the fake codes, each (R, B) float32."""
        h = torch.cat([contrast.real, contrast.fake], dim=1)
        if self.values:
            h = torch.cat([h, contrast.groups.repeat(1, 2, 1)], dim=2)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, relu(h) if layer else h, weight)
        real, fake = h[:, :, 0].float().chunk(2, dim=1)
        return real, fake


def _uniform(shape: tuple[int, ...], bound: float) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))


def two_sided(real: Tensor, fake: Tensor, contrast: Contrast) -> Tensor:
    """Cross entropy of calling ``real`` real and ``fake`` fake, the mean in each group, summed over the groups.

    A discriminator minimizes it. With the logits swapped, the encoder minimizes it: this is the non-saturating form,
    with gradients through both. It is 2 log 2 for each group if the discriminator cannot tell the two apart.

    Args:
        real: (R, B) logits.
        fake: (R, B) logits.
        contrast: the codes that the logits are of.

    >>> contrast = unconditional(torch.randn(8, 2, 1))
    >>> round(two_sided(torch.zeros(1, 8), torch.zeros(1, 8), contrast).item(), 4)  # 2 log 2
    1.3863
    """
    return ((softplus(-real) + softplus(fake)) * contrast.shares.sum(2)).sum()


def maximum_mean_discrepancy(contrast: Contrast, bandwidth: float) -> Tensor:
    """MMD between real and fake codes in each group, summed over the groups (Gretton et al., 2012, eq. 5).

    The square root of the biased estimate, as in the authors' code; the kernel is exp(-|a - b|^2 / (2 bandwidth^2)).

    >>> same = Contrast.of(torch.ones(1, 4, 2), torch.ones(1, 4, 2), torch.ones(1, 4, 1))
    >>> maximum_mean_discrepancy(same, bandwidth=1.0).item()
    0.0
    """
    both = torch.cat([contrast.real, contrast.fake], dim=1).float()
    kernel = (torch.cdist(both, both, compute_mode="donot_use_mm_for_euclid_dist").square() / (-2 * bandwidth**2)).exp()
    sign = torch.cat([contrast.shares, -contrast.shares], dim=1)
    squared = torch.einsum("riv,rij,rjv->rv", sign, kernel, sign)
    return squared.clamp_min(1e-12).sqrt().mul(squared > 1e-12).sum()
