"""Which metrics are due on which splits: by what a split has, before any output is looked at."""

from latentbench.data.splits import Data, Role, Split
from latentbench.evaluation.shared import read_only
from latentbench.metric import Metric

__all__ = ["applies", "evaluated_splits", "is_due", "why_lacking"]


def evaluated_splits(data: Data) -> list[tuple[str, Split]]:
    """The splits that are evaluated, by name: all but the training split."""
    return [(name, split) for name, split in data.splits.items() if split.role is not Role.TRAIN]


def applies(metric_class: type[Metric], split: Split) -> bool:
    """Whether the split has what the metric needs; samples are held against test images in [0, 1] alone."""
    measured = metric_class.capability != "sample" or (split.role is Role.TEST and split.image_range == (0, 1))
    return measured and metric_class().applies(read_only(split.targets), read_only(split.conditions))


def why_lacking(metric_class: type[Metric], split: Split) -> str:
    """Why a test split with the targets that a metric needs has no value of it; empty where it has, or none is due."""
    metric = metric_class()
    due = split.role is Role.TEST and all(split.targets.has(name) for name in metric.targets)
    return metric.lacking(read_only(split.targets)) if due else ""


def is_due(metric_class: type[Metric], split: Split) -> bool:
    """Whether a metric is due on a split: it has a value there, or a reason in its place."""
    try:
        return applies(metric_class, split) or bool(why_lacking(metric_class, split))
    except (Exception, SystemExit):
        return True  # ``measure`` then tells what it raises
