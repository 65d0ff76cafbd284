"""Checkpoints: one file of tensors and plain containers, replaced atomically and never unpickled."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentbench.files import replacing

__all__ = ["load_checkpoint", "random_state", "save_checkpoint", "set_random_state"]

log = logging.getLogger("latentbench")


def save_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content``, whose leaves are tensors, numbers, strings and None.

    Raises:
        StorageError: no space, no permission; the file that was there before is untouched.
    """
    with replacing(path) as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # the system's reason, which torch's writer covers
                raise error.__context__ from None
            raise


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The saved content with its tensors on the CPU; None if there is none or, with a warning, if it is unreadable."""
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated, foreign, no permission: torch raises half a dozen types
        log.warning("cannot read checkpoint %s (%s): training starts afresh", path, type(error).__name__)
        return None
    return content


def random_state(device: torch.device) -> dict[str, Tensor]:
    """States of PyTorch's global generators: the CPU's, and that of ``device`` if it is another."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(device)
    return states


def set_random_state(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Restore a result of ``random_state`` for a device of the same kind."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[device.type], device)
