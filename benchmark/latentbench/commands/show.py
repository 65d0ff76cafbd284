"""``latentbench show``: one run's record, as a person reads it: in short, or all of it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import Invocation, common_options, pass_invocation, results_option
from latentbench.commands.parameters import run_argument
from latentbench.value_name import ValueName

if TYPE_CHECKING:
    from latentbench.records.record import Record, Value

__all__ = ["command"]

#: Characters of a list of options in the short form.
_WIDTH = 100


@click.command("show")
@run_argument
@results_option("--results")
@click.option("--full", is_flag=True, help="Everything: all options and values, versions, facts, the failure's log.")
@click.option("--json", "as_json", is_flag=True, help="The record itself.")
@common_options
@pass_invocation
def command(invocation: Invocation, run: str, results: Path, full: bool, as_json: bool) -> None:
    """Show RUN: what was measured, how, where and at what cost.

    RUN is a key or its beginning, "last", or MODEL/DATASET/SEED. "last" is the run that ended last, nulls and untrained
    twins aside.
    """
    from latentbench.records.belief import refuse_contradictions
    from latentbench.records.code import outdated
    from latentbench.records.store import Store

    path, record = Store(results).find(run)
    if as_json:
        click.echo(path.read_text().rstrip())
        return
    refuse_contradictions(path, record, invocation.plugins.values("metrics"))
    told = _full if full else _short
    lines = [*_head(path, record), *told(path, record, outdated(record, invocation.plugins.infos()))]
    click.echo("\n".join(map(_on_one_line, lines)))


def _head(path: Path, record: "Record") -> Iterator[str]:
    yield f"{record.key}: {record.spec} - {record.status}"
    if record.spec.untrained:
        yield "untrained   the twin of the trained runs with this config: as initialized, without a training step"
    if record.null:
        yield "null        a row without a trained network, that others are read against"
    yield f"record      {path}"


def _short(path: Path, record: "Record", changed: Mapping[str, str]) -> Iterator[str]:
    from tabulate import tabulate

    spec, where = record.spec, record.environment
    yield f"config      {shorten(_pairs(spec.config), _WIDTH, placeholder=' ...')}"
    yield f"data        {shorten(_pairs(spec.options), _WIDTH, placeholder=' ...')}"
    yield f"made        {record.finished} in {record.seconds:.1f} s, on {where.machine}, threads: {where.threads}"
    yield from _caveats(record, changed)
    if record.values:
        by_split: defaultdict[str, list[Value]] = defaultdict(list)
        for name, value in record.values.items():
            by_split[f"{value.metric}@{ValueName.parse(name).split}"].append(value)
        yield ""
        rows = [(_on_one_line(name), *_range(values)) for name, values in by_split.items()]
        yield from tabulate(rows, tablefmt="plain", disable_numparse=True).splitlines()
    if record.failure:
        yield ""
        yield record.failure.message
    left = [f"{len(record.unmeasured)} values are missing"] if record.unmeasured else []
    yield ""
    yield "; ".join([*left, "--full tells everything"])


def _range(values: "list[Value]") -> tuple[str, str, str]:
    """A value, or the least and the greatest of several conditions and parts; which direction is better; how many."""
    arrow = "↑" if values[0].higher_is_better else "↓"
    numbers = [value.value for value in values]
    if len(values) == 1:
        return f"{numbers[0]:.4f}", arrow, ""
    return f"{min(numbers):.4f} to {max(numbers):.4f}", arrow, f"{len(values)} values"


def _caveats(record: "Record", changed: Mapping[str, str]) -> Iterator[str]:
    """What is to be known before a value is believed."""
    for then, now in changed.items():
        yield f"            made by other code than is installed now: {then}, now {now}"
    for name, change in record.transductive.items():
        yield f"transductive: an image's {name} changes with the others in its batch, by {change:.2g} of their spread"


def _full(path: Path, record: "Record", changed: Mapping[str, str]) -> Iterator[str]:
    from tabulate import tabulate

    spec, where = record.spec, record.environment
    for artefact in (record.predictions, record.weights, *record.artefacts.values()):
        if artefact:
            yield f"            {path.parent / artefact.file}"
    if spec.threads > 1:
        yield f"threads     {spec.threads}, of which other numbers are other runs"
    yield f"config      {_pairs(spec.config)}"
    yield f"data        {_pairs(spec.options)}; split {spec.split_hash[:12]}"
    yield f"made        {record.started} to {record.finished}, resumed {record.resumed} times"
    yield f"on          {where.machine}, {where.threads} threads, {where.platform}"
    yield f"with        {_pairs(where.packages)}, Python {where.python}; {_pairs(where.plugins)}"
    if where.variables:
        yield f"            {_pairs(where.variables)}"
    yield f"code        {where.commit or 'no git checkout'}{' with local changes' if where.dirty else ''}"
    for name, phase in record.phases.items():
        rate = f", {phase.images_per_second:,.0f} images/s" if phase.images_per_second else ""
        yield f"{name:<12}{phase.seconds:.1f} s{rate}, peak {phase.peak_memory_bytes / 2**20:,.0f} MiB"
    if record.training:
        training = record.training
        kept = f", epoch {training.best_epoch} kept" if training.best_epoch else ""
        yield f"training    {training.steps} steps, {training.epochs} epochs, ended by {training.stopped}{kept}"
    yield from _caveats(record, changed)
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
