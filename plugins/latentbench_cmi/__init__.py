"""CMI: codes whose subspaces are independent given an attribute (Funke et al., 2022), with its Base and MI."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Model

__all__ = ["latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``shift-base``, ``shift-mi`` and ``shift-cmi``."""
    from latentbench_cmi.model import ShiftBase, ShiftCMI, ShiftMI

    return [ShiftBase, ShiftMI, ShiftCMI]
