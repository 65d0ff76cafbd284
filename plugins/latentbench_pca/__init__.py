"""PCA as a detector: the linear baseline, and an example of a model with a ``fit`` of its own."""

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
