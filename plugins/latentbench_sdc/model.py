"""SDC: a self-supervised autoencoder that filters anomalies out of images (Bauer, Nakajima & Müller, 2024).

    Mathematics 12(24), 3988 (arXiv 2206.11723)

A normal image x is corrupted in a part M of its pixels (``latentbench_augment``). The network f is trained to give x
back from the corrupted image x^, and so to reproduce what is normal and to replace what is not:

    x^ = (1 - b M) x + b M t,    min E L(f(x^), x; M)                                  (``objective``, ``network``)

The authors show that the optimum resembles a projection onto the manifold of normal images, so that the distance to it,
the residual of a single pass over the whole image, is the anomaly map:

    map(x) = G_k * ... * G_k * mean over channels of (x - f(x))^2                      (``residuals``)

A residual can also be measured by what is usual at its place in training images, pixel by pixel or in small patches,
and patches together with those of the image itself, which is ours (``usual``). Only abstracts and descriptions by
others were at hand. What they leave open is an option, with a default of ours.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from latentbench import Batch, DataInfo, LatentbenchError, Model, Split, TrainingOptions, did_you_mean
from latentbench_augment import MOST_TEXTURES, PROBES, Corrupted, Corruption, GridNoise, read_textures
from latentbench_sdc.network import STRIDE, Denoiser, Size, Skips, fitting, largest_dilation, most_dilations
from latentbench_sdc.objective import Weighting, restoration_error
from latentbench_sdc.presets import PRESETS
from latentbench_sdc.residuals import (
    CANDIDATES,
    MEASURES,
    OF_PIXELS,
    POOLINGS,
    Measure,
    Pooling,
    Smoothing,
    best_map,
    best_pooling,
    outliers,
    pool,
)
from latentbench_sdc.symmetries import SQUARE, Symmetry, transformed
from latentbench_sdc.usual import GRID, Usual, UsualPatches, UsualPatchesWithImage

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

    from latentbench import Trainer

__all__ = ["SDC"]

#: The shortest side that is taken: on a map of 4x4 places, an eighth of it, a dilation of 2 still fits.
_SHORTEST = 32
#: With fewer training images, a warning is logged.
_FEW = 10
#: Defective images of each kind, at least, and normal ones, at most, on which the map and its pooling are chosen.
_CHOSEN_ON = 16
#: What is usual in small patches, by the measure that goes by it.
_OF_PATCHES: Mapping[str, type[UsualPatches] | type[UsualPatchesWithImage]] = {
    "patches": UsualPatches,
    "patches_with_image": UsualPatchesWithImage,
}
#: Images that are passed through the network at a time after training.
_AT_ONCE = 16
#: Training images with extreme residuals that a warning names.
_NAMED = 20
#: Images in the model's own picture.
_SHOWN = 8

Share = Annotated[float, Field(ge=0, le=1)]
log = logging.getLogger("latentbench")


class SDC(Model):
    """An autoencoder of stacked dilated convolutions, trained to undo corruptions, as a detector."""

    class Config(TrainingOptions):
        size: Size = Field("small", description="of the network: 0.5 or 2 million parameters")
        dilations: tuple[PositiveInt, ...] = Field(
            (1, 2, 4, 8, 16, 32),
            min_length=1,
            description="of the branches of a block, where they fit into the image; (1,) turns dilation off",
        )
        skips: Skips = Field(
            "convex", description="convex: the decoder mixes in the encoder's maps; full: and in the end the image"
        )
        corruption: Literal["structured", "grid_noise", "pixel_noise", "none"] = Field(
            "structured",
            description="structured: blobs are replaced; grid_noise, pixel_noise: Gaussian, coarse or for each pixel; "
            "none: a plain autoencoder",
        )
        shapes: tuple[str, ...] = Field(Corruption.shapes, description="of blobs: ellipse, rectangle, curve")
        fills: tuple[str, ...] = Field(
            Corruption.fills, description="of blobs: images (others of the batch), elastic, colour, flat"
        )
        textures: str | None = Field(
            None,
            description="a local folder of images, as one more fill of blobs; of many, "
            f"{MOST_TEXTURES} are read, evenly spaced; the run's key has the folder's name, and not what is in it",
        )
        blobs: tuple[int, int] = Field(Corruption.blobs, description="fewest and most blobs of an image")
        side: tuple[float, float] = Field(Corruption.side, description="range of a blob's sides, as shares")
        opacity: tuple[float, float] = Field(Corruption.opacity, description="range of b; (1, 1): opaque")
        coverage: tuple[float, float] = Field(Corruption.coverage, description="range of the share that is corrupted")
        softness: float = Field(Corruption.softness, description="smoothing of a blob's edge, in pixels of 256 a side")
        clean: Share = Field(Corruption.clean, description="share of the images that are left as they are")
        noise_cells: int = Field(16, ge=1, description="cells of grid_noise along the shorter side")
        noise_sd: float = Field(0.2, ge=0, description="standard deviation of grid_noise and pixel_noise")
        added_noise: float = Field(
            0.0, ge=0, description="standard deviation of noise that is added to input and target alike"
        )
        weighting: Weighting = Field(
            "masked", description="masked: clean and corrupted part are averaged by themselves; plain: squared error"
        )
        clean_weight: NonNegativeFloat = Field(0.5, description="w_c, of the clean part")
        masked_weight: NonNegativeFloat = Field(0.5, description="w_m, of the corrupted part")
        idempotence: float = Field(0.0, ge=0, description="weight of the squared difference between one pass and two")
        symmetry: Symmetry = Field("none", description="random symmetries of training images")
        learning_rate: float = Field(6e-3, gt=0, description="of Adam, at its greatest")
        schedule: Literal["one_cycle", "cosine", "constant"] = Field(
            "one_cycle", description="of the learning rate; one_cycle: up from a 25th, and down to 0; cosine: down to 0"
        )
        residual: Literal["chosen", Measure] = Field(
            "chosen",
            description="of a pixel: squared, or standardized by the residuals of training images at its place; chosen "
            "on probe defects; or patches: of its surroundings, by the covariance of training images there, from a "
            "shorter side of 256 pixels on of residuals averaged in blocks of 2x2, from 384 on of 3x3, and so on; "
            "patches_with_image: and as much by how usual the image itself is there",
        )
        smoothing: Literal["chosen", "fixed"] = Field(
            "chosen", description="of the map: chosen on probe defects, or fixed to kernel and passes"
        )
        kernel: int = Field(11, ge=1, description="k of fixed smoothing, in pixels of 256 a side")
        passes: int = Field(2, ge=0, description="n of fixed smoothing")
        pooling: Literal["chosen", Pooling] = Field(
            "chosen", description="of the map to a score: chosen on probe defects, or its maximum or mean"
        )
        probes: tuple[str, ...] = Field(
            tuple(PROBES), min_length=1, description="kinds of defects made in validation images, to choose by"
        )
        average_flips: bool = Field(False, description="average the map over the flips of an image: four passes")

        def unused(self) -> Mapping[str, str]:
            """What only another corruption, weighting or smoothing has."""
            own: dict[str, str] = {}
            of_blobs = ("shapes", "fills", "textures", "blobs", "side", "opacity", "coverage", "softness")
            of_parts = ("weighting", "clean_weight", "masked_weight")
            if self.corruption != "structured":
                own |= dict.fromkeys((*of_blobs, "clean"), "only the corruption structured has blobs")
                own |= dict.fromkeys(of_parts, "only the corruption structured leaves a part of an image clean")
            elif self.clean == 1:
                own |= dict.fromkeys(of_blobs, "clean=1 leaves all images as they are")
                own |= dict.fromkeys(of_parts, "clean=1 leaves no corrupted part")
            elif self.weighting == "plain":
                own |= dict.fromkeys(("clean_weight", "masked_weight"), "only the weighting masked has two parts")
            if self.corruption != "grid_noise":
                own |= {"noise_cells": "only the corruption grid_noise has cells"}
            if self.corruption not in ("grid_noise", "pixel_noise"):
                own |= {"noise_sd": "only grid_noise and pixel_noise have one"}
            if self.smoothing == "chosen":
                own |= dict.fromkeys(("kernel", "passes"), "smoothing is chosen")
            elif self.passes == 0:
                own |= {"kernel": "no pass smooths with it"}
            if "chosen" not in (self.residual, self.smoothing, self.pooling):
                own |= {"probes": "nothing is chosen"}
            return {**super().unused(), **own}

        @field_validator("probes")
        @classmethod
        def _probes_are_known(cls, probes: tuple[str, ...]) -> tuple[str, ...]:
            for name in probes:
                if name not in PROBES:
                    raise ValueError(f"unknown probe '{name}': {did_you_mean(name, PROBES)}")
            if len(set(probes)) < len(probes):
                raise ValueError("a probe is there twice")
            return probes

        @model_validator(mode="after")
        def _corruption_is_possible(self) -> Self:
            if self.corruption != "structured":
                return self
            if self.textures is None and set(self.fills) <= {"textures"}:
                raise ValueError(
                    "nothing to fill blobs with: name images, elastic, colour or flat, or give textures=FOLDER"
                )
            if self.weighting == "masked" and self.clean < 1 and self.clean_weight == self.masked_weight == 0:
                raise ValueError("clean_weight=0 and masked_weight=0 leave nothing to learn from: raise one of them")
            try:
                self.structured()
            except LatentbenchError as error:
                raise ValueError(str(error)) from None
            return self

        def structured(self) -> Corruption:
            """The corruption structured with these options."""
            return Corruption(
                shapes=self.shapes,
                fills=self.fills,
                blobs=self.blobs,
                side=self.side,
                opacity=self.opacity,
                coverage=self.coverage,
                softness=self.softness,
                clean=self.clean,
            )

    config: Config
    version = 3
    presets = PRESETS
    usual_mean: Tensor
    usual_variance: Tensor
    usual_whitening: Tensor
    measure: Tensor
    kernel: Tensor
    passes: Tensor
    pooling: Tensor
    held_out_ap: Tensor
    training_outliers: Tensor

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """It is for images in which something can be out of place."""
        if info.attributes:
            return "it locates defects, and images with attributes have none"
        if min(info.height, info.width) < _SHORTEST:
            return f"sides below {_SHORTEST} pixels leave no room for dilations at an eighth of the size"
        return None

    def build(self, info: DataInfo) -> None:
        """Make the network, and buffers for what is found out after training.

        Raises:
            LatentbenchError: the symmetry turns images, and they are not square; no dilation fits into them; or more do
                than a block has channels.
        """
        config = self.config
        if config.symmetry in SQUARE and info.height != info.width:
            raise LatentbenchError(
                f"model 'sdc': symmetry {config.symmetry} needs squares, not {info.width}x{info.height} pixels",
                "use mirror, half_turn, flips or none",
            )
        self.network = Denoiser(info.channels, config.size, self._dilations(info), config.skips)
        self.textures: Tensor | None = None
        if config.residual in _OF_PATCHES:
            down, across = GRID.shape(info.height, info.width)
            both = (2,) if config.residual == "patches_with_image" else ()
            patches, numbers = down * across, info.channels * GRID.side**2
            self.register_buffer("usual_mean", torch.zeros(*both, patches, numbers))
            self.register_buffer("usual_whitening", torch.zeros(*both, patches, numbers, numbers))
        else:
            self.register_buffer("usual_mean", torch.zeros(info.channels, info.height, info.width))
            self.register_buffer("usual_variance", torch.ones(info.channels, info.height, info.width))
        measure = config.residual if config.residual != "chosen" else "squared"
        self.register_buffer("measure", torch.tensor(MEASURES.index(measure)))
        self.register_buffer("kernel", torch.tensor(config.kernel))
        self.register_buffer("passes", torch.tensor(config.passes))
        pooling = config.pooling if config.pooling != "chosen" else "maximum"
        self.register_buffer("pooling", torch.tensor(POOLINGS.index(pooling)))
        self.register_buffer("held_out_ap", torch.full((len(config.probes),), torch.nan))
        self.register_buffer("training_outliers", torch.tensor(0))

    def optimizers(self) -> torch.optim.Optimizer:
        """Adam (Kingma & Ba 2015)."""
        return torch.optim.Adam(self.parameters(), self.config.learning_rate, fused=True)

    def schedulers(self, optimizers: torch.optim.Optimizer) -> "LRScheduler | Mapping[str, LRScheduler]":
        """One cycle (Smith & Topin 2019), a cosine from the learning rate to 0 (Loshchilov & Hutter 2017), or none."""
        match self.config.schedule:
            case "one_cycle":
                return OneCycleLR(optimizers, self.config.learning_rate, self.progress.total_steps)
            case "cosine":
                return CosineAnnealingLR(optimizers, self.progress.total_steps)
            case "constant":
                return {}

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Train in the harness's loop; then note what is usual, choose map and pooling, look for outliers in training.

        All look at normal images alone. Map and pooling are chosen on those for validation, or where there are none, on
        those for training, and on probe defects made in them.

        Raises:
            LatentbenchError: the folder of textures is not there, has no image, or one that cannot be read.
        """
        if self.config.corruption == "structured" and self.config.textures is not None:
            size = min(self.info.height, self.info.width)
            textures = read_textures(Path(self.config.textures), channels=self.info.channels, size=size)
            self.textures = textures.to(trainer.device)
        self._tell_what_is_left_out()
        if len(train) < _FEW:
            log.warning("model 'sdc': %d training images are too few to tell what is normal", len(train))
        super().fit(train, validation, trainer)
        self.eval()
        with torch.no_grad():
            self._note_what_is_usual(train, trainer)
            self._choose(train if validation is None else validation, trainer)
            self._look_for_outliers(train, trainer)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """L(f(x^), x; M), its mean over the batch; with Gaussian noise e on top, L(f(x^ + e), x + e; M)."""
        config = self.config
        generator = _generator(batch.images.device)
        x = transformed(batch.images, config.symmetry, generator)
        corrupted, mask = self._corrupted(x, generator)
        if config.added_noise:
            e = config.added_noise * torch.randn(x.shape, generator=generator, device=x.device)
            corrupted, x = corrupted + e, x + e
        restored = self.network(corrupted)
        weights = (config.clean_weight, config.masked_weight) if config.weighting == "masked" else None
        restoration = restoration_error(restored, x, mask, weights).mean()
        if not config.idempotence:
            return {"loss": restoration}
        change = (self.network(restored).float() - restored.float()).square().mean()
        return {
            "loss": restoration + config.idempotence * change,
            "restoration": restoration,
            "change in a second pass": change,
        }

    def reconstruct(self, images: Tensor) -> Tensor:
        """(B, C, H, W): f(x), clamped to [0, 1]."""
        restored: Tensor = self.network(images)
        return restored.clamp(0, 1)

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W): the smoothed residual."""
        return self._smooth(self._measured(self._observed(images), MEASURES[int(self.measure)]))

    def score(self, images: Tensor) -> Tensor:
        """(B,): the largest value of the map, or its mean."""
        return pool(self.localize(images), POOLINGS[int(self.pooling)])

    def residuals(self, images: Tensor) -> Tensor:
        """(1, B, C, H, W): x - f(x); or (4, B, C, H, W) over the flips of x, flipped back, if that is wanted."""
        if not self.config.average_flips:
            return (images - self.reconstruct(images))[None]
        flips: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
        return torch.stack([(x - self.reconstruct(x)).flip(flip) for flip in flips for x in (images.flip(flip),)])

    def facts(self) -> dict[str, float]:
        """The map, its smoothing in pixels, what both were chosen by, and the extreme outliers among training images.

        ``held_out_ap`` is the mean over the kinds of probe defects, ``held_out_ap_KIND``, of the average precision of
        the map for their pixels. The defects are made in normal images held out of training: by it settings can be
        compared without looking at test images. ``residual_is_standardized`` is 1 for the measure standardized alone:
        it is 0 for squared, and also for both measures of patches, which go by a covariance.
        """
        precisions = {
            f"held_out_ap_{name}": float(ap)
            for name, ap in zip(self.config.probes, self.held_out_ap, strict=True)
            if not ap.isnan()
        }
        chosen_by = {"held_out_ap": float(self.held_out_ap.nanmean()), **precisions} if precisions else {}
        return chosen_by | {
            "residual_is_standardized": float(MEASURES[int(self.measure)] == "standardized"),
            "smoothing_side": self._smooth.side(self.info.height, self.info.width),
            "smoothing_passes": self._smooth.passes,
            "score_is_mean": float(POOLINGS[int(self.pooling)] == "mean"),
            "training_outliers": float(self.training_outliers),
        }

    def pictures(self, images: Tensor) -> dict[str, Tensor]:
        """``corruptions``: test images, corrupted as in training, and what becomes of them, in a row each.

        All are corrupted, where training leaves some clean, and noise that the target keeps is not added. There is no
        sheet if training leaves all images clean, or if a folder of textures has not been read.
        """
        config = self.config
        of_blobs = config.corruption == "structured"
        lacks_textures = config.textures is not None and self.textures is None
        if config.corruption == "none" or (of_blobs and (config.clean == 1 or lacks_textures)):
            return {}
        x = images[:_SHOWN]
        corrupted, _ = self._corrupted(x, _generator(x.device), clean=0)
        return {"corruptions": torch.stack([x, corrupted, self.reconstruct(corrupted)], 1)}

    def _dilations(self, info: DataInfo) -> tuple[int, ...]:
        """Those of the branches of a block: the dilations of the options that fit into images of this size."""
        asked, most = self.config.dilations, most_dilations(self.config.size)
        found = fitting(asked, info.height, info.width)
        if not found:
            largest = largest_dilation(info.height, info.width)
            raise LatentbenchError(
                f"model 'sdc': none of dilations={asked} fits on {_map_of(info)}",
                "name 1" if largest == 1 else f"name 1, or one up to {largest}",
            )
        if len(found) > most:
            what = (
                f"model 'sdc': {len(found)} dilations share the {most} channels of a block of size={self.config.size}"
            )
            raise LatentbenchError(what, f"name {most} or fewer")
        return found

    def _tell_what_is_left_out(self) -> None:
        """Log a warning if dilations that were asked for do not fit; the default names all that ever may."""
        asked = self.config.dilations
        left_out = set(asked) - set(self._dilations(self.info))
        if left_out and asked != type(self.config).model_fields["dilations"].default:
            names = ", ".join(map(str, sorted(left_out)))
            log.warning("model 'sdc': of dilations=%s, %s do not fit on %s: left out", asked, names, _map_of(self.info))

    def _corrupted(self, x: Tensor, generator: torch.Generator, *, clean: float | None = None) -> Corrupted:
        """x^ and M; ``clean`` replaces the share of the images that are left as they are."""
        config = self.config
        match config.corruption:
            case "structured":
                structured = config.structured()
                if clean is not None:
                    structured = replace(structured, clean=clean)
                return structured(x, generator, textures=self.textures)
            case "grid_noise":
                return GridNoise(config.noise_cells, config.noise_sd)(x, generator)
            case "pixel_noise":
                return GridNoise(None, config.noise_sd)(x, generator)
            case "none":
                return Corrupted(x, torch.zeros_like(x[:, :1]))

    @property
    def _smooth(self) -> Smoothing:
        return Smoothing(int(self.kernel), int(self.passes))

    def _observed(self, images: Tensor) -> Tensor:
        """(F, B, C, H, W): the residuals; or (F, B, 2 C, H, W), with the image itself as further channels."""
        residuals = self.residuals(images)
        if self.config.residual != "patches_with_image":
            return residuals
        return torch.cat([residuals, images.expand_as(residuals)], 2)

    def _measured(self, observed: Tensor, measure: Measure) -> Tensor:
        """(F, B, C or 2 C, H, W) -> (B, H, W): squared, or by what is usual; means over flips and channels."""
        match measure:
            case "squared":
                return observed.square().mean((0, 2))
            case "standardized":
                return Usual(self.usual_mean, self.usual_variance).standardized(observed).mean((0, 2))
            case "patches" | "patches_with_image":
                usual = _OF_PATCHES[measure](self.usual_mean, self.usual_whitening)
                distances = usual.distances(observed.flatten(0, 1))
                return distances.view(*observed.shape[:2], *distances.shape[1:]).mean(0)

    def _note_what_is_usual(self, train: Split, trainer: "Trainer") -> None:
        """Keep mean and (co)variance of what is observed of training images, as they are without symmetries."""
        observed = (self._observed(images).flatten(0, 1) for images in self._in_parts(train, trainer))
        if self.config.residual in _OF_PATCHES:
            patches = _OF_PATCHES[self.config.residual].of(observed)
            self.usual_mean.copy_(patches.mean)
            self.usual_whitening.copy_(patches.whitening)
        else:
            pixels = Usual.of(observed)
            self.usual_mean.copy_(pixels.mean)
            self.usual_variance.copy_(pixels.variance)

    def _choose(self, held_out: Split, trainer: "Trainer") -> None:
        """Choose residual, smoothing and pooling by how well they find probe defects in normal images."""
        config = self.config
        if "chosen" not in (config.residual, config.smoothing, config.pooling):
            return
        count = min(len(held_out), _CHOSEN_ON)
        clean, defective, masks = [], [], []
        for images in self._in_parts(held_out, trainer, count):
            clean.append(self._observed(images))
            for _ in range(ceil(_CHOSEN_ON / count)):
                probed = [PROBES[name](images, trainer.generator) for name in config.probes]
                defective.append(torch.stack([self._observed(each.images) for each in probed]))
                masks.append(torch.stack([each.mask[:, 0] > 0.5 for each in probed]))
        measures = OF_PIXELS if config.residual == "chosen" else (config.residual,)
        found = {
            measure: torch.stack([self._measured(kind, measure) for kind in torch.cat(defective, 2)])
            for measure in measures
        }
        if "chosen" in (config.residual, config.smoothing):
            candidates = CANDIDATES if config.smoothing == "chosen" else (self._smooth,)
            precision, measure, smooth = best_map(found, torch.cat(masks, 1), candidates)
            self.held_out_ap.copy_(precision)
            self.measure.fill_(MEASURES.index(measure))
            self.kernel.fill_(smooth.kernel)
            self.passes.fill_(smooth.passes)
        if config.pooling == "chosen":
            measure = MEASURES[int(self.measure)]
            normal = self._smooth(self._measured(torch.cat(clean, 1), measure))
            self.pooling.fill_(POOLINGS.index(best_pooling(normal, self._smooth(found[measure].flatten(0, 1)))))

    def _look_for_outliers(self, train: Split, trainer: "Trainer") -> None:
        """Count the training images that are somewhere restored far worse than the others: there may be defects."""
        squared = (self._measured(self.residuals(images), "squared") for images in self._in_parts(train, trainer))
        found = outliers(torch.cat([pool(self._smooth(residuals), "maximum") for residuals in squared]))
        self.training_outliers.fill_(found.sum())
        if found.any():
            places = found.nonzero().flatten().tolist()
            log.warning(
                "model 'sdc': %d of %d training images have extreme residuals, at %s of the training split (counted "
                "from 0, without validation images): look for defects; where many images have some, none stands out",
                *(len(places), len(train), _listed(places)),
            )

    def _in_parts(self, split: Split, trainer: "Trainer", count: int | None = None) -> Iterator[Tensor]:
        """The first images of a split, or all, a few at a time."""
        index = torch.arange(len(split) if count is None else count, device=trainer.device)
        return (split.batch(part, trainer.generator).images for part in torch.split(index, _AT_ONCE))


def _listed(places: Sequence[int]) -> str:
    """Places in words; of many, the first."""
    named = ", ".join(map(str, places[:_NAMED]))
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    return f"place{'s' if len(places) > 1 else ''} {named}{more}"


def _map_of(info: DataInfo) -> str:
    """The map that dilated convolutions work on, in words."""
    height, width = (-(-side // STRIDE) for side in (info.height, info.width))
    return f"the map of {width}x{height} places that images of {info.width}x{info.height} pixels have"


def _generator(device: torch.device) -> torch.Generator:
    """A generator on the device, seeded by PyTorch's global one."""
    return torch.Generator(device).manual_seed(int(torch.randint(2**62, ())))
