"""``mnist``: single handwritten digits, with which of the ten it is as an attribute."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from latentbench import Data, DataInfo, Dataset, Role, StoredSplit, Targets
from latentbench_datasets.digits import mnist_files as mnist
from latentbench_datasets.digits.digits import Digits

__all__ = ["Mnist"]

#: The number of images of MNIST's training set that are trained on; the last 10,000 are for validation.
_TRAINED_ON = 50_000


class Mnist(Dataset):
    """MNIST, its one attribute "digit" with values 0 to 9.

    - "train" and "validation" are the first 50,000 and the last 10,000 images of MNIST's training set.
    - "test" is its test set, 10,000 images.

    Images are 28x28 as published, or stand in the middle of 32x32 black pixels, as LeCun et al. (1998) gave them to
    their networks; either way no pixel is interpolated.
    """

    name = "mnist"
    version = 1
    title = "MNIST: handwritten digits"
    licence = mnist.LICENCE
    citation = mnist.CITATION
    source = mnist.SOURCE

    class Config(Dataset.Config):
        image_size: Literal[28, 32] = Field(28, description="height and width; 32: with two black pixels on each side")

    config: Config

    def load(self, data_root: Path) -> Data:
        """Read MNIST and make the three splits."""
        train, test = mnist.read(data_root, self.name)
        size = self.config.image_size
        return Data(
            DataInfo(channels=1, height=size, width=size, train_size=_TRAINED_ON, attributes={"digit": 10}),
            {
                "train": self._split(Role.TRAIN, train, slice(None, _TRAINED_ON)),
                "validation": self._split(Role.VALIDATION, train, slice(_TRAINED_ON, None)),
                "test": self._split(Role.TEST, test, slice(None)),
            },
        )

    def prepare(self, data_root: Path) -> None:
        """Download MNIST, unless it is there."""
        mnist.download(data_root, self.name)

    def _split(self, role: Role, digits: Digits, part: slice) -> StoredSplit:
        targets = Targets(attributes={"digit": digits.labels[part].numpy()})
        return StoredSplit(role, self._framed(digits.images[part, None]), targets)

    def _framed(self, images: Tensor) -> Tensor:
        """The images (N, 1, 28, 28) with a black border, (N, 1, H, H)."""
        border = (self.config.image_size - images.shape[-1]) // 2
        return pad(images, (border,) * 4) if border else images.contiguous()
