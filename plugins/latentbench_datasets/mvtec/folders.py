"""The folder layout of MVTec AD: which image files there are, what each one is, and which mask belongs to which.

<folder>/train/good/*                              normal images
<folder>/test/good/*                               normal images
<folder>/test/<defect>/<stem>.*                    defective images
<folder>/ground_truth/<defect>/<stem>_mask.png     where the defects are
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from latentbench import LatentbenchError
from latentbench_datasets.images import SUFFIXES
from latentbench_datasets.links import refuse_broken_links

__all__ = ["GOOD", "Layout", "TestImage", "read_layout"]

#: The sub-folder of normal images.
GOOD = "good"
_MASK = "_mask"
#: How a name becomes bytes; one that is not of UTF-8, the bytes that it is of.
_AS_BYTES = {"encoding": "utf-8", "errors": "surrogateescape"}


@dataclass(frozen=True)
class TestImage:
    """A test image and what is known about it."""

    __test__ = False  # not pytest's

    path: Path
    defective: bool
    mask: Path | None


@dataclass(frozen=True)
class Layout:
    """The image files of one folder, each part ordered by defect and name."""

    train: tuple[Path, ...]
    test: tuple[TestImage, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, masks included."""
        masks = tuple(image.mask for image in self.test if image.mask)
        return (*self.train, *(image.path for image in self.test), *masks)

    def split(self, share: float, seed: int) -> tuple[list[Path], list[Path]]:
        """Training and validation images: ``share`` of those of train/good, rounded, chosen by ``seed``.

        The choice goes by the SHA-256 of seed and file name: it is the same on every machine and for every resolution.
        """
        drawn = sorted(self.train, key=lambda path: sha256(f"{seed} {_stem(path)}".encode(**_AS_BYTES)).digest())
        chosen = set(drawn[: round(share * len(drawn))])
        return [path for path in self.train if path not in chosen], [path for path in self.train if path in chosen]


def read_layout(folder: Path) -> Layout:
    """List a folder's images and pair test images with their masks. Below its three folders nothing is passed over but
    hidden files.

    Raises:
        LatentbenchError: train/good, test/good or the defects have no image; something is where it does not belong; a
            file is no image by its suffix; two images have one stem; a mask has no image.
    """
    for kind in _kinds(folder / "train"):
        if kind.name != GOOD:
            raise LatentbenchError(f"{kind} is not of the layout", f"images to learn from are in train/{GOOD}")
    train = _images(folder / "train" / GOOD)
    kinds = _kinds(folder / "ground_truth")
    masks = {_form(kind.name): {_stem(path): path for path in _images(kind)} for kind in kinds}
    test = []
    for kind in _kinds(folder / "test"):
        own = masks.get(_form(kind.name), {})
        for path in _images(kind):
            test.append(TestImage(path, kind.name != GOOD, own.pop(_stem(path) + _MASK, None)))
    for kind_name, left in masks.items():
        if left:
            raise LatentbenchError(
                f"no image belongs to mask {min(left.values())}{f' and {len(left) - 1} more' if len(left) > 1 else ''}",
                f"the mask of test/{kind_name}/NAME.png is ground_truth/{kind_name}/NAME{_MASK}.png",
            )
    parts = {
        f"train/{GOOD}": train,
        f"test/{GOOD}": [image for image in test if not image.defective],
        "test/<defect>": [image for image in test if image.defective],
    }
    for part, images in parts.items():
        if not images:
            raise LatentbenchError(f"no images in {folder / part}", f"they end in {', '.join(SUFFIXES)}")
    return Layout(tuple(train), tuple(test))


def _kinds(folder: Path) -> list[Path]:
    """The sub-folders, by name, and nothing beside them; none where the folder is not there."""
    found = _visible(folder)
    for path in found:
        if not path.is_dir():
            refuse_broken_links([path])
            raise LatentbenchError(f"{path} lies beside the folders of {folder}", "move it into one of them, or away")
    return found


def _images(folder: Path) -> Sequence[Path]:
    """The image files in a folder, by name."""
    files = _visible(folder)
    by_stem: dict[str, Path] = {}
    for path in files:
        if not path.is_file() or path.suffix.lower() not in SUFFIXES:
            refuse_broken_links([path])
            raise LatentbenchError(f"{path} is no image file", f"they end in {', '.join(SUFFIXES)}: move it elsewhere")
        if (other := by_stem.setdefault(_stem(path), path)) is not path:
            how = "" if other.stem == path.stem else ", in two forms of Unicode"
            raise LatentbenchError(f"{other} and {path.name} are two images of one name{how}", "rename one of them")
    return files


def _visible(folder: Path) -> list[Path]:
    """What lies in a folder and is not hidden, by name; nothing where the folder is not there."""
    if not folder.is_dir():
        refuse_broken_links([folder])
        return []
    return sorted(
        (path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: _form(path.name)
    )


def _stem(path: Path) -> str:
    """The name of an image without its suffix, equal for all forms in which Unicode has its letters."""
    return _form(path.stem)


def _form(name: str) -> str:
    """A name with its accents and letters in one form: some systems store them apart, and others as they come."""
    return unicodedata.normalize("NFC", name)
