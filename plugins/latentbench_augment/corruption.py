"""Structured corruption: blobs of each image are replaced, more or less opaquely, by something else."""

from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from latentbench import LatentbenchError, did_you_mean
from latentbench_augment.blobs import OUTLINES
from latentbench_augment.corrupted import Corrupted
from latentbench_augment.fills import FILLS, TEXTURES, fill
from latentbench_augment.masks import covering, draw_blobs, softened

__all__ = ["Corruption"]


@dataclass(frozen=True)
class Corruption:
    """x^ = (1 - b M) x + b M t: clean images x, soft masks M of blobs, opacities b, and fills t.

    The idea of Bauer et al. (Mathematics 2024, 12(24), 3988) with choices that are all ours, as its options.
    Everything is drawn from the generator that is given, on its device, for the whole batch at once.

    Raises:
        LatentbenchError: an option has a value that it cannot have.
    """

    shapes: tuple[str, ...] = ("ellipse", "rectangle", "curve")
    """Outlines, one of which is drawn for each blob; a curve is a closed Bezier curve. Their edges are ragged."""
    fills: tuple[str, ...] = ("images", "elastic", "colour", "flat")
    """What the blobs of an image are filled with, one for each image; textures, if they are given, are one more fill."""
    blobs: tuple[int, int] = (1, 3)
    """The least and the largest number of blobs of a corrupted image."""
    side: tuple[float, float] = (0.05, 0.35)
    """The range of a blob's width and height, as shares of the image's shorter side."""
    opacity: tuple[float, float] = (0.3, 1.0)
    """The range of the opacity, one for each image."""
    coverage: tuple[float, float] = (0.002, 0.3)
    """Bounds of the mean of each corrupted image's mask. Blobs grow or shrink to keep them."""
    softness: float = 1.5
    """Standard deviation of the Gaussian that smooths the masks' edges, in pixels of an image whose shorter side has 256."""
    clean: float = 0.1
    """The probability that an image is left as it is; its mask is 0."""

    def __post_init__(self) -> None:
        for what, names, known in (("shape", self.shapes, OUTLINES), ("fill", self.fills, FILLS)):
            for name in names:
                if name not in known:
                    raise LatentbenchError(f"unknown {what} '{name}' of a corruption", did_you_mean(name, known))
        ranges = {
            "shapes": len(self.shapes) > 0,
            "blobs": 1 <= self.blobs[0] <= self.blobs[1],
            "side": 0 < self.side[0] <= self.side[1],
            "opacity": 0 <= self.opacity[0] <= self.opacity[1] <= 1,
            "coverage": 0 <= self.coverage[0] < self.coverage[1] <= 1,
            "softness": 0 <= self.softness < float("inf"),
            "clean": 0 <= self.clean <= 1,
        }
        for field in fields(self):
            if not ranges.get(field.name, True):
                raise LatentbenchError(
                    f"a corruption with {field.name}={getattr(self, field.name)}", "see what its docstring allows"
                )

    def __call__(self, images: Tensor, generator: Generator, *, textures: Tensor | None = None) -> Corrupted:
        """Corrupt a batch.

        Args:
            images: (B, C, H, W) in [0, 1], of a floating dtype. Other images of the batch fill the blobs of an image.
            generator: what everything is drawn from, of the images' device.
            textures: (N, C, h, w) in [0, 1], of the same device.

        Raises:
            LatentbenchError: there is no fill; textures have other channels than the images; or the images are so small
                that no number of pixels keeps the coverage.

        Example:
            >>> images = torch.full((16, 1, 32, 32), 0.5)
            >>> corrupted, mask = Corruption(fills=("flat",), clean=0)(images, torch.Generator().manual_seed(0))
            >>> bool((mask.mean((1, 2, 3)) >= 0.002).all())
            True
        """
        count, channels, height, width = images.shape
        fills = self._fills(channels, textures)
        x = images.float()
        distance = draw_blobs(generator, count, (height, width), shapes=self.shapes, blobs=self.blobs, side=self.side)
        corrupted = torch.rand(count, 1, 1, generator=generator, device=images.device) >= self.clean
        inside = covering(distance, self.coverage) & corrupted
        mask = softened(inside.float(), self.softness * min(height, width) / 256)[:, None]
        low, high = self.opacity
        opacity = low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator, device=images.device)
        t = fill(x, generator, fills, textures)
        return Corrupted(torch.lerp(images, t.to(images.dtype), (opacity * mask).to(images.dtype)), mask)

    def _fills(self, channels: int, textures: Tensor | None) -> tuple[str, ...]:
        """The fills of one call."""
        fills = self.fills if textures is None else tuple(dict.fromkeys((*self.fills, TEXTURES)))
        if textures is None and TEXTURES in fills:
            raise LatentbenchError("a corruption with the fill 'textures' got no textures", "give it textures=...")
        if textures is not None and textures.shape[1] != channels:
            raise LatentbenchError(
                f"textures of {textures.shape[1]} channels for images of {channels}",
                "read them with the images' channels",
            )
        if not fills:
            raise LatentbenchError("a corruption has no fill", "name one, or give it textures")
        return fills
