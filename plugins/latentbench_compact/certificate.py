"""The proof that an encoder has a Lipschitz constant of at most M, read from its weights (Glazunov & Zarras 2023).

The bound is the product of the layers' constants in the l-infinity norm. It holds for any network of the layers that
are known here, not only for ``LipschitzEncoder``; a network with anything else in it is refused.
"""

from dataclasses import dataclass
from math import inf, nextafter

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from torch.nn.utils import parametrize

from latentbench import LatentbenchError
from latentbench_compact.lipschitz import GroupSort, LipschitzEncoder, Scaled, UnitRows

__all__ = ["Certificate", "certificate", "in_float64", "lipschitz_bound"]


@dataclass(frozen=True)
class Certificate:
    """A proof for an encoder f with its present weights: ||f(x) - f(x')||_inf <= bound ||x - x'||_inf for all x, x'.

    f is the network as a function of real numbers, with the weights that its layers use: the float32 numbers that the
    parametrizations give. It does not matter how they came to be. The arithmetic of the bound is rounded upwards.

    What float32 does in evaluating f is not in the bound. With N_l weights in a row of layer l, the computed f(x) is
    off by about 2^-24 (N_1 + ... + N_L) of the largest value that a layer can give, at worst: 1e-4 of it for
    784-512-256, and 1e-7 or less where measured. On a GPU, TF32 has 2^-11 in the place of 2^-24; and under autocast to
    bfloat16 the weights themselves are others, by 2^-8.
    """

    bound: float
    """The l-infinity Lipschitz constant is at most this."""
    centre: Tensor
    """f(0): (outputs,) float64 on the CPU."""

    @property
    def radius(self) -> float:
        """The image of [0, 1]^D is in the l-infinity ball of this radius round f(0); of half of it, round f(1/2)."""
        return self.radius_at(1.0)

    def radius_at(self, k: float) -> float:
        """As ``radius``, for [0, k]^D: images whose intensities are multiplied by k."""
        return self.bound if k == 1 else nextafter(k * self.bound, inf)


def certificate(encoder: LipschitzEncoder) -> Certificate:
    """The certificate of an encoder, read from its weights and not from the options that it was made with.

    Raises:
        LatentbenchError: a layer whose constant is not known here, or whose weights are not finite; it is named.
    """
    _check_known(encoder, "the encoder", LipschitzEncoder)
    x = torch.zeros(1, *encoder.image_shape)
    return Certificate(lipschitz_bound(encoder.layers), in_float64(encoder.layers, x)[0])


def lipschitz_bound(network: nn.Sequential) -> float:
    """The product of the layers' l-infinity Lipschitz constants, in float64, rounded upwards.

    A linear layer's or convolution's is the largest l1 norm of a row of its weight: the operator norm. Bounded, too,
    are ReLU, leaky ReLU, GroupSort, max-pooling and flattening, so it can be had for other encoders than ours.

    Raises:
        LatentbenchError: see ``certificate``.

    >>> layer = nn.Linear(2, 2)
    >>> layer.weight.data = torch.tensor([[1.0, -2.0], [0.5, 0.5]])
    >>> round(lipschitz_bound(nn.Sequential(layer, nn.ReLU())), 6)
    3.0
    """
    bound = 1.0
    for name, layer in _walk(network, ""):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            rows = _float64(layer.weight).flatten(1)
            if not all(bool(parameter.isfinite().all()) for parameter in layer.parameters()):
                raise LatentbenchError(f"no Lipschitz bound of layer {name}: its weights are not finite")
            norm = rows.abs().sum(1).max().item()
            # n additions of numbers >= 0 lose a share below n 2^-52, in any order; each of two products, 2^-53.
            bound *= norm * (1 + (rows.shape[1] + 4) * 2**-52)
        elif isinstance(layer, nn.LeakyReLU) and abs(layer.negative_slope) > 1:
            bound = nextafter(bound * abs(layer.negative_slope), inf)
    return bound


def in_float64(network: nn.Sequential, x: Tensor) -> Tensor:
    """f(x) in float64, on the CPU, with the weights as ``network`` has them; for networks that can be bounded.

    ``network.double()`` has others: there the parametrizations are computed in float64, too.
    """
    h = x.cpu().double()
    for _, layer in _walk(network, ""):
        if isinstance(layer, nn.Linear):
            h = linear(h, _float64(layer.weight), _bias(layer))
        elif isinstance(layer, nn.Conv2d):
            weight, bias = _float64(layer.weight), _bias(layer)
            h = conv2d(h, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
        else:
            h = layer(h)
    return h


#: Exactly these, no subclasses: a subclass may compute something else.
_WEIGHTED = (nn.Linear, nn.Conv2d)
_WEIGHTLESS = (GroupSort, nn.MaxPool2d, nn.ReLU, nn.LeakyReLU, nn.Flatten, nn.Identity)


def _walk(network: nn.Sequential, prefix: str) -> list[tuple[str, nn.Module]]:
    """("'0.2' (Linear)", layer) of a sequence and of the sequences in it; a layer that is used twice occurs twice."""
    _check_known(network, "the network", nn.Sequential)
    layers = []
    for position, layer in enumerate(network):
        name = f"{prefix}{position}"
        described = f"'{name}' ({parametrize.type_before_parametrizations(layer).__name__})"
        _check_known(layer, f"layer {described}", nn.Sequential, *_WEIGHTED, *_WEIGHTLESS)
        if isinstance(layer, nn.Sequential):
            layers += _walk(layer, f"{name}.")
        else:
            layers.append((described, layer))
    return layers


def _check_known(module: nn.Module, name: str, *types: type[nn.Module]) -> None:
    """That it is of one of these types, and that nothing else changes what it computes."""
    if parametrize.type_before_parametrizations(module) not in types:
        reason = "its type is none whose constant is known here"
    elif module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        reason = "it has a forward hook, or a forward of its own"
    elif isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        reason = f"it pads with {module.padding_mode}, not zeros"
    elif any(type(step) not in (UnitRows, Scaled) for step in _parametrizations(module)):
        reason = "it has a parametrization other than UnitRows and Scaled"
    else:
        return
    raise LatentbenchError(f"no Lipschitz bound of {name}: {reason}")


def _parametrizations(module: nn.Module) -> list[nn.Module]:
    lists = getattr(module, "parametrizations", {})
    return [step for steps in lists.values() for step in steps]


def _bias(layer: nn.Linear | nn.Conv2d) -> Tensor | None:
    return None if layer.bias is None else _float64(layer.bias)


def _float64(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().double()
