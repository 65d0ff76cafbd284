"""What is wrong with claims though their files are valid: cells twice, nothing to test them by, odd numbers."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING

from latentbench.boards.gathering import grouped
from latentbench.claims.evidence import named_values
from latentbench.claims.ledger import Ledger, planning
from latentbench.claims.schema import Claim, Computed, Equivalence, Gap, OnBoard, Order, Paper, Runs, Speedup, Timed
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.value_name import ValueName

if TYPE_CHECKING:
    from latentbench.metric import Metric
    from latentbench.plugins.registry import Plugins

__all__ = ["lint"]

#: What is wrong with a claim: the place in it, what, and the mend.
_Fault = tuple[tuple[int | str, ...], str, str]


def lint(ledger: Ledger, plugins: "Plugins") -> list[LatentbenchError]:
    """Every fault, with file and line, in the order of the ledger. Models and metrics are loaded for it."""
    metrics = plugins.values("metrics")
    models = list(plugins.offers("models"))
    found = []
    for paper in ledger.papers:
        twice = [*_duplicates(paper), *_fractions(paper)]
        for claim in paper.claims:
            faults = [fault for of, fault in twice if of is claim]
            match claim.selection:
                case OnBoard() as selection:
                    faults += [*_rows(ledger, paper, claim, selection, models), *_numbers(claim, metrics)]
                case Runs() as selection:
                    faults += [*_runs(selection, plugins), *_numbers(claim, metrics)]
                case Computed() as selection:
                    faults += _function(selection.function, ("selection", "function"), plugins)
                case Timed() as selection:
                    faults += _timed(selection, claim, plugins)
            found += [paper.mistake(claim, *fault) for fault in faults]
    return found


def _duplicates(paper: Paper) -> Iterator[tuple[Claim, _Fault]]:
    """Claims on the same cell that select the same."""
    alike = grouped(paper.claims, lambda one: (one.cell, str(one.selection), one.test.how))
    for first, *others in alike.values():
        for other in others:
            what = f"its cell, {other.cell}, is that of claim '{first.id}' already"
            yield other, (("cell",), what, "leave one of them out")


def _fractions(paper: Paper) -> Iterator[tuple[Claim, _Fault]]:
    """Percent of which no number in the whole table is above 1: these may be fractions."""
    percent = [one for one in paper.claims if one.unit == "percent" and one.test.how != "gap"]
    for same in grouped(percent, lambda one: one.cell.place).values():
        numbers = [abs(number) for one in same for number in one.numbers]
        if any(numbers) and max(numbers) <= 1:
            what = f"no percentage of {same[0].cell.place} is above 1"
            for one in same:
                yield one, (("unit",), what, "if they are fractions, their unit is 'plain'")


def _rows(ledger: Ledger, paper: Paper, claim: Claim, selection: OnBoard, models: list[str]) -> Iterator[_Fault]:
    """Rows that the board does not have on the dataset; for a mean, on all of them."""
    board = ledger.board(paper, selection)
    entries = [one for one in board.datasets if selection.is_mean or one.label == selection.dataset]
    plain = models if board.models == "all" else board.models
    variants = [one.label for one in board.variants if all(one in board.variants_on(entry) for entry in entries)]
    rows = [*plain, *variants]
    for row, _ in named_values(claim):
        if row not in rows:
            what = f"no board can test it: '{selection.board}' has no row '{row}' on '{selection.dataset}'"
            yield ("selection", "row") if row == selection.row else ("test",), what, did_you_mean(row, rows)


def _runs(selection: Runs, plugins: "Plugins") -> Iterator[_Fault]:
    """Names that no plugin offers, and runs that no board makes."""
    for key, name in (("dataset", selection.dataset), ("model", selection.model)):
        offers = plugins.offers("datasets" if key == "dataset" else "models")
        if name not in offers:
            yield ("selection", key), f"unknown {key} '{name}'", did_you_mean(name, offers)
            return
    if next(planning(selection, plugins), None) is None:
        what = f"no board can test it: none runs '{selection.model}' on '{selection.dataset}' with these options"
        yield ("selection",), what, "name a board, or options that one has"


def _function(name: str, place: tuple[str, str], plugins: "Plugins") -> Iterator[_Fault]:
    try:
        plugins.function(name)
    except LatentbenchError as error:
        yield place, str(error), ""


def _timed(selection: Timed, claim: Claim, plugins: "Plugins") -> Iterator[_Fault]:
    """Functions that are not there, and a bound that the published factor itself does not keep."""
    assert isinstance(claim.test, Speedup)
    yield from _function(selection.timed, ("selection", "timed"), plugins)
    yield from _function(claim.test.over, ("test", "over"), plugins)
    if claim.numbers[0] < claim.test.at_least:
        what = f"the published factor of {claim.numbers[0]:g} is not {claim.test.at_least:g} at least"
        yield ("test", "at_least"), what, "a factor above 1 is faster"


def _numbers(claim: Claim, metrics: Mapping[str, "type[Metric]"]) -> Iterator[_Fault]:
    """Metrics that are not there or have a newer version, and numbers that they cannot have."""
    selection = claim.selection
    assert isinstance(selection, OnBoard | Runs)
    for place, (_, value) in enumerate(named_values(claim)):
        name = ValueName.parse(value).metric
        if name not in metrics:
            loc = ("test",) if place else ("selection", "value")
            yield loc, f"unknown metric '{name}'", did_you_mean(name, metrics)
            return
    metric = metrics[ValueName.parse(selection.value).metric]
    if (now := metric.measured_version()) != selection.metric_version:
        what = f"metric '{metric.name}' is of version {now}, and the claim was compared with {selection.metric_version}"
        mend = f"compare its definition with the paper's again, then set 'metric_version: {now}'"
        yield ("selection", "metric_version"), what, mend
    low, high = metric.bounds
    span, unit = high - low, f"({claim.unit})"
    if claim.unit == "percent" and not isfinite(span):
        yield ("unit",), f"{metric.name} has no bounds, so it is no percentage", "its unit is 'plain'"
        return
    for number in claim.numbers if not isinstance(claim.test, Gap) else ():
        if not low <= number * claim.factor <= high:
            what = f"{number:g} {unit} is not within the bounds of {metric.name}, {low:g} to {high:g}"
            other = number * (1 if claim.unit == "percent" else 0.01)
            mend = f"is its unit '{'plain' if claim.unit == 'percent' else 'percent'}'?"
            yield ("published",), what, mend if low <= other <= high else ""
    if isinstance(claim.test, Gap) and abs(claim.numbers[0]) * claim.factor > span:
        yield ("published",), f"no two values of {metric.name} are {claim.numbers[0]:g} {unit} apart", ""
    if claim.spread and claim.spread.value * claim.factor > span:
        yield ("spread", "value"), f"{claim.spread.value:g} {unit} is more than {metric.name} can spread", ""
    yield from _tests(claim, metric, span)


def _tests(claim: Claim, metric: "type[Metric]", span: float) -> Iterator[_Fault]:
    """Tests that nothing can fail, or that the published numbers themselves fail."""
    match claim.test:
        case Equivalence(margin=margin) if isfinite(span) and margin * claim.factor >= span / 2:
            what = f"a margin of {margin:g} ({claim.unit}) is half of what {metric.name} can be, or more"
            yield ("test", "margin"), what, ""
        case Gap(at_least=least) if claim.numbers[0] < least:
            what = f"the published gap of {claim.numbers[0]:g} is not {least:g} at least"
            yield ("test", "at_least"), what, "a gap is positive where the row is better"
        case Order():
            sign = 1 if metric.higher_is_better else -1
            if any(sign * (first - second) < 0 for first, second in pairwise(claim.numbers)):
                yield ("published",), "the published numbers are not in the order that is tested, best first", ""
