"""Findings as Markdown for a reader who wants to know what to believe: each verdict follows by rule from the tests."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tabulate import tabulate

from latentbench.boards.board import Board
from latentbench.boards.findings import Evidence, Finding, Findings, Other, Outcome, evidence
from latentbench.boards.gathering import grouped
from latentbench.boards.lineup import Lineup
from latentbench.boards.notes import class_split, diagnosed
from latentbench.boards.render.escaping import code_span
from latentbench.boards.render.markdown import sentence
from latentbench.boards.rows import Column
from latentbench.boards.standings import standings
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates

__all__ = ["render_findings"]

#: How to read the verdicts, whatever the findings are.
_READING = (
    "Every measured number below is from the records, and every verdict follows by rule from the tests that make the "
    "ranks and marks of the leaderboards. A row is *ahead of* or *behind* another where these tell them apart, over "
    "seeds and, where that is known, test images. *Not separated* says that these seeds and images do not decide, not "
    "that the two are equal. *Better* and *worse* compare bare values, where their uncertainty is not known: one seed "
    "has none.",
    "Nulls are rows without a trained network, such as the mean brightness of an image. The best one by its value is "
    "shown; a row is ahead of it if it is ahead of *every* null, and behind it if some null is ahead. A null has one "
    "score, by which it is read beside a value of any score. The untrained twin is the same model without a training "
    "step, paired by seed. Cells are means over seeds, with their 95 % intervals. All rows are of the implementations "
    "here, and tell as much of a paper as these are faithful to it.",
    "For nulls and twins Holm's correction is over the rows of a table, as in the leaderboards, where the verdicts are "
    "the same; for other rows over those that the finding names. A null that a finding names is judged among all nulls "
    "if it is read by its own score, and like any other row if by another one. Ranks compare all pairs and are "
    "stricter. The rate of error, 5 %, is for one value of one table: over all that is said here a verdict or another "
    "is wrong by chance.",
)


def render_findings(
    findings: Findings,
    boards: Mapping[str, Board],
    records: Iterable[Record],
    lineups: Mapping[str, Lineup],
    replicates: Replicates,
) -> str:
    """The findings as one Markdown text: a summary, then each paper with its findings.

    Args:
        findings: what is asked.
        boards: by what the findings call them.
        records: of any boards, in any order.
        lineups: of the boards, by the same names.
        replicates: of the values that rank, as far as they are known.
    """
    records = list(records)
    tables = {name: standings(board, records, lineups[name], replicates) for name, board in boards.items()}
    found = {
        loc: [evidence(finding, place, boards[finding.board], tables[finding.board]) for place in finding.places]
        for loc, finding in findings.each()
    }
    blocks = [f"# {findings.title}", *map(_text, findings.introduction), *_READING, _summary(findings, found)]
    for number, paper in enumerate(findings.papers):
        blocks += [f"## {paper.title}", _text(paper.reference)]
        if paper.differences:
            blocks += ["What may differ from the paper:", _items(map(_text, paper.differences))]
        for place, finding in enumerate(paper.findings):
            blocks += _finding(finding, boards[finding.board], found["papers", number, "findings", place])
    return "\n\n".join([*blocks, *map(_text, findings.closing)]) + "\n"


def _summary(findings: Findings, found: Mapping[tuple[int | str, ...], Sequence[Evidence]]) -> str:
    """A line for each finding: how its row stands beside each other one, and on how many places."""
    lines = []
    for loc, finding in findings.each():
        named = zip(*(one.named for one in found[loc]), strict=True)
        twins = [one.twin for one in found[loc] if one.twin]
        lines.append(
            [
                finding.title,
                code_span(finding.row),
                _tally([one.null for one in found[loc]]),
                _tally(twins) if twins else "-",
                "; ".join(f"{_name(same[0])}: {_tally(same)}" for same in named) or "-",
            ]
        )
    headings = ["finding", "row", "beside the best null", "beside its untrained twin", "beside other rows"]
    return tabulate(lines, headers=headings, tablefmt="pipe", disable_numparse=True)


#: Outcomes in the summary; None is of a row that has a value where the finding's row has none.
_WORDS: dict[Outcome | None, str] = {
    "ahead": "ahead",
    "undecided": "not separated",
    "behind": "behind",
    "better": "better",
    "worse": "worse",
    "no record": "no record",
    "failed": "failed",
    "no value": "no value",
    None: "open",
}


def _tally(same: Sequence[Other]) -> str:
    """The outcomes beside one row, with the number of places of each where there are several places."""
    counts = Counter(one.outcome for one in same)
    told = [(word, counts[outcome]) for outcome, word in _WORDS.items() if counts[outcome]]
    return ", ".join(f"{word} on {count}" if len(same) > 1 else word for word, count in told)


def _finding(finding: Finding, board: Board, found: Sequence[Evidence]) -> Iterator[str]:
    """The headline, the values, the verdicts, and what may differ in the protocol."""
    yield f"### {finding.title}"
    yield f"**Published.** {_text(finding.headline)}{f' ({_text(finding.source)})' if finding.source else ''}"
    yield f"**Measured**, on the board {code_span(board.name)}:"
    yield _grid(finding, found)
    yield "**What is left of it.**"
    yield _items([*_verdicts(finding, board, found), *_class_splits(found)])
    if finding.differences:
        yield "What may differ from the paper here:"
        yield _items(map(_text, finding.differences))


def _class_splits(found: Sequence[Evidence]) -> Iterator[str]:
    """Whether held-out classes lie inside the normal ones, of datasets where the finding is about such anomalies."""
    told = dict.fromkeys(
        (one.place.dataset, sentence(class_split(one.table, one.table.diagnosis)))
        for one in found
        if one.table and one.table.diagnosis and diagnosed(one.table, one.table.diagnosis).metric == one.column.metric
    )
    for label, said in told:
        yield f"{code_span(label)}: {said}"


def _grid(finding: Finding, found: Sequence[Evidence]) -> str:
    """The values: a line for each place."""
    published = any(one.place.published for one in found)
    twins = any(one.twin for one in found)
    headings = ["dataset", "value", *(["published"] if published else []), code_span(finding.row), "best null"]
    headings += ["untrained twin"] if twins else []
    headings += [_name(other) for other in found[0].named]
    lines = []
    for one in found:
        best = f"{code_span(one.null.label)} " if one.null.label else ""
        cells = [code_span(one.place.dataset), sentence([one.column])]
        cells += [one.place.published or "-"] if published else []
        cells += [_cell(one.row, one.column), best + _cell(one.null, one.column)]
        cells += [_cell(one.twin, one.column) if one.twin else "-"] if twins else []
        lines.append([*cells, *(_cell(other, one.column) for other in one.named)])
    return tabulate(lines, headers=headings, tablefmt="pipe", disable_numparse=True)


def _cell(other: Other, column: Column) -> str:
    """The mean with its interval and the number of seeds; or why there is none."""
    summary = other.row.summaries.get(column.name) if other.row else None
    if other.row is None or summary is None:
        return _WORDS[other.outcome]
    found = other.row.interval(column)
    around = f" ({found.low:.3f} to {found.high:.3f})" if found else ""
    return f"{summary.mean:z.3f}{around}, {summary.n} seed{'s' if summary.n > 1 else ''}"


def _verdicts(finding: Finding, board: Board, found: Sequence[Evidence]) -> Iterator[str]:
    """The verdicts, each with the places of which the same is to be said."""
    alike = grouped(found, lambda one: (_lead(one), tuple(_comparisons(finding, one)), _missing(one)))
    for (lead, said, missing), same in alike.items():
        yield f"{lead} on {_places(same)}: {' '.join([*said, *_mends(board, missing, same)])}"


def _lead(one: Evidence) -> str:
    """The verdict in short: what is the least that holds beside all other rows."""
    outcomes = {other.outcome for other in one.others}
    if one.row.outcome is not None:
        return "**Open**"
    if "behind" in outcomes:
        return "**Behind a row that it is read against**"
    if "undecided" in outcomes:
        return "**Not ahead of every row that it is read against**"
    return "**Ahead of every row that it is read against**" if outcomes == {"ahead"} else "**Open**"


#: How the finding's row stands beside others, in the order in which it is told; then that of the bare values.
_TESTED: dict[Outcome, str] = {"ahead": "ahead of", "undecided": "not separated from", "behind": "behind"}
_BY_VALUE: dict[Outcome, str] = {"better": "better than", "worse": "worse than"}


def _comparisons(finding: Finding, one: Evidence) -> Iterator[str]:
    """Sentences of what the tests say, and of bare values. A named null that is the best one is told once."""
    row, best = code_span(finding.row), (one.null.label, one.null.selector)
    others = [other for other in one.others if other.kind != "row" or (other.label, other.selector) != best]
    for words, ending in ((_TESTED, "."), (_BY_VALUE, " by value alone, whose uncertainty is not known.")):
        said = []
        for outcome, word in words.items():
            if names := [_name(other) for other in others if other.outcome == outcome]:
                said.append(f"{word} {_joined(names)}")
        if said:
            yield f"{row} is {_joined(said)}{ending}"


def _missing(one: Evidence) -> tuple[tuple[Outcome, str, str], ...]:
    """What has no value: why, what a sentence calls it, and the row that has to be run for it, '' for the nulls."""
    found: dict[tuple[Outcome, str, str], None] = {}  # a row that is read by several scores counts once
    for other in (one.row, *one.others):
        if other.outcome in ("no record", "failed", "no value"):
            plain = other if other.outcome == "no value" else replace(other, selector=None)
            found[other.outcome, _name(plain), other.label] = None
    return tuple(found)


def _mends(board: Board, missing: Sequence[tuple[Outcome, str, str]], found: Sequence[Evidence]) -> Iterator[str]:
    """What is missing, and the command that makes it."""
    datasets = ",".join(dict.fromkeys(one.place.dataset for one in found))
    for outcome, same in grouped(missing, lambda one: one[0]).items():
        names, labels = _joined([name for _, name, _ in same]), dict.fromkeys(label for _, _, label in same)
        nulls = "" in labels
        them = "them" if nulls or len(same) > 1 else "it"
        models = "" if nulls else f" --models {','.join(labels)}"
        run = f"latentbench run {board.on_the_command_line} --datasets {datasets}{models}"
        if outcome == "no record":
            yield f"No record yet of {names}: {code_span(run)} makes {them}."
        elif outcome == "failed":
            yield f"Every run of {names} failed: {code_span(f'{run} --retry-failed')} makes {them} again."
        else:
            evaluate = code_span(f"latentbench evaluate {board.on_the_command_line}")
            yield f"The records of {names} lack this value: {evaluate} computes it if what they kept suffices."


def _name(other: Other) -> str:
    """What a sentence or a heading calls the row."""
    by = {None: "", "": " by its own score"}.get(other.selector, f" by {code_span(other.selector or '')}")
    match other.kind:
        case "null":
            return f"the best null ({code_span(other.label)}{by})" if other.label else "the nulls"
        case "twin":
            return "its untrained twin"
        case _:
            return f"{code_span(other.label)}{by}"


def _places(found: Sequence[Evidence]) -> str:
    """The datasets, each with its values."""
    by_dataset = grouped(found, lambda one: one.place.dataset)
    return _joined(
        [
            f"{code_span(label)} ({'; '.join(sentence([one.column]) for one in same)})"
            for label, same in by_dataset.items()
        ]
    )


def _joined(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _text(text: str) -> str:
    return " ".join(text.split())


def _items(texts: Iterable[str]) -> str:
    return "\n".join(f"- {text}" for text in texts)
