"""The specification of a run (model, config, dataset, seed, budget), and the key that identifies it."""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from latentbench.config import Options

__all__ = ["HARNESS_VERSION", "UNTRAINED", "Budget", "RunSpec"]

#: Raise it when a change of the harness (loop, seeding, evaluation) changes the results of unchanged plugins.
HARNESS_VERSION = 1


class Budget(Options):
    """What a board allows every run."""

    max_steps: int | None = Field(
        None,
        ge=0,
        description="at most this many training steps; 0: the model as initialized; None: the model's epochs",
    )


#: The budget of an untrained twin, which is otherwise specified as its trained run.
UNTRAINED = Budget(max_steps=0)


class RunSpec(BaseModel):
    """Everything that can change a run's result, and nothing else. Equal specs are the same run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    model_version: int
    config: dict[str, Any]
    """The model's full Config, defaults included."""
    dataset: str
    dataset_version: int
    options: dict[str, Any]
    """The dataset's full Config, defaults included."""
    split_hash: str
    seed: int = Field(ge=0)
    budget: Budget = Budget()
    harness_version: int = HARNESS_VERSION
    threads: int = Field(1, ge=1, exclude_if=lambda threads: threads == 1)
    """CPU threads, on which the order of a sum depends, and with it the result. One thread is left out of the key."""

    @property
    def untrained(self) -> bool:
        """Whether the run is the untrained twin of another: it makes no step."""
        return self.budget.max_steps == UNTRAINED.max_steps

    @property
    def key(self) -> str:
        """The first 16 hex digits of the SHA-256 of the spec as canonical JSON."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return self.called(self.model, self.dataset)

    def called(self, model: str, dataset: str) -> str:
        """The run in words, by what a board calls its model and its dataset."""
        untrained = "untrained " if self.untrained else ""
        threads = f", {self.threads} threads" if self.threads > 1 else ""
        return f"{untrained}{model} on {dataset}, seed {self.seed}{threads}"
