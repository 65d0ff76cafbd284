"""Structured corruption: blobs of each image are replaced, more or less opaquely, by something else."""

from dataclasses import dataclass
from math import inf

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
    """x^ = (1 - b M) x + b M t, for clean images x, soft masks M of blobs, opacities b in [0, 1] and fills t.

    Training pairs of partly corrupted and clean images are those of Bauer et al. (Mathematics 2024, 12(24), 3988). What
    was available of that paper does not say how the images are corrupted: all options and their defaults are ours.

    Everything is drawn for the whole batch at once, from the generator that is given and on its device, without waiting
    for the device.

    Raises:
        LatentbenchError: an option has a value that it cannot have.
    """

    shapes: tuple[str, ...] = ("ellipse", "rectangle", "curve")
    """Outlines, of which one is drawn for each blob; a curve is a closed Bezier curve. All edges are ragged."""
    fills: tuple[str, ...] = ("images", "elastic", "colour", "flat")
    """What blobs are filled with (see ``fills.fill``), of which one is drawn for each image. Where textures are given,
    "textures" is one more."""
    blobs: tuple[int, int] = (1, 3)
    """The least and the largest number of blobs of a corrupted image, uniform between them."""
    side: tuple[float, float] = (0.03, 0.4)
    """The range of a blob's width and height as shares of the image's shorter side, log-uniform."""
    opacity: tuple[float, float] = (0.3, 1.0)
    """The range of an image's opacity b, uniform."""
    coverage: tuple[float, float] = (0.002, 0.3)
    """Bounds of the mean of a corrupted image's mask. Blobs grow or shrink to keep them."""
    softness: float = 1.5
    """Standard deviation of the Gaussian that smooths edges, in pixels of an image whose shorter side has 256."""
    clean: float = 0.1
    """The probability that an image is left as it is; its mask is 0."""

    def __post_init__(self) -> None:
        for what, names, known in (("shape", self.shapes, OUTLINES), ("fill", self.fills, FILLS)):
            for name in names:
                if name not in known:
                    raise LatentbenchError(f"unknown {what} '{name}' of a corruption", did_you_mean(name, known))
            if len(set(names)) < len(names):
                raise LatentbenchError(f"a corruption cannot have {what}s={names}", f"name each {what} once")
        limits = {
            "shapes": (len(self.shapes) > 0, "name one or more"),
            "blobs": (1 <= self.blobs[0] <= self.blobs[1], "two rising whole numbers from 1"),
            "side": (0 < self.side[0] <= self.side[1] < inf, "two rising numbers above 0"),
            "opacity": (0 <= self.opacity[0] <= self.opacity[1] <= 1, "two rising numbers from 0 to 1"),
            "coverage": (0 <= self.coverage[0] < self.coverage[1] <= 1, "two different rising numbers from 0 to 1"),
            "softness": (0 <= self.softness < inf, "a finite number from 0"),
            "clean": (0 <= self.clean <= 1, "a number from 0 to 1"),
        }
        for name, (holds, mend) in limits.items():
            if not holds:
                raise LatentbenchError(f"a corruption cannot have {name}={getattr(self, name)}", mend)

    def __call__(self, images: Tensor, generator: Generator, *, textures: Tensor | None = None) -> Corrupted:
        """Corrupt a batch.

        Args:
            images: (B, C, H, W) in [0, 1], of any floating dtype. The blobs of one may be filled with another.
            generator: what everything is drawn from, of the device of the images.
            textures: (N, C, h, w) float32 in [0, 1], on the same device.

        Returns:
            Corrupted images, of the same dtype and within the range of the clean images; and their masks.

        Raises:
            LatentbenchError: there is no fill; textures have other channels than the images; or the images are so small
                that no number of pixels keeps the coverage.

        Example:
            >>> images = torch.full((16, 1, 32, 32), 0.5)
            >>> corrupted, mask = Corruption(clean=0.0)(images, torch.Generator().manual_seed(0))
            >>> corrupted.shape, mask.shape
            (torch.Size([16, 1, 32, 32]), torch.Size([16, 1, 32, 32]))
            >>> bool((mask.mean((1, 2, 3)) > 0).all())
            True
        """
        count, channels, height, width = images.shape
        fills = self._fills(channels, textures)
        distance = draw_blobs(generator, count, (height, width), shapes=self.shapes, blobs=self.blobs, side=self.side)
        corrupted = torch.rand(count, 1, 1, generator=generator, device=images.device) >= self.clean
        inside = covering(distance, self.coverage) & corrupted
        M = softened(inside.float(), self.softness * min(height, width) / 256)[:, None]
        low, high = self.opacity
        b = low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator, device=images.device)
        t = fill(images.float(), generator, fills, textures)
        return Corrupted(torch.lerp(images, t.to(images.dtype), (b * M).to(images.dtype)), M)

    def _fills(self, channels: int, textures: Tensor | None) -> tuple[str, ...]:
        """The names of the fills of one call."""
        if textures is None:
            if TEXTURES in self.fills:
                raise LatentbenchError(f"a corruption with the fill '{TEXTURES}' was given none", "give it textures=")
            if not self.fills:
                raise LatentbenchError("a corruption has no fill", "name one, or give it textures=")
            return self.fills
        if textures.shape[1] != channels:
            raise LatentbenchError(
                f"textures have {textures.shape[1]} channels, and the images {channels}",
                f"read them with channels={channels}",
            )
        return tuple(dict.fromkeys((*self.fills, TEXTURES)))
