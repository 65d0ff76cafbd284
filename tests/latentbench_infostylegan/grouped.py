"""The modulated convolution as it is defined: weights for each image, in one grouped convolution."""

from torch import Tensor
from torch.nn.functional import conv2d

from latentbench_infostylegan.network import ModulatedConvolution


def grouped(layer: ModulatedConvolution, x: Tensor, w: Tensor) -> Tensor:
    """What ``layer`` gives: (B, inputs, h, w) and (B, style) -> (B, outputs, h, w)."""
    weights = (layer.weight * layer.scale)[None] * layer.style(w)[:, None, :, None, None]
    if layer.demodulate:
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    images, outputs, *kernel = weights.shape
    y = conv2d(
        x.reshape(1, -1, *x.shape[2:]), weights.reshape(images * outputs, *kernel), None, 1, kernel[-1] // 2, 1, images
    )
    return y.reshape(images, outputs, *x.shape[2:])
