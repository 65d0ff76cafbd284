"""Probe defects: what no corruption here is made of, to measure on how well a model finds the unseen."""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from latentbench_augment.canvas import SIDE, coverage, pixel_centres, sign, smooth_noise, uniform
from latentbench_augment.corrupted import Corrupted
from latentbench_augment.masks import softened

__all__ = ["PROBES", "Probe"]

#: Corrupts a batch (B, C, H, W) of images in [0, 1], of a floating dtype, drawing from a generator of their device.
Probe = Callable[[Tensor, Generator], Corrupted]

#: The range of the share of an image that a region covers, log-uniform.
_COVERAGE = (0.005, 0.1)
#: Cells of the smooth noise whose hills are regions and whose level lines are lines, in units of the canvas.
_REGION_CELL, _LINE_CELL = (9.0, 9.0), (14.0, 14.0)
#: Standard deviation of the Gaussian that smooths the edges of a region, in pixels of 256 a side; of a shade, which has
#: none; of what replaces detail; and of what counts as an image without its detail.
_SOFT, _SHADE, _BLUR, _COARSE = 2.0, 10.0, 4.0, 12.0
#: The width of lines, in units of the canvas, and how far they run from the middle of their part of the image.
_WIDTH, _REACH = (0.5, 1.5), (6.0, 20.0)
#: By what a line or a shade is brighter or darker, the noise's standard deviation (all as shares of the range of the
#: clean images), and by what detail is multiplied.
_STEP, _GRAIN, _STRONGER = (0.15, 0.5), 0.12, 2.5
#: The change of a pixel, a mean over its surroundings and a share of the range, from which on it counts.
_VISIBLE = 0.02


def lines(images: Tensor, generator: Generator) -> Corrupted:
    """A thin curved line, brighter or darker than what it runs over: a part of a level line of smooth noise."""
    count, _, *size = images.shape
    device, shorter = images.device, min(size)
    y, x = (pixel_centres(length, shorter, device) for length in size)
    noise = smooth_noise(generator, count, (size[0], size[1]), _LINE_CELL)
    row, column = (torch.randint(length, (count, 1, 1), generator=generator, device=device) for length in size)
    above = noise - noise.flatten(1).gather(1, (row * size[1] + column)[:, 0])[:, :, None]
    # a function over the length of its gradient is, to first order, the distance to its zero line
    down, right = torch.gradient(above, spacing=SIDE / shorter, dim=(1, 2))
    distance = above.abs() / torch.hypot(down, right).clamp(min=1e-6)
    line = coverage(distance - uniform(generator, *_WIDTH, count, 1, 1) / 2, shorter)
    near = torch.hypot(y[:, None] - y[row], x - x[column]) < uniform(generator, *_REACH, count, 1, 1)
    return _blended(images, images + _step(images, generator), (line * near)[:, None])


def blur(images: Tensor, generator: Generator) -> Corrupted:
    """A region without its fine detail."""
    return _blended(images, _smoothed(images, _BLUR), _region(images, generator, _SOFT))


def contrast(images: Tensor, generator: Generator) -> Corrupted:
    """A region whose detail is stronger."""
    coarse = _smoothed(images, _COARSE)
    return _blended(images, coarse + _STRONGER * (images - coarse), _region(images, generator, _SOFT))


def grain(images: Tensor, generator: Generator) -> Corrupted:
    """A region with noise of each pixel and channel."""
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return _blended(images, images + _GRAIN * _range(images) * noise, _region(images, generator, _SOFT))


def shade(images: Tensor, generator: Generator) -> Corrupted:
    """A brighter or darker region without an edge."""
    hills = _region(images, generator, _SHADE)
    return _blended(images, images + _step(images, generator), hills / hills.amax((2, 3), keepdim=True))


#: Every probe by name. Each draws one kind of defect, in every image.
PROBES: Mapping[str, Probe] = {one.__name__: one for one in (lines, blur, contrast, grain, shade)}


def _region(images: Tensor, generator: Generator, softness: float) -> Tensor:
    """(B, 1, H, W) float32: the highest hills of smooth noise, with smoothed edges."""
    count, _, height, width = images.shape
    noise = smooth_noise(generator, count, (height, width), _REGION_CELL)
    low, high = _COVERAGE
    share = low * (high / low) ** uniform(generator, 0, 1, count, 1)
    ordered = noise.flatten(1).sort(descending=True).values
    level = ordered.gather(1, (share * (height * width - 1)).long())[:, :, None]
    return softened((noise >= level).float(), softness * min(height, width) / 256)[:, None]


def _step(images: Tensor, generator: Generator) -> Tensor:
    """(B, 1, 1, 1): by what something is brighter or darker."""
    shape = (len(images), 1, 1, 1)
    return sign(generator, *shape) * uniform(generator, *_STEP, *shape) * _range(images)


def _range(images: Tensor) -> Tensor:
    """From the smallest to the largest value of the batch."""
    return images.amax() - images.amin()


def _smoothed(images: Tensor, width: float) -> Tensor:
    """Images smoothed by a Gaussian, in pixels of 256 a side."""
    flat = softened(images.float().flatten(0, 1), width * min(images.shape[2:]) / 256)
    return flat.view(images.shape)


def _blended(images: Tensor, defective: Tensor, mask: Tensor) -> Corrupted:
    """Defective inside the mask, within the range of the clean images; clean where that changes hardly anything."""
    inside = defective.clamp(images.amin(), images.amax()).to(images.dtype)
    blended = torch.lerp(images, inside, mask.to(images.dtype))
    change = (blended - images).abs().amax(1, keepdim=True)
    visible = _smoothed(change, _BLUR) > _VISIBLE * _range(images)
    return Corrupted(torch.where(visible, blended, images), mask * visible)
