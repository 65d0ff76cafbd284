"""A stranger's folder with a board, records of known numbers and a paper's claims about them, and the verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from tests.latentbench.boards.test_references import RANK, runs

from latentbench.claims.ledger import Ledger, load_ledger
from latentbench.claims.verdicts import Judgement, judge
from latentbench.plugins.registry import Plugins
from latentbench.records.record import Record
from latentbench.records.store import Store

__all__ = ["BOARD", "claim", "ledger", "row", "rows", "verdicts", "write"]

#: Loaded before pytester looks which modules there are, for it drops those that are imported later.
PLUGINS = Plugins.load()

BOARD: dict[str, Any] = {"name": "b", "title": "B", "datasets": ["d"], "rank": RANK, "seeds": 3}


def row(label: str, value: str = RANK, **fields: Any) -> dict[str, Any]:
    """A selection of a row of the board."""
    return {"board": "../b.yaml", "dataset": "d", "row": label, "value": value, **fields}


def claim(name: str, published: Any = 0.8, **fields: Any) -> dict[str, Any]:
    """A claim about the row ``m``, under an exact protocol and as a baseline unless ``fields`` say otherwise."""
    made = {
        "id": name,
        "cell": {"place": "table 1", "row": name},
        "kind": "printed",
        "published": published,
        "unit": "plain",
        "protocol": "exact",
        "role": "baseline",
        "selection": row("m"),
        "test": {"how": "equivalence", "margin": 0.05},
        **fields,
    }
    return {key: value for key, value in made.items() if value is not None}


def rows(**numbers: Sequence[float]) -> list[Record]:
    """Runs of models by name, one for each number."""
    return [one for model, of_model in numbers.items() for one in runs(model, list(of_model))]


def write(
    folder: Path,
    records: Sequence[Record],
    claims: Sequence[Mapping[str, Any]],
    board: Mapping[str, Any] = BOARD,
    **paper: Any,
) -> Path:
    """The folder's files; returns that of the claims."""
    (folder / "claims").mkdir(parents=True, exist_ok=True)
    (folder / "b.yaml").write_text(yaml.safe_dump({**board}))
    for record in records:
        Store(folder / "results").save_record(record)
    content = {"name": "p", "title": "P", "reference": "R", "version": "v1", "claims": [*claims], **paper}
    file = folder / "claims" / "p.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def ledger(folder: Path) -> Ledger:
    return load_ledger([folder / "claims" / "p.yaml"], Plugins([]))


def verdicts(
    folder: Path, records: Sequence[Record], claims: Sequence[Mapping[str, Any]], **paper: Any
) -> dict[str, Judgement]:
    """What is said of each claim, by its id."""
    write(folder, records, claims, **paper)
    return {one.claim.id: one for one in judge(ledger(folder), folder / "results", Plugins([]))}
