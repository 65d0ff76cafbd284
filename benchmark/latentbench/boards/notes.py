"""What the notes under a table say: sentences whose foreign parts are marked, so that a renderer only lays them out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from latentbench.boards.board import Board
from latentbench.boards.means import Means
from latentbench.boards.rows import Column, Row
from latentbench.boards.seeds_needed import seeds_needed
from latentbench.boards.standings import Table
from latentbench.config import format_options
from latentbench.records.record import Environment

__all__ = ["Code", "Note", "Part", "Title", "class_split", "failures", "notes", "other_settings", "provenance"]


@dataclass(frozen=True)
class Code:
    """A text from a record or a board that stands as it is: a label, an option, a message."""

    text: str


@dataclass(frozen=True)
class Title:
    """The title of a metric or readout, from a record, in running text."""

    text: str


#: Up to this value an AUROC is near chance: ours, as the source names no number.
_NEAR_CHANCE = 0.55
#: A plain string is the harness's own words, and safe; a column stands for its heading.
Part = str | Code | Title | Column
#: One sentence.
Note = Sequence[Part]


def notes(board: Board, table: Table | Means) -> Iterator[Note]:
    """What the numbers alone do not say: ties, orders that are not tested, readouts, budgets, and what was left out."""
    for row in (*table.rows, *table.nulls):
        if row.transductive:
            found = _joined([Code(f"{name} by {change:.2g}") for name, change in row.transductive.items()])
            yield [
                "§ ",
                Code(row.label),
                " is transductive: an image's results change with the other images in its batch (",
                *found,
                " of the largest).",
            ]
    if isinstance(table, Table) and table.diagnosis:
        yield class_split(table, table.diagnosis)
    yield from _comparisons(table)
    yield from _missing_means(table) if isinstance(table, Means) else _unmeasured(table)
    for column in table.columns:
        if column.left_out:
            yield [f"Left out, for the metric has a newer version: {column.left_out} values of ", column, "."]
        if column.other_code:
            plugin = Code(column.plugin or "built in")
            yield ["Left out, for the metric's code is now ", plugin, f": {column.other_code} values of ", column, "."]
    if isinstance(table, Means):
        for row in (*table.rows, *table.nulls):
            if row.differing:
                yield [Code(row.label), " is not configured alike on all datasets: ", *_listed(row.differing), "."]
    else:
        yield from _configurations(board, table)
        for model, runs in table.transductive.items():
            yield [f"Left out, for the board allows no transductive runs: {runs} of ", Code(model), "."]
    for (model, version), runs in table.left_out.items():
        older = Code(f"{model} {version}")
        yield [f"Left out, for the model has a newer version: {runs} runs of ", older, "."]
    for (label, code), runs in table.other_code.items():
        made: list[Part] = [f"{runs} finished run{'s' if runs > 1 else ''} of ", Code(label), " by ", Code(code)]
        yield ["Left out, for other code made the row's last run: ", *made, "."]


def other_settings(table: Table | Means) -> Note | None:
    """How many runs of the board's models have settings that no line of the table is of; None if there are none."""
    if isinstance(table, Means) or not table.others:
        return None
    runs, settings = sum(len(row.records) for row in table.others), len(table.others)
    noun, verb = ("run", "stands") if runs == 1 else ("runs", "stand")
    return [f"{runs} {noun} in {settings} other setting{'s' if settings > 1 else ''} {verb} in the CSV."]


def failures(table: Table) -> Iterator[Note]:
    """Each failed run of the table's rows, with its reason."""
    for row in table.shown:
        for record in row.failed:
            reason = record.failure.message if record.failure else "no reason recorded"
            untrained = "untrained " if row.untrained else ""
            yield [untrained, Code(row.label), f", seed {record.spec.seed}: ", Code(reason)]


def provenance(table: Table) -> Iterator[Note]:
    """What the runs of the table's rows were made from, and with."""
    made = [record.environment for row in table.shown for record in row.records]
    options = Code(format_options(table.options) or "none")
    yield ["dataset: ", Code(table.dataset), f" version {table.dataset_version}, options ", options]
    yield ["split hash: ", Code(table.split_hash)]
    yield ["metric versions: ", *_listed(f"{one.metric} {one.version}" for one in table.columns if one.version)]
    yield [f"harness version: {table.harness_version}"]
    yield ["commit: ", *_listed(map(_commit, made))]
    yield ["plugins: ", *_listed(plugin for one in made for plugin in one.plugins.values())]
    yield ["packages: ", *_listed(f"{name} {version}" for one in made for name, version in one.packages.items())]
    if variables := {f"{name}={value}" for one in made for name, value in one.variables.items()}:
        yield ["environment variables: ", *_listed(variables)]
    yield ["Python: ", *_listed(one.python for one in made)]


