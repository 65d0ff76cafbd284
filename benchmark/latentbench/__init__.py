"""A plugin-based benchmark suite for what learned image representations are good for.

The names below, and those of ``latentbench.testing``, are what a plugin may import; the modules behind them may move.
``run``, ``load_run`` and ``values_frame`` are for scripts and notebooks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.plugins.hookspecs import hookimpl

if TYPE_CHECKING:
    from latentbench.commands.common import (
        Invocation,
        common_options,
        data_root_option,
        device_option,
        pass_invocation,
        results_option,
    )
    from latentbench.commands.from_python import run
    from latentbench.config import Options, TrainingOptions, Where, format_options
    from latentbench.data.archives import unpack
    from latentbench.data.dataset import Dataset, State, Status
    from latentbench.data.prepared import Decoding, Prepared, PreparedDataset, Rows, Save, Source
    from latentbench.data.splits import (
        MISSING,
        Batch,
        Data,
        DataInfo,
        IndexedSplit,
        Role,
        Split,
        StoredSplit,
        Targets,
        content_hash,
    )
    from latentbench.data.storage import EIGHT_BITS, Storage, ValueRange
    from latentbench.devices import nth_device
    from latentbench.evaluation.loading import LoadedRun, load_run
    from latentbench.evaluation.measuring import measure
    from latentbench.evaluation.predictions import Predictions
    from latentbench.executor import Execution, Executor, Outcome, Progress, Task
    from latentbench.files import replacing
    from latentbench.metric import Evaluation, Metric, Statistic
    from latentbench.model import Losses, Model, Step, Trainer, TrainingProgress
    from latentbench.plugins.registry import Plugins
    from latentbench.records.frame import values_frame
    from latentbench.records.record import Record
    from latentbench.records.store import Store
    from latentbench.running.children import become_child, starting_child
    from latentbench.running.execute import execute, give_up, load_data
    from latentbench.spec import RunSpec
    from latentbench.torchvision_compat import import_torchvision
    from latentbench.value_name import ValueName

__version__ = "0.1.0"

#: Where the public names live. They are imported on first use: most import torch, and a plugin module need not.
_PUBLIC = {
    "commands.common": (
        "Invocation",
        "common_options",
        "data_root_option",
        "device_option",
        "pass_invocation",
        "results_option",
    ),
    "commands.from_python": ("run",),
    "config": ("Options", "TrainingOptions", "Where", "format_options"),
    "data.archives": ("unpack",),
    "data.dataset": ("Dataset", "State", "Status"),
    "data.prepared": ("Decoding", "Prepared", "PreparedDataset", "Rows", "Save", "Source"),
    "data.splits": (
        "MISSING",
        "Batch",
        "Data",
        "DataInfo",
        "IndexedSplit",
        "Role",
        "Split",
        "StoredSplit",
        "Targets",
        "content_hash",
    ),
    "data.storage": ("EIGHT_BITS", "Storage", "ValueRange"),
    "devices": ("nth_device",),
    "evaluation.loading": ("LoadedRun", "load_run"),
    "evaluation.measuring": ("measure",),
    "evaluation.predictions": ("Predictions",),
    "executor": ("Execution", "Executor", "Outcome", "Progress", "Task"),
    "files": ("replacing",),
    "metric": ("Evaluation", "Metric", "Statistic"),
    "model": ("Losses", "Model", "Step", "Trainer", "TrainingProgress"),
    "plugins.registry": ("Plugins",),
    "records.frame": ("values_frame",),
    "records.record": ("Record",),
    "records.store": ("Store",),
    "running.children": ("become_child", "starting_child"),
    "running.execute": ("execute", "give_up", "load_data"),
    "spec": ("RunSpec",),
    "torchvision_compat": ("import_torchvision",),
    "value_name": ("ValueName",),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [
    "EIGHT_BITS",
    "MISSING",
    "Batch",
    "Data",
    "DataInfo",
    "Dataset",
    "Decoding",
    "Evaluation",
    "Execution",
    "Executor",
    "IndexedSplit",
    "Invocation",
    "LatentbenchError",
    "LoadedRun",
    "Losses",
    "Metric",
    "Model",
    "Options",
    "Outcome",
    "Plugins",
    "Predictions",
    "Prepared",
    "PreparedDataset",
    "Progress",
    "Record",
    "Role",
    "Rows",
    "RunSpec",
    "Save",
    "Source",
    "Split",
    "State",
    "Statistic",
    "Status",
    "Step",
    "Storage",
    "Store",
    "StoredSplit",
    "Targets",
    "Task",
    "Trainer",
    "TrainingOptions",
    "TrainingProgress",
    "ValueName",
    "ValueRange",
    "Where",
    "become_child",
    "common_options",
    "content_hash",
    "data_root_option",
    "device_option",
    "did_you_mean",
    "execute",
    "format_options",
    "give_up",
    "hookimpl",
    "import_torchvision",
    "load_data",
    "load_run",
    "measure",
    "nth_device",
    "pass_invocation",
    "replacing",
    "results_option",
    "run",
    "starting_child",
    "unpack",
    "values_frame",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"latentbench.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'latentbench' has no attribute '{name}'")
