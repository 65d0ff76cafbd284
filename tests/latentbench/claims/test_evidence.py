"""The rows that claims are about are those of the leaderboards, number by number, on the committed records."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import latentbench_boards
from latentbench.boards.board import load_board
from latentbench.boards.images import Images
from latentbench.boards.lineup import read_lineup
from latentbench.boards.standings import standings
from latentbench.claims.estimates import of_row
from latentbench.claims.evidence import evidence
from latentbench.claims.ledger import load_ledger
from latentbench.plugins.registry import Plugins
from latentbench.records.replicates import read_replicates
from latentbench.records.store import Store

RESULTS = Path(__file__).parents[3] / "leaderboards" / "results"


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return Plugins.load()


@pytest.mark.parametrize("name", ["mnist-shift", "facets"])
def test_every_row_of_a_board_has_its_numbers_and_its_images(name: str, tmp_path: Path, plugins: Plugins) -> None:
    """A claim for each row and column of the board's first tables, nulls included; and none for what is not there."""
    board = load_board(Path(latentbench_boards.__file__).parent / f"{name}.yaml")
    store = Store(RESULTS)
    records = [one for _, one in store.records() if one.spec.dataset in {entry.name for entry in board.datasets}]
    replicates = {record.key: read_replicates(store, record) for record in records}
    tables = {
        table.label: table for table in reversed(standings(board, records, read_lineup(RESULTS, board), replicates))
    }
    rows = {
        f"{label}-{row.label}-{column.name}": (label, row, column)
        for label, table in tables.items()
        for row in (*table.rows, *table.nulls)
        for column in table.columns
    }
    claims = [
        {
            "id": name,
            "cell": {"place": "table", "row": name},
            "kind": "printed",
            "published": 0.5,
            "unit": "plain",
            "protocol": "exact",
            "selection": {"board": board.name, "dataset": label, "row": row.label, "value": column.name},
            "test": {"how": "equivalence", "margin": 0.1},
        }
        for name, (label, row, column) in rows.items()
    ]  # fmt: skip
    paper = {"name": "p", "title": "P", "reference": "R", "version": "1", "claims": claims}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(paper))
    made = load_ledger([tmp_path / "p.yaml"], plugins)
    found = evidence(made, made.claims(), RESULTS, plugins)
    compared = 0
    for claim, (_, row, column) in rows.items():
        one = found["p", claim]
        if column.name not in row.summaries:
            assert one.sides == ()
            assert one.obstacle is not None
            continue
        (side,) = one.sides
        assert side.summary == row.summaries[column.name]
        assert [record.key for record in side.records] == [
            record.key for record in row.finished if column.name in record.values
        ]
        if one.tested is not None and side.summary.std is not None:
            images = Images.of([row.replicates.get(column.name)])
            expected = of_row(side.summary, 0.5, images, None).uncertainty
            if column is tables[rows[claim][0]].columns[0]:  # the table knows the images' part of what ranks alone
                assert one.tested.estimate.uncertainty.variance == pytest.approx(expected.variance, rel=1e-12)
                compared += bool(np.isfinite(images.covariance[0, 0]))
    assert len(found) == len(rows) >= 40
    assert compared > 3
