"""Pairs of occluded digits, composed a whole batch at a time on the device that holds the digits."""

from copy import copy
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from latentbench import Batch, Role, Split, content_hash
from latentbench_datasets.digits.digits import Digits
from latentbench_datasets.digits.joint import joint

__all__ = ["GRAY", "PATCH_LEVELS", "PATCH_SIZE", "Composer", "PairSplit"]

#: What an occluded pixel shows. The published 0.5 lies between two 8-bit levels; this is the upper one, 128 / 255.
GRAY = 128
#: Side of the random patch that occludes a digit.
PATCH_SIZE = 4
#: A patch's values are k / PATCH_LEVELS, k uniform in 1 .. PATCH_LEVELS - 1: mean 1/2, and above 0 for noise level 0.
PATCH_LEVELS = 2**16

#: Raise it when the same digits and options give other pairs.
_COMPOSITION_VERSION = 1


@dataclass(frozen=True)
class Composer:
    """Puts pairs of digits side by side, each digit occluded on its own (Chai et al., 2021; Funke et al., 2022).

    The occlusion of a digit: a uniform random 4x4 patch, enlarged to the digit's size by bilinear interpolation; a
    pixel is kept where the patch exceeds the noise level, and is gray elsewhere.

    For digits of 8, 16 or 32 pixels the interpolation weights are multiples of 1/16 at most, so that with 16-bit
    patches every sum is exact in float32: on the CPU the same draws give the same pixels, whatever the machine and
    the order of its sums.

    Build it with ``Composer.of``.
    """

    bank: Tensor
    """(N, H, W) int8: the digits ordered by class, less GRAY. Gray is 0, so that occluding is a multiplication."""
    first: Tensor
    """(10,) int64: the place in the bank at which each class begins."""
    count: Tensor
    """(10,) float32: the number of digits of each class."""
    columns: Tensor
    """(4, W) float32: the matrix that enlarges each row of a patch to W columns."""
    rows: Tensor
    """(H, 4) float32: the matrix that enlarges the 4 rows of a patch to H rows."""
    gray: Tensor
    """() float32: GRAY / 256, which ``render`` adds."""
    noise: float

    @classmethod
    def of(cls, digits: Digits, noise: float) -> "Composer":
        """A composer of ``digits``, (N, H, W), at noise level ``noise`` in [0, 1)."""
        height, width = digits.images.shape[1:]
        count = torch.bincount(digits.labels, minlength=10)
        return cls(
            bank=(digits.images[digits.labels.argsort(stable=True)].to(torch.int16) - GRAY).to(torch.int8),
            first=count.cumsum(0) - count,
            count=count.to(torch.float32),
            columns=_enlargement(width),
            rows=_enlargement(height).T.contiguous(),
            gray=torch.tensor(GRAY / 256),
            noise=noise,
        )

    def to(self, device: torch.device) -> "Composer":
        """The same composer with its tensors on ``device``."""
        return replace(
            self,
            bank=self.bank.to(device),
            first=self.first.to(device),
            count=self.count.to(device),
            columns=self.columns.to(device),
            rows=self.rows.to(device),
            gray=self.gray.to(device),
        )

    def draw(self, classes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw digits of the classes (B, 2), uniformly and with replacement, and a patch for each.

        Returns:
            (B, 2) int64: places in the bank. (B, 4, 8) float32: the patches, left and right side by side, their values
            multiplied by PATCH_LEVELS.
        """
        device = classes.device
        uniform = torch.rand(classes.shape, generator=generator, device=device)
        places = self.first[classes] + uniform.mul_(self.count[classes]).to(torch.int64)
        shape = (len(classes), PATCH_SIZE, 2 * PATCH_SIZE)
        patches = torch.randint(1, PATCH_LEVELS, shape, generator=generator, device=device, dtype=torch.float32)
        return places, patches

    def render(self, places: Tensor, patches: Tensor) -> Tensor:
        """Compose the pairs that ``draw`` has drawn.

        Returns:
            (B, 1, H, 2W) float32 in [0, 1]; each pixel is an 8-bit level divided by 255.
        """
        left, right = places.unbind(1)
        digits = torch.cat([self.bank.index_select(0, left), self.bank.index_select(0, right)], dim=2)
        widened = (patches.view(-1, PATCH_SIZE) @ self.columns).view(len(digits), PATCH_SIZE, -1)
        visible = (self.rows @ widened).gt_(self.noise * PATCH_LEVELS)  # 1 where a pixel is kept, else 0
        # From here on in place; level / 256 is exact, and a 255th of it more is level / 255, to the last bit what a
        # division gives in twice the time.
        images = torch.addcmul(self.gray, visible, digits.to(torch.float32), value=1 / 256, out=visible)
        return images.add_(images, alpha=1 / 255)[:, None]

    def compose(self, classes: Tensor, generator: torch.Generator) -> Tensor:
        """Draw and compose new pairs of digits of the classes (B, 2), as ``render`` returns them."""
        return self.render(*self.draw(classes, generator))


class PairSplit(Split):
    """Training pairs, composed afresh for every batch, with the binary attributes "left" and "right".

    Args:
        digits: the training digits of the two classes.
        classes: the digits that attribute value 0 and 1 stand for.
        correlation: of the two attributes, c in [-1, 1].
        noise: level of the occlusion, in [0, 1).
        pairs: pairs in one pass.
    """

    role = Role.TRAIN

    def __init__(self, digits: Digits, classes: tuple[int, int], correlation: float, noise: float, pairs: int) -> None:
        self._pairs = pairs
        self._hash = content_hash(
            _COMPOSITION_VERSION, digits.images.numpy(), digits.labels.numpy(), classes, correlation, noise, pairs
        )
        self._composer = Composer.of(digits, noise)
        first, second = classes
        self._classes = torch.tensor([(first, first), (first, second), (second, first), (second, second)])
        self._bounds = torch.from_numpy(joint(correlation).cumsum()[:-1]).to(torch.float32)

    def __len__(self) -> int:
        return self._pairs

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of the digits and of everything that decides how they are composed."""
        return self._hash

    def to(self, device: torch.device) -> Self:
        """The same split with its digits resident on ``device``."""
        moved = copy(self)
        moved._composer = self._composer.to(device)
        moved._classes = self._classes.to(device)
        moved._bounds = self._bounds.to(device)
        return moved

    def batch(self, index: Tensor, generator: torch.Generator) -> Batch:
        """Compose as many new pairs as ``index`` is long.

        First the (left, right) cells are drawn from the joint distribution, then the digits, then the patches.
        """
        uniform = torch.rand(len(index), generator=generator, device=index.device)
        cell = torch.bucketize(uniform, self._bounds, right=True)
        images = self._composer.compose(self._classes[cell], generator)
        return Batch(images, {"left": cell >> 1, "right": cell & 1})


def _enlargement(size: int) -> Tensor:
    """The matrix (4, size) float32 that enlarges a row of four values to ``size`` values by linear interpolation."""
    return interpolate(torch.eye(PATCH_SIZE)[:, None], size, mode="linear")[:, 0]
