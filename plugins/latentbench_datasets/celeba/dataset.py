"""CelebA, whole or a subset: faces under correlation shift of two attributes, and novelty under that shift."""

import shlex
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Annotated, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import AfterValidator, Field, field_validator, model_validator

from latentbench import (
    MISSING,
    Data,
    DataInfo,
    Dataset,
    Decoding,
    IndexedSplit,
    LatentbenchError,
    Prepared,
    PreparedDataset,
    Role,
    Rows,
    Save,
    Source,
    State,
    Status,
    Targets,
    did_you_mean,
)
from latentbench_datasets.celeba import files
from latentbench_datasets.celeba.subsampling import shuffled, subsample
from latentbench_datasets.digits.shift import PROTOCOL
from latentbench_datasets.images import image_size, read_centre
from latentbench_datasets.mvtec.dataset import Folder

__all__ = ["CelebA", "CelebANovelty", "CelebASubset", "CelebASubsetNovelty", "Faces"]

#: Side of the square that is cut out, by the height and width of the file: as published, and halved.
_CROPS = {(218, 178): 128, (109, 89): 64}
#: By the value that the list of partitions has for it.
_ROLES = (Role.TRAIN, Role.VALIDATION, Role.TEST)
#: First part of the seed that labels are deleted by; those of the roles' subsamples are the partitions' values.
_LABELS = 3
#: The cell of images that are not to be drawn.
_IN_NO_CELL = -1


def _known(attribute: str) -> str:
    if attribute not in files.ATTRIBUTES:
        raise ValueError(f"unknown attribute; {did_you_mean(attribute, files.ATTRIBUTES)}")
    return attribute


#: One of the 40.
Attribute = Annotated[str, AfterValidator(_known)]


