"""The standard splits: pairs of digits under correlation shift, real (MNIST) and embedded."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Dataset

__all__ = ["latentbench_datasets"]


@hookimpl
def latentbench_datasets() -> list[type["Dataset"]]:
    """Offer ``mnist-shift`` and ``digits-shift``."""
    from latentbench_datasets.shift import DigitsShift, MnistShift

    return [MnistShift, DigitsShift]
