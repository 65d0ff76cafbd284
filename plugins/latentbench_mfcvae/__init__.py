"""MFCVAE: several clusterings of the same images, one for each facet (Falck et al., NeurIPS 2021)."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Model

__all__ = ["latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``mfcvae``."""
    from latentbench_mfcvae.model import MFCVAE

    return [MFCVAE]
