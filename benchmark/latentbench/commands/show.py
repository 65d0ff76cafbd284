"""``latentbench show``: one run's record, as a person reads it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import Invocation, common_options, pass_invocation, results_option

if TYPE_CHECKING:
    from latentbench.records.record import Record

__all__ = ["command"]


@click.command("show")
@click.argument("run")
@results_option("--results")
@click.option("--json", "as_json", is_flag=True, help="The record itself.")
@common_options
@pass_invocation
def command(invocation: Invocation, run: str, results: Path, as_json: bool) -> None:
    """Show the run whose key begins with RUN: what was measured, how, where and at what cost."""
    from latentbench.records.code import outdated
    from latentbench.records.store import Store

    path, record = Store(results).find(run)
    if as_json:
        click.echo(path.read_text().rstrip())
    else:
        lines = _lines(path, record, outdated(record, invocation.plugins.infos()))
        click.echo("\n".join(map(_on_one_line, lines)))


def _lines(path: Path, record: "Record", changed: Mapping[str, str]) -> Iterator[str]:
    from tabulate import tabulate

    spec, where = record.spec, record.environment
    yield f"{record.key}: {spec} - {record.status}"
    if spec.untrained:
        yield "untrained   the twin of the trained runs with this config: as initialized, without a training step"
    if record.null:
        yield "null        a model-free row that others are read against"
    yield f"record      {path}"
    for artefact in (record.predictions, record.weights, *record.artefacts.values()):
        if artefact:
            yield f"            {path.parent / artefact.file}"
    if spec.threads > 1:
        yield f"threads     {spec.threads}, of which other numbers are other runs"
    yield f"config      {_pairs(spec.config)}"
    yield f"data        {_pairs(spec.options)}; split {spec.split_hash[:12]}"
    yield f"made        {record.started} to {record.finished}, resumed {record.resumed} times"
    machine = where.cpu if where.device == "cpu" else where.device
    yield f"on          {machine}, {where.threads} threads, {where.platform}"
    yield f"with        {_pairs(where.packages)}, Python {where.python}; {_pairs(where.plugins)}"
    if where.variables:
        yield f"            {_pairs(where.variables)}"
    yield f"code        {where.commit or 'no git checkout'}{' with local changes' if where.dirty else ''}"
    for then, now in changed.items():
        yield f"            made by other code than is installed now: {then}, now {now}"
    for name, phase in record.phases.items():
        rate = f", {phase.images_per_second:,.0f} images/s" if phase.images_per_second else ""
        yield f"{name:<12}{phase.seconds:.1f} s{rate}, peak {phase.peak_memory_bytes / 2**20:,.0f} MiB"
    if record.training:
        training = record.training
        kept = f", epoch {training.best_epoch} kept" if training.best_epoch else ""
        yield f"training    {training.steps} steps, {training.epochs} epochs, ended by {training.stopped}{kept}"
    for name, change in record.transductive.items():
        yield f"transductive: an image's {name} changes with the others in its batch, by {change:.2g} of the largest"
    if record.facts:
        yield f"facts       {_pairs(record.facts)}"
    if record.values:
        rows = [
            (
                _on_one_line(name),
                value.value,
                "higher" if value.higher_is_better else "lower",
                _on_one_line(value.readout),
            )
            for name, value in record.values.items()
        ]
        yield ""
        yield from tabulate(rows, headers=("value", "", "better", "read by"), floatfmt=".4f").splitlines()
    later = {value.metric: value.measured for value in record.values.values() if value.measured}
    for metric, measured in later.items():
        yield f"{metric}: measured on {measured.at} from {measured.source}, with {measured.plugin}"
    for name, reason in record.unmeasured.items():
        yield f"no {name}: {reason}"
    if record.failure:
        yield ""
        yield record.failure.message
        for part in (*record.failure.log, record.failure.traceback):
            yield from (f"  {line}" for line in part.splitlines())  # no line of it can be taken for one of the above


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "-"


def _on_one_line(text: str) -> str:
    """A text of the record's, in which a line end is shown and ends no line."""
    return text.replace("\n", "\\u000a")
