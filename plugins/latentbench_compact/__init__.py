"""Compact VAEs and the hole indicator (Glazunov & Zarras, UAI 2023)."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Model

__all__ = ["latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``vae-sphere`` and ``vae-lipschitz``."""
    from latentbench_compact.lipschitz_vae import VAELipschitz
    from latentbench_compact.sphere_vae import VAESphere

    return [VAESphere, VAELipschitz]
