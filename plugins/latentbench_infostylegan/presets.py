"""Options of ``infostylegan`` by dataset. All are ours, and none was chosen by test images.

They are for two cores without a GPU, but for those of faces. Channels-last is faster on CPU and GPU alike.
"""

from collections.abc import Mapping
from typing import Any

from latentbench import Where

__all__ = ["PRESETS"]

_DIGITS = {"memory_format": "channels_last", "widest": 64, "continuous": 2, "categorical": (10,)}
_FACES = {"memory_format": "channels_last", "batch_size": 32, "continuous": 10}
_SURFACES = {"memory_format": "channels_last", "batch_size": 16, "width": 8, "widest": 64, "post_hoc_epochs": 20}

PRESETS: dict[str | Where, Mapping[str, Any]] = {
    # Three that are trained in half a minute. In so few steps codes are learned the sooner the higher the rates, above
    # all that of Q; in a trial at 16 pixels with rates half as high again, samples were worse.
    "scenes": {
        "memory_format": "channels_last",
        "batch_size": 20,
        "epochs": 1,
        "width": 8,
        "widest": 32,
        "continuous": 6,
        "generator_learning_rate": 4e-3,
        "discriminator_learning_rate": 4e-3,
        "q_learning_rate": 3e-3,
        "post_hoc_epochs": 1,
        "reader_steps": 100,
        "references": 1000,
    },
    Where("scenes", image_size=16): {"batch_size": 32, "epochs": 3, "reader_steps": 200},
    "textures": {
        "memory_format": "channels_last",
        "batch_size": 16,
        "epochs": 8,
        "width": 4,
        "widest": 32,
        "post_hoc_epochs": 3,
        "reader_steps": 20,
    },
    "digits": {**_DIGITS, "batch_size": 32, "epochs": 60, "width": 8, "post_hoc_epochs": 10},
    "mnist": {**_DIGITS, "epochs": 8, "post_hoc_epochs": 1},
    "ood": {**_DIGITS, "epochs": 8, "post_hoc_epochs": 1},
    Where("ood", pair="mnist-held-out"): {"epochs": 30, "post_hoc_epochs": 5},
    "svhn": {**_DIGITS, "epochs": 20},
    "3dshapes": {**_FACES, "continuous": 6, "epochs": 2, "post_hoc_epochs": 1},
    **{f"celeba{split}": {**_FACES, "epochs": 5, "post_hoc_epochs": 1} for split in ("", "-novelty")},
    **{f"celeba-subset{split}": {**_FACES, "epochs": 100} for split in ("", "-novelty")},
    **{name: {**_SURFACES, "epochs": 100} for name in ("mvtec-ad", "mvtec-like", "kolektor-sdd")},
    "magnetic-tile": {**_SURFACES, "epochs": 40},
}
