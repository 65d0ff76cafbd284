"""What is said of a table: sentences whose foreign parts are marked, so that a renderer only lays them out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from latentbench.boards.board import Board, Diagnosis
from latentbench.boards.gathering import grouped
from latentbench.boards.means import MeanRow, Means
from latentbench.boards.rows import Column, Row
from latentbench.boards.seeds_needed import seeds_needed
from latentbench.boards.standings import Group, Table
from latentbench.config import format_options
from latentbench.records.record import Record
from latentbench.value_name import ValueName

__all__ = [
    "Code",
    "Note",
    "Part",
    "Title",
    "about",
    "class_split",
    "diagnosed",
    "failures",
    "heading",
    "heading_lines",
    "listed",
    "notes",
    "provenance",
    "ranked_by",
    "seeds_differ",
    "unranked",
]


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


def heading(column: Column) -> Note:
    """``accuracy ↑ test, uncorrelated`` for ``accuracy@test/uncorrelated``."""
    return _joined(heading_lines(column), " ")


def heading_lines(column: Column) -> list[Note]:
    """The heading in lines: what was measured, which part of it, and where."""
    name = ValueName.parse(column.name)
    arrow = {True: "↑ ", False: "↓ ", None: ""}[column.higher_is_better]
    part: list[Note] = [[Code(name.selector)]] if name.selector else []
    place = ", ".join(filter(None, (name.split, name.condition)))
    return [[Title(column.title)], *part, [arrow, Title(place)]]


def about(board: Board, table: Table | Means) -> Note:
    """Which data a table is over, how many seeds its rows have, and what else is alike for all of them; no sentence."""
    facts: list[list[Part]] = []
    if isinstance(table, Means):
        labels = _joined([*map(Code, table.labels)])
        facts.append([f"mean over {len(table.labels)} of {len(board.datasets)} datasets (", *labels, ")"])
    else:
        shown = {**table.fixed, **table.set_options}
        if shown or table.label != table.dataset:
            options: list[Part] = [" (", Code(format_options(shown)), ")"] if shown else []
            facts.append(["dataset ", Code(table.dataset), *options])
        facts.append(["split ", Code(table.split_hash[:12])])
        if table.diagnosis and table.diagnosis.value in (None, *(one.name for one in table.ranking)):
            facts.append(["class-split novelty"])
    seeds = {row.seeds for row in table.rows if not row.deterministic}
    if len(seeds) == 1 and not seeds_differ(table.rows):
        facts += [[f"{number} seed{'s' if number > 1 else ''}"] for number in seeds]
    if any(group.comparison.images_alone and group.comparison.tested.any() for group in table.groups):
        facts.append(["ranked by test images alone"])
    return _joined(facts)


def ranked_by(table: Table | Means, group: Group[Row]) -> Note | None:
    """What tells a group from others, for its heading; None where the board has one value that ranks."""
    earlier = table.ranking[: table.ranking.index(group.ranking)]
    if not earlier and len(table.groups) == 1:
        return None
    return ["Ranked by ", group.ranking, *([": rows that have no ", *_joined(earlier)] if earlier else [])]


def seeds_differ(rows: Iterable[Row]) -> bool:
    """Whether a run failed, or rows have different numbers of seeds, but for rows that every seed would give again."""
    rows = list(rows)
    return any(row.failed for row in rows) or len({row.seeds for row in rows if not row.deterministic}) > 1


def unranked(table: Table | Means, group: Group[Row]) -> Note | None:
    """Why rows of a group have no rank: each reason once, with the rows that it holds for; None if all have one."""
    without = [row for row in group.rows if row.rank is None]
    reasons = grouped(without, lambda row: _no_rank(table, group, row))
    if not reasons:
        return None
    if len(reasons) == 1 and 1 < len(without) == len(group.rows):
        return ["No row has a rank: ", *next(iter(reasons)), "."]
    told: list[Note] = []
    for reason, rows in reasons.items():
        told.append([*listed(row.label for row in rows), " (", *reason, ")"])
    return ["No rank: ", *_joined(told, "; "), "."]


def notes(board: Board, table: Table | Means) -> Iterator[Note]:
    """What the numbers alone do not say: ties, orders that are not tested, readouts, budgets, and what was left out."""
    rows: list[Row] = [*table.rows, *table.nulls]
    for row in rows:
        if row.transductive:
            found = _joined([Code(f"{name} by {change:.2g}") for name, change in row.transductive.items()])
            yield [
                "§ ",
                Code(row.label),
                " is transductive: an image's results change with the other images in its batch (",
                *found,
                " of their spread).",
            ]
    for group in table.groups:
        yield from _comparisons(group)
    yield from _references(table)
    yield from _readouts(table)
    yield from _missing_means(table) if isinstance(table, Means) else _unmeasured(table)
    if rows and (
        empty := [column for column in table.columns if column not in table.ranking and not _is_there(table, column)]
    ):
        yield ["No run has ", *_joined(empty), "."]
    if isinstance(table, Table) and (
        untold := [name for name in board.facts if not any(row.fact(name) for row in table.shown)]
    ):
        yield ["No model tells ", *listed(untold), "."]
    for column in table.columns:
        if column.left_out:
            yield [f"Left out, for the metric has a newer version: {column.left_out} values of ", column, "."]
        if column.other_code:
            plugin = Code(column.plugin or "built in")
            yield ["Left out, for the metric's code is now ", plugin, f": {column.other_code} values of ", column, "."]
    if isinstance(table, Means):
        for row in (*table.rows, *table.nulls):
            if row.differing:
                yield [Code(row.label), " is not configured alike on all datasets: ", *listed(row.differing), "."]
    else:
        yield from _configurations(board, table)
        yield from _other_settings(table)
        for model, runs in table.transductive.items():
            yield [f"Left out, for the board allows no transductive runs: {runs} of ", Code(model), "."]
    for (model, version), runs in table.left_out.items():
        older = Code(f"{model} {version}")
        yield [f"Left out, for the model has a newer version: {runs} runs of ", older, "."]
    for (label, code), runs in table.other_code.items():
        made: list[Part] = [f"{runs} finished run{'s' if runs > 1 else ''} of ", Code(label), " by ", Code(code)]
        yield ["Left out, for other code made the row's last run: ", *made, "."]


def failures(table: Table) -> Iterator[Note]:
    """The failed runs of the table's rows: each reason once, with the rows and seeds that it holds for."""
    failed = [(row, record) for row in table.shown for record in row.failed]
    for reason, same in grouped(failed, lambda one: _failure(one[1])).items():
        runs: list[Note] = [
            ["untrained " if untrained else "", Code(label), _seeds(record for _, record in of_row)]
            for (label, untrained), of_row in grouped(same, lambda one: (one[0].label, one[0].untrained)).items()
        ]
        yield [*_joined(runs, "; "), ": ", Code(reason)]


