"""A board, hand-made records of it, and its leaderboard as its readers see it."""

import csv
import io
from typing import Any

from markdown_it import MarkdownIt

from latentbench.boards.board import Board
from latentbench.boards.render.leaderboard import render
from latentbench.records.record import Environment, Phase, Record, Value
from latentbench.spec import RunSpec

RANK, GAP, FPR = "accuracy@test/uncorrelated", "gap@test", "fpr95[left]@test/correlated"
BOARD = Board(
    name="pairs",
    title="Pairs of digits",
    description="Two digits,\nside by side.",
    datasets=[{"name": "pairs", "options": {"noise": 0.4}}],
    seeds=3,
    rank=RANK,
    columns=[FPR, RANK],
)
ENVIRONMENT = Environment(
    python="3.11.9",
    platform="Linux",
    packages={"torch": "2.13.0", "numpy": "2.4.6"},
    cpu="Some CPU",
    threads=2,
    device="cpu",
    commit="0123456789abcdef",
    dirty=False,
    plugins={"model": "autoencoders 0.1.0", "dataset": "datasets 0.1.0"},
)


def value(number: float, metric: str = "accuracy", **fields: Any) -> Value:
    facts = {"version": 1, "title": metric, "higher_is_better": metric == "accuracy", **fields}
    return Value(value=number, metric=metric, **facts)


def record(model: str, seed: int = 0, accuracy: float | None = None, **fields: Any) -> Record:
    """A finished run with one accuracy; a failed one without. Fields of the spec and of the record by name."""
    spec = {
        "model": model,
        "model_version": 1,
        "config": {"latent_dim": 4, "epochs": 20},
        "dataset": "pairs",
        "dataset_version": 1,
        "options": {"noise": 0.4, "seed": 0},
        "split_hash": "ab" * 32,
        "seed": seed,
    }
    spec |= {name: fields.pop(name) for name in list(fields) if name in RunSpec.model_fields}
    given = {
        "status": "finished" if accuracy is not None or "values" in fields else "failed",
        "values": {RANK: value(accuracy)} if accuracy is not None else {},
        "phases": {"fit": Phase(seconds=10.0 + seed, peak_memory_bytes=1)},
        "environment": ENVIRONMENT,
        **fields,
    }
    run = RunSpec(**spec)
    return Record(key=run.key, spec=run, started="2026-01-01T00:00:00Z", finished="2026-01-01T00:01:00Z", **given)


def runs(model: str, accuracies: list[float], **fields: Any) -> list[Record]:
    return [record(model, seed, accuracy, **fields) for seed, accuracy in enumerate(accuracies)]


def markdown(records: list[Record], board: Board = BOARD) -> str:
    return render(board, records)[f"{board.name}.md"]


def said(records: list[Record], board: Board = BOARD) -> str:
    """The Markdown in one line: its sentences may be broken anywhere."""
    return " ".join(markdown(records, board).split())


def tables(text: str) -> list[list[list[str]]]:
    """Every table of a Markdown text as an independent parser sees it: rows of cells, the heading first."""
    found: list[list[list[str]]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level >= 4 and found and found[-1]:
            found[-1][-1].append("".join(child.content for child in token.children or []))
    return found


def lines(records: list[Record], board: Board = BOARD) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render(board, records)[f"{board.name}.csv"])))


def column(records: list[Record], heading: str) -> dict[str, str]:
    """Model -> cell of one column of the first table of the Markdown that has it."""
    head, *rows = next(table for table in tables(markdown(records)) if heading in table[0])
    return {row[head.index("model")]: row[head.index(heading)] for row in rows}


def with_variants(*variants: Any, **fields: Any) -> Board:
    return Board.model_validate({**BOARD.model_dump(exclude_defaults=True), "variants": variants, **fields})


def labelled(*datasets: Any) -> Board:
    return Board.model_validate({**BOARD.model_dump(), "datasets": datasets})


SMALL: dict[str, Any] = {"latent_dim": 4, "loss": "bernoulli"}
LARGE: dict[str, Any] = {"latent_dim": 10, "loss": "bernoulli"}
SSIM: dict[str, Any] = {"latent_dim": 10, "loss": "ssim", "window": None}
