"""sdc: an autoencoder that learns to filter anomalies out of images (Bauer, Nakajima & Müller, 2024)."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Model

__all__ = ["latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``sdc``."""
    from latentbench_sdc.model import SDC

    return [SDC]