def class_split(table: Table, diagnosis: str) -> Note:
    """Whether the classes that are held out as anomalies lie inside the normal ones, by the null that tells."""
    ranking = table.columns[0]
    null = next((row for row in table.nulls if row.label == diagnosis and ranking.name in row.summaries), None)
    held_out: list[Part] = ["The anomalies are classes held out of the normal ones. "]
    if null is None:
        return [*held_out, "How far apart they lie is not known, as ", Code(diagnosis), " has no ", ranking, "."]
    mean, interval = null.summaries[ranking.name].mean, null.interval(ranking)
    around = f" ({interval.low:.3f} to {interval.high:.3f})" if interval else ""
    found: list[Part] = [*held_out, Code(diagnosis), " has ", ranking, f" of {mean:.3f}{around}, "]
    if (interval.low if interval else mean) > _NEAR_CHANCE:
        return [*found, "above chance: the held-out classes lie apart from the normal ones."]
    return [
        *found,
        "near or below chance: the held-out classes lie inside the normal ones, and the direction of any score is luck "
        "of the split (Ascarate et al., 2026, arXiv 2606.02601).",
    ]


def _comparisons(table: Table | Means) -> Iterator[Note]:
    tested = [place for place, row in enumerate(table.rows) if row.rank is not None]
    for first, second in pairwise(tested):
        if not table.comparison.separated[first, second]:
            yield _tie(table, first, second)
    if len(tested) < len(table.comparison.tested):
        yield [
            "A row whose uncertainty is not known is placed by its value and has no rank; no other rank depends on it."
        ]
    yield from _images(table)
    rows: list[Row] = [*table.rows, *table.nulls]
    read = [(row.readout(column), row, column) for row in rows for column in table.columns]
    for readout in sorted({name for name, _, _ in read if name not in (None, "native")}):
        titles = [Title(title) for title in sorted({column.title for name, _, column in read if name == readout})]
        models = _listed(row.model for name, row, _ in read if name == readout)
        yield ["Read by the harness's ", Title(readout), " from the codes of ", *models, ": ", *_joined(titles), "."]


def _images(table: Table | Means) -> Iterator[Note]:
    """That test images alone are compared; and whose uncertainty is without that of the test images."""
    if table.comparison.images_alone and table.comparison.tested.any():
        yield [
            "Ranks are of these trained models, by their test images alone: what order other seeds would give is not "
            "known."
        ]
    ranking = table.columns[0]
    able = [row for row in table.rows if ranking.name in row.summaries]
    without = [row.label for row in able if ranking.name not in row.replicates]
    if without and (table.comparison.images_alone or len(without) < len(able)):
        rows = ["any row"] if len(without) == len(able) else _listed(without)
        yield [
            "What the test images add to the uncertainty of ",
            ranking,
            " is not known for ",
            *rows,
            ": that takes a number or label of each image, kept with the targets.",
        ]


def _tie(table: Table | Means, first: int, second: int) -> Note:
    """Neighbours that are not separated, and how many seeds would change that."""
    pair: list[Part] = [Code(table.rows[first].label), " and ", Code(table.rows[second].label)]
    if table.comparison.difference[first, second] == 0:
        return [*pair, " have the same mean."]
    if table.comparison.images_alone:
        return [*pair, " are not separated by these test images."]
    seeds = seeds_needed(table.comparison, first, second)
    if seeds is None:
        return [*pair, " are not separated, and a number of seeds that would separate them is not in sight."]
    return [*pair, f" are not separated; {seeds} seeds of each would separate them with a probability of 80 %."]


def _unmeasured(table: Table) -> Iterator[Note]:
    for column in table.columns:
        for row in table.rows:
            for record in row.finished:
                if reason := record.unmeasured.get(column.whole):
                    yield [Code(row.label), f", seed {record.spec.seed}, no ", column, ": ", Code(reason)]


def _missing_means(table: Means) -> Iterator[Note]:
    """Which means are over fewer datasets, and why there is none where there is none."""
    for column in table.columns:
        over = table.over[column.name]
        if 0 < len(over) < len(table.labels):
            yield [column, " is the mean over ", *_listed(over), ": on the other datasets no run has it."]
        for row in table.rows:
            if over and column.name not in row.summaries:
                lacking = row.lacking(column, over)
                why: list[Part] = ["none on ", *_listed(lacking)] if lacking else ["no seed has it on every dataset"]
                yield [Code(row.label), " has no mean ", column, ": ", *why, "."]


def _configurations(board: Board, table: Table) -> Iterator[Note]:
    """The options of the variants, budgets other than the board's, and configurations that had to be guessed."""
    variants = {variant.label: variant for variant in board.variants}
    for row in (*table.rows, *table.nulls):
        if row.label in variants:
            options = Code(format_options(variants[row.label].options) or "no other options")
            yield [Code(row.label), " is ", Code(row.model), " with ", options, "."]
    for row in table.rows:
        budget = row.records[0].spec.budget
        if budget != board.budget:
            limits = Code(format_options(budget.model_dump(exclude_none=True)) or "unlimited")
            yield [Code(row.label), " has a budget of its own here: ", limits, "."]
    for label in table.guessed:
        yield [
            "No lineup of the board says which settings of ",
            Code(label),
            " are meant; of several that fit, those with the most finished runs are shown.",
        ]


def _commit(environment: Environment) -> str:
    if environment.commit is None:
        return "none"
    return environment.commit[:12] + (" with local changes" if environment.dirty else "")


def _listed(texts: Iterable[str]) -> list[Part]:
    """Each different text once, in order."""
    return _joined([Code(text) for text in sorted(set(texts))]) or ["-"]


def _joined(parts: Sequence[Part]) -> list[Part]:
    return [one for part in parts for one in (", ", part)][1:]
