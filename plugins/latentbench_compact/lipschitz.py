"""An encoder of a fixed Lipschitz constant M (Glazunov & Zarras 2023, supplement E, algorithm 1).

    h_0 = x;   h_l = GroupSort(M^(1/L) W_l h_(l-1) + b_l),   every row of W_l having l1 norm 1;   L layers

Then ||f(x) - f(x')||_inf <= M ||x - x'||_inf, and the image of [0, 1]^D lies in the l-infinity ball of radius M round
f(0): a compact set that is known before any data is seen.
``latentbench_compact.certificate`` proves this for an encoder with its present weights.

The layers are those of Anil, Lucas & Grosse (2019, "Sorting out Lipschitz function approximation"). Where the printed
algorithm leaves a choice, this one is made here:

- Rows are projected by their absolute values and keep their signs ("sphere"), as in the code of Anil et al.; or as
  printed, onto the simplex, which leaves no negative weight.
- There are biases. They shift f, and do not change its constant.
- The last layer, which gives mu and log sigma together, has no GroupSort: that would sort the latent coordinates. It is
  bounded like the others, so that one constant holds for both.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from latentbench import LatentbenchError

__all__ = ["GroupSort", "LipschitzEncoder", "Mode", "Scaled", "UnitRows"]

Mode = Literal["sphere", "ball", "simplex"]

#: At most. float32 leaves no room for rows that take many; one that did would have a norm above 1, and a certificate
#: that says so.
NEWTON_STEPS = 32


class UnitRows(nn.Module):
    """Parametrization of a weight: the rows' nearest points on the l1 sphere of radius 1, or in the l1 ball.

    A row is the kernel of one output, flattened. The nearest point is w' = sign(w) max(|w| - tau, 0), with the
    threshold tau at which ||w'||_1 = 1 (Duchi et al. 2008; Condat 2016, algorithm 1):

        u = |w| in descending order;   K = max{k : (u_1 + ... + u_k - 1) / k < u_k};   tau = (u_1 + ... + u_K - 1) / K

    tau is found without sorting, by Newton's steps from below on sum max(|w| - tau, 0) = 1 (Condat 2016, section 2,
    after Michelot): the support shrinks at each, and once it does not tau is exact. Rows of 784 take five to seven.

    "sphere" also takes a row of norm below 1 outwards: there tau < 0, and a weight that passes 0 jumps from -|tau| to
    |tau|. A zero counts as positive, so a row of N zeros becomes 1/N everywhere, one of its nearest points. "ball"
    leaves a row of norm 1 or less as it is. "simplex" is algorithm 1 to the letter, with w in the place of |w|: no
    weight is negative, and every row is an average.

    The gradient is exact: where the K largest stay the K largest, tau is their mean less 1/K and is differentiated, so
    what reaches the row is tangent to the sphere. (Taking tau for a constant, as is also done, adds a component along
    the normal, by which w' does not change.) Weights below tau have no gradient: of a row of 784 as ``nn.Linear``
    draws it, whose l1 norm is near 14, three in four; all of a row, once a single weight is left. They come back when
    tau falls. Plain gradient descent, tangent as it is, leaves tau where it is; the steps of Adam do not.
    """

    def __init__(self, mode: Mode = "sphere") -> None:
        super().__init__()
        if mode not in get_args(Mode):
            raise LatentbenchError(f"UnitRows has no mode {mode!r}", f"use {', '.join(get_args(Mode))}")
        self.mode = mode

    def forward(self, weight: Tensor) -> Tensor:
        """(outputs, ...) -> the same shape, every row of l1 norm 1, or at most 1 (ball)."""
        w = weight.flatten(1)
        one = torch.ones((), dtype=w.dtype, device=w.device)
        sign = one if self.mode == "simplex" else torch.copysign(one, w.detach() + 0)
        size = sign * w
        # Relative to the largest, which cancels: rows of any size end with a norm of 1 to the precision of 1.
        y = size - size.amax(1, keepdim=True).detach()
        support = _support(y.detach())
        tau = ((y * support).sum(1, keepdim=True) - 1) / support.sum(1, keepdim=True)
        projected = sign * (y - tau).clamp_min(0)
        if self.mode == "ball":
            projected = torch.where(size.sum(1, keepdim=True) > 1, projected, w)
        return projected.reshape(weight.shape)


def _support(y: Tensor) -> Tensor:
    """Where rows y (R, N), each at most 0 and 0 somewhere, are above their threshold tau: 1, and 0 elsewhere."""
    tau = ((y.sum(1, keepdim=True) - 1) / y.shape[1]).clamp_min_(-1)  # at -1 the largest alone has a norm of 1
    size: Tensor | None = None
    for _ in range(NEWTON_STEPS):
        above = (y - tau).clamp_min_(0)
        last, size = size, above.sign().sum(1, keepdim=True)
        if y.is_cpu and last is not None and torch.equal(size, last):  # elsewhere one would have to wait for it
            break
        tau = tau + (above.sum(1, keepdim=True) - 1) / size
    return (y > tau).to(y.dtype)


class Scaled(nn.Module):
    """Parametrization of a weight: W -> factor W. The factor of one layer is M^(1/L)."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, times the factor."""
        return self.factor * weight


class GroupSort(nn.Module):
    """Sorts the features, within consecutive groups of them (Anil, Lucas & Grosse 2019, section 4.1).

    A permutation of its input, and 1-Lipschitz in every l_p norm. Groups of 2 are also called MaxMin.

    Args:
        group: features in a group, which must divide their number; None sorts all of them.
    """

    def __init__(self, group: int | None = 2) -> None:
        super().__init__()
        if group is not None and group < 1:
            raise LatentbenchError(f"GroupSort cannot sort in groups of {group}", "use 1 or more, or None for all")
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, ...) -> the same shape, ascending within each group. (B, channels, H, W): at each pixel."""
        group = self.size(x.shape[1])
        groups = x.reshape(len(x), x.shape[1] // group, group, *x.shape[2:])
        if group == 2:  # much faster than to sort
            a, b = groups.unbind(2)
            return torch.stack((torch.minimum(a, b), torch.maximum(a, b)), 2).reshape(x.shape)
        return groups.sort(2).values.reshape(x.shape)

    def size(self, features: int) -> int:
        """The features in a group.

        Raises:
            LatentbenchError: they do not divide ``features``.
        """
        group = self.group or features
        if features % group:
            raise LatentbenchError(
                f"GroupSort cannot split {features} features into groups of {group}",
                f"use a multiple of {group}, or another group",
            )
        return group

    def extra_repr(self) -> str:
        """What ``print(module)`` shows: the size of a group."""
        return f"group={self.group}"


class LipschitzEncoder(nn.Module):
    """f: (B, C, H, W) -> (B, outputs), of l-infinity Lipschitz constant M.

    A value of a convolution is the product of one flattened kernel with some of the values before it, or with zeros.
    So its l-infinity constant is the kernels' largest l1 norm, with any stride and zero padding. Where every value of
    a kernel falls within the image it is attained; nothing is lost, as it would be in the Euclidean norm.

    Args:
        image_shape: (C, H, W).
        layers: linear and convolutional ones, of which there are L; and what has constant 1, such as max-pooling. A
            GroupSort follows each of the L but the last.
        M: the constant, > 0 and finite.
        mode: of ``UnitRows``. With "ball" the constant is M at most.
        group: of ``GroupSort``.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], layers: Sequence[nn.Module], M: float, mode: Mode, group: int | None
    ) -> None:
        super().__init__()
        if not (isfinite(M) and M > 0):
            raise LatentbenchError(f"an encoder cannot have Lipschitz constant M = {M}", "M must be finite and above 0")
        self.image_shape = image_shape
        self.layers = nn.Sequential()
        weighted = [layer for layer in layers if isinstance(layer, nn.Linear | nn.Conv2d)]
        L = len(weighted)
        for layer in layers:
            self.layers.append(layer)
            if isinstance(layer, nn.Linear | nn.Conv2d):
                parametrize.register_parametrization(layer, "weight", UnitRows(mode))
                parametrize.register_parametrization(layer, "weight", Scaled(M ** (1 / L)))
                if layer is not weighted[-1]:
                    sort = GroupSort(group)
                    sort.size(len(layer.weight))  # a clear error now, not at the first image
                    self.layers.append(sort)

    def forward(self, x: Tensor) -> Tensor:
        """f(x): (B, C, H, W) -> (B, outputs)."""
        outputs: Tensor = self.layers(x)
        return outputs