def provenance(tables: Sequence[Table]) -> Iterator[Note]:
    """What the runs of the tables' rows were made from, and with: each table's data, then what is of all of them."""
    for table in tables:
        options = Code(format_options(table.options) or "none")
        of_label: list[Part] = [] if table.label == table.dataset else [Code(table.label), ": "]
        yield [
            *of_label, "dataset ", Code(table.dataset), f" version {table.dataset_version}, options ", options,
            ", split hash ", Code(table.split_hash), f", harness version {table.harness_version}",
        ]  # fmt: skip
    made = [record.environment for table in tables for row in table.shown for record in row.records]
    columns = [column for table in tables for column in table.columns]
    yield ["metric versions: ", *listed(f"{one.metric} {one.version}" for one in columns if one.version)]
    yield ["commit: ", *listed(one.short_commit or "none" for one in made)]
    yield ["plugins: ", *listed(plugin for one in made for plugin in one.plugins.values())]
    yield ["packages: ", *listed(f"{name} {version}" for one in made for name, version in one.packages.items())]
    if variables := {f"{name}={value}" for one in made for name, value in one.variables.items()}:
        yield ["environment variables: ", *listed(variables)]
    yield ["Python: ", *listed(one.python for one in made)]


def diagnosed(table: Table, diagnosis: Diagnosis) -> Column:
    """The column whose value tells whether anomalies lie inside the normal images."""
    return next((one for one in table.columns if one.name == diagnosis.value), table.columns[0])


def class_split(table: Table, diagnosis: Diagnosis) -> Note:
    """Whether the classes that are held out as anomalies lie inside the normal ones, by the null that tells."""
    column = diagnosed(table, diagnosis)
    null = next((row for row in table.nulls if row.label == diagnosis.row and column.name in row.summaries), None)
    held_out: list[Part] = ["The anomalies are classes held out of the normal ones. "]
    if null is None:
        return [*held_out, "How far apart they lie is not known, as ", Code(diagnosis.row), " has no ", column, "."]
    mean, interval = null.summaries[column.name].mean, null.interval(column)
    around = f" ({interval.low:.3f} to {interval.high:.3f})" if interval else ""
    found: list[Part] = [*held_out, Code(diagnosis.row), " has ", column, f" of {mean:.3f}{around}, "]
    if (interval.low if interval else mean) > _NEAR_CHANCE:
        return [*found, "above chance: the held-out classes lie apart from the normal ones."]
    return [
        *found,
        "near or below chance: the held-out classes lie inside the normal ones, and the direction of any score is luck "
        "of the split (Ascarate et al., 2026, arXiv 2606.02601).",
    ]


