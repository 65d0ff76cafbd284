"""``3dshapes``: rendered rooms with an object, every combination of six factors once, from the published HDF5 file."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator, model_validator

from latentbench import (
    Data,
    DataInfo,
    Dataset,
    LatentbenchError,
    Prepared,
    PreparedDataset,
    Role,
    Save,
    Source,
    StoredSplit,
    Targets,
)
from latentbench_datasets.links import refuse_broken_links

__all__ = ["FACTORS", "Factor", "Shapes3D"]

Factor = Literal["floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation"]

#: The factors and their cardinalities. In this order they make an image's place in the file; the last turns fastest.
FACTORS: Mapping[Factor, int] = {
    "floor_hue": 10,
    "wall_hue": 10,
    "object_hue": 10,
    "scale": 8,
    "shape": 4,
    "orientation": 15,
}
#: Height and width in the file.
_SIZE = 64
#: Of the published file. TensorFlow Datasets has the same one.
_SHA256 = "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"
#: Images that are read at once where the file has no chunks, and at most: its chunks are long and hold a few pixels of
#: thousands of images, each of which would have to be decompressed again.
_READ_AT_ONCE, _READ_AT_MOST = 1000, 30_000


class Shapes3D(PreparedDataset):
    """3D Shapes (Burgess and Kim, 2018), published without splits: a seeded random part of the images is for testing.

    An attribute is the index of a factor's value, in rising order: floor_hue, wall_hue and object_hue (10 each), scale
    (8), shape (cube, cylinder, sphere, capsule) and orientation (15). With factors held fixed it is a subset, and the
    others are its attributes: Falck et al. (NeurIPS 2021) hold wall_hue at 5 and object_hue at 6, or floor_hue at 0 and
    object_hue at 6, at 32x32, and keep 20 % for testing.

    The splits depend on the options alone. They share no image, and differ in no factor but by chance.
    """

    name = "3dshapes"
    version = 1
    title = "3D Shapes: rooms with an object, six factors"
    licence = "Apache-2.0"
    redistributable = True
    citation = "C. Burgess and H. Kim: 3D Shapes dataset, 2018. https://github.com/google-deepmind/3d-shapes"
    source = "https://github.com/google-deepmind/3d-shapes (file 3dshapes.h5)"

    class Config(Dataset.Config):
        image_size: Literal[64, 32] = Field(64, description="height and width; 32: the means of 2x2 pixels")
        fixed: dict[Factor, int] = Field(
            {}, description="factor: index of the value that it is held at; the others vary and are attributes"
        )
        validation: float = Field(0.1, ge=0, lt=1, description="share of the images that is for validation")
        test: float = Field(0.2, gt=0, lt=1, description="share of the images that is for testing")
        seed: int = Field(0, ge=0, lt=2**31, description="draws the splits")

        @field_validator("fixed")
        @classmethod
        def _in_range(cls, fixed: dict[Factor, int]) -> dict[Factor, int]:
            for factor, value in fixed.items():
                if not 0 <= value < FACTORS[factor]:
                    raise ValueError(f"{factor} has values 0 to {FACTORS[factor] - 1}, not {value}")
            if len(fixed) == len(FACTORS):
                raise ValueError("Input should leave a factor that varies")
            return fixed

        @model_validator(mode="after")
        def _leaves_some(self) -> Self:
            train, _, test = _sizes(self)
            if train < 1 or test < 1:
                shares = f"validation={self.validation} and test={self.test}"
                raise ValueError(f"{shares} leave {train} images to train and {test} to test")
            return self

    config: Config

    def locate(self, data_root: Path) -> Source:
        """``3dshapes/3dshapes.h5``."""
        path = data_root / "3dshapes" / "3dshapes.h5"
        if not path.is_file():
            refuse_broken_links([path])
            raise LatentbenchError(
                f"dataset '{self.name}' is not there: no file {path}",
                f"download 3dshapes.h5 (255 MiB, licence {self.licence}) as {self.source} tells, and put it there",
            )
        return Source(path.parent, (path,))

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        """Check the file, then read each split's images in the order of the file."""
        (path,) = source.files
        _check_bytes(path)
        places, size, total = self._places(), self.config.image_size, sum(_sizes(self.config))
        values = np.stack(np.unravel_index(np.arange(prod(FACTORS.values())), tuple(FACTORS.values())), axis=1)
        before = 0

        def told(before: int, done: int) -> None:
            self.progress(before + done, total)

        with _opened(path) as file:
            _check_structure(path, file, values)
            for role, place in places.items():
                if len(place):
                    rows = partial(_rows, file["images"], place, size, partial(told, before))
                    save(role, (len(place), 3, size, size), rows)
                    save(f"{role}_values", (len(place), len(FACTORS)), _rows_of(values[place].astype(np.uint8)))
                    before += len(place)
        return {f"{role} images": len(place) for role, place in places.items()}

    def assemble(self, prepared: Prepared) -> Data:
        """The three splits; two where no image is kept for validation."""
        varying: dict[str, int] = {
            factor: count for factor, count in FACTORS.items() if factor not in self.config.fixed
        }
        splits = {}
        for role in Role:
            if role in prepared.arrays:
                values = dict(zip(FACTORS, prepared.arrays[f"{role}_values"].T.astype(np.int64), strict=True))
                targets = Targets(attributes={factor: values[factor] for factor in varying})
                splits[str(role)] = StoredSplit(role, torch.from_numpy(prepared.arrays[role]), targets)
        count, channels, height, width = prepared.arrays[Role.TRAIN].shape
        return Data(DataInfo(channels, height, width, train_size=count, attributes=varying), splits)

    def _places(self) -> dict[Role, npt.NDArray[np.int64]]:
        """Where in the file each split's images are, in rising order."""
        grid = np.arange(prod(FACTORS.values())).reshape(*FACTORS.values())
        chosen = grid[tuple(self.config.fixed.get(factor, slice(None)) for factor in FACTORS)].reshape(-1)
        order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(self.config.seed)).numpy()
        ends = np.cumsum(_sizes(self.config))[:-1]
        return {role: np.sort(part) for role, part in zip(Role, np.split(chosen[order], ends), strict=True)}


