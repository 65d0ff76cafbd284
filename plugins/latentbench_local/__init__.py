"""The local executor: one process per slot on this machine."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Executor

__all__ = ["latentbench_executors"]


@hookimpl
def latentbench_executors() -> list[type["Executor"]]:
    """Offer ``local``."""
    from latentbench_local.executor import LocalExecutor

    return [LocalExecutor]