class Faces(PreparedDataset):
    """The protocol of CelebA under correlation shift (Funke et al., 2022, section 5.3) on files of its format.

    Images are the centre square of 128 pixels of 178x218 (64 of files halved to 89x109), resized to ``image_size``.
    Two of the 40 attributes are the dataset's attributes, 0 or 1; models see no other.

    - "train" and "validation" are, of their parts of the folder, the largest set in which the two attributes have
      correlation c and marginals one half, drawn without replacement (``latentbench_datasets.celeba.subsampling``). In
      training, labels of each attribute may be deleted at random: they are MISSING.
    - "test" has all images of its part. Three conditions weigh by one the images of such sets for c ("correlated"),
      0 ("uncorrelated") and -c ("anticorrelated"), and the others by zero. The sets overlap as much as they can.

    Which images and labels are drawn is decided by the options, never by a run's seed.

    With ``held_out``, an attribute that is no option of the pair, "train" and "validation" are drawn from the images
    without it, and so are the conditions of "test". The test images with it are its anomalies, weighted by one in each
    condition. Their pair of attributes is MISSING, although it is known: a condition holds them at their own
    correlation, and an accuracy under it is to be one at c. They are all there are, in no balance of the pair.
    """

    class Config(Dataset.Config):
        attributes: tuple[Attribute, Attribute] = Field(
            ("Male", "Smiling"), description="the two attributes whose correlation shifts"
        )
        correlation: float = Field(0.8, ge=-1, le=1, description="c of the attributes in training and validation")
        labels: float = Field(1.0, gt=0, le=1, description="share of each attribute's training labels that is kept")
        image_size: int = Field(64, ge=8, le=128, description="side of the square that images are resized to")
        seed: int = Field(0, ge=0, lt=2**32, description="chooses images and labels")

        @field_validator("attributes")
        @classmethod
        def _distinct(cls, attributes: tuple[str, str]) -> tuple[str, str]:
            if attributes[0] == attributes[1]:
                raise ValueError("Input should be two distinct attributes")
            return attributes

    config: Config
    published: ClassVar[bool]
    """Whether the lists and the archive must be the published ones, by their MD5 sums."""

    @property
    def held_out(self) -> str | None:
        """The attribute whose images are the test's anomalies; None: there are none."""
        return None

    @property
    def decoding(self) -> Decoding:
        """All of the folder's images are decoded, once for all options but their size."""
        return Decoding("celeba", 1, {"image_size": self.config.image_size})

    @abstractmethod
    def folder(self, data_root: Path) -> Path:
        """The folder of the lists and the images, which may not exist."""

    @abstractmethod
    def how_to_get(self, folder: Path) -> str:
        """How to get what is missing in ``folder``, with its licence."""

    @abstractmethod
    def check_count(self, images: int) -> None:
        """Refuse a folder of this number of images, if this dataset cannot be made of it.

        Raises:
            LatentbenchError: the number, and which dataset and options fit it.
        """

    def prepare(self, data_root: Path) -> None:
        """Unpack the images if their archive is there, and decode them."""
        files.unpack_images(self.folder(data_root), published=self.published, progress=self.progress)
        super().prepare(data_root)

    def locate(self, data_root: Path) -> Source:
        """The lists and the image files."""
        folder = self.folder(data_root)
        if missing := files.missing(folder):
            raise LatentbenchError(
                f"dataset '{self.name}' is not complete in {folder}: missing {', '.join(missing)}",
                self.how_to_get(folder),
            )
        lists, images = files.find(folder)
        return Source(folder, (*lists, *images))

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        """Decode every image that is listed."""
        if self.published:
            files.check_published(source.folder)
        listing = files.read_listing(source.folder, [file for file in source.files if file.parent != source.folder])
        count, size = len(listing.images), self.config.image_size
        self.check_count(count)
        shape, side = _crop(listing.images[0])

        def decode(path: Path) -> npt.NDArray[np.uint8]:
            if (found := image_size(path)) != shape:
                raise LatentbenchError(f"image {path} has {_by(found)} pixels", f"the first one has {_by(shape)}")
            return read_centre(path, side, size)

        rows = Rows(self.progress, count)(decode, listing.images)
        save("images", (count, 3, size, size), rows, [(path,) for path in listing.images])
        save("attributes", listing.attributes.shape, lambda start: listing.attributes[start:])
        save("partition", listing.partition.shape, lambda start: listing.partition[start:])
        parts = np.bincount(listing.partition, minlength=len(_ROLES)).tolist()
        return {"images": count, **{f"{role} part": part for role, part in zip(_ROLES, parts, strict=True)}}

    def read_picture(self, path: Path, info: DataInfo) -> npt.NDArray[np.uint8]:
        """A face, aligned as those of CelebA: the same square is cut out of its centre."""
        _, side = _crop(path)
        return read_centre(path, side, info.height)

    def assemble(self, prepared: Prepared) -> Data:
        """The three splits, which share the one array of images."""
        images, attributes, partition = (prepared.arrays[name] for name in ("images", "attributes", "partition"))
        self.check_count(len(images))
        c = self.config.correlation
        splits = {}
        for number, role in enumerate(_ROLES):
            rows = np.flatnonzero(partition == number)
            novel = self._novel(attributes[rows])
            first, second = self._pair(attributes[rows])
            cells = np.where(novel, _IN_NO_CELL, 2 * first + second)
            conditions = {}
            if role is Role.TEST:
                correlations = {"correlated": c, "uncorrelated": 0.0, "anticorrelated": -c}
                conditions = {
                    name: (self._drawn(role, cells, correlation) | novel).astype(np.float64)
                    for name, correlation in correlations.items()
                }
            else:
                rows = rows[self._drawn(role, cells, c)]
            targets = self._targets(role, attributes[rows])
            splits[str(role)] = IndexedSplit(
                role, torch.from_numpy(images), rows, prepared.content_hash, targets, conditions
            )
        _, channels, height, width = images.shape
        cardinalities = dict.fromkeys(self.config.attributes, 2)
        return Data(DataInfo(channels, height, width, len(splits["train"]), cardinalities), splits)

    def _drawn(self, role: Role, cells: npt.NDArray[np.int64], correlation: float) -> npt.NDArray[np.bool_]:
        """The largest set of a part's images that has the correlation."""
        try:
            return subsample(cells, correlation, shuffled(len(cells), self.config.seed, _ROLES.index(role)))
        except ValueError:
            counts = ", ".join(
                f"{np.count_nonzero(cells == cell):,} with {_cell_name(self.config.attributes, cell)}"
                for cell in range(4)
            )
            raise LatentbenchError(
                f"dataset '{self.name}': its {role} part has too few images for correlation={correlation:g}",
                f"there are {counts}: choose a correlation nearer to 0, or other attributes",
            ) from None

    def _targets(self, role: Role, attributes: npt.NDArray[np.uint8]) -> Targets:
        """What is known of images with these 40 attributes (N, 40)."""
        config, novel = self.config, self._novel(attributes)
        known = {}
        for place, (name, values) in enumerate(zip(config.attributes, self._pair(attributes), strict=True)):
            if role is Role.TRAIN:
                kept = ceil(Fraction(str(config.labels)) * len(values))
                values[shuffled(len(values), config.seed, _LABELS, place)[kept:]] = MISSING
            known[name] = np.where(novel, MISSING, values)
        if role is not Role.TEST or self.held_out is None:
            return Targets(attributes=known)
        if not novel.any():
            raise LatentbenchError(
                f"dataset '{self.name}': no test image has {self.held_out}", "hold another attribute out"
            )
        return Targets(anomaly=novel.astype(np.uint8), attributes=known)

    def _pair(self, attributes: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.int64]]:
        """Both attributes' values, each (N,) 0 or 1."""
        return [attributes[:, files.ATTRIBUTES.index(name)].astype(np.int64) for name in self.config.attributes]

    def _novel(self, attributes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
        """(N,) where the images have the attribute that is held out."""
        if self.held_out is None:
            return np.zeros(len(attributes), bool)
        return np.asarray(attributes[:, files.ATTRIBUTES.index(self.held_out)] == 1)


class CelebA(Faces):
    """The protocol on the whole set of 202,599 faces: the published setting.

    Training, validation and test images are those of the published list of partitions.
    """

    name = "celeba"
    version = 1
    title = "CelebA: faces, two of whose attributes are correlated, and the correlation shifts"
    licence = files.LICENCE
    citation = f"{PROTOCOL}; {files.CITATION}"
    source = files.SOURCE
    published = True

    def folder(self, data_root: Path) -> Path:
        """``celeba``, where torchvision's class has it."""
        return data_root / "celeba"

    def how_to_get(self, folder: Path) -> str:
        """By the command, or by hand."""
        command = f"latentbench data prepare {self.name} --data-root {shlex.quote(str(folder.parent))}"
        return f"`{command}` downloads and unpacks it; or {files.by_hand(folder)}"

    def check_count(self, images: int) -> None:
        """Refuse any number but that of the whole set."""
        if images != files.IMAGES:
            subset = self.name.replace(CelebA.name, CelebASubset.name)
            raise LatentbenchError(
                f"dataset '{self.name}' is the whole set of {files.IMAGES:,} images, and there are {images:,}",
                f"get the others; or take dataset '{subset}' with the options folder=celeba and images={images}",
            )

    def prepare(self, data_root: Path) -> None:
        """Download what is missing, unpack and decode it."""
        files.download(self.folder(data_root))
        super().prepare(data_root)

    def locate(self, data_root: Path) -> Source:
        """The lists and the image files, all of them."""
        source = super().locate(data_root)
        self.check_count(sum(file.parent != source.folder for file in source.files))
        return source


class CelebASubset(Faces):
    """The protocol on some of CelebA's faces, in a folder of the same files, with a list of partitions of its own.

    What is measured on it is not comparable with what is measured on the whole set. Its number of images is an option,
    so that it is told by each row, and checked.
    """

    name = "celeba-subset"
    version = 1
    title = f"A subset of CelebA (10,000 of {files.IMAGES:,} images, or as its options say), protocol as 'celeba'"
    licence = files.LICENCE
    citation = f"{PROTOCOL}; {files.CITATION}"
    source = f"a part of {files.SOURCE}, its partition not the published one"
    published = False

    class Config(Faces.Config):
        """Options of the protocol, where the subset is and how large."""

        folder: Folder = Field("celeba_10k", description="the folder of the lists and the images in the data root")
        images: int = Field(
            10_000, ge=1, lt=files.IMAGES, description=f"how many of the {files.IMAGES:,} images the folder has"
        )

    config: Config

    def folder(self, data_root: Path) -> Path:
        """The option's."""
        return data_root / self.config.folder

    def how_to_get(self, folder: Path) -> str:
        """From the whole set."""
        return (
            f"put a part of CelebA there (licence: {self.licence}): img_align_celeba/*.jpg, list_attr_celeba.txt of "
            "these images, and list_eval_partition.txt with 0, 1 or 2 for each; the option 'folder' names another place"
        )

    def check_count(self, images: int) -> None:
        """As many as the option says."""
        if images != self.config.images:
            raise LatentbenchError(
                f"dataset '{self.name}': folder {self.config.folder} has {images:,} of CelebA's images, not "
                f"{self.config.images:,}",
                f"set the option images={images}, by which its rows tell how large the subset is",
            )

    def status(self, data_root: Path) -> Status:
        """The status, and that it is a subset."""
        status = super().status(data_root)
        try:
            self.check_count(status.facts.get("images", self.config.images))
        except LatentbenchError as error:
            return replace(status, state=State.MISSING, note=str(error))
        note = f"a subset: {self.config.images:,} of {files.IMAGES:,} images; its partition is not the published one"
        return replace(status, note=status.note or note)


class _NoveltyConfig(Faces.Config):
    """The option for the attribute that is held out."""

    novelty: Attribute = Field("Eyeglasses", description="the attribute that is held out, whose images are anomalies")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.novelty in self.attributes:
            raise ValueError(f"the novelty '{self.novelty}' is one of the two attributes: hold another one out")
        return self


class CelebANovelty(CelebA):
    """Faces with an attribute that no training image has, by default eyeglasses, on the whole set."""

    name = "celeba-novelty"
    version = 1
    title = "CelebA: faces with an attribute that is held out of training, others' correlation kept or shifted"

    class Config(_NoveltyConfig):
        """Options of the protocol, and what is held out."""

    config: Config

    @property
    def held_out(self) -> str:
        """The option's."""
        return self.config.novelty


class CelebASubsetNovelty(CelebASubset):
    """Faces with an attribute that no training image has, by default eyeglasses, on a subset."""

    name = "celeba-subset-novelty"
    version = 1
    title = (
        f"A subset of CelebA (10,000 of {files.IMAGES:,} images, or as its options say), novelty as 'celeba-novelty'"
    )

    class Config(_NoveltyConfig, CelebASubset.Config):
        """Options of the protocol, what is held out, where the subset is and how large."""

    config: Config

    @property
    def held_out(self) -> str:
        """The option's."""
        return self.config.novelty


def _crop(path: Path) -> tuple[tuple[int, int], int]:
    """Height and width of a file, and the side of the square to cut out of it."""
    shape = image_size(path)
    if shape not in _CROPS:
        known = " or ".join(map(_by, _CROPS))
        raise LatentbenchError(f"image {path} has {_by(shape)} pixels", f"aligned images of CelebA have {known}")
    return shape, _CROPS[shape]


def _by(shape: tuple[int, int]) -> str:
    """Width x height, as image viewers say it."""
    return f"{shape[1]}x{shape[0]}"


def _cell_name(attributes: tuple[str, str], cell: int) -> str:
    """``Male=1 and Smiling=0``."""
    return " and ".join(f"{name}={value}" for name, value in zip(attributes, divmod(cell, 2), strict=True))