def _no_rank(table: Table | Means, group: Group[Row], row: Row) -> tuple[Part, ...]:
    """Why a row has no rank."""
    ranking = group.ranking
    if ranking.name in row.summaries and group.comparison.images_alone:
        return ("the uncertainty over test images is not known",)
    if ranking.name in row.summaries:
        return ("one seed, so the uncertainty over seeds is not known",)
    if not row.finished:
        return ("every run failed: ", *listed(map(_failure, row.failed)))
    if isinstance(row, MeanRow) and isinstance(table, Means):
        return _no_mean(table, ranking, row)
    reasons = {_reason(ranking, record) for record in row.finished} - {None}
    return ("no ", ranking, ": ", *listed(filter(None, reasons))) if reasons else ("no run has ", ranking)


def _is_there(table: Table | Means, column: Column) -> bool:
    """Whether a run of the table's rows has a value of the column."""
    if isinstance(table, Means):
        return bool(table.over[column.name])
    return any(row.numbers.get(column.name) for row in (*table.rows, *table.nulls))


def _comparisons(group: Group[Row]) -> Iterator[Note]:
    ranked = [place for place, row in enumerate(group.rows) if row.rank is not None]
    ties = [(first, _tie(group, first, second)) for first, second in pairwise(ranked)]
    for said, same in groupby(ties, key=lambda tie: tie[1]):
        places = [first for first, _ in same]
        labels = [Code(group.rows[place].label) for place in (*places, ranked[ranked.index(places[-1]) + 1])]
        if said and len(labels) == 2:
            yield [labels[0], " and ", labels[1], f" {said}."]
        elif said:
            yield ["Neighbours among ", *_joined(labels), f" {said}."]
    if len(ranked) < len(group.comparison.tested):
        yield [
            "A row whose uncertainty is not known is placed by its value and has no rank; no other rank depends on it."
        ]
    yield from _images(group)


def _tie(group: Group[Row], first: int, second: int) -> str:
    """What is to be said of two neighbours that are not separated, and how many seeds would change that; or nothing."""
    if group.comparison.separated[first, second]:
        return ""
    if group.comparison.difference[first, second] == 0:
        return "have the same mean"
    if group.comparison.images_alone:
        return "are not separated by these test images"
    seeds = seeds_needed(group.comparison, first, second)
    if seeds is None:
        return "are not separated, and a number of seeds that would separate them is not in sight"
    return f"are not separated; {seeds} seeds of each would separate them with a probability of 80 %"


def _images(group: Group[Row]) -> Iterator[Note]:
    """That test images alone are compared; and whose uncertainty is without that of the test images."""
    if group.comparison.images_alone and group.comparison.tested.any():
        yield [
            "Ranks are of these trained models, by their test images alone: what order other seeds would give is not "
            "known."
        ]
    able = [row for row in group.rows if group.ranking.name in row.summaries]
    without = [row.label for row in able if group.ranking.name not in row.replicates]
    if without and (group.comparison.images_alone or len(without) < len(able)):
        rows: list[Part] = ["any row"] if len(without) == len(able) else listed(without)
        yield [
            "What the test images add to the uncertainty of ",
            group.ranking,
            " is not known for ",
            *rows,
            ": that takes what each image gave, kept with the targets.",
        ]


def _references(table: Table | Means) -> Iterator[Note]:
    """What is read against no null or no twin, so that a value without a mark is not taken for one that is ahead."""
    rows = [row for row in table.rows if row.summaries]
    if not rows:
        return
    shown = [column for column in table.columns if any(column.name in row.summaries for row in rows)]
    if plain := [column for column in shown if not column.merit]:
        are = "is no merit by itself: it is" if len(plain) == 1 else "are no merits by themselves: they are"
        yield [*_joined(plain), f" {are} not read against nulls and twins."]
    if ceilings := [null.label for null in table.nulls if null.ceiling and null.summaries]:
        are, them = ("is a ceiling", "it") if len(ceilings) == 1 else ("are ceilings", "them")
        yield [*listed(ceilings), f" {are}: nothing can be ahead of {them}, and no value is read against {them}."]
    read = [column for column in shown if column.merit]
    nulls, twins = (
        {name for row in rows for name in row.beside_null},
        {name for row in rows for name in row.beside_twin},
    )
    if not (nulls or twins):
        yield ["No null and no untrained twin stands here to read values against, so none is marked."]
        return
    if not nulls:
        yield ["No null stands here to read values against."]
    elif lacking := [column for column in read if column.name not in nulls]:
        yield ["No null has ", *_joined(lacking), ", so nothing there is marked †."]
    if not twins:
        yield ["No untrained twin stands here to read values against."]
        return
    if alone := [row.label for row in rows if not row.beside_twin]:
        yield [*listed(alone), f" {'has' if len(set(alone)) == 1 else 'have'} no untrained twin, and no mark ‡."]
    lacking_by_row = [
        (row.label, tuple(one for one in read if one.name in row.summaries and one.name not in row.beside_twin))
        for row in rows
        if row.beside_twin
    ]
    for columns, same in grouped(lacking_by_row, lambda one: one[1]).items():
        if columns:
            twin = "The untrained twin of " if len(same) == 1 else "The untrained twins of "
            yield [
                twin,
                *listed(label for label, _ in same),
                " lack " if len(same) > 1 else " lacks ",
                *_joined(columns),
                ".",
            ]


