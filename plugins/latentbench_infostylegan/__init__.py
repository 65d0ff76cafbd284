"""InfoStyleGAN: a style-based generator whose codes control attributes, and detectors on what it learned."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    import click

    from latentbench import Model

__all__ = ["latentbench_commands", "latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``infostylegan``."""
    from latentbench_infostylegan.model import InfoStyleGAN

    return [InfoStyleGAN]


@hookimpl
def latentbench_commands() -> list["click.Command"]:
    """Offer ``latentbench total-correlation``."""
    from latentbench_infostylegan.total_correlation_command import command

    return [command]
