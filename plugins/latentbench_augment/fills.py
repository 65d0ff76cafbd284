"""Fills: what is seen in the corrupted part of an image, within the range of the clean images."""

from math import pi

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

from latentbench_augment.canvas import SIDE, smooth_noise, uniform

__all__ = ["FILLS", "TEXTURES", "fill"]

#: The fill that needs a bank of textures.
TEXTURES = "textures"
#: The names of all fills, which ``fill`` describes.
FILLS = ("images", "elastic", "colour", "flat", TEXTURES)
#: The range of the factor by which other images and textures are enlarged.
ENLARGEMENT = (0.7, 1.4)
#: The largest displacement of an elastic warp in each direction, and the cells of its smooth noise, in units of the
#: canvas.
ELASTIC, ELASTIC_CELL = 8.0, (10.0, 10.0)
#: The largest shift of a colour channel, as a share of the range of the clean images.
COLOUR_SHIFT = 0.5


def fill(images: Tensor, generator: Generator, fills: tuple[str, ...], textures: Tensor | None) -> Tensor:
    """Draw one of the fills for each image.

    - "images": an image of the batch, mostly another one, turned, enlarged or reduced, and displaced at random;
    - "elastic": the image itself, warped by smooth displacement fields;
    - "colour": the image itself, each channel shifted by a constant and clipped to the range of the clean images;
    - "flat": one colour, uniform in the range of the clean images;
    - "textures": a texture, turned, enlarged or reduced, displaced, and scaled to the range of the clean images.

    The range of the clean images is from the smallest to the largest value of the whole batch. Images and textures are
    continued beyond their borders by mirroring.

    Args:
        images: the clean images, (B, C, H, W) float32.
        generator: what is drawn from, of the device of the images.
        fills: names of ``FILLS``.
        textures: (N, C, h, w) float32 in [0, 1]; None if "textures" is not among the fills.

    Returns:
        (B, C, H, W) float32.
    """
    count, channels, *size = images.shape
    device = images.device
    low, high = images.amin(), images.amax()
    drawn = torch.randint(len(fills), (count,), generator=generator, device=device)

    def where(name: str, then: Tensor, otherwise: Tensor) -> Tensor:
        chosen = (drawn == fills.index(name)).view(-1, *[1] * (then.dim() - 1))
        return torch.where(chosen, then, otherwise)

    source = torch.arange(count, device=device)
    grid = _identity(size, device)
    if "images" in fills:
        source = where("images", torch.randint(count, (count,), generator=generator, device=device), source)
        grid = where("images", _moved(grid, generator, count, size), grid)
    if "elastic" in fills:
        grid = where("elastic", grid + _displacement(generator, count, size), grid)
    content = _sampled(images[source], grid.expand(count, -1, -1, -1))
    if TEXTURES in fills and textures is not None:
        texture = torch.randint(len(textures), (count,), generator=generator, device=device)
        moved = _moved(_identity(size, device), generator, count, size)
        content = where(TEXTURES, low + (high - low) * _sampled(textures[texture], moved), content)
    if "colour" in fills:
        shift = uniform(generator, -COLOUR_SHIFT, COLOUR_SHIFT, count, channels, 1, 1) * (high - low)
        content = where("colour", content + shift, content)
    if "flat" in fills:
        content = where("flat", low + (high - low) * uniform(generator, 0, 1, count, channels, 1, 1), content)
    return content.clamp(low, high)


def _identity(size: list[int], device: torch.device) -> Tensor:
    """Where ``grid_sample`` finds each pixel of an image: (1, H, W, 2) float32, x and y in [-1, 1]."""
    y, x = ((torch.arange(length, device=device) * 2 + 1) / length - 1 for length in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]


def _moved(grid: Tensor, generator: Generator, count: int, size: list[int]) -> Tensor:
    """The places (count, H, W, 2) in images that are turned, enlarged and displaced at random, their shape kept."""
    aspect = size[0] / size[1]
    angle = uniform(generator, 0, 2 * pi, count, 1, 1)
    scale = uniform(generator, *ENLARGEMENT, count, 1, 1)
    x_shift, y_shift = uniform(generator, -1, 1, 2, count, 1, 1)
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    x, y = grid[..., 0], grid[..., 1]
    return torch.stack([cosine * x - sine * aspect * y + x_shift, sine / aspect * x + cosine * y + y_shift], dim=-1)


def _displacement(generator: Generator, count: int, size: list[int]) -> Tensor:
    """Smooth displacement fields, (count, H, W, 2), in the coordinates of ``grid_sample``."""
    height, width = size
    noise = smooth_noise(generator, 2 * count, (height, width), ELASTIC_CELL).view(count, 2, height, width)
    x, y = noise.unbind(1)
    unit = 2 * min(size) / SIDE
    return ELASTIC * torch.stack([x * (unit / width), y * (unit / height)], dim=-1)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    """Bilinear, mirrored outside of the images."""
    return grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
