"""``svhn``: house numbers, cropped to single digits, from the user's own published files."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from latentbench import (
    Data,
    DataInfo,
    Dataset,
    Decoding,
    LatentbenchError,
    Prepared,
    PreparedDataset,
    Role,
    Save,
    Source,
    StoredSplit,
    Targets,
    import_torchvision,
)
from latentbench_datasets.links import refuse_broken_links

__all__ = ["SVHN"]

_SIZE = 32
#: Labels are 1 to 10; 10 is the digit 0.
_LABELS = 10


class SVHN(PreparedDataset):
    """SVHN, cropped digits of 32x32 in colour (Netzer et al., 2011); the attribute "digit" has values 0 to 9.

    - "train" has the digits of ``train_32x32.mat``, 73,257 as published; with the option ``extra``, the 531,131 easier
      ones of ``extra_32x32.mat`` come before them. The last ones of ``train_32x32.mat`` can be kept as "validation".
    - "test" has those of ``test_32x32.mat``, 26,032.

    The files are held against the published MD5 sums, which torchvision knows. They are MATLAB's version 5, in which
    nothing is executed when they are read.
    """

    name = "svhn"
    version = 1
    title = "SVHN: digits of house numbers"
    licence = "for non-commercial use only"
    citation = (
        "Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng: Reading digits in natural images with "
        "unsupervised feature learning. NIPS Workshop on Deep Learning and Unsupervised Feature Learning, 2011"
    )
    source = "http://ufldl.stanford.edu/housenumbers (format 2, cropped digits)"

    class Config(Dataset.Config):
        validation: int = Field(
            0, ge=0, description="the last so many digits of train_32x32.mat are for validation; 0: no such split"
        )
        extra: bool = Field(False, description="train also on the digits of extra_32x32.mat")

    config: Config

    @property
    def decoding(self) -> Decoding:
        """The validation digits are rows of the training array, so that their number changes no array."""
        return replace(super().decoding, options={"extra": self.config.extra})

    def locate(self, data_root: Path) -> Source:
        """``SVHN/train_32x32.mat`` and the others."""
        folder = data_root / "SVHN"
        paths = [folder / f"{part}_32x32.mat" for part in ("train", "test", *(["extra"] if self.config.extra else []))]
        if missing := [path.name for path in paths if not path.is_file()]:
            refuse_broken_links(paths)
            raise LatentbenchError(
                f"dataset '{self.name}' is not there: {folder} lacks {', '.join(missing)}",
                f"download what is missing from {self.source}, licence {self.licence}, and put it there",
            )
        return Source(folder, tuple(paths))

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        """Check every file, then turn its images to (3, 32, 32) and its labels to digits."""
        read = {}
        for done, path in enumerate(source.files):
            part = path.name.partition("_")[0]
            _check_bytes(path, part)
            read[part] = _read(path)
            self.progress(done + 1, len(source.files))
        if self.config.extra:
            (images, digits), (more_images, more_digits) = read["train"], read.pop("extra")
            read["train"] = np.concatenate([more_images, images]), np.concatenate([more_digits, digits])
        for part, (images, digits) in read.items():
            save(part, images.shape, partial(_from, images))
            save(f"{part}_digits", digits.shape, partial(_from, digits))
        return {f"{part} images": len(digits) for part, (_, digits) in read.items()}

    def assemble(self, prepared: Prepared) -> Data:
        """The three splits; two where no digit is kept for validation."""
        arrays = prepared.arrays
        end = len(arrays["train"]) - self.config.validation
        if end < 1:
            raise LatentbenchError(
                f"dataset '{self.name}': validation={self.config.validation} leaves nothing to train on of "
                f"{len(arrays['train'])} digits",
                "choose a smaller number",
            )
        parts = {
            Role.TRAIN: ("train", slice(end)),
            Role.VALIDATION: ("train", slice(end, None)),
            Role.TEST: ("test", slice(None)),
        }
        splits = {}
        for role, (name, part) in parts.items():
            if len(images := arrays[name][part]):
                digits = arrays[f"{name}_digits"][part].astype(np.int64)
                splits[str(role)] = StoredSplit(role, torch.from_numpy(images), Targets(attributes={"digit": digits}))
        return Data(DataInfo(3, _SIZE, _SIZE, train_size=end, attributes={"digit": 10}), splits)


def _from(array: npt.NDArray[np.uint8], start: int) -> npt.NDArray[np.uint8]:
    return array[start:]


def _check_bytes(path: Path, part: str) -> None:
    """Raise LatentbenchError unless the file is the published one."""
    _, _, published = import_torchvision().datasets.SVHN.split_list[part]
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from error
    if found != published:
        raise LatentbenchError(
            f"{path} is not the published file, or cut short ({path.stat().st_size:,} bytes; MD5 expected {published}, "
            f"found {found})",
            f"download it again from {SVHN.source}",
        )


def _read(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The images of a file, (N, 3, 32, 32), and their digits, (N,) of 0 to 9.

    Raises:
        LatentbenchError: SciPy cannot read it; or an array is missing, or has another shape, type or range.
    """
    from scipy.io import loadmat

    try:
        content: Mapping[str, Any] = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # SciPy's readers have no common type of error
        raise LatentbenchError(f"cannot read {path} as a MATLAB file: {' '.join(str(error).split())}") from error
    for name in ("X", "y"):
        if name not in content:
            raise LatentbenchError(f"{path} has no array '{name}'", "it should have the images X and the labels y")
    images, labels = content["X"], content["y"]
    count = images.shape[-1]
    if images.shape != (_SIZE, _SIZE, 3, count) or images.dtype != np.uint8 or not count:
        raise LatentbenchError(
            f"'X' in {path} is {images.shape} {images.dtype}", f"expected ({_SIZE}, {_SIZE}, 3, N) uint8"
        )
    if labels.shape != (count, 1):
        raise LatentbenchError(f"'y' in {path} has shape {labels.shape}", f"expected {(count, 1)}")
    if not np.isin(labels, np.arange(1, _LABELS + 1)).all():
        raise LatentbenchError(f"the labels in {path} are not all from 1 to {_LABELS}", "there, 10 is the digit 0")
    return np.ascontiguousarray(images.transpose(3, 2, 0, 1)), labels[:, 0].astype(np.uint8) % _LABELS
