"""Options of ``sdc`` by dataset. Symmetries are those of surface, object and light: what is turned stays normal."""

from collections.abc import Mapping
from typing import Any

from latentbench import Where
from latentbench_augment import PROBES
from latentbench_sdc.symmetries import Symmetry

__all__ = ["PRESETS"]

#: Categories of MVTec AD. The others lie or are lit the same way in every image, or have turns as defects: a turned
#: bottle or screw is 1.3 to 2.1 times as far from the nearest training image as one that is not turned.
_SYMMETRIES: dict[str, Symmetry] = {
    "carpet": "flips",
    "grid": "half_turn",
    "leather": "dihedral",
    "tile": "dihedral",
    "wood": "flips",
    "hazelnut": "dihedral",
    "metal_nut": "rotations",  # a nut that lies upside down is a defect
}
#: Surfaces of the made textures: tiles are lit from one corner.
_MADE: dict[str, Symmetry] = {"weave": "flips", "grain": "mirror", "leather": "dihedral"}

#: The test split of the made textures has scratches, so that nothing is chosen on lines.
_NO_LINES = tuple(name for name in PROBES if name != "lines")
#: What photographs have in common. Residuals of patches have the greatest mean ``held_out_ap`` over five sets of them
#: (the searches industrial-residuals and surfaces-residuals).
_PHOTOGRAPHS = {"batch_size": 16, "memory_format": "channels_last", "residual": "patches"}

PRESETS: dict[str | Where, Mapping[str, Any]] = {
    "textures": {"batch_size": 8, "epochs": 30, "memory_format": "channels_last", "probes": _NO_LINES},
    "mvtec-ad": {**_PHOTOGRAPHS, "epochs": 100},
    "magnetic-tile": {**_PHOTOGRAPHS, "epochs": 30},
    "kolektor-sdd": {**_PHOTOGRAPHS, "epochs": 30},
    # As many steps as the autoencoders of latentbench_autoencoders have there, and as on magnetic tiles.
    Where("mvtec-ad", image_size=128, category="bottle"): {"epochs": 200},
    Where("mvtec-ad", image_size=128, category="grid"): {"epochs": 80},
    Where("kolektor-sdd", image_size=(320, 128)): {"epochs": 85},
    **{Where("textures", kind=kind): {"symmetry": symmetry} for kind, symmetry in _MADE.items()},
    **{Where("mvtec-ad", category=category): {"symmetry": symmetry} for category, symmetry in _SYMMETRIES.items()},
}
