"""``digits``: scikit-learn's handwritten digits, enlarged, with which of the ten it is as an attribute."""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from latentbench import Data, DataInfo, Dataset, Role, StoredSplit, Targets

__all__ = ["CITATION", "LICENCE", "SOURCE", "EmbeddedDigits", "enlarged"]

LICENCE = "CC BY 4.0"
CITATION = (
    "E. Alpaydin and C. Kaynak: Optical recognition of handwritten digits. UCI Machine Learning Repository, 1998. "
    "doi:10.24432/C50P49"
)
SOURCE = "scikit-learn, sklearn.datasets.load_digits (the test part of the UCI set)"

#: Of the 1,797 digits, those for training and validation; the other 360 are for testing.
_FOR_TRAINING = 1437
#: A pixel of scikit-learn's digits has a value from 0 to this one.
_WHITE = 16


class EmbeddedDigits(Dataset):
    """The 1,797 digits of 8x8 pixels that come with scikit-learn, enlarged; the attribute "digit" has values 0 to 9.

    - "train" has 1,437 of them: the first in the order of ``numpy.random.RandomState(0).permutation(1797)``. A number
      of these can be kept as "validation"; by default there is no such split, and all of them are trained on.
    - "test" has the other 360.

    The digits are enlarged by bilinear interpolation with half-pixel centres (as PyTorch's with
    ``align_corners=False``) and then rounded to 8 bits once; in integers, so that the pixels are the same everywhere.
    """

    name = "digits"
    version = 1
    title = "Handwritten digits of scikit-learn, enlarged"
    licence = LICENCE
    redistributable = True
    citation = CITATION
    source = SOURCE

    class Config(Dataset.Config):
        image_size: Literal[28, 32] = Field(28, description="height and width that the digits are enlarged to")
        validation: int = Field(
            0, ge=0, lt=_FOR_TRAINING, description="the last so many of the 1,437 training digits are for validation"
        )

    config: Config

    def load(self, data_root: Path) -> Data:
        """Enlarge scikit-learn's digits and make the splits; ``data_root`` is not read."""
        from sklearn.datasets import load_digits

        source, size = load_digits(), self.config.image_size
        order = np.random.RandomState(0).permutation(len(source.target))
        images = torch.from_numpy(enlarged(source.images.astype(np.int64), size)[order, None])
        labels = source.target[order].astype(np.int64)
        end = _FOR_TRAINING - self.config.validation
        parts = {
            Role.TRAIN: slice(end),
            Role.VALIDATION: slice(end, _FOR_TRAINING),
            Role.TEST: slice(_FOR_TRAINING, None),
        }
        return Data(
            DataInfo(channels=1, height=size, width=size, train_size=end, attributes={"digit": 10}),
            {
                str(role): StoredSplit(role, images[part].contiguous(), Targets(attributes={"digit": labels[part]}))
                for role, part in parts.items()
                if part.start != part.stop
            },
        )


def enlarged(digits: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.uint8]:
    """(N, H, H) of 0 to 16 -> (N, size, size) of 0 to 255, by bilinear interpolation, exact and rounded half up."""
    weights = _weights(digits.shape[1], size)
    white = _WHITE * (2 * size) ** 2  # a white pixel, multiplied by the weights of its rows and of its columns
    levels: npt.NDArray[np.uint8] = ((2 * 255 * (weights @ digits @ weights.T) + white) // (2 * white)).astype(np.uint8)
    return levels


def _weights(old: int, new: int) -> npt.NDArray[np.int64]:
    """(new, old): what each of ``old`` values counts in each of ``new`` interpolated ones, in units of 1 / (2 new)."""
    unit = 2 * new
    place = ((2 * np.arange(new) + 1) * old - new).clip(0, (old - 1) * unit)  # on the old grid, in those units
    below, beyond = place // unit, place % unit
    weights = np.zeros((new, old), np.int64)
    weights[np.arange(new), below] = unit - beyond
    weights[np.arange(new), (below + 1).clip(max=old - 1)] += beyond
    return weights
