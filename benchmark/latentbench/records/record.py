"""What a run leaves: a record, small enough to review, that says what was measured and how it came about.

The record here is what the program works with. ``latentbench.records.form`` gives the form of its file.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

import latentbench
from latentbench.spec import RunSpec

__all__ = [
    "SCHEMA_VERSION",
    "Artefact",
    "Environment",
    "Facts",
    "Failure",
    "Measured",
    "Phase",
    "Readout",
    "Record",
    "Stopped",
    "Training",
    "TrainingPhase",
    "Value",
]

#: The version of a record's file. A change of what a field means, or of where it stands, raises it, and
#: ``latentbench.records.migrate`` learns to bring files of the version before to the new one when they are read.
SCHEMA_VERSION: Literal[2] = 2


class _Part(BaseModel):
    """A part of a record: typed, and nothing in it that the schema does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


#: "native": the model had the capability itself; otherwise the name of the readout by which the harness read its code
#: (``latentbench.evaluation.readouts``), such as "probe".
Readout = str


class Measured(_Part):
    """When and with what a metric's values were measured, where that was not in the run itself."""

    at: str
    """ISO 8601, UTC."""
    source: Literal["predictions", "weights"]
    """What they were computed from: the predictions that the run left, or its fitted model."""
    plugin: str
    """The plugin that offered the metric: "name version"."""


def _pair(bounds: Any) -> Any:
    return tuple(bounds) if isinstance(bounds, list) else bounds  # JSON has no tuples, and a strict schema no lists


class Facts(_Part):
    """What is true of all values of one metric in a record."""

    version: int
    title: str
    higher_is_better: bool
    capability: str | None = None
    """The capability whose output the metric reads; None in records from before schema 2."""
    bounds: Annotated[tuple[float | None, float | None] | None, BeforeValidator(_pair)] = None
    """Least and greatest possible value, None for infinity; no bounds in records from before schema 2."""
    readout: Readout = "native"
    instrument: str | None = None
    """Name and hash of the weights that the metric measures with, where it has any."""
    plugin: str | None = None
    """The plugin that offers the metric, "name version"; None for a built-in one."""
    measured: Measured | None = None
    """None: in the run itself, at its end."""


class Value(Facts):
    """One measured number, with the facts of its metric."""

    value: float
    metric: str

    @model_validator(mode="after")
    def _within_bounds(self) -> "Value":
        low, high = self.bounds or (None, None)
        if (low is not None and self.value < low) or (high is not None and self.value > high):
            raise ValueError(f"{self.value} is not within the bounds {low} to {high} of metric '{self.metric}'")
        return self


class Phase(_Part):
    """What a phase of the run cost, summed over resumptions."""

    seconds: float
    peak_memory_bytes: int
    """Of the process, and of nothing else on the machine."""
    peak_device_memory_bytes: int | None = None
    images_per_second: float | None = None


#: Why training ended.
Stopped = Literal["epochs", "max_steps", "patience"]


class TrainingPhase(_Part):
    """How one of several phases of training went."""

    phase: str
    steps: int
    epochs: int
    stopped: Stopped
    best_epoch: int | None = None


