"""A finished detector applied to pictures of a user's own, and to the normal validation images beside them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from latentbench.capabilities import capabilities_of
from latentbench.data.dataset import Dataset
from latentbench.data.pictures import SUFFIXES, Header, read_header
from latentbench.data.splits import Data, DataInfo, Role, Split, StoredSplit
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.evaluation.collecting import output_on
from latentbench.evaluation.inference import Parts
from latentbench.evaluation.sheets import heat
from latentbench.model import Model

__all__ = ["Pictures", "Scores", "heat_map", "list_pictures", "read_pictures", "remarks", "score_pictures"]

#: The split that the pictures are, beside those of the dataset.
_OWN = "pictures"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Pictures:
    """Pictures that were read, N of them."""

    files: Sequence[Path]
    headers: Sequence[Header]
    images: npt.NDArray[np.uint8]
    """(N, C, H, W), as the dataset's images are."""
    failures: Mapping[Path, str]
    """Files that could not be read -> why, in one line."""


@dataclass(frozen=True)
class Scores:
    """What a detector says of pictures."""

    scores: npt.NDArray[np.float64]
    """(N,), larger = more anomalous."""
    normal: npt.NDArray[np.float64] | None
    """(M,), those of the normal validation images, sorted; None where there are none."""
    maps: Array | None
    """(N, H, W), where the model localizes and maps were asked for."""
    dark: float
    """The value of a map that is drawn darkest: the 1st percentile over the maps, those of validation images among
    them."""
    bright: float
    """The value that is drawn brightest: the 99.5th percentile."""

    @property
    def shares(self) -> npt.NDArray[np.float64] | None:
        """(N,), for each picture the share of normal validation images that score lower."""
        if self.normal is None:
            return None
        return np.searchsorted(self.normal, self.scores, side="left") / len(self.normal)

    def threshold(self, quantile: float) -> float | None:
        """The least score of a normal validation image that at least this share of them does not exceed."""
        return None if self.normal is None else float(np.quantile(self.normal, quantile, method="inverted_cdf"))


def list_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files, and the pictures in the folders and all folders below, in the order of their names; each once.

    Raises:
        LatentbenchError: a path is not there, or a folder holds no picture.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file()]
            if not inside:
                raise LatentbenchError(f"no picture in {path}", f"their names end in {', '.join(SUFFIXES)}")
            found |= dict.fromkeys(inside)
        elif path.exists():
            found[path] = None
        else:
            raise LatentbenchError(f"there is no picture {path}")
    return [*found]


def read_pictures(files: Sequence[Path], dataset: Dataset, info: DataInfo) -> Pictures:
    """Read pictures as the dataset reads its images; one that cannot be read costs no other.

    Raises:
        LatentbenchError: none of them can be read; names the first.
    """
    images: dict[Path, tuple[Header, npt.NDArray[np.uint8]]] = {}
    failures = {}
    for file in files:
        try:
            images[file] = read_header(file), dataset.read_picture(file, info)
        except LatentbenchError as error:
            failures[file] = str(error)
    if not images:
        raise LatentbenchError(f"none of {len(files)} pictures can be read", next(iter(failures.values())))
    headers, arrays = zip(*images.values(), strict=True)
    return Pictures([*images], headers, np.stack(arrays), failures)


