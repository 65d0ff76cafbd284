"""``latentbench plan``: what a board runs, without its data, and the lineup that its tables are read with."""

from pathlib import Path

import pytest

from latentbench.boards.board import load_board
from latentbench.boards.lineup import read_lineup
from latentbench.commands.cli import main
from latentbench.plugins.registry import Plugins
from latentbench.running.plan import lineup_of

BOARD = """\
name: b
title: t
datasets:
  - {name: ood, label: fashion-mnist, options: {pair: fashion-mnist}}
models: [pca]
variants:
  - {model: vae, label: vae-2d, options: {latent_dim: 2, width: 8}, seeds: 1}
seeds: 3
rank: auroc@test
"""


def test_a_plan_names_every_line_and_writes_the_lineup_where_no_data_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.yaml").write_text(BOARD)
    assert main(["plan", "b.yaml"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "pca on fashion-mnist, seeds 0 to 2",
        "vae-2d on fashion-mnist, seed 0 (vae: latent_dim=2, width=8)",
        "untrained vae-2d on fashion-mnist, seed 0 (vae: latent_dim=2, width=8)",
        "board b: 5 runs; their settings are in results/b.lineup.json",
    ]
    board = load_board(Path("b.yaml"))
    assert read_lineup(Path("results"), board) == lineup_of(board, Plugins.load())
    assert [path.name for path in Path("results").iterdir()] == ["b.lineup.json"]


def test_several_boards_are_planned_at_once_and_a_board_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "quick", "facets", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"quick.lineup.json", "facets.lineup.json"}
    capsys.readouterr()
    assert main(["plan"]) == 2
    assert "Missing argument 'BOARD...'" in capsys.readouterr().err
