"""Pictures of a fitted model, made from its capabilities, so that plugins need no code for them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentbench.capabilities import capabilities_of, samples_at_codes
from latentbench.data.splits import Data, Role, content_hash
from latentbench.errors import LatentbenchError
from latentbench.evaluation.inference import Parts, as_codes, infer, seeded
from latentbench.evaluation.predictions import Predictions
from latentbench.evaluation.readouts.readout import side_by_side
from latentbench.evaluation.sheets import Row, Sheet, Tile, heat, png
from latentbench.model import Model

__all__ = ["Picture", "make_pictures"]

#: Number of images whose codes set the range of a walk, if no metric needed the codes of all images.
_CODED = 500
#: Half of the range of a walk, in standard deviations.
_REACH = 2
#: Images at each of best, median and worst.
_RANKED = 3
#: Limits: facets with a sheet, clusters in it, and images in a row of any sheet.
_FACETS, _CLUSTERS, _ACROSS = 4, 10, 8
#: Sheets of images with a longer side have fewer tiles.
_SMALL = 48
#: What is made without an image of the dataset.
_GENERATED = ("samples", "generated_pictures()")

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Picture:
    """A contact sheet."""

    png: bytes
    shows_data: bool
    """Whether images of the dataset are on it, or what was made of single ones; samples alone show none."""


def make_pictures(
    model: Model,
    data: Data,
    predictions: Predictions,
    *,
    title: str,
    owner: str,
    device: torch.device,
    seed: int,
) -> tuple[dict[str, Picture], dict[str, str]]:
    """Contact sheets of what the model does with the first test split, and those that it makes itself.

    By name: ``reconstructions``; ``maps``, with the masks, of the best, median and worst images by their scores;
    ``samples``; ``traversals`` of the code's dimensions; ``clusters-FACET`` with the most typical images of each
    cluster; and what ``Model.pictures`` and ``Model.generated_pictures`` give, which takes the place of one of the same
    name.

    What predictions hold is not computed again. Each sheet has seeds of its own, and PyTorch's global generators are
    left as they were; the same model and data give the same bytes.

    Args:
        model: a fitted model, on ``device``.
        data: on ``device``.
        predictions: what was collected from them.
        title: of the run; it stands on every sheet.
        owner: the model's plugin, for errors.
        device: where model and data are.
        seed: the run's.

    Returns:
        The pictures, and for each that could not be made, the reason in one line.
    """
    gallery = _Gallery(model, data, predictions, title, owner, device, seed)
    pictures: dict[str, Picture] = {}
    failures: dict[str, str] = {}
    for name, make in gallery.sheets().items():
        try:
            sheets = make()
            pictures |= {part: Picture(png(sheet), shows_data=name not in _GENERATED) for part, sheet in sheets.items()}
        except (Exception, SystemExit) as error:
            text = str(error) if isinstance(error, LatentbenchError) else f"{type(error).__name__}: {error}"
            failures[name] = " ".join(text.split())
    return pictures, failures


class _Gallery:
    def __init__(
        self,
        model: Model,
        data: Data,
        predictions: Predictions,
        title: str,
        owner: str,
        device: torch.device,
        seed: int,
    ) -> None:
        self.model, self.data, self.predictions = model, data, predictions
        self.title, self.owner, self.device, self.seed = title, owner, device, seed
        self.able = set(capabilities_of(model))
        tests = [(name, split) for name, split in data.splits.items() if split.role is Role.TEST]
        with_anomalies = [(name, split) for name, split in tests if split.targets.anomaly is not None]
        small = max(data.info.height, data.info.width) <= _SMALL
        #: Test images, and samples, in a sheet of them; dimensions of the code that are walked, and steps of a walk.
        self.shown, self.samples_shown, self.walked, self.steps = (16, 36, 8, 7) if small else (8, 16, 5, 5)
        self.name, self.split = ([*with_anomalies, *tests] or [("", data.train)])[0]

    def sheets(self) -> dict[str, Callable[[], Mapping[str, Sheet]]]:
        """All pictures in order; the model's own come last, so that they can replace others."""
        if not self.name:
            return {}
        walks = "encode" in self.able and ("decode" in self.able or samples_at_codes(self.model))
        makers: dict[str, tuple[bool, Callable[[], Mapping[str, Sheet]]]] = {
            "reconstructions": ("reconstruct" in self.able, self.reconstructions),
            "maps": ("localize" in self.able and self.split.targets.anomaly is not None, self.maps),
            "samples": ("sample" in self.able, self.samples),
            "traversals": (walks, self.traversals),
            "clusters": (self._output("cluster") is not None, self.clusters),
            "pictures()": (True, self.own),
            "generated_pictures()": (True, self.generated),
        }
        return {name: make for name, (able, make) in makers.items() if able}

    def reconstructions(self) -> Mapping[str, Sheet]:
        """Test images, each above its reconstruction."""
        index = _spread(len(self.split), self.shown)
        pairs = {"image": self._images(index), "reconstruction": self._run("reconstruct", index)[""]}
        rows = [
            Row(label, _tiles(images[start : start + _ACROSS]))
            for start in range(0, len(index), _ACROSS)
            for label, images in pairs.items()
        ]
        return {"reconstructions": Sheet(self._title("reconstructions"), rows)}

    def maps(self) -> Mapping[str, Sheet]:
        """Image, anomaly map and mask of the best, median and worst anomalies and normal images."""
        targets = self.split.targets
        assert targets.anomaly is not None, "sheets() looked"
        scores, every = _first(self._output("score")), self._output("localize")
        if every is None and scores is None:
            every = self._run("localize", np.arange(len(self.split)))[""]
        ranked = _ranked(targets.anomaly, every.max((1, 2)) if scores is None else scores)
        index = np.concatenate(list(ranked.values()))
        maps = self._run("localize", index)[""] if every is None else every[index]
        low, high = np.percentile(maps if every is None else every[_spread(len(every), _CODED)], (1, 99.5))
        map_of = dict(zip(index.tolist(), maps, strict=True))
        rows = []
        for kind, places in ranked.items():
            rows.append(Row(kind, _tiles(self._images(places))))
            rows.append(Row("map", [heat(map_of[place], low, high) for place in places.tolist()]))
            if targets.mask is not None and kind == "anomaly":
                known = np.ones(len(self.split), bool) if targets.mask_known is None else targets.mask_known
                rows.append(Row("mask", [targets.mask[place] * 1.0 if known[place] else None for place in places]))
        columns = [label for label in ("best", "median", "worst") for label in (label, *[""] * (_RANKED - 1))]
        return {"maps": Sheet(self._title("anomaly maps, ranked by score"), rows, columns)}

    def samples(self) -> Mapping[str, Sheet]:
        """Samples: the first of those that were drawn for metrics."""
        drawn = [array for name, array in self.predictions.arrays.items() if name.endswith("/sample")]
        batch = torch.empty(self.samples_shown, 0, device=self.device)
        images = drawn[0] if drawn else self._infer("sample", [batch])[""]
        return {"samples": Sheet(self._title("samples", split=False), _grid(images[: self.samples_shown]))}

    def traversals(self) -> Mapping[str, Sheet]:
        """The code of a typical, normal image, walked along the dimensions in which codes differ most."""
        parts, index = self._codes
        whole = side_by_side(parts).astype(np.float64)
        mean, spread = whole.mean(0), whole.std(0)
        anomaly, distance = self.split.targets.anomaly, ((whole - mean) ** 2).sum(1)
        typical = int((distance if anomaly is None else np.where(anomaly[index], np.inf, distance)).argmin())
        names = [f"{part} {place}" for part, codes in parts.items() for place in range(codes.shape[1])]
        dims = np.argsort(-spread, kind="stable")[: self.walked]
        steps = np.linspace(-_REACH, _REACH, self.steps)
        walks = np.tile(whole[typical], (len(dims), self.steps, 1))
        for row, dim in enumerate(dims):
            walks[row, :, dim] = mean[dim] + steps * spread[dim]
        images = self._at(walks.astype(np.float32), parts)
        origin = _tiles(self._images(index[[typical]]))
        rows = [
            Row(names[dim], [*(origin if row == 0 else [None]), *_tiles(images[row])]) for row, dim in enumerate(dims)
        ]
        between = [""] * (self.steps // 2 - 1)
        columns = ["image", f"-{_REACH} sd", *between, "mean", *between, f"+{_REACH} sd"]
        return {"traversals": Sheet(self._title("walks through the code of one image"), rows, columns)}

    def clusters(self) -> Mapping[str, Sheet]:
        """For each facet and cluster, the images whose codes are nearest to the mean code of the cluster."""
        sheets = {}
        for facet, assigned in list(self._output("cluster").items())[:_FACETS]:
            rows = []
            for cluster, count in zip(*np.unique(assigned, return_counts=True), strict=True):
                members = np.flatnonzero(assigned == cluster)
                images = self._images(self._typical(members, facet)[:_ACROSS])
                rows.append(Row(f"{cluster} ({count})", _tiles(images)))
            name = "clusters-" + re.sub(r"[^0-9A-Za-z._-]", "-", facet)
            sheets[name] = Sheet(self._title(f"clusters {facet} (and images in each)"), rows[:_CLUSTERS])
        return sheets

    def own(self) -> Mapping[str, Sheet]:
        """Pictures from ``Model.pictures``."""
        images = self._tensor(_spread(len(self.split), self.shown))
        return self._given("pictures", lambda: self.model.pictures(images))

    def generated(self) -> Mapping[str, Sheet]:
        """Pictures from ``Model.generated_pictures``."""
        return self._given("generated_pictures", self.model.generated_pictures)

    def _given(self, method: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Sheet]:
        """Sheets of what a method of the model makes."""
        with seeded(self.device, self._derive(method)), torch.inference_mode():
            given = make()
        where, sheets = self._where(method), {}
        for name, tensor in given.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
                raise LatentbenchError(f"{where}: '{name}' is no name for a file", "use a-z, 0-9, -")
            title = self._title(name, split=method == "pictures")
            sheets[name] = Sheet(title, _rows(_checked(tensor, f"{where}, '{name}'")))
        return sheets

    @cached_property
    def _codes(self) -> tuple[Parts, Array]:
        """Codes by subspace, and the indices of their test images."""
        kept = self._output("encode")
        index = np.arange(len(self.split)) if kept is not None else _spread(len(self.split), _CODED)
        return (kept if kept is not None else self._run("encode", index)), index

    def _at(self, codes: npt.NDArray[np.float32], parts: Parts) -> Array:
        """Images (rows, steps, C, H, W) at codes (rows, steps, D): decoded, or drawn alike at each step."""
        ends = np.cumsum([part.shape[1] for part in parts.values()])[:-1]

        def batch(some: npt.NDArray[np.float32]) -> Tensor | dict[str, Tensor]:
            split = np.split(some, ends, axis=-1)
            return as_codes({name: one.copy() for name, one in zip(parts, split, strict=True)}, self.device)

        if "decode" in self.able:
            images = self._infer("decode", (), [batch(row) for row in codes])[""]
            return images.reshape(*codes.shape[:2], *images.shape[1:])
        return np.stack([self._infer("sample", (), [batch(step)])[""] for step in codes.swapaxes(0, 1)], axis=1)

    def _typical(self, members: Array, facet: str) -> Array:
        """The images at ``members``, the nearest to their mean code first; as they come where there are no codes."""
        if "encode" not in self.able:
            return members
        codes, index = self._codes
        subspace = next((part for part in codes if facet == part or facet.startswith(f"{part}-")), None)
        places = np.flatnonzero(np.isin(index, members))
        if not len(places):
            return members
        given = (codes[subspace] if subspace else side_by_side(codes))[places].astype(np.float64)
        distance = ((given - given.mean(0)) ** 2).sum(1)
        found: Array = index[places[np.argsort(distance, kind="stable")]]
        return found

    def _output(self, capability: str) -> Any:
        return self.predictions.output(self.name, capability)

    def _tensor(self, index: Array) -> Tensor:
        """The test images at ``index``, (B, C, H, W) on the device."""
        generator = torch.Generator(self.device).manual_seed(0)  # a test split is fixed: nothing is drawn
        return self.split.batch(torch.from_numpy(index).to(self.device), generator).images

    def _images(self, index: Array) -> Array:
        return self._tensor(index).cpu().numpy()

    def _run(self, capability: str, index: Array) -> Parts:
        chunks = (index[start : start + _CODED] for start in range(0, len(index), _CODED))
        return self._infer(capability, (self._tensor(chunk) for chunk in chunks))

    def _infer(self, capability: str, batches: Any, codes: Any = None) -> Parts:
        return infer(
            self.model,
            capability,
            batches,
            self.data.info,
            seed=self._derive(capability),
            device=self.device,
            where=f"{self._where(capability)} on split '{self.name}'",
            codes=codes,
        )

    def _derive(self, purpose: str) -> int:
        return int(content_hash(self.seed, "pictures", purpose)[:15], 16)

    def _where(self, method: str) -> str:
        return f"plugin '{self.owner}': model '{self.model.name}', '{method}' for a picture"

    def _title(self, what: str, *, split: bool = True) -> str:
        return f"{self.title}: {what}" + (f", split {self.name}" if split else "")


def _spread(size: int, count: int) -> npt.NDArray[np.int64]:
    """At most ``count`` places of ``size``, evenly spaced."""
    return np.unique(np.linspace(0, size - 1, min(count, size)).round().astype(np.int64))


def _ranked(anomaly: npt.NDArray[np.uint8], scores: Array) -> dict[str, npt.NDArray[np.int64]]:
    """Kind of image -> the best, median and worst, by the share of the other kind that the image is ranked behind.

    So an anomaly is at its best where no normal image has its score, and a normal image where no anomaly has so low a
    one. Among equal shares the score decides.
    """
    ranked = {}
    for kind, sign in (("anomaly", 1), ("normal", -1)):
        own = np.flatnonzero(anomaly == (kind == "anomaly"))
        others = np.sort(sign * scores[anomaly != (kind == "anomaly")].astype(np.float64))
        score = sign * scores[own].astype(np.float64)
        behind = len(others) - np.searchsorted(others, score, side="left")
        order = own[np.lexsort((-score, behind))]
        middle = max(0, (len(order) - _RANKED) // 2)
        places = [*range(_RANKED), *range(middle, middle + _RANKED), *range(len(order) - _RANKED, len(order))]
        if len(order):
            ranked[kind] = order[np.clip(places, 0, len(order) - 1)]
    return ranked


def _first(scores: Any) -> Any:
    """The model's own score (N,), the first where there are several; None if there is none."""
    return next(iter(scores.values())) if isinstance(scores, Mapping) else scores


def _grid(images: Array) -> list[Row]:
    """Images in rows, as many across as down, and at most ``_ACROSS``."""
    across = min(_ACROSS, ceil(sqrt(len(images))))
    tiles = _tiles(images)
    return [Row("", tiles[start : start + across]) for start in range(0, len(tiles), across)]


def _tiles(images: Array) -> list[Tile]:
    """Images (N, C, H, W) as tiles: gray, colour, or the mean of any other number of channels."""
    return [image.transpose(1, 2, 0) if len(image) == 3 else image.mean(0) for image in images]


def _rows(picture: Array) -> list[Row]:
    """A picture in rows: (R, A, C, H, W) as they are given, (N, C, H, W) in a grid, (C, H, W) as one tile."""
    if picture.ndim == 5:
        return [Row("", _tiles(images)) for images in picture]
    return _grid(picture if picture.ndim == 4 else picture[None])


def _checked(tensor: Any, where: str) -> Array:
    """A picture, (C, H, W), (N, C, H, W) or (R, A, C, H, W), as an array."""
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise LatentbenchError(where, "expected a tensor of floating-point numbers")
    if tensor.ndim not in (3, 4, 5) or not tensor.numel():
        expected = "(C, H, W), (N, C, H, W) or (R, A, C, H, W)"
        raise LatentbenchError(where, f"expected shape {expected}, got {tuple(tensor.shape)}")
    array = tensor.detach().float().cpu().numpy()
    if not (array.min() >= 0 and array.max() <= 1):
        raise LatentbenchError(where, f"expected values in [0, 1], got [{array.min():g}, {array.max():g}]")
    return array
