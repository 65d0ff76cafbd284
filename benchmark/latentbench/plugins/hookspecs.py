"""Hook specifications: every place where a plugin can join in. Each spec's docstring is its documentation.

A plugin is a module (or one local file, ``--plugin FILE.py``) with functions of these names, marked ``@hookimpl``. A
distribution offers it under the entry-point group ``latentbench``. Keep a plugin's top level light and import what is
heavy (torch, scikit-learn) inside the functions, so that commands that train nothing start at once.

Each plugin is registered with a pluggy manager of its own, so that a faulty plugin can be left out without harm to the
others. This has a price: what pluggy offers for plugins that share a manager has no effect here. A hook wrapper
(``wrapper=True``) wraps its own plugin's functions and nobody else's, and ``tryfirst`` and ``trylast`` order the
functions of one plugin only. Across plugins the order is that of ``latentbench list plugins``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from latentbench.data.dataset import Dataset
    from latentbench.executor import Executor
    from latentbench.metric import Metric
    from latentbench.model import Model
    from latentbench.records.record import Record
    from latentbench.spec import RunSpec

__all__ = ["PROJECT", "hookimpl", "hookspec"]

#: Project name in pluggy, and the entry-point group that plugins are found under.
PROJECT = "latentbench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def latentbench_models() -> "Sequence[type[Model]]":  # type: ignore[empty-body]
    """Offer models: subclasses of ``latentbench.Model``, each with a name of its own."""


@hookspec
def latentbench_datasets() -> "Sequence[type[Dataset]]":  # type: ignore[empty-body]
    """Offer datasets: subclasses of ``latentbench.Dataset``, each with a name of its own."""


@hookspec
def latentbench_metrics() -> "Sequence[type[Metric]]":  # type: ignore[empty-body]
    """Offer metrics: subclasses of ``latentbench.Metric``, each with a name of its own."""


@hookspec
def latentbench_boards() -> Sequence[Path]:  # type: ignore[empty-body]
    """Offer boards: paths of YAML files, each named after its board (``quick.yaml``)."""


@hookspec
def latentbench_claims() -> Sequence[Path]:  # type: ignore[empty-body]
    """Offer the published numbers of papers: paths of YAML files of claims, each named after its paper."""


@hookspec
def latentbench_executors() -> "Sequence[type[Executor]]":  # type: ignore[empty-body]
    """Offer executors: classes that carry out a list of tasks somewhere (``latentbench.Executor``)."""


@hookspec
def latentbench_commands() -> "Sequence[click.Command]":  # type: ignore[empty-body]
    """Offer commands of the ``latentbench`` command line."""


@hookspec
def latentbench_run_started(spec: "RunSpec") -> None:
    """A run begins or resumes. Called in the process that carries it out, before the data is loaded."""


@hookspec
def latentbench_run_progress(spec: "RunSpec", step: int, total: int, losses: dict[str, float]) -> None:
    """A training run has made ``step`` of at most ``total`` steps; ``losses`` are means since the last notice."""


@hookspec
def latentbench_run_finished(spec: "RunSpec", record: "Record") -> None:
    """A run has ended and its record is written: finished or failed (``record.status``)."""
