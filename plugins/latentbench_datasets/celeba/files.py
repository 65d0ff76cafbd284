"""The files of CelebA, of the whole set or of a subset: found, read strictly, downloaded and unpacked.

<folder>/list_attr_celeba.txt       number of images; names of the attributes; a row of -1 and 1 for each image
<folder>/list_eval_partition.txt    a row for each image: 0 is training, 1 validation, 2 test
<folder>/img_align_celeba/*.jpg     178x218 pixels, or halved to 89x109; or one folder deeper, as some mirrors have it,
                                    in img_align_celeba/img_align_celeba
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from latentbench import LatentbenchError, import_torchvision, unpack
from latentbench_datasets.links import refuse_broken_links

__all__ = [
    "ATTRIBUTES",
    "CITATION",
    "IMAGES",
    "LICENCE",
    "SOURCE",
    "Listing",
    "by_hand",
    "check_published",
    "download",
    "find",
    "missing",
    "read_listing",
    "unpack_images",
]

LICENCE = "non-commercial research only"
CITATION = "Z. Liu, P. Luo, X. Wang and X. Tang: Deep learning face attributes in the wild. ICCV, 2015"
SOURCE = (
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (torchvision.datasets.CelebA downloads it from Google Drive)"
)

#: Of the whole set.
IMAGES = 202_599
#: In the order of the published list.
ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip

_ATTRIBUTE_LIST = "list_attr_celeba.txt"
_PARTITION_LIST = "list_eval_partition.txt"
_LISTS = (_ATTRIBUTE_LIST, _PARTITION_LIST)
_IMAGE_FOLDER = "img_align_celeba"
_ARCHIVE = "img_align_celeba.zip"


@dataclass(frozen=True)
class Listing:
    """What the two lists say of the images, in their order."""

    images: tuple[Path, ...]
    attributes: npt.NDArray[np.uint8]
    """(N, 40) 0 or 1."""
    partition: npt.NDArray[np.uint8]
    """(N,) 0 training, 1 validation, 2 test."""


def missing(folder: Path) -> list[str]:
    """Names of what is missing: lists, or the folder of images.

    Raises:
        LatentbenchError: one of them is a link that leads nowhere.
    """
    refuse_broken_links(folder / name for name in (*_LISTS, _IMAGE_FOLDER))
    lists = [name for name in _LISTS if not (folder / name).is_file()]
    images = [] if (folder / _IMAGE_FOLDER).is_dir() else [f"{_IMAGE_FOLDER}/"]
    return lists + images


def find(folder: Path) -> tuple[list[Path], list[Path]]:
    """The two lists, and the files in the folder of images, by name; hidden files are ignored.

    Raises:
        LatentbenchError: something else than a file lies there.
    """
    images, seen = folder / _IMAGE_FOLDER, _seen(folder / _IMAGE_FOLDER)
    if [*seen] == [_IMAGE_FOLDER] and (images / _IMAGE_FOLDER).is_dir():
        images, seen = images / _IMAGE_FOLDER, _seen(images / _IMAGE_FOLDER)
    names = sorted(seen)
    if strange := [images / name for name in names if not seen[name]]:
        refuse_broken_links(strange)
        mend = f"the images lie in {images} itself: move those that are in it there, and it elsewhere"
        raise LatentbenchError(f"{strange[0]} is a folder or no plain file", mend)
    return [folder / name for name in _LISTS], [images / name for name in names]


def _seen(folder: Path) -> dict[str, bool]:
    """What lies in a folder, and whether it is a file; what is hidden is passed over."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.is_file() for entry in entries if not entry.name.startswith(".")}


def read_listing(folder: Path, images: Iterable[Path]) -> Listing:
    """Read both lists, which must name the same images as the folder.

    Args:
        folder: of the lists.
        images: all image files that are there.

    Raises:
        LatentbenchError: ``file:line:`` and what is wrong there: a wrong count, header, name, value or number of
            values, a row too few or too many; or the image that has no row, or the row that has no image.
    """
    there = {path.name: path for path in images}
    names, attributes = _read_attributes(folder / _ATTRIBUTE_LIST)
    partition = _read_partition(folder / _PARTITION_LIST, names)
    if lost := [name for name in names if name not in there]:
        place = next(iter(there.values())).parent if there else folder / _IMAGE_FOLDER
        raise LatentbenchError(
            f"image {place / lost[0]}{_and_more(lost)} is not there, but has a row in the lists",
            "put it there again, or take it out of both lists and count",
        )
    if strange := sorted(there.keys() - set(names)):
        raise LatentbenchError(
            f"{there[strange[0]]}{_and_more(strange)} has no row in {_ATTRIBUTE_LIST}",
            "move it elsewhere, or add it to both lists and count",
        )
    return Listing(tuple(there[name] for name in names), attributes, partition)


def check_published(folder: Path) -> None:
    """Compare the lists with the MD5 sums that torchvision's class has of the published ones.

    Raises:
        LatentbenchError: a list is another one.
    """
    for name in _LISTS:
        found = hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        expected = _published()[name].md5
        if found != expected:
            raise LatentbenchError(
                f"{folder / name} is not the published file (MD5 expected {expected}, found {found})",
                "move it elsewhere and get the published one",
            )