class Training(_Part):
    """How the harness's loop went, in all phases together; absent for a model with its own ``fit``."""

    steps: int
    epochs: int
    stopped: Stopped
    """Of several phases, the last one."""
    best_epoch: int | None = None
    """1-based epoch whose weights were kept, with early stopping; None for several phases, which have their own."""
    losses: list[dict[str, float]] = []
    """Mean training losses of each epoch by name, and "validation" where there is such a split."""
    phases: list[TrainingPhase] = Field([], exclude_if=lambda phases: not phases)
    """Each of them, in their order, if there are several."""


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
    """Plugin that offered the model, and the dataset, by these roles: "name version"."""
    loaded: dict[str, str] = Field({}, exclude_if=lambda loaded: not loaded)
    """Every plugin in the process that is not built in, used by the run or not: name -> distribution and version."""
    kernels: dict[str, str] = Field({}, exclude_if=lambda kernels: not kernels)
    """What decides which kernels numerical libraries choose on the CPU; unknown of earlier records.

    The CPU's name does not tell: "AMD EPYC" stands for several generations."""
    variables: dict[str, str] = Field({}, exclude_if=lambda variables: not variables)
    """Environment variables by which numerical libraries compute otherwise than they would on this machine."""
    changes: list[str] = Field([], exclude_if=lambda changes: not changes)
    """What the run's plugins changed of the process, such as its default dtype: put back after each phase."""

    @property
    def machine(self) -> str:
        """The name of the CPU, or of the GPU where the run was made on one."""
        return self.cpu if self.device == "cpu" else self.device

    @property
    def short_commit(self) -> str | None:
        """The beginning of the harness's commit, and whether it had local changes; None where there was no checkout."""
        return self.commit and f"{self.commit[:12]}{' with local changes' if self.dirty else ''}"


class BatchDependence(_Part):
    """How far an image's result depends on the others in its batch, by some images that were given again."""

    change: float = Field(ge=0)
    """The largest change of a result, relative to the spread of the results; of labels, the share that changed."""
    split: str
    """Whose images were given again."""
    transductive: bool
    """Whether that is more than rounding."""


class Artefact(_Part):
    """A file that belongs to the record."""

    file: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$")
    """Its name, without a folder."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Failure(_Part):
    """Why a run failed."""

    type: str
    message: str
    traceback: str
    log: list[str] = []
    """Last lines of the run's log."""


class Record(_Part):
    """A finished or failed run."""

    schema_version: Literal[2] = SCHEMA_VERSION
    written_by: str = latentbench.__version__
    """The version of latentbench that wrote the record."""
    key: str
    status: Literal["finished", "failed"]
    spec: RunSpec
    null: bool = Field(False, exclude_if=lambda null: not null)
    """Whether the model is one that others are read against (``Model.null``)."""
    deterministic: bool = Field(False, exclude_if=lambda deterministic: not deterministic)
    """Whether every seed gives the same results (``Model.deterministic``)."""
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
    """"fit", "evaluate", and "describe": facts and pictures."""
    started: str
    """ISO 8601, UTC."""
    finished: str
    resumed: int = Field(0, ge=0)
    """How often the run was taken up again from a checkpoint."""
    environment: Environment
    facts: dict[str, float] = Field({}, exclude_if=lambda facts: not facts)
    """What the fitted model tells of itself (``Model.facts``)."""
    batches: dict[str, BatchDependence] = Field({}, exclude_if=lambda batches: not batches)
    """By capability; absent where it was not checked."""
    artefacts: dict[str, Artefact] = Field({}, exclude_if=lambda artefacts: not artefacts)
    """Pictures beside the record, by name; no table needs them."""
    predictions: Artefact | None = None
    """Per-image predictions and summaries of larger outputs, beside the record."""
    targets: Artefact | None = None
    """The truth that they are measured against, in the dataset's folder: one file for all runs on these splits."""
    weights: Artefact | None = None
    failure: Failure | None = None

    @property
    def seconds(self) -> float:
        """Wall time of all phases; 0 where the run did not come so far."""
        return sum(phase.seconds for phase in self.phases.values())

    @property
    def transductive(self) -> dict[str, float]:
        """Capabilities whose results for an image depend on the others in its batch -> how far they change."""
        return {name: found.change for name, found in self.batches.items() if found.transductive}

    def result(self) -> dict[str, Any]:
        """What must be equal in two runs of one key on a CPU: all but times, places and the road taken."""
        fields = {
            "key", "status", "spec", "values", "unmeasured", "training", "probe", "kmeans", "facts", "predictions",
            "targets",
            "weights",
        }  # fmt: skip
        return self.model_dump(mode="json", include=fields)
