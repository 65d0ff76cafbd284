"""Out-of-distribution detection: MNIST and Fashion-MNIST against each other and others, digits against other digits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from latentbench import Data, DataInfo, Dataset, LatentbenchError, Role, Split, StoredSplit, Targets
from latentbench_datasets.digits import fashion_mnist_files as fashion_mnist
from latentbench_datasets.digits import kmnist_files as kmnist
from latentbench_datasets.digits import mnist_files as mnist
from latentbench_datasets.digits import notmnist_files as notmnist
from latentbench_datasets.digits.digits import Digits
from latentbench_datasets.digits.idx_files import IdxFiles
from latentbench_datasets.digits.scaled import ScaledSplit

__all__ = ["Ood"]

#: Where the normal images and the anomalies of each pair come from.
_SOURCES = {
    "mnist-fashion": (mnist.FILES, fashion_mnist.FILES),
    "fashion-mnist": (fashion_mnist.FILES, mnist.FILES),
    "mnist-held-out": (mnist.FILES, mnist.FILES),
}
_HELD_IN = (0, 1)
_Outlier = Literal["kmnist", "notmnist"]
#: Where the anomalies of further tests come from.
_OUTLIERS: Mapping[_Outlier, IdxFiles] = {"kmnist": kmnist.FILES, "notmnist": notmnist.FILES}


class Ood(Dataset):
    """Images of one set are normal, those of another are anomalies; 28x28 as published.

    - "train" and "validation" are the normal set's training images, the last sixth of the file (10,000 images) for
      validation; where digits are held out, the held-in ones among these.
    - "test" has as many normal images as anomalies, all from test files: no training image, normal or not, is in it.
      The chance level of AUPRC is the share of anomalies, so that only balanced tests are comparable. Where a side has
      more images than are needed, a seeded subset is taken; that of a smaller ``test_images`` is a part of that of a
      larger one.
    - "test-kmnist" and "test-notmnist", for the ``outliers`` of that name, are further tests, which need no training of
      their own: the normal images of "test", and as many test images of KMNIST or notMNIST for anomalies.
    - "test-x3" is "test" with pixels multiplied by 3, and so for each further factor of ``intensities``. These images
      leave [0, 1] on purpose (``image_range``).

    The supplement that the intensities are from says neither which images it multiplies nor which pair it takes. That
    the anomalies alone are multiplied (``scaled: out``) is our reading.
    """

    name = "ood"
    version = 1
    title = "MNIST and Fashion-MNIST against each other, digits against held-out digits"
    licence = (
        f"MNIST: {mnist.LICENCE}; Fashion-MNIST: {fashion_mnist.LICENCE}; KMNIST: {kmnist.LICENCE}; "
        f"notMNIST: {notmnist.LICENCE}"
    )
    citation = (
        "M. Glazunov and A. Zarras: Vacant holes for unsupervised detection of the outliers in compact latent "
        f"representation. UAI, PMLR 216:701-711, 2023 (pairs: supplement F; intensities: supplement H); "
        f"{mnist.CITATION}; {fashion_mnist.CITATION}; {kmnist.CITATION}; {notmnist.CITATION}"
    )
    source = f"{mnist.SOURCE}; {fashion_mnist.SOURCE}; {kmnist.SOURCE}; {notmnist.SOURCE}"

    class Config(Dataset.Config):
        """Options of the pair and its test."""

        pair: Literal["mnist-fashion", "fashion-mnist", "mnist-held-out"] = Field(
            "mnist-fashion", description="normal set and anomalies; mnist-held-out: digits against the other digits"
        )
        classes: tuple[Annotated[int, Field(ge=0, le=9)], ...] | None = Field(
            None, description="the held-in digits of mnist-held-out; None: 0 and 1"
        )
        outliers: tuple[_Outlier, ...] = Field(
            (),
            exclude_if=lambda value: not value,
            description="further sets of anomalies: kmnist is the split test-kmnist, notmnist the split test-notmnist",
        )
        test_images: int | None = Field(
            None, ge=1, description="test images on each side; None: all of the smaller side"
        )
        intensities: tuple[Annotated[float, Field(gt=0)], ...] = Field(
            (1.0,), description="factors of the test images: 1 is the split test, 3 the split test-x3"
        )
        scaled: Literal["out", "all"] = Field(
            "out", description="test images that a factor multiplies: anomalies, or all"
        )
        seed: int = Field(0, ge=0, lt=2**31, description="of the test's subsets")

        @field_validator("classes")
        @classmethod
        def _some_held_in_and_some_out(cls, classes: tuple[int, ...] | None) -> tuple[int, ...] | None:
            if classes is not None and not (0 < len(classes) < 10 and len(set(classes)) == len(classes)):
                raise ValueError("Input should be one to nine distinct digits")
            return classes

        @field_validator("outliers")
        @classmethod
        def _each_once_and_in_one_order(cls, outliers: tuple[_Outlier, ...]) -> tuple[_Outlier, ...]:
            if len(set(outliers)) < len(outliers):
                raise ValueError("Input should be distinct sets")
            return tuple(sorted(outliers))

        @field_validator("intensities")
        @classmethod
        def _distinct(cls, intensities: tuple[float, ...]) -> tuple[float, ...]:
            if 1 not in intensities or len({f"{factor:g}" for factor in intensities}) < len(intensities):
                raise ValueError("Input should be distinct factors, 1 among them")
            return intensities

        @model_validator(mode="after")
        def _something_is_scaled(self) -> Self:
            if self.scaled != "out" and self.intensities == (1,):
                raise ValueError("'scaled' has no effect: 1 is the only factor of intensities: leave it out")
            return self

        @model_validator(mode="after")
        def _classes_are_of_a_pair_that_has_them(self) -> Self:
            if self.classes is not None and self.pair != "mnist-held-out":
                raise ValueError(f"pair {self.pair} has all classes on either side: leave classes out")
            return self

    config: Config

    def load(self, data_root: Path) -> Data:
        """Read the pair's files and make its splits."""
        inside, outside = _SOURCES[self.config.pair]
        published, normal = inside.read(data_root, self.name)
        end = len(published.labels) * 5 // 6
        train = Digits(published.images[:end], published.labels[:end])
        validation = Digits(published.images[end:], published.labels[end:])
        if outside is inside:
            held_in = self.config.classes or _HELD_IN
            anomalous = normal.of([digit for digit in range(10) if digit not in held_in])
            train, validation, normal = (digits.of(held_in) for digits in (train, validation, normal))
        else:
            _, anomalous = outside.read(data_root, self.name)
        outliers = {name: self._outliers(name, data_root) for name in self.config.outliers}
        images = train.images[:, None]
        _, _, height, width = images.shape
        splits: dict[str, Split] = {
            "train": StoredSplit(Role.TRAIN, images),
            "validation": StoredSplit(Role.VALIDATION, validation.images[:, None]),
            **self._tests(normal.images[:, None], anomalous.images[:, None], outliers),
        }
        return Data(DataInfo(1, height, width, len(images)), splits)

    def prepare(self, data_root: Path) -> None:
        """Download the files of the pair and of the outliers, unless they are there; those of notMNIST come by hand."""
        for files in dict.fromkeys(_SOURCES[self.config.pair]):
            files.download(data_root, self.name)
        for name in self.config.outliers:
            _OUTLIERS[name].download(data_root, self._with_outliers)

    @property
    def _with_outliers(self) -> str:
        """The dataset and its outliers, as ``latentbench data prepare`` takes them."""
        return f"{self.name} --set 'outliers=[{','.join(self.config.outliers)}]'"

    def _outliers(self, name: _Outlier, data_root: Path) -> Tensor:
        """The test images of a further set, (N, 1, H, W) uint8."""
        try:
            return _OUTLIERS[name].read_test(data_root, self._with_outliers).images[:, None]
        except LatentbenchError as error:
            raise LatentbenchError(f"{error}; or leave '{name}' out of the option 'outliers'") from error

    def _tests(self, normal: Tensor, anomalous: Tensor, outliers: Mapping[_Outlier, Tensor]) -> dict[str, Split]:
        """The tests of normal and anomalous images, (N, 1, H, W) uint8 each: under every intensity, and of outliers."""
        most = min(len(normal), len(anomalous))
        size = self.config.test_images or most
        if size > most:
            raise LatentbenchError(
                f"dataset '{self.name}': {size} test images on each side, "
                f"but {self.config.pair} has {len(normal)} normal and {len(anomalous)} anomalous ones",
                f"use at most {most}",
            )
        generator = torch.Generator().manual_seed(self.config.seed)
        normal, anomalous = [_subset(side, size, generator) for side in (normal, anomalous)]
        anomaly = np.repeat(np.array([0, 1], np.uint8), size)
        targets = Targets(anomaly=anomaly)
        test = StoredSplit(Role.TEST, torch.cat([normal, anomalous]), targets)
        scaled = (
            torch.from_numpy(anomaly == 1) if self.config.scaled == "out" else torch.ones(2 * size, dtype=torch.bool)
        )
        tests: dict[str, Split] = {"test": test}
        for factor in self.config.intensities:
            if factor != 1:
                tests[f"test-x{factor:g}"] = ScaledSplit(test, torch.where(scaled, factor, 1.0))
        for name, images in outliers.items():
            own = torch.Generator().manual_seed(self.config.seed)  # so that no set's choice depends on another's
            images = torch.cat([normal, _subset(images, size, own)])
            tests[f"test-{name}"] = StoredSplit(Role.TEST, images, targets)
        return tests


def _subset(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A random subset of ``size`` images, in their original order."""
    return images[torch.randperm(len(images), generator=generator)[:size].sort().values]