def download(folder: Path) -> None:
    """Get what is missing of the whole set: torchvision downloads it from Google Drive, and MD5 sums are compared.

    Raises:
        LatentbenchError: a file cannot be downloaded, with the files to put there by hand; or it is another one.
    """
    wanted = [_ARCHIVE if name == f"{_IMAGE_FOLDER}/" else name for name in missing(folder)]
    fetch = import_torchvision().datasets.utils.download_file_from_google_drive
    for name in (name for name in wanted if not (folder / name).is_file()):
        try:
            fetch(_published()[name].drive_id, folder, name, _published()[name].md5)
        except Exception as error:  # of gdown, of its connection, of the file system
            if find_spec("gdown"):
                why = "Google Drive often refuses it for quota"
            else:
                why = "gdown is needed, `pip install latentbench[celeba]`; or by hand"
            raise LatentbenchError(
                f"cannot download {name} of CelebA into {folder} ({_one_line(error)})", f"{why}: {by_hand(folder)}"
            ) from error


def by_hand(folder: Path) -> str:
    """What to do if the download fails."""
    return (
        f"from {SOURCE.split()[0]} (licence: {LICENCE}) put {' and '.join(_LISTS)} into {folder}, "
        f"and {_ARCHIVE} beside them, or unpacked as {_IMAGE_FOLDER}/000001.jpg and so on"
    )


def unpack_images(folder: Path, *, published: bool, progress: Callable[[int, int], None]) -> None:
    """Unpack the archive of the images, if there is one and the images are missing.

    Args:
        folder: of the archive; the folder of images appears beside it.
        published: whether it must be the published one, by its MD5 sum.
        progress: told (done, of how many).

    Raises:
        LatentbenchError: the archive is another one, corrupt or unsafe, or the folder cannot be written.
    """
    if (folder / _ARCHIVE).is_file() and not (folder / _IMAGE_FOLDER).is_dir():
        md5 = _published()[_ARCHIVE].md5 if published else None
        unpack(folder / _ARCHIVE, folder / _IMAGE_FOLDER, folder=_IMAGE_FOLDER, md5=md5, progress=progress)


class _Published(NamedTuple):
    drive_id: str
    md5: str


def _published() -> Mapping[str, _Published]:
    """By file name, as torchvision's class has it."""
    return {name: _Published(*rest) for *rest, name in import_torchvision().datasets.CelebA.file_list}


def _read_attributes(path: Path) -> tuple[list[str], npt.NDArray[np.uint8]]:
    """The images' names, and (N, 40) 0 or 1."""
    lines = _lines(path)
    count, header, *_ = [*lines[:2], "", ""]
    if not count.strip().isdecimal():
        raise LatentbenchError(f"{path}:1: '{_short(count)}' is no number of images", "put the published file there")
    if tuple(header.split()) != ATTRIBUTES:
        raise LatentbenchError(
            f"{path}:2: it does not name the 40 attributes of CelebA in their order", "put the published file there"
        )
    names, rows, known = [], [], {"-1", "1"}
    for number, line in enumerate(lines[2:], start=3):
        name, *values = line.split() or [""]
        if len(values) != len(ATTRIBUTES):
            raise LatentbenchError(f"{path}:{number}: the row has {len(values)} values", f"it needs {len(ATTRIBUTES)}")
        if wrong := set(values) - known:
            raise LatentbenchError(f"{path}:{number}: the value '{_short(min(wrong))}'", "an attribute is -1 or 1")
        names.append(name)
        rows.append([value == "1" for value in values])
    if int(count) != len(rows):
        raise LatentbenchError(
            f"{path}:1: it counts {int(count):,} images, and {len(rows):,} rows follow", "a row is lost or strange"
        )
    return _distinct(path, names, first_line=3), np.array(rows, np.uint8).reshape(-1, len(ATTRIBUTES))


def _read_partition(path: Path, names: list[str]) -> npt.NDArray[np.uint8]:
    """(N,) 0, 1 or 2; the rows must be of ``names``, in their order."""
    lines = _lines(path)
    values = []
    for number, (line, expected) in enumerate(zip_longest(lines, names), start=1):
        name, *rest = (line or "").split() or [""]
        if name != expected:
            found = f"a row of '{_short(name)}'" if line is not None else "no row"
            wanted = f"one of '{_short(expected)}'" if expected is not None else "no more"
            raise LatentbenchError(f"{path}:{number}: {found} where {_ATTRIBUTE_LIST} has {wanted}")
        if rest not in (["0"], ["1"], ["2"]):
            raise LatentbenchError(
                f"{path}:{number}: the value '{_short(' '.join(rest))}'", "0 is training, 1 validation, 2 test"
            )
        values.append(int(rest[0]))
    return np.array(values, np.uint8)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise LatentbenchError(f"cannot read {path}: it is not text (byte {error.start})") from None


def _distinct(path: Path, names: list[str], first_line: int) -> list[str]:
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=first_line):
        if (other := seen.setdefault(name, number)) != number:
            raise LatentbenchError(f"{path}:{number}: '{_short(name)}' has a row already, line {other}")
    return names


def _and_more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1:,} more)" if len(names) > 1 else ""


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
