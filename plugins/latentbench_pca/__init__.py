"""PCA as a detector: the linear floor, and the model that brings its own ``fit``."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Model

__all__ = ["latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``pca``."""
    from latentbench_pca.model import PCA

    return [PCA]
