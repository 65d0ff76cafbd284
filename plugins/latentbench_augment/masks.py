"""Masks of blobs: where an image is corrupted, with soft edges, and within bounds of the share that is covered."""

from math import ceil, exp, floor

import torch
from torch import Generator, Tensor

from latentbench import LatentbenchError
from latentbench_augment.blobs import OUTLINES, radius_towards, ragged
from latentbench_augment.canvas import SIDE, mirrored, pixel_centres, uniform

__all__ = ["covering", "draw_blobs", "softened"]


def draw_blobs(
    generator: Generator,
    count: int,
    size: tuple[int, int],
    *,
    shapes: tuple[str, ...],
    blobs: tuple[int, int],
    side: tuple[float, float],
) -> Tensor:
    """Draw the blobs of ``count`` images; those of an image may overlap and run out of it.

    Args:
        generator: what is drawn from; the result is on its device.
        count: number of images.
        size: height and width in pixels.
        shapes: names of ``OUTLINES``, one of which is drawn for each blob.
        blobs: the least and the largest number of blobs of an image.
        side: the range of a blob's width and height, as shares of the image's shorter side, log-uniform.

    Returns:
        (count, height, width) float32: how far each pixel lies beyond the edge of a blob (``blobs.ragged``), in units,
        for the blob for which it is least; negative inside.
    """
    device, most, shorter = generator.device, blobs[1], min(size)
    height, width = (SIDE * length / shorter for length in size)
    drawn = count * most
    x = pixel_centres(size[1], shorter, device) - uniform(generator, 0, width, drawn, 1, 1)
    y = pixel_centres(size[0], shorter, device)[:, None] - uniform(generator, 0, height, drawn, 1, 1)
    halves = side[0] * (side[1] / side[0]) ** uniform(generator, 0, 1, 2, drawn, 1) * (SIDE / 2)
    tables = torch.stack([OUTLINES[shape](generator, *halves) for shape in shapes])
    shape = torch.randint(len(shapes), (drawn,), generator=generator, device=device)
    table = tables[shape, torch.arange(drawn, device=device)]
    radius = radius_towards(table, x, y, uniform(generator, 0, 1, drawn, 1, 1))
    distance = ragged(generator, x, y, radius, size).view(count, most, *size)
    number = torch.randint(blobs[0], most + 1, (count, 1, 1, 1), generator=generator, device=device)
    there = torch.arange(most, device=device)[:, None, None] < number
    return torch.where(there, distance, torch.inf).amin(1)


def covering(distance: Tensor, coverage: tuple[float, float]) -> Tensor:
    """The pixels inside, after all blobs of an image have grown or shrunk by the margin that its coverage needs.

    Without need the margin is 0. It is an order statistic of the distances, so that nothing is drawn again. Pixels of
    equal distance are in or out together; should they be so many that only one bound can be kept, it is the upper one.

    Args:
        distance: how far each pixel lies beyond the edge, negative inside: (B, H, W) float32.
        coverage: the least and the largest share of the pixels that are inside. One pixel always is.

    Returns:
        (B, H, W) bool.

    Raises:
        LatentbenchError: no number of pixels lies between the two.
    """
    pixels = distance[0].numel()
    least, most = max(1, ceil(coverage[0] * pixels)), floor(coverage[1] * pixels)
    if least > most:
        height, width = distance.shape[1:]
        raise LatentbenchError(
            f"no number of {width}x{height} pixels covers between {coverage[0]:g} and {coverage[1]:g} of them",
            "set a wider coverage",
        )
    flat = distance.flatten(1)
    inside = distance <= flat.kthvalue(least).values.clamp(min=0)[:, None, None]
    return inside & (distance < flat.kthvalue(most + 1).values[:, None, None]) if most < pixels else inside


def softened(mask: Tensor, width: float) -> Tensor:
    """Masks whose edges are smoothed by a Gaussian. Their means stay the same: images are mirrored at their borders.

    Args:
        mask: (B, H, W) float32 in [0, 1].
        width: standard deviation of the Gaussian in pixels; it is cut off at 4 of them.

    Returns:
        (B, H, W) float32 in [0, 1].
    """
    reach = ceil(4 * width)
    distances = [offset / width for offset in range(-reach, reach + 1)] if width else [0.0]
    weights = [exp(-0.5 * distance * distance) for distance in distances]
    for dim in (1, 2):
        size = mask.shape[dim]
        padded = mask.index_select(dim, mirrored(torch.arange(-reach, size + reach, device=mask.device), size))
        mask = torch.zeros_like(mask)
        for offset, weight in enumerate(weights):
            mask.add_(padded.narrow(dim, offset, size), alpha=weight / sum(weights))
    return mask.clamp(0, 1)
