"""Options of ``infostylegan`` by dataset: all of them ours."""

from collections.abc import Mapping
from typing import Any

from latentbench import Where

__all__ = ["PRESETS"]

_FAST = {"memory_format": "channels_last"}

PRESETS: dict[str | Where, Mapping[str, Any]] = {
    "scenes": {**_FAST, "batch_size": 32, "epochs": 20, "width": 8, "continuous": 6},
    "digits": {**_FAST, "batch_size": 32, "epochs": 60, "width": 8, "continuous": 2, "categorical": (10,)},
}
