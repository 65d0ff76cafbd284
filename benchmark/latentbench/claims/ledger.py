"""The ledger: the papers whose claims are at hand, and the boards that the claims name."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from latentbench.boards.board import Board, board_path, is_board_file, load_board
from latentbench.boards.published import MEANS
from latentbench.claims.schema import Claim, OnBoard, Paper, Runs, load_paper
from latentbench.errors import LatentbenchError, did_you_mean

if TYPE_CHECKING:
    from latentbench.plugins.registry import Plugins

__all__ = ["Ledger", "claim_files", "load_ledger", "planning", "records_beside"]


@dataclass(frozen=True)
class Ledger:
    """Papers with their claims, and the boards that these name."""

    papers: Sequence[Paper]
    boards: Mapping[tuple[str, str], Board]
    """By the paper's name, and what its claims call the board."""

    def claims(self) -> Iterator[tuple[Paper, Claim]]:
        """Every claim, in the order of the papers and of their files."""
        for paper in self.papers:
            for claim in paper.claims:
                yield paper, claim

    def board(self, paper: Paper, selection: OnBoard) -> Board:
        """The board that a claim of the paper selects from."""
        return self.boards[paper.name, selection.board]

    def called(self, paper: Paper, selection: OnBoard) -> str:
        """What the command line calls that board: its name, or the path of its file."""
        at_path = is_board_file(selection.board) and paper.path
        return str(paper.path.parent / selection.board) if at_path and paper.path else selection.board


def claim_files(path: Path) -> list[Path]:
    """The files of claims at a path: the file itself, or those of a folder.

    Raises:
        LatentbenchError: there is nothing.
    """
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path] if path.exists() else []
    if not files:
        raise LatentbenchError(f"no claims at {path}", "name a folder of YAML files with claims, or one such file")
    return files


def records_beside(claims: Path) -> Path:
    """The folder of the records that go with claims at a path, a folder or a file: ``results``, beside that folder."""
    return (claims if claims.is_dir() else claims.parent).parent / "results"


def load_ledger(files: Sequence[Path], plugins: "Plugins") -> Ledger:
    """The papers in these files and those that plugins bring, with their boards.

    What can be told with the models and metrics alone is not checked here (``latentbench.claims.lint``), so that torch
    is not imported.

    Raises:
        LatentbenchError: a mistake in a file, or two papers of one name; a claim names a board, or a dataset of a
            board, that is not there. With file and line.
    """
    papers: dict[str, Paper] = {}
    offered = [offer.value for offer in plugins.offers("claims").values()]
    for path in {path.resolve(): path for path in (*files, *offered)}.values():
        paper = load_paper(path)
        if paper.name in papers:
            raise LatentbenchError(f"{path}: there is a paper '{paper.name}' already, in {papers[paper.name].path}")
        papers[paper.name] = paper
    boards: dict[tuple[str, str], Board] = {}
    loaded: dict[Path, Board] = {}
    ledger = Ledger([papers[name] for name in sorted(papers)], boards)
    for paper, claim in ledger.claims():
        selection = claim.selection
        if not isinstance(selection, OnBoard):
            continue
        if (paper.name, selection.board) not in boards:
            mistake = partial(paper.mistake, claim, ("selection", "board"))
            path = board_path(selection.board, (paper.path or Path()).parent, plugins, mistake).resolve()
            boards[paper.name, selection.board] = loaded[path] = loaded.get(path) or load_board(path)
        board = ledger.board(paper, selection)
        labels = [*(entry.label for entry in board.datasets), *([MEANS] if board.average else [])]
        if selection.dataset not in labels:
            what = f"board '{selection.board}' has no dataset '{selection.dataset}'"
            raise paper.mistake(claim, ("selection", "dataset"), what, did_you_mean(selection.dataset, labels))
    return ledger


def planning(selection: Runs, plugins: "Plugins") -> Iterator[str]:
    """The commands, each of a board that plugins offer, that make the runs which a claim selects."""
    for offer in plugins.offers("boards").values():
        board = load_board(offer.value)
        for entry in board.datasets:
            if entry.name != selection.dataset or not selection.options.items() <= entry.options.items():
                continue
            fitting = [one for one in board.variants_on(entry) if one.model == selection.model]
            labels = [one.label for one in fitting if selection.config.items() <= one.options.items()]
            labels += [selection.model] if board.lists(selection.model) else []
            for label in labels:
                yield f"latentbench run {board.name} --datasets {entry.label} --models {label}"
