"""Anomaly detection and localization in images of parts: MVTec AD, and datasets with its layout."""

import logging
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import (
    AfterValidator,
    Field,
    FiniteFloat,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from latentbench import (
    EIGHT_BITS,
    Data,
    DataInfo,
    Dataset,
    Decoding,
    LatentbenchError,
    Prepared,
    PreparedDataset,
    Role,
    Rows,
    Save,
    Source,
    Status,
    StoredSplit,
    Targets,
    ValueRange,
    did_you_mean,
    unpack,
)
from latentbench_datasets.images import (
    declared_range,
    image_size,
    is_grey,
    is_read_alike,
    mask_levels,
    read_image,
    read_mask,
)
from latentbench_datasets.links import refuse_broken_links
from latentbench_datasets.mvtec.folders import TestImage, read_layout

__all__ = ["CATEGORIES", "Folder", "ImageSize", "KolektorSDD", "MagneticTile", "MvtecAd", "MvtecLayout", "MvtecLike"]

#: The categories of MVTec AD.
CATEGORIES = (
    "bottle", "cable", "capsule", "carpet", "grid", "hazelnut", "leather", "metal_nut", "pill", "screw", "tile",
    "toothbrush", "transistor", "wood", "zipper",
)  # fmt: skip
#: Where MVTec AD is looked for, in this order: as published, or a copy that is reduced to so many pixels a side.
_FOLDERS = {"mvtec_ad": inf, "mvtec_ad_256": 256, "mvtec_ad_128": 128}
#: Published archives of MVTec AD, in the data root: one for each category, and one for all of them.
_ARCHIVE, _WHOLE_ARCHIVE = "{category}.tar.xz", "mvtec_anomaly_detection.tar.xz"
#: SHA-256 of the archive of all categories; none is published for single categories.
_WHOLE_SHA256 = "cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d"
#: Why a defective image has an empty mask, as counted in the status; and the cases in which its true mask is unknown.
_OUTCOMES = ("missing", "all black", "lost by resizing")
_UNKNOWN = ("missing", "lost by resizing")

log = logging.getLogger("latentbench")


def _below_data_root(folder: str) -> str:
    path = PurePosixPath(folder)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise ValueError("is not the path of a folder in the data root, as in parts/gear")
    return str(path)


#: A folder as a path relative to the data root, the same on every machine, because it is part of a run's key.
Folder = Annotated[str, AfterValidator(_below_data_root)]


def _one_number_for_a_square(size: Any, validate: ValidatorFunctionWrapHandler) -> int | tuple[int, int]:
    try:
        sides: int | tuple[int, int] = validate(size)
    except ValidationError:
        raise ValueError("Input should be a number of pixels from 8 to 2048, or two, [HEIGHT, WIDTH]") from None
    return sides[0] if isinstance(sides, tuple) and sides[0] == sides[1] else sides


_Side = Annotated[int, Field(ge=8, le=2048)]
#: The side of a square, or height and width.
ImageSize = Annotated[_Side | tuple[_Side, _Side], WrapValidator(_one_number_for_a_square)]


class MvtecLayout(PreparedDataset):
    """A folder in the layout of MVTec AD: normal images for training; normal and defective ones, with masks, for tests.

    Images are resized to ``image_size`` (``latentbench_datasets.images``), masks by the nearest pixel. They have one
    channel if every file is grey, else three. Files of more than 8 bits are scaled from a range, which they
    declare or which the option ``value_range`` gives; masks with more than two levels need the option
    ``mask_threshold``. The status counts both.

    - "train" and "validation" divide the images of train/good, which are all normal; they have no targets.
    - "test" has ``anomaly`` and ``mask``. The mask of a defective image without a mask file is unknown: the image
      counts in image metrics and is left out of pixel metrics. The same holds if resizing to ``image_size`` removes all
      marked pixels of a mask. Other masks are used as published, even if they are all black.
    """

    class Config(Dataset.Config):
        """Options of the layout."""

        image_size: ImageSize = Field(
            256, description="what images are resized to: the side of a square, or [HEIGHT, WIDTH]"
        )
        validation: float = Field(0.1, ge=0, lt=1, description="share of train/good that is kept for validation")
        seed: int = Field(0, ge=0, lt=2**32, description="chooses the validation images")
        value_range: tuple[FiniteFloat, FiniteFloat] | None = Field(
            None,
            exclude_if=lambda value: value is None,
            description="the values in the image files that stand for black and white, as in [0, 1023]; "
            "None: [0, 255] for 8 bits, and for more bits what the files declare",
        )
        mask_threshold: float | None = Field(
            None,
            ge=0,
            exclude_if=lambda value: value is None,
            description="values above it in a mask file are anomalous; None: masks have two levels, of which black is "
            "normal",
        )

        def unused(self) -> Mapping[str, str]:
            """The seed, where no image is chosen."""
            own = {} if self.validation else {"seed": "with validation=0 no image is chosen"}
            return {**super().unused(), **own}

        @field_validator("value_range")
        @classmethod
        def _rising(cls, value_range: tuple[float, float] | None) -> tuple[float, float] | None:
            if value_range and value_range[0] >= value_range[1]:
                raise ValueError("black should be below white")
            return value_range

    config: Config

    @property
    def decoding(self) -> Decoding:
        """Version 3: masks that are lost by resizing are unknown, and images of more than 8 bits are scaled."""
        return replace(super().decoding, version=3)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width that images are resized to."""
        size = self.config.image_size
        return size if isinstance(size, tuple) else (size, size)

    @abstractmethod
    def folder(self, data_root: Path) -> Path:
        """The folder of ``train``, ``test`` and ``ground_truth``, which may not exist."""

    @abstractmethod
    def how_to_get(self, folder: Path) -> str:
        """How to get the data into ``folder``, with its licence."""

    def locate(self, data_root: Path) -> Source:
        """The image files and masks."""
        folder = self.folder(data_root)
        if not folder.is_dir():
            refuse_broken_links([folder])
            raise LatentbenchError(f"dataset '{self.name}' is not there: no folder {folder}", self.how_to_get(folder))
        return Source(folder, read_layout(folder).files)

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        """Decode and resize every file."""
        layout, (height, width) = read_layout(source.folder), self.shape
        train, validation = layout.split(self.config.validation, self.config.seed)
        if not train:
            raise LatentbenchError(
                f"dataset '{self.name}': validation={self.config.validation} leaves nothing to train on of the "
                f"{len(validation)} images in {source.folder / 'train'}",
                "choose a smaller share",
            )
        test = [image.path for image in layout.test]
        scaled = self._scaled((*layout.train, *test))
        graded = self._graded([image.mask for image in layout.test if image.mask])
        channels = 1 if all(map(is_grey, (*layout.train, *test))) else 3
        value_range = ValueRange(*self.config.value_range) if self.config.value_range else None
        read = partial(read_image, channels=channels, size=self.shape, value_range=value_range)
        rows = Rows(self.progress, len(layout.train) + 2 * len(test))
        for role, paths in {Role.TRAIN: train, Role.VALIDATION: validation, Role.TEST: test}.items():
            if paths:
                save(role, (len(paths), channels, height, width), rows(read, paths), [(path,) for path in paths])
        masks = save(
            "mask",
            (len(test), height, width),
            rows(partial(_mask, shape=self.shape, threshold=self.config.mask_threshold), layout.test),
            [(image.path, image.mask) if image.mask else (image.path,) for image in layout.test],
        )
        anomaly = np.array([image.defective for image in layout.test], np.uint8)
        outcomes = list(map(partial(_outcome, threshold=self.config.mask_threshold), layout.test, masks))
        known = np.array([outcome not in _UNKNOWN for outcome in outcomes], np.uint8)
        save("anomaly", anomaly.shape, lambda start: anomaly[start:])
        save("mask_known", known.shape, lambda start: known[start:])
        counted = Counter(outcomes)
        return {
            "train images": len(train),
            "validation images": len(validation),
            "test images": len(test),
            "defective images": int(anomaly.sum()),
            **{f"masks {outcome}": counted[outcome] for outcome in _OUTCOMES},
            **scaled,
            **graded,
        }

    def read_picture(self, path: Path, info: DataInfo) -> npt.NDArray[np.uint8]:
        """A picture as ``convert`` reads images: scaled from ``value_range``, or from the range that it declares."""
        value_range = ValueRange(*self.config.value_range) if self.config.value_range else None
        return read_image(path, info.channels, (info.height, info.width), value_range)

    def _scaled(self, images: Sequence[Path]) -> dict[str, int]:
        """The number of images that are scaled from another range than that of 8 bits, by the range.

        Raises:
            LatentbenchError: files declare different ranges, as they do if each declares its own extremes.
        """
        if self.config.value_range:
            return {f"images scaled from {ValueRange(*self.config.value_range)}": len(images)}
        ranges = {path: declared for path in images if (declared := declared_range(path)) not in (None, EIGHT_BITS)}
        first, *others = [*dict.fromkeys(ranges.values()), None]
        if len(others) > 1:
            one, other = (next(path for path in ranges if ranges[path] == found) for found in (first, others[0]))
            raise LatentbenchError(
                f"images {one} and {other} declare different ranges, {first} and {others[0]}",
                "name the values that stand for black and white in all of them, with value_range=[BLACK, WHITE]",
            )
        return {f"images scaled from {first}": len(ranges)} if ranges else {}

    def _graded(self, masks: Sequence[Path]) -> dict[str, int]:
        """The number of masks with more than two levels, to which the threshold applies; logs a warning.

        Raises:
            LatentbenchError: all masks would be read alike without the threshold: two of them would be one setting.
        """
        threshold = self.config.mask_threshold
        if threshold is None:
            return {}  # they are refused
        levels = {path: mask_levels(path) for path in masks}
        graded = [path for path in masks if levels[path] > 2]
        if masks and not graded and all(is_read_alike(path, threshold) for path in masks):
            what = (
                f"dataset '{self.name}': 'mask_threshold' has no effect: no mask has another level than black and one"
            )
            raise LatentbenchError(f"{what} above {threshold:g}", "leave it out")
        if graded:
            log.warning(
                "dataset '%s': %d of %d masks have more than two levels, as %s has %d; anomalous is what is above "
                "mask_threshold=%g",
                self.name, len(graded), len(masks), graded[0], levels[graded[0]], threshold,
            )  # fmt: skip
        return {f"masks of more than two levels, read above {threshold:g}": len(graded)}

    def assemble(self, prepared: Prepared) -> Data:
        """The three splits; two if no image is kept for validation."""
        arrays = prepared.arrays
        known = arrays["mask_known"].astype(bool)
        targets = Targets(anomaly=arrays["anomaly"], mask=arrays["mask"], mask_known=known)
        splits = {
            str(role): StoredSplit(role, torch.from_numpy(arrays[role]), targets if role is Role.TEST else None)
            for role in Role
            if role in arrays
        }
        count, channels, height, width = arrays[Role.TRAIN].shape
        return Data(DataInfo(channels, height, width, train_size=count), splits)


class MvtecAd(MvtecLayout):
    """MVTec AD, a category at a time (Bergmann et al., 2021), at whatever resolution it is stored."""

    name = "mvtec-ad"
    version = 1
    title = "MVTec AD: defects of objects and textures"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "P. Bergmann, K. Batzner, M. Fauser, D. Sattlegger and C. Steger: The MVTec anomaly detection dataset: a "
        "comprehensive real-world dataset for unsupervised anomaly detection. IJCV 129:1038-1059, 2021"
    )
    source = "https://www.mvtec.com/company/research/datasets/mvtec-ad"

    class Config(MvtecLayout.Config):
        """Options of the layout, and which category."""

        category: str = Field("screw", description=f"one of {', '.join(CATEGORIES)}")
        folder: Folder | None = Field(
            None,
            description="the folder of the categories in the data root; None: the first that has the category, of "
            "mvtec_ad (as published), mvtec_ad_256 and mvtec_ad_128 (copies reduced to 256 and 128 pixels, which are "
            "used for images that are no larger)",
        )

        @field_validator("category")
        @classmethod
        def _known(cls, category: str) -> str:
            if category not in CATEGORIES:
                raise ValueError(f"unknown category; {did_you_mean(category, CATEGORIES)}")
            return category

    config: Config

    def folder(self, data_root: Path) -> Path:
        """The category's folder in the first collection that has it."""
        folders = [data_root / collection / self.config.category for collection in self._collections]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    def how_to_get(self, folder: Path) -> str:
        """By hand, because its publisher asks for consent to the licence."""
        return (
            f"accept its licence ({self.licence}) at {self.source}, download {_WHOLE_ARCHIVE} or "
            f"{_ARCHIVE.format(category=self.config.category)} into the data root and run `latentbench data prepare "
            f"{self.name} --set category={self.config.category}`, or unpack it so that {folder / 'train' / 'good'} "
            "holds images; the option 'folder' names another place in the data root"
        )

    def prepare(self, data_root: Path) -> None:
        """Unpack the category from an archive in the data root if it is not there, and decode it.

        If no category is there yet, all are unpacked from the archive of all categories, which has to be read whole
        anyway.
        """
        folder = self.folder(data_root)
        if not folder.is_dir():
            own = data_root / _ARCHIVE.format(category=self.config.category)
            whole = data_root / _WHOLE_ARCHIVE
            if own.is_file():
                unpack(own, folder, folder=folder.name, progress=self.progress)
            elif whole.is_file() and folder.parent.is_dir():
                unpack(whole, folder, folder=folder.name, sha256=_WHOLE_SHA256, progress=self.progress)
            elif whole.is_file():
                unpack(whole, folder.parent, sha256=_WHOLE_SHA256, progress=self.progress)
        super().prepare(data_root)

    def status(self, data_root: Path) -> Status:
        """The status of the category, and a list of the categories that are there."""
        status = super().status(data_root)
        there = [
            category
            for category in CATEGORIES
            if any((data_root / collection / category).is_dir() for collection in self._collections)
        ]
        note = f"category {self.config.category}; there are {len(there)} of {len(CATEGORIES)}: {', '.join(there)}"
        return replace(status, note="; ".join(filter(None, (note, status.note))))

    @property
    def _collections(self) -> list[str]:
        """The folders of categories to look into, in this order; no image is enlarged from a reduced copy."""
        if self.config.folder:
            return [self.config.folder]
        return [collection for collection, side in _FOLDERS.items() if max(self.shape) <= side]


class MvtecLike(MvtecLayout):
    """Images of one's own in the layout of MVTec AD."""

    name = "mvtec-like"
    version = 1
    title = "Images of one's own, laid out like a category of MVTec AD"
    licence = "its owner's"
    citation = "its owner's"
    source = "a folder of the user's"

    class Config(MvtecLayout.Config):
        """Options of the layout, and where it is."""

        folder: Folder = Field("mvtec_like", description="the folder of train and test in the data root")

    config: Config

    def folder(self, data_root: Path) -> Path:
        """The folder that the option names."""
        return data_root / self.config.folder

    def how_to_get(self, folder: Path) -> str:
        """How to lay out one's own images."""
        return (
            "put images there as train/good/*, test/good/*, test/DEFECT/NAME.png with masks "
            "ground_truth/DEFECT/NAME_mask.png, or name another folder of the data root by the option 'folder'"
        )


class MagneticTile(MvtecLayout):
    """Surface defects of magnetic tiles, laid out like MVTec AD; the images are small and of many sizes.

    The published set has no split; usually a random 80 % of the defect-free images are used for training. Here the
    folder determines which ones. A few published masks are all black.
    """

    name = "magnetic-tile"
    version = 1
    title = "Magnetic tiles: defects of a surface"
    licence = "none stated; its authors welcome use with citation"
    citation = (
        "Y. Huang, C. Qiu and K. Yuan: Surface defect saliency of magnetic tile. The Visual Computer 36:85-96, 2020"
    )
    source = "https://github.com/abin24/Magnetic-tile-defect-datasets."

    def folder(self, data_root: Path) -> Path:
        """``magnetic_tile``."""
        return data_root / "magnetic_tile"

    def how_to_get(self, folder: Path) -> str:
        """By hand, because it is published in another layout."""
        return _lay_out(self, folder, "test/DEFECT/NAME.jpg", "ground_truth/DEFECT/NAME_mask.png")


class KolektorSDD(MvtecLayout):
    """Cracks in electrical commutators, laid out like MVTec AD: images of a surface that are taller than wide.

    The published set has three folds for supervised learning and no split for learning from normal images alone. Here
    the folder determines the split. Each commutator has several images, so that a random split of the images has parts
    of the same item in training and test.
    """

    name = "kolektor-sdd"
    version = 1
    title = "KolektorSDD: cracks in the surface of commutators"
    licence = "CC BY-NC-SA 4.0"
    citation = (
        "D. Tabernik, S. Šela, J. Skvarč and D. Skočaj: Segmentation-based deep-learning approach for surface-defect "
        "detection. Journal of Intelligent Manufacturing 31:759-776, 2020"
    )
    source = "https://www.vicos.si/resources/kolektorsdd/"

    class Config(MvtecLayout.Config):
        """Options of the layout, with an aspect like that of the images."""

        image_size: ImageSize = Field(
            (320, 128), description="what images are resized to: [HEIGHT, WIDTH], or the side of a square"
        )

    config: Config

    def folder(self, data_root: Path) -> Path:
        """``kolektor_sdd``."""
        return data_root / "kolektor_sdd"

    def how_to_get(self, folder: Path) -> str:
        """By hand, because it is published in another layout."""
        return _lay_out(self, folder, "test/defect/NAME.png", "ground_truth/defect/NAME_mask.png")


def _lay_out(dataset: MvtecLayout, folder: Path, image: str, mask: str) -> str:
    """How to bring a set that is published in another layout into this one, with defective images as ``image``."""
    return (
        f"download it from {dataset.source} (licence: {dataset.licence}) and lay it out like MVTec AD: 80 % of its "
        f"defect-free images as {folder / 'train' / 'good'}, the others as test/good, {image} with masks {mask}"
    )


def _mask(image: TestImage, shape: tuple[int, int], threshold: float | None) -> npt.NDArray[np.uint8]:
    """The mask of an image, (height, width) of ``shape``, read as ``read_mask`` does; zeros where there is none.

    Raises:
        LatentbenchError: the mask of a normal image has anomalous pixels; or a file, as ``read_mask``.
    """
    if not image.mask:
        return np.zeros(shape, np.uint8)
    mask, marked = read_mask(image.mask, image_size(image.path), shape, threshold)
    if marked and not image.defective:
        raise LatentbenchError(f"mask {image.mask} marks a defect", f"its image is among the good ones, {image.path}")
    return mask


def _outcome(image: TestImage, mask: npt.NDArray[np.uint8], threshold: float | None) -> str:
    """Why the mask of a defective image is empty, one of ``_OUTCOMES``; "" if it is not, or if the image is normal.

    Args:
        image: an image; its mask file is read again if no anomalous pixel is left.
        mask: (height, width), as ``_mask`` returns it.
        threshold: as for ``_mask``.
    """
    if not image.defective or mask.any():
        return ""
    if not image.mask:
        return "missing"
    height, width = mask.shape
    _, marked = read_mask(image.mask, image_size(image.path), (height, width), threshold)
    return "lost by resizing" if marked else "all black"
