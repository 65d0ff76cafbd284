"""``latentbench compare``: two runs, models, variants or versions side by side."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latentbench.commands.common import FOLDER, Invocation, common_options, pass_invocation, results_option
from latentbench.commands.parameters import BoardName, RunName, names_option
from latentbench.errors import LatentbenchError, did_you_mean

if TYPE_CHECKING:
    from latentbench.boards.board import Board
    from latentbench.boards.side_by_side import Compared, Place, Side
    from latentbench.plugins.registry import Plugins
    from latentbench.records.record import Record
    from latentbench.records.store import Store

__all__ = ["command"]


@click.command("compare")
@click.argument("a", type=RunName())
@click.argument("b", type=RunName())
@results_option("--results")
@click.option(
    "--against", metavar="FOLDER", type=FOLDER,
    help="Results folder of B, where it is another one.",
)  # fmt: skip
@click.option(
    "--board", type=BoardName(),
    help="Take models and variants as this board has them.  [default: as any board that is installed has them]",
)  # fmt: skip
@names_option("--values", text="Just these values, as in auroc@test.")
@click.option(
    "--bootstrap", is_flag=True,
    help="Compute what the test images add to the uncertainty where it is not kept beside a record. It takes a while.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    a: str,
    b: str,
    results: Path,
    against: Path | None,
    board: str | None,
    values: list[str] | None,
    bootstrap: bool,
    as_json: bool,
) -> None:
    """Compare A and B: in which settings they differ, and how far each value does.

    Each is a run (a key or its beginning, "last", or MODEL/DATASET/SEED); or a model or variant of a board, whose runs
    on every dataset that both have are compared over seeds; MODEL@2 is a model's version 2.

    Values are paired by seed and by test image. Each interval of a difference holds by itself with 95 % confidence. It
    covers training with other seeds where there are several, and other test images where what they add is kept beside
    the records or --bootstrap is given. Where neither is known, there is no interval.
    """
    from latentbench.boards.board import all_boards, find_board
    from latentbench.records.store import Store

    plugins = invocation.plugins
    boards = [find_board(board, plugins)] if board else [*all_boards(plugins).values()]
    stores = Store(results), Store(against or results)
    one, other = (_Asked.of(text, store, boards, plugins) for text, store in zip((a, b), stores, strict=True))
    found = [
        _compare(records, one, others, other, plugins, values, bootstrap)
        for records, others in _pairs(one, other)
    ]  # fmt: skip
    for name in values or ():
        known = {name for compared in found for name in (*(one.name for one in compared.values), *compared.left_out)}
        if name not in known:
            raise LatentbenchError(f"neither {a} nor {b} has a value '{name}'", did_you_mean(name, _names(one, other)))
    if as_json:
        click.echo(json.dumps([_as_json(compared) for compared in found], indent=2, ensure_ascii=False))
        return
    click.echo("\n\n".join(_text(compared, a, b) for compared in found))
    if not bootstrap and any(value.interval is None for compared in found for value in compared.values):
        why = "values without an interval are of one seed, and what the test images add is not kept"
        click.echo(f"{why}; --bootstrap computes it where it can be", err=True)


@dataclass(frozen=True)
class _Asked:
    """What A or B means: runs by their data."""

    text: str
    runs: "Mapping[Place, Sequence[Record]]"
    single: bool
    """Whether it is one run, not a row."""
    store: "Store"

    @classmethod
    def of(cls, text: str, store: "Store", boards: "Sequence[Board]", plugins: "Plugins") -> "_Asked":
        """The runs that A or B names.

        Raises:
            LatentbenchError: there are none, or they did not finish; or the run that it names is not believed.
        """
        from latentbench.boards.lineup import read_lineup
        from latentbench.boards.side_by_side import Place, rows_called
        from latentbench.records.belief import believed, refuse_contradictions

        label, _, version = text.partition("@")
        metrics = plugins.values("metrics")
        records = [record for _, record in believed(store.records(), metrics)]
        labels = {record.spec.model for record in records}
        labels |= {variant.label for board in boards for variant in board.variants}
        if label in labels:
            if version and not version.isdecimal():
                raise LatentbenchError(f"'{text}' names no version", f"{label}@2 is version 2 of {label}")
            lineups = [(board, read_lineup(store.root, board)) for board in boards]
            runs = rows_called(label, int(version) if version else None, lineups, records)
            if not runs:
                mend = "`latentbench runs` lists what is there, and --board names a board that has it"
                raise LatentbenchError(f"no board has a finished run of '{text}' in {store.root}", mend)
            return cls(text, runs, False, store)
        if not re.fullmatch(r"[0-9a-f]+|last|.*/.*/.*", text):
            what = f"'{text}' is no run, model or variant in {store.root}"
            raise LatentbenchError(what, did_you_mean(text, labels))
        path, record = store.find(text)
        refuse_contradictions(path, record, metrics)
        if record.status != "finished":
            raise LatentbenchError(f"run {record.key} ({record.spec}) failed", "compare finished runs")
        return cls(text, {Place.of(record): [record]}, True, store)


def _pairs(one: _Asked, other: _Asked) -> "list[tuple[Sequence[Record], Sequence[Record]]]":
    """The runs to be compared, dataset by dataset.

    Raises:
        LatentbenchError: the two have no data in common, or are the same.
    """
    if one.single and other.single:
        (records,), (others,) = one.runs.values(), other.runs.values()
        pairs = [(records, others)]
    else:
        pairs = [(records, other.runs[place]) for place, records in one.runs.items() if place in other.runs]
    if not pairs:
        raise LatentbenchError(f"{one.text} and {other.text} have no finished runs on the same data")
    if one.store.root == other.store.root and all(_keys(records) == _keys(others) for records, others in pairs):
        raise LatentbenchError(f"{one.text} and {other.text} are the same runs", "--against names another folder for B")
    return pairs


def _keys(records: "Sequence[Record]") -> list[str]:
    return [record.key for record in records]


def _names(one: _Asked, other: _Asked) -> set[str]:
    """Of all values of their runs, without parts, which are many."""
    records = [run for asked in (one, other) for runs in asked.runs.values() for run in runs]
    return {name for run in records for name in run.values if "[" not in name}


def _compare(
    records: "Sequence[Record]",
    one: _Asked,
    others: "Sequence[Record]",
    other: _Asked,
    plugins: "Plugins",
    names: Collection[str] | None,
    bootstrap: bool,
) -> "Compared":
    from latentbench.boards.side_by_side import compare_sides

    both = {name for run in records for name in run.values} & {name for run in others for name in run.values}
    wanted = (both & set(names) if names else both) if bootstrap else set()
    a = _side(records, one.store, plugins, wanted)
    return compare_sides(a, _side(others, other.store, plugins, wanted), names)


def _side(records: "Sequence[Record]", store: "Store", plugins: "Plugins", wanted: Collection[str]) -> "Side":
    """The runs with the replicates that are kept of their values, and with those of ``wanted`` values that can be made.

    These are not kept: the tables need those of the values that rank alone.
    """
    from latentbench.boards.side_by_side import Side
    from latentbench.records.replicates import read_replicates, to_be_made

    replicates = {}
    for record in records:
        kept = read_replicates(store, record)
        path = store.path(record.spec)
        if names := to_be_made(path, record, wanted, kept):
            from latentbench.evaluation.replicates import make_replicates  # needs torch, which the rest does not

            metrics = plugins.offers("metrics")
            kept |= make_replicates(path, record, names, store, metrics)
        replicates[record.key] = kept
    return Side(records, replicates)


def _text(compared: "Compared", a: str, b: str) -> str:
    from tabulate import tabulate

    from latentbench.config import format_options

    spec = compared.a.records[0].spec
    lines = [f"{spec.dataset} ({format_options(spec.options)})" if compared.same_data else "on different data"]
    for title, side, text in (("A", compared.a, a), ("B", compared.b, b)):
        runs = side.records
        seeds = ", ".join(str(run.spec.seed) for run in runs)
        which = f"run {runs[0].key}, {runs[0].spec}" if len(runs) == 1 else f"{text}, {len(runs)} runs, seeds {seeds}"
        lines.append(f"{title}: {which}")
    for title, facts in (("settings that differ", compared.settings), ("made", compared.circumstances)):
        if facts:
            cells = [(name, *(_fact(fact) for fact in both)) for name, both in facts.items()]
            widths = [None, 40, 40]
            table = tabulate(cells, (title, "A", "B"), tablefmt="plain", disable_numparse=True, maxcolwidths=widths)
            lines += ["", table]
    cells = [
        (
            f"{one.name} {'↑' if one.higher_is_better else '↓'}",
            f"{one.a.mean:.4f}",
            f"{one.b.mean:.4f}",
            f"{one.difference.mean:+.4f}",
            f"{one.interval.low:+.4f} to {one.interval.high:+.4f}" if one.interval else "-",
            " and ".join(one.interval.covers) if one.interval else "-",
            one.better.upper(),
        )
        for one in compared.values
    ]
    if cells:
        headers = ("value", "A", "B", "A - B", "95 %", "over", "better")
        lines += ["", tabulate(cells, headers, tablefmt="plain", disable_numparse=True)]
    if compared.left_out:
        lines.append(f"{len(compared.left_out)} values of one side alone are left out")
    return "\n".join(lines)


def _fact(fact: Any) -> str:
    return "-" if fact is None else fact if isinstance(fact, str) else json.dumps(fact)


def _as_json(compared: "Compared") -> dict[str, Any]:
    return {
        "a": _keys(compared.a.records),
        "b": _keys(compared.b.records),
        "same_data": compared.same_data,
        "settings": {name: [*both] for name, both in compared.settings.items()},
        "made": {name: [*both] for name, both in compared.circumstances.items()},
        "values": [
            {
                "name": one.name,
                "a": one.a.mean,
                "b": one.b.mean,
                "difference": one.difference.mean,
                "paired_seeds": one.paired,
                "low": one.interval.low if one.interval else None,
                "high": one.interval.high if one.interval else None,
                "covers": [*one.interval.covers] if one.interval else [],
                "better": one.better,
            }
            for one in compared.values
        ],
        "left_out": [*compared.left_out],
    }