def score_pictures(
    pictures: Pictures,
    model: Model,
    data: Data | None,
    info: DataInfo,
    *,
    owner: str,
    device: torch.device,
    seed: int,
    score: str | None = None,
    maps: bool = False,
) -> Scores:
    """Score pictures, and the normal validation images of the run's dataset.

    Args:
        pictures: what to score.
        model: a fitted model, on ``device``.
        data: the run's dataset, on ``device``; None: it is not there.
        info: of that dataset.
        owner: the model's plugin, for errors.
        device: where model and data are.
        seed: the run's.
        score: the name of one of the model's scores; by default its own.
        maps: whether anomaly maps are wanted; a model that does not localize gives none.

    Raises:
        LatentbenchError: the model cannot score, or not without the dataset; or it has no such score.
    """
    able = capabilities_of(model)
    if "score" not in able and "encode" not in able:
        raise LatentbenchError(f"model '{model.name}' does not score images", f"it can {', '.join(able)}")
    if "score" not in able and data is None:
        raise LatentbenchError(
            f"model '{model.name}' gives codes, which are read as scores by those of its training images",
            "name the folder of the dataset with --data-root",
        )
    own = StoredSplit(Role.TEST, torch.from_numpy(pictures.images)).to(device)
    nothing = torch.zeros((0, *info.image_shape), dtype=torch.uint8)
    before = data.splits if data else {"train": StoredSplit(Role.TRAIN, nothing)}
    whole = Data(info, {**before, _OWN: own})
    validation = next((name for name, split in before.items() if split.role is Role.VALIDATION), None)
    splits = [_OWN] if validation is None else [_OWN, validation]
    found = output_on(model, whole, splits, "score", owner=owner, device=device, seed=seed)
    scores, normal = _chosen(found[_OWN], score), None
    if validation is not None and (which := _normal(before[validation])).any():
        normal = np.sort(_chosen(found[validation], score)[which])
    drawn: Array | None = None
    dark = bright = 0.0
    if maps and "localize" in able:
        shown = output_on(model, whole, splits, "localize", owner=owner, device=device, seed=seed)
        drawn = shown[_OWN][""]
        dark, bright = np.percentile(np.concatenate([shown[split][""].ravel() for split in splits]), (1, 99.5))
    return Scores(scores, normal, drawn, dark, bright)


def heat_map(values: Array, scores: Scores, header: Header) -> Image.Image:
    """An anomaly map (H, W) in colours, in the size of its picture."""
    colours = np.rint(heat(values, scores.dark, scores.bright) * 255).astype(np.uint8)
    return Image.fromarray(colours).resize((header.width, header.height), Image.Resampling.BILINEAR)


def remarks(pictures: Pictures, data: Data | None, info: DataInfo) -> list[str]:
    """In what the pictures differ from the images that the model was trained on, a line each."""
    number = len(pictures.files)
    told = []
    colour = sum(not header.grey for header in pictures.headers)
    if info.channels == 1 and colour:
        told.append(f"{colour} of {number} pictures are in colour; the model takes grey, into which they are converted")
    if info.channels == 3 and colour < number:
        told.append(f"{number - colour} of {number} pictures are grey; the model was trained on colour")
    sizes = Counter((header.width, header.height) for header in pictures.headers)
    if others := [size for size in sizes if size != (info.width, info.height)]:
        named = ", ".join(f"{width}x{height}" for width, height in others[:3]) + (", ..." if len(others) > 3 else "")
        total = sum(sizes[size] for size in others)
        stretched = sum(sizes[width, height] for width, height in others if width * info.height != height * info.width)
        whose = "their aspect" if stretched == total else f"the aspect of {stretched}"
        kept = f", which changes {whose}" if stretched else ""
        told.append(f"{total} of {number} pictures ({named}) are resized to {info.width}x{info.height}{kept}")
    reference = data.validation if data else None
    if reference is not None:
        brightness = pictures.images.mean((1, 2, 3)) / 255
        seen = _brightness(reference)
        beyond = (brightness < seen.min()) | (brightness > seen.max())
        if beyond.any():
            told.append(
                f"{beyond.sum()} of {number} pictures are darker or brighter than every validation image (in [0, 1], "
                f"the means are {brightness.min():.2f} to {brightness.max():.2f} and {seen.min():.2f} to "
                f"{seen.max():.2f}): their scores may tell of that alone"
            )
    return told


def _chosen(parts: Parts, score: str | None) -> npt.NDArray[np.float64]:
    """One of the scores; by default the first."""
    name = next(iter(parts)) if score is None else score
    if name not in parts:
        raise LatentbenchError(f"the model has no score '{name}'", did_you_mean(name, parts))
    return parts[name].astype(np.float64)


def _normal(split: Split) -> npt.NDArray[np.bool_]:
    """(M,), which images of a split are normal: all, where it does not say."""
    anomaly = split.targets.anomaly
    return np.ones(len(split), bool) if anomaly is None else anomaly == 0


def _brightness(split: Split) -> npt.NDArray[np.float64]:
    """(M,) in [0, 1], the mean of each image."""
    device = torch.device("cpu")
    here = split.to(device)
    generator = torch.Generator(device)  # a fixed split draws nothing
    chunks = torch.split(torch.arange(len(here)), 500)
    return torch.cat([here.batch(chunk, generator).images.mean((1, 2, 3)) for chunk in chunks]).double().numpy()
