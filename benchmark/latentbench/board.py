"""A board: which datasets, models, seeds and budget, and what ranks; its YAML, read with errors that name the line."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from latentbench.options import Options
from latentbench.run import Budget

__all__ = ["Board", "BoardDataset"]


def _by_name(value: Any) -> Any:
    """``- mnist-shift`` is short for ``- name: mnist-shift``."""
    return {"name": value} if isinstance(value, str) else value


class BoardDataset(Options):
    """One dataset of a board, with the options that the board fixes."""

    name: str
    options: dict[str, Any] = {}


class Board(Options):
    """A board's YAML file."""

    name: str
    title: str
    description: str = ""
    datasets: list[Annotated[BoardDataset, BeforeValidator(_by_name)]] = Field(min_length=1)
    models: list[str] | Literal["all"] = "all"
    seeds: int = Field(1, ge=1, description="runs of each model, with seeds 0, 1, ...")
    budget: Budget = Budget()
    rank: str = Field(description="the value that ranks: metric[part]@split/condition")
    columns: list[str] = Field([], description="further values to show, in order")