def _readouts(table: Table | Means) -> Iterator[Note]:
    """Which values the harness read from codes, by which readout."""
    rows: list[Row] = [*table.rows, *table.nulls]
    read = [(row.readout(column), row, column) for row in rows for column in table.columns]
    for readout in sorted({name for name, _, _ in read if name not in (None, "native")}):
        titles = [Title(title) for title in sorted({column.title for name, _, column in read if name == readout})]
        models = listed(row.model for name, row, _ in read if name == readout)
        yield ["Read by the harness's ", Title(readout), " from the codes of ", *models, ": ", *_joined(titles), "."]


def _unmeasured(table: Table) -> Iterator[Note]:
    """Why finished runs lack values: each reason once. Why a row has no rank is told elsewhere."""
    found = [
        (reason, row.label, record, column)
        for group in table.groups
        for row in group.rows
        for record in row.finished
        for column in group.columns
        if column.name not in record.values and (column is not group.ranking or row.rank is not None)
        if (reason := _reason(column, record))
    ]
    for reason, same in grouped(found, lambda one: one[0]).items():
        columns = list(dict.fromkeys(column for *_, column in same))
        rows: list[Note] = [
            [Code(label), _seeds(record for _, _, record, _ in of_row)]
            for label, of_row in grouped(same, lambda one: one[1]).items()
        ]
        yield [*_joined(rows, "; "), ", no ", *_joined(columns), ": ", Code(reason)]


def _reason(column: Column, record: Record) -> str | None:
    """Why a run has no value of the column, as far as its record says so."""
    of_split = str(replace(ValueName.parse(column.whole), condition=""))
    names = (column.name, column.whole, of_split)
    return next((record.unmeasured[name] for name in names if name in record.unmeasured), None)


def _missing_means(table: Means) -> Iterator[Note]:
    """Which means are over fewer datasets, and why there is none where there is none."""
    for column in table.columns:
        over = table.over[column.name]
        if 0 < len(over) < len(table.labels):
            yield [column, " is the mean over ", *listed(over), ": on the other datasets no run has it."]
        without = [row for row in table.rows if column.name not in row.summaries]
        reasons = [(row.label, _no_mean(table, column, row)) for row in without]
        if over and column not in table.ranking:
            for why, same in grouped(reasons, lambda one: one[1]).items():
                yield [*listed(label for label, _ in same), ": ", *why, "."]


def _no_mean(table: Means, column: Column, row: MeanRow) -> tuple[Part, ...]:
    """Why a row has no mean of a column."""
    if lacking := row.lacking(column, table.over[column.name]):
        return ("no mean ", column, ", as there is none on ", *listed(lacking))
    return ("no mean ", column, ", as no seed has it on every dataset")


def _configurations(board: Board, table: Table) -> Iterator[Note]:
    """Options other than the board's, those of the variants, budgets, and configurations that had to be guessed."""
    if table.set_options:
        set_options = Code(format_options(table.set_options))
        yield ["No run is in the board's options for the dataset: these have ", set_options, " and no part in means."]
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


def _other_settings(table: Table) -> Iterator[Note]:
    """How many runs of the board's models have settings that no line of the table is of."""
    if table.others:
        runs, settings = sum(len(row.records) for row in table.others), len(table.others)
        noun, verb = ("run", "stands") if runs == 1 else ("runs", "stand")
        yield [f"{runs} {noun} in {settings} other setting{'s' if settings > 1 else ''} {verb} in the CSV."]


def _failure(record: Record) -> str:
    return record.failure.message if record.failure else "no reason recorded"


def _seeds(records: Iterable[Record]) -> str:
    """``, seed 0`` or ``, seeds 0, 1``."""
    seeds = sorted({record.spec.seed for record in records})
    return f", seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def listed(texts: Iterable[str]) -> list[Part]:
    """Each different text once, in order, as code."""
    return _joined([Code(text) for text in sorted(set(texts))]) or ["-"]


def _joined(items: Sequence[Part | Note], separator: str = ", ") -> list[Part]:
    """Parts or notes in a row, with a separator between them."""
    parts = [[item] if isinstance(item, Part) else item for item in items]
    return [part for number, item in enumerate(parts) for part in ([separator] if number else []) + [*item]]
