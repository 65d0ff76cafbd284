"""What a run leaves: one JSON file, small enough to review, that says what was measured and how it came about."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from latentbench.spec import RunSpec

__all__ = ["SCHEMA_VERSION", "Artefact", "Environment", "Failure", "Phase", "Readout", "Record", "Training", "Value"]

#: Raise it when the meaning of a record's field changes.
SCHEMA_VERSION: Literal[1] = 1


class _Part(BaseModel):
    """A part of a record: typed, and nothing in it that the schema does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


#: "native": the model had the capability itself; otherwise the name of the readout by which the harness read its code
#: (``latentbench.evaluation.readouts``), such as "probe".
Readout = str


class Value(_Part):
    """One measured number."""

    value: float
    metric: str
    version: int
    title: str
    higher_is_better: bool
    readout: Readout = "native"
    instrument: str | None = None
    """Name and hash of the weights that the metric measures with, where it has any."""


class Phase(_Part):
    """What a phase of the run cost, summed over resumptions."""

    seconds: float
    peak_memory_bytes: int
    """Of the process, and of nothing else on the machine."""
    peak_device_memory_bytes: int | None = None
    images_per_second: float | None = None


class Training(_Part):
    """How the harness's loop went; absent for a model with its own ``fit``."""

    steps: int
    epochs: int
    stopped: Literal["epochs", "max_steps", "patience"]
    best_epoch: int | None = None
    """1-based epoch whose weights were kept, with early stopping."""
    losses: list[dict[str, float]] = []
    """Mean training losses of each epoch by name, and "validation" where there is such a split."""


class Environment(_Part):
    """Where and with what the run was made."""

    python: str
    platform: str
    packages: dict[str, str]
    cpu: str
    threads: int
    device: str
    """"cpu", or the GPU's name."""
    cuda: str | None = None
    driver: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    plugins: dict[str, str]
    """Plugin that offered the model, the dataset, and each metric: "name version"."""
    loaded: dict[str, str] = Field({}, exclude_if=lambda loaded: not loaded)
    """Every plugin in the process that is not built in, used by the run or not: name -> distribution and version."""
    changes: list[str] = Field([], exclude_if=lambda changes: not changes)
    """What the run's plugins changed of the process, such as its default dtype: put back after each phase."""


class Artefact(_Part):
    """A file beside the record."""

    file: str
    sha256: str


class Failure(_Part):
    """Why a run failed."""

    type: str
    message: str
    traceback: str
    log: list[str] = []
    """Last lines of the run's log."""


class Record(_Part):
    """A finished or failed run."""

    schema_version: Literal[1] = SCHEMA_VERSION
    key: str
    status: Literal["finished", "failed"]
    spec: RunSpec
    values: dict[str, Value] = {}
    """By name: ``metric[part]@split/condition``."""
    unmeasured: dict[str, str] = {}
    """``metric@split/condition`` -> why there is no value."""
    training: Training | None = None
    probe: dict[str, float] = {}
    """Inverse regularization strength that the probe chose on validation, by attribute."""
    kmeans: dict[str, int] = {}
    """Clusters that the harness's k-means made of the code, by facet."""
    parameters: int | None = None
    """Trainable parameters."""
    phases: dict[str, Phase] = {}
    """"fit" and "evaluate"."""
    started: str
    """ISO 8601, UTC."""
    finished: str
    resumed: int = Field(0, ge=0)
    """How often the run was taken up again from a checkpoint."""
    environment: Environment
    predictions: Artefact | None = None
    weights: Artefact | None = None
    failure: Failure | None = None

    def result(self) -> dict[str, Any]:
        """What must be equal in two runs of one key on a CPU: all but times, places and the road taken."""
        fields = {
            "key", "status", "spec", "values", "unmeasured", "training", "probe", "kmeans", "predictions", "weights"
        }  # fmt: skip
        return self.model_dump(mode="json", include=fields)
