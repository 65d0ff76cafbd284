"""InfoStyleGAN: a style-based generator whose codes control attributes, and detectors on what it learned."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Model

__all__ = ["latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``infostylegan``."""
    from latentbench_infostylegan.model import InfoStyleGAN

    return [InfoStyleGAN]
