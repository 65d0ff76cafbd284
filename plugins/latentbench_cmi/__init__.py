"""CMI: codes whose subspaces are independent given an attribute (Funke et al., 2022), with its baselines."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Model

__all__ = ["latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``shift-base``, ``shift-balanced``, ``shift-mi`` and ``shift-cmi``."""
    from latentbench_cmi.model import ShiftBalanced, ShiftBase, ShiftCMI, ShiftMI

    return [ShiftBase, ShiftBalanced, ShiftMI, ShiftCMI]
