"""Compact VAEs and the hole indicator (Glazunov & Zarras, UAI 2023)."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    import click

    from latentbench import Model

__all__ = ["latentbench_commands", "latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``vae-sphere`` and ``vae-lipschitz``."""
    from latentbench_compact.lipschitz_vae import VAELipschitz
    from latentbench_compact.sphere_vae import VAESphere

    return [VAESphere, VAELipschitz]


@hookimpl
def latentbench_commands() -> list["click.Command"]:
    """Offer ``latentbench holes``."""
    from latentbench_compact.holes_command import command

    return [command]