def _sizes(config: Shapes3D.Config) -> tuple[int, int, int]:
    """Images for training, validation and testing."""
    total = prod(count for factor, count in FACTORS.items() if factor not in config.fixed)
    validation, test = round(config.validation * total), round(config.test * total)
    return total - validation - test, validation, test


def _check_bytes(path: Path) -> None:
    """Raise LatentbenchError unless the file is the published one."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from error
    if found != _SHA256:
        raise LatentbenchError(
            f"{path} is not the published file, or cut short ({path.stat().st_size:,} bytes; SHA-256 expected "
            f"{_SHA256}, found {found})",
            f"download it again as {Shapes3D.source} tells",
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The HDF5 file.

    Raises:
        LatentbenchError: h5py is not installed, or cannot read the file.
    """
    try:
        import h5py
    except ImportError as error:
        raise LatentbenchError(
            f"h5py, which reads {path}, is not installed", "`pip install latentbench[3dshapes]`"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {' '.join(str(error).split())}") from error


def _check_structure(path: Path, file: Any, values: npt.NDArray[np.int64]) -> None:
    """Hold the file against ``values`` (N, 6), the values' indices that its images should have in their order.

    Raises:
        LatentbenchError: an array is missing or has another shape or type, or the factors have other values or another
            order.
    """
    expected = {"images": ((len(values), _SIZE, _SIZE, 3), "uint8"), "labels": ((len(values), len(FACTORS)), "float64")}
    for name, (shape, dtype) in expected.items():
        found = file.get(name)
        if found is None:
            raise LatentbenchError(f"{path} has no '{name}'", f"it holds {', '.join(sorted(file)) or 'nothing'}")
        if found.shape != shape or found.dtype != dtype:
            raise LatentbenchError(f"'{name}' in {path} is {found.shape} {found.dtype}", f"expected {shape} {dtype}")
    for column, (factor, count) in enumerate(FACTORS.items()):
        different, index = np.unique(file["labels"][:, column], return_inverse=True)
        if len(different) != count:
            raise LatentbenchError(f"'{factor}' in {path} has {len(different)} values", f"expected {count}")
        if not np.array_equal(index, values[:, column]):
            first = int((index != values[:, column]).argmax())
            raise LatentbenchError(
                f"image {first} in {path} has value {index[first]} of '{factor}'",
                f"in the published order it has value {values[first, column]}",
            )


def _rows(
    images: Any, places: npt.NDArray[np.int64], size: int, told: Callable[[int], None], start: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """The images at ``places`` (rising) of an HDF5 array, from the one numbered ``start`` on: each (3, size, size).

    After each one ``told`` is given how many of them are done.
    """
    left, done = places[start:], start
    step = min(images.chunks[0], _READ_AT_MOST) if images.chunks else _READ_AT_ONCE
    while len(left):
        end = left[0] - left[0] % step + step
        now, left = left[left < end], left[left >= end]
        block = images[now[0] : now[-1] + 1]
        for place in now - now[0]:
            image = block[place].transpose(2, 0, 1)
            yield image if size == _SIZE else _halved(image)
            done += 1
            told(done)


def _rows_of(array: npt.NDArray[np.uint8]) -> Callable[[int], npt.NDArray[np.uint8]]:
    """The ``rows`` argument of ``save`` for an existing array."""
    return lambda start: array[start:]


def _halved(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(C, 2H, 2W) -> (C, H, W): the means of 2x2 pixels, rounded half up; bilinear interpolation gives the same."""
    channels, height, width = image.shape
    sums = image.reshape(channels, height // 2, 2, width // 2, 2).sum((2, 4), dtype=np.uint16)
    means: npt.NDArray[np.uint8] = ((sums + 2) // 4).astype(np.uint8)
    return means
