"""The standard boards: one YAML file each, beside this module."""

from pathlib import Path

from latentbench import hookimpl

__all__ = ["latentbench_boards"]


@hookimpl
def latentbench_boards() -> list[Path]:
    """Offer every board in this folder."""
    return sorted(Path(__file__).parent.glob("*.yaml"))
