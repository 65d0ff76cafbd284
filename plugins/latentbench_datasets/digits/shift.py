"""The shift datasets: pairs of occluded digits, correlated in training, tested at every correlation and for novelty."""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator
from torch import Tensor

from latentbench import MISSING, Data, DataInfo, Dataset, Role, StoredSplit, Targets
from latentbench_datasets.digits import embedded
from latentbench_datasets.digits import mnist_files as mnist
from latentbench_datasets.digits.digits import Digits
from latentbench_datasets.digits.joint import joint
from latentbench_datasets.digits.pairs import Composer, PairSplit

__all__ = ["PROTOCOL", "DigitsShift", "MnistShift", "ShiftDataset"]

#: The publication of the protocol, for citations.
PROTOCOL = (
    "C. M. Funke, P. Vicol, K.-C. Wang, M. Kümmerer, R. Zemel and M. Bethge: Disentanglement and generalization under "
    "correlation shifts. CoLLAs, PMLR 199:116-141, 2022"
)
#: The number of pairs that are rendered at a time, which bounds the memory that rendering needs. Another number changes
#: the order of the draws, and so the images: raise the datasets' versions if you change it.
_RENDERED_AT_ONCE = 1000


class ShiftDataset(Dataset):
    """The protocol of multi-digit occluded MNIST (Funke et al., 2022), for any source of digits.

    An image is two digits side by side, (1, H, 2W); the classes of the left and of the right one, out of two, are its
    binary attributes "left" and "right", with correlation c in training and validation. Each digit is occluded by gray
    where an enlarged random 4x4 patch does not exceed the noise level. The paper repeats the one channel three times.

    - "train" composes fresh pairs for every batch (``PairSplit``).
    - "validation" is rendered once; the frequencies of its four (left, right) cells are those of the joint.
    - "test" is rendered once: four cells of equal size, then as many anomalies, pairs with exactly one digit of a
      foreign class. Three conditions weigh the normal pairs to correlations c ("correlated"), 0 ("uncorrelated") and
      -c ("anticorrelated"), and give every anomaly weight one. The accuracy at any correlation is the mean of the
      accuracies in the four cells, weighted by ``joint`` (``latentbench_datasets.digits.joint``).

    The class of an anomaly's foreign digit is no value of an attribute. Both attributes of an anomaly are MISSING, so
    that it counts in no accuracy.

    The rendered splits depend on the options alone, never on a run's seed; the test images not even on c.
    """

    digit_size: ClassVar[int]
    """Height and width that the digits are resized to."""

    class Config(Dataset.Config):
        correlation: float = Field(0.9, ge=-1, le=1, description="c of the attributes in training and validation")
        noise: float = Field(
            0.6, ge=0, lt=1, description="noise level: what a patch must exceed for a pixel to be kept"
        )
        classes: tuple[Annotated[int, Field(ge=0, le=9)], Annotated[int, Field(ge=0, le=9)]] = Field(
            (3, 8), description="the two digits, which attribute values 0 and 1 stand for"
        )
        train_pairs: int | None = Field(
            None, ge=1, description="pairs in one pass; None: as many as there are training digits of the two classes"
        )
        validation_pairs: int = Field(4000, ge=4, description="validation pairs in all")
        test_pairs: int = Field(2500, ge=1, description="test pairs in each of the four cells")
        seed: int = Field(0, ge=0, lt=2**31, description="of the rendered splits")

        @field_validator("classes")
        @classmethod
        def _distinct(cls, classes: tuple[int, int]) -> tuple[int, int]:
            if classes[0] == classes[1]:
                raise ValueError("Input should be two distinct digits")
            return classes

    config: Config

    @abstractmethod
    def digits(self, data_root: Path) -> tuple[Digits, Digits, Digits]:
        """The source's training, validation and test digits, of all ten classes.

        Raises:
            LatentbenchError: missing or corrupt.
        """

    def load(self, data_root: Path) -> Data:
        """Read the digits and make the three splits."""
        config = self.config
        train, validation, test = self.digits(data_root)
        train = train.of(config.classes).resized(self.digit_size)
        validation = validation.of(config.classes).resized(self.digit_size)
        test = test.resized(self.digit_size)
        pairs = config.train_pairs or len(train.labels)
        return Data(
            DataInfo(
                channels=1,
                height=self.digit_size,
                width=2 * self.digit_size,
                train_size=pairs,
                attributes={"left": 2, "right": 2},
            ),
            {
                "train": PairSplit(train, config.classes, config.correlation, config.noise, pairs),
                "validation": self._validation(Composer.of(validation, config.noise)),
                "test": self._test(Composer.of(test, config.noise)),
            },
        )

    def _validation(self, composer: Composer) -> StoredSplit:
        total = self.config.validation_pairs
        ends = np.rint(total * joint(self.config.correlation).cumsum())
        cells = np.repeat(np.arange(4), np.diff(ends, prepend=0).astype(np.int64))
        images = _rendered(composer, self._classes_of(cells), torch.Generator().manual_seed(2 * self.config.seed))
        return StoredSplit(Role.VALIDATION, images, Targets(attributes={"left": cells // 2, "right": cells % 2}))

    def _test(self, composer: Composer) -> StoredSplit:
        cells = np.repeat(np.arange(4), self.config.test_pairs)
        generator = torch.Generator().manual_seed(2 * self.config.seed + 1)
        normal = self._classes_of(cells)
        anomalous = self._classes_of_anomalies(len(cells), generator)
        unknown = np.full(len(cells), MISSING)
        targets = Targets(
            anomaly=np.repeat(np.array([0, 1], np.uint8), len(cells)),
            attributes={
                "left": np.concatenate([cells // 2, unknown]),
                "right": np.concatenate([cells % 2, unknown]),
            },
        )
        correlations = {
            "correlated": self.config.correlation,
            "uncorrelated": 0.0,
            "anticorrelated": -self.config.correlation,
        }
        conditions = {
            name: np.concatenate([4 * joint(correlation).ravel()[cells], np.ones(len(cells))])
            for name, correlation in correlations.items()
        }
        images = _rendered(composer, torch.cat([normal, anomalous]), generator)
        return StoredSplit(Role.TEST, images, targets, conditions)

    def _classes_of(self, cells: npt.NDArray[np.int64]) -> Tensor:
        """The digits (N, 2) that belong to the (left, right) cells (N,), which are numbered 2 * left + right."""
        return torch.tensor(self.config.classes)[torch.from_numpy(np.stack([cells // 2, cells % 2], axis=1))]

    def _classes_of_anomalies(self, count: int, generator: torch.Generator) -> Tensor:
        """Random digits (count, 2): one of the two classes on one side, one of the eight others on the other side."""
        own = torch.tensor(self.config.classes)
        foreign = torch.tensor([digit for digit in range(10) if digit not in self.config.classes])
        classes = own[torch.randint(2, (count, 2), generator=generator)]
        side = torch.randint(2, (count,), generator=generator)
        classes[torch.arange(count), side] = foreign[torch.randint(8, (count,), generator=generator)]
        return classes


class MnistShift(ShiftDataset):
    """The protocol on MNIST, digits of 32x32: the published setting.

    Training digits are the first 50,000 of MNIST's training set, validation digits its last 10,000, test digits those
    of its test set.
    """

    name = "mnist-shift"
    version = 1
    title = "Two occluded MNIST digits whose correlation shifts"
    licence = mnist.LICENCE
    citation = f"{PROTOCOL}; {mnist.CITATION}"
    source = mnist.SOURCE
    digit_size = 32

    def digits(self, data_root: Path) -> tuple[Digits, Digits, Digits]:
        """MNIST's digits, 28x28."""
        train, test = mnist.read(data_root, self.name)
        return (
            Digits(train.images[:50_000], train.labels[:50_000]),
            Digits(train.images[50_000:], train.labels[50_000:]),
            test,
        )

    def prepare(self, data_root: Path) -> None:
        """Download MNIST, unless it is there."""
        mnist.download(data_root, self.name)


class DigitsShift(ShiftDataset):
    """The protocol on scikit-learn's digits of 8x8, which come with the package.

    Of each class a random 5/7 are training digits, 1/7 validation and 1/7 test digits, always the same ones.
    """

    name = "digits-shift"
    version = 1
    title = "Two occluded 8x8 digits whose correlation shifts"
    licence = embedded.LICENCE
    redistributable = True
    citation = f"{PROTOCOL}; {embedded.CITATION}"
    source = embedded.SOURCE
    digit_size = 8

    class Config(ShiftDataset.Config):
        """Options of the protocol, their defaults fit for few and small digits."""

        noise: float = Field(
            0.4, ge=0, lt=1, description="noise level: what a patch must exceed for a pixel to be kept"
        )
        train_pairs: int | None = Field(
            2500, ge=1, description="pairs in one pass; None: as many as there are training digits of the two classes"
        )
        validation_pairs: int = Field(500, ge=4, description="validation pairs in all")
        test_pairs: int = Field(250, ge=1, description="test pairs in each of the four cells")

    config: Config

    def digits(self, data_root: Path) -> tuple[Digits, Digits, Digits]:
        """scikit-learn's digits, their pixels scaled from 0..16 to 0..255; ``data_root`` is not read."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        source = load_digits()
        images, labels = np.rint(source.images * (255 / 16)).astype(np.uint8), source.target
        train, rest = train_test_split(np.arange(len(labels)), test_size=2 / 7, stratify=labels, random_state=0)
        validation, test = train_test_split(rest, test_size=1 / 2, stratify=labels[rest], random_state=0)

        def part(index: npt.NDArray[np.int64]) -> Digits:
            return Digits(torch.from_numpy(images[index]), torch.from_numpy(labels[index]))

        return part(train), part(validation), part(test)


def _rendered(composer: Composer, classes: Tensor, generator: torch.Generator) -> Tensor:
    """Render a pair for each row of ``classes`` (N, 2): (N, 1, H, 2W) uint8."""
    parts = [composer.compose(part, generator) for part in torch.split(classes, _RENDERED_AT_ONCE)]
    return torch.cat([part.mul_(255).round_().to(torch.uint8) for part in parts])
