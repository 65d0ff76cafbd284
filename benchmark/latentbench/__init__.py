"""A plugin-based benchmark suite for what learned image representations are good for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from latentbench.errors import LatentbenchError
from latentbench.hookspecs import hookimpl

if TYPE_CHECKING:
    from latentbench.data import (
        MISSING,
        Batch,
        Data,
        DataInfo,
        Dataset,
        IndexedSplit,
        Role,
        Split,
        StoredSplit,
        Targets,
    )
    from latentbench.executor import Executor
    from latentbench.metric import Evaluation, Metric
    from latentbench.model import Losses, Model, Step
    from latentbench.options import Options, TrainingOptions

__version__ = "0.1.0"

#: Where the public names live. They are imported on first use: most import torch, and a plugin module need not.
_PUBLIC = {
    "data": (
        "MISSING",
        "Batch",
        "Data",
        "DataInfo",
        "Dataset",
        "IndexedSplit",
        "Role",
        "Split",
        "StoredSplit",
        "Targets",
    ),
    "executor": ("Executor",),
    "metric": ("Evaluation", "Metric"),
    "model": ("Losses", "Model", "Step"),
    "options": ("Options", "TrainingOptions"),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "MISSING",
    "Batch",
    "Data",
    "DataInfo",
    "Dataset",
    "Evaluation",
    "Executor",
    "IndexedSplit",
    "LatentbenchError",
    "Losses",
    "Metric",
    "Model",
    "Options",
    "Role",
    "Split",
    "Step",
    "StoredSplit",
    "Targets",
    "TrainingOptions",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"latentbench.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'latentbench' has no attribute '{name}'")
