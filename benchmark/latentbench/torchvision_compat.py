"""Importing torchvision where its compiled operators do not load, as beside a CPU-only torch."""

from importlib import import_module
from types import ModuleType

__all__ = ["import_torchvision"]


def import_torchvision() -> ModuleType:
    """Import torchvision; its Python parts (datasets, transforms) then work whether or not its operators load.

    On import torchvision registers shape functions for its operators ``nms`` and ``qnms``, and fails with "operator
    torchvision::nms does not exist" when its extension could not be loaded. Their schemas are then declared here,
    without an implementation and for the life of the process, and the import is repeated. Where the operators load,
    nothing is declared.

    Returns:
        The module; ``import torchvision`` and imports of its submodules work from then on.

    Raises:
        ImportError, RuntimeError: torchvision is absent, or fails to import for another reason.
    """
    try:
        return import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    from torch.library import define

    for operator in ("nms", "qnms"):
        define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return import_module("torchvision")
