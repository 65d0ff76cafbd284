"""Gaussian noise drawn on a coarse grid and enlarged (Kascenas et al., MIDL 2022)."""

from dataclasses import dataclass
from math import ceil, inf

import torch
from torch import Generator, Tensor

from latentbench import LatentbenchError
from latentbench_augment.corrupted import Corrupted

__all__ = ["GridNoise"]


@dataclass(frozen=True)
class GridNoise:
    """x^ = x + e, clipped to [0, 1]: e is Gaussian at the nodes of a grid and bilinear between them.

    The corruption of the denoising autoencoder of Kascenas et al. ("Denoising Autoencoders for Unsupervised Anomaly
    Detection in Brain MRI", MIDL 2022). Theirs has 16 nodes along each side of 128 pixels, is rolled around the image
    by random numbers of pixels, and is added to the foreground alone, which a black ground tells. Ours are: a random
    place of the grid in each image instead of the roll, which has a seam; square cells where images are not square;
    noise on all pixels; and the clipping.

    Raises:
        LatentbenchError: an option has a value that it cannot have.
    """

    cells: int | None = 16
    """The number of cells along the shorter side of the image; None: noise of its own for each pixel."""
    sd: float = 0.2
    """Standard deviation at the nodes, or of the pixels' noise. Between nodes it is less: a pixel's is 2/3 of it."""

    def __post_init__(self) -> None:
        if self.cells is not None and self.cells < 1:
            raise LatentbenchError(f"grid noise cannot have cells={self.cells}", "1 or more, or None for pixels")
        if not 0 <= self.sd < inf:
            raise LatentbenchError(f"grid noise cannot have sd={self.sd}", "a finite number from 0")

    def __call__(self, images: Tensor, generator: Generator) -> Corrupted:
        """Add noise to a batch.

        Args:
            images: (B, C, H, W) in [0, 1], of a floating dtype.
            generator: what the noise is drawn from, of the images' device.

        Returns:
            The images, of the same dtype; and a mask that is 1 everywhere.

        Example:
            >>> noisy, mask = GridNoise(cells=4)(torch.full((2, 3, 32, 48), 0.5), torch.Generator().manual_seed(0))
            >>> noisy.shape, mask.shape
            (torch.Size([2, 3, 32, 48]), torch.Size([2, 1, 32, 48]))
        """
        count, channels, *size = images.shape
        device = images.device
        if self.cells is None:
            noise = torch.randn(images.shape, generator=generator, device=device)
        else:
            cell = min(size) / self.cells
            knots = [ceil(length / cell) + 2 for length in size]
            places = torch.rand(2, count, 1, generator=generator, device=device, dtype=torch.float64)
            nodes = torch.randn(count, channels, *knots, generator=generator, device=device)
            vertical, horizontal = (_hats(*axis, cell) for axis in zip(places, size, knots, strict=True))
            noise = (vertical @ nodes.double() @ horizontal.mT).float()
        noisy = (images.float() + self.sd * noise).clamp(0, 1)
        return Corrupted(noisy.to(images.dtype), torch.ones(count, 1, *size, device=device))


def _hats(place: Tensor, size: int, knots: int, cell: float) -> Tensor:
    """The weight of each node at each pixel, linear in its distance: (B, 1, size, knots) float64; every row sums to 1.

    Args:
        place: where the first pixel's edge lies between the first two nodes, in [0, 1): (B, 1) float64.
        size: number of pixels.
        knots: number of nodes.
        cell: the distance of two nodes in pixels.
    """
    pixel = place + (torch.arange(size, device=place.device) + 0.5) / cell
    distance = pixel[:, None, :, None] - torch.arange(knots, device=place.device)
    return (1 - distance.abs()).clamp(min=0)
