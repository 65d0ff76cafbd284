"""Carry out a case through the harness, and hold what comes of it against the golden record."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file

from latentbench import Execution, Plugins, RunSpec, Store, Task, content_hash, execute, load_data
from latentbench.capabilities import PER_IMAGE
from latentbench.running.provenance import kernels
from latentbench.spec import Budget
from tests.golden.cases import Case

__all__ = ["RECORDS", "Machine", "Replay", "builtin_models", "compare", "digest", "read", "replay", "setting"]

RECORDS = Path(__file__).with_name("records")

#: Builds that decide the last bits beside the CPU.
_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn")

#: Where numbers near 1 cancel, as in the mean of standardized features, what is left is the rounding of float32.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Machine:
    """What decides the last bits of a run on one thread: two machines that are equal here are expected to agree."""

    packages: dict[str, str]
    cpu: str
    """Vendor, family, model and cache size: the name alone ("AMD EPYC") stands for several generations."""
    capability: str
    """The vector instructions that PyTorch's kernels use, "AVX2" or "AVX512"."""
    simd: str
    """A digest of all vector instructions that the CPU says it has: MKL and oneDNN choose kernels by them."""

    @classmethod
    def here(cls) -> "Machine":
        """The machine that this process runs on, with the kernels that it uses."""
        packages = {name: version(name) for name in _PACKAGES} | {"torch": torch.__version__}
        return cls(packages=packages, **kernels())


@dataclass(frozen=True)
class Replay:
    """What a run came to."""

    versions: dict[str, int]
    """Of the model, the dataset, the harness and every metric that gave one of the values."""
    values: dict[str, float]
    """The record's values, those of parts left out; beside them the mean of every score and the norm of every weight,
    which feel changes that leave the ranks of a few hundred images alone."""
    weights: str
    """Digest of the fitted model's state."""
    predictions: str
    """Digest of the predictions."""


def builtin_models(plugins: Plugins) -> list[str]:
    """The models that latentbench itself ships."""
    return [name for name, offer in plugins.offers("models").items() if offer.plugin.builtin]


def replay(case: Case, plugins: Plugins, folder: Path) -> Replay:
    """Carry out the case in ``folder``, which should be empty.

    Raises:
        AssertionError: the run failed.
    """
    model, dataset = plugins.get("models", case.model).value, plugins.get("datasets", case.dataset).value
    options = dataset.Config.parse(case.options, f"dataset '{case.dataset}'").model_dump(mode="json")
    spec = RunSpec(
        model=case.model,
        model_version=model.version,
        config=model.configure(case.dataset, case.config).model_dump(mode="json"),
        dataset=case.dataset,
        dataset_version=dataset.version,
        options=options,
        split_hash=load_data(plugins, case.dataset, options, folder).split_hash,
        seed=case.seed,
        budget=Budget(max_steps=case.max_steps),
    )
    outcome = execute(Task(spec, Execution(out=folder, data_root=folder)), plugins)
    assert outcome.status == "finished", outcome.message

    store = Store(folder)
    path, record = store.find(spec.key)
    kept, weights = store.predictions(path, record), load_file(path.with_suffix(".safetensors"))
    # What a model gave for each image; not the summaries of larger outputs, whose length depends on ties.
    predictions = {name: array for name, array in kept.items() if name.split("/")[1] in PER_IMAGE}
    measured = {name: value for name, value in sorted(record.values.items()) if "[" not in name}
    values = {name: value.value for name, value in measured.items()}
    scores = {name: array for name, array in predictions.items() if np.issubdtype(array.dtype, np.floating)}
    values |= {f"mean of {name}": float(array.astype(np.float64).mean()) for name, array in scores.items()}
    values |= {f"norm of {name}": _norm(array) for name, array in weights.items()}
    metrics = {value.metric: value.version for value in measured.values()}
    return Replay(
        versions={
            f"model '{case.model}'": spec.model_version,
            f"dataset '{case.dataset}'": spec.dataset_version,
            "HARNESS_VERSION": spec.harness_version,
            **{f"metric '{name}'": version for name, version in sorted(metrics.items())},
        },
        values=values,
        weights=content_hash(weights),
        predictions=content_hash(predictions),
    )


def _norm(array: npt.NDArray[Any]) -> float:
    """Euclidean, without BLAS, whose sums depend on the number of threads."""
    return float(np.sqrt(np.square(array.astype(np.float64)).sum()))


def setting(case: Case) -> dict[str, Any]:
    """The case as JSON has it."""
    return dict(json.loads(json.dumps({**asdict(case), "options": case.options})))


def digest(values: Mapping[str, float]) -> str:
    """Of values, bit for bit."""
    return content_hash({name: float(value).hex() for name, value in values.items()})


def read(case: Case) -> dict[str, Any] | None:
    """The golden record of the case, or None.

    ``case`` and ``versions`` say what was run; ``values`` gives for each name what is expected and by how much another
    CPU may differ; ``machines`` gives the digests that are expected on the machines where it was made.
    """
    file = RECORDS / f"{case.name}.json"
    return dict(json.loads(file.read_text())) if file.exists() else None


def compare(case: Case, golden: Mapping[str, Any] | None, found: Replay, machine: Machine) -> list[str]:
    """What is wrong, one line each; nothing where the results are those of the golden record.

    Bit for bit on a machine that the record knows, within its margins elsewhere. A metric or a prediction that is new
    is not looked at: it joins when the record is made the next time.
    """
    remake = f"python -m tests.golden.make {case.model}"
    if golden is None:
        return [f"model '{case.model}' has no golden record '{case.name}': make it with `{remake}`"]
    if golden["case"] != setting(case):
        return [f"the case '{case.name}' is another one than its golden record was made of: make that with `{remake}`"]
    raised = [
        f"the version of {what} is {found.versions[what]} and was {version}"
        for what, version in golden["versions"].items()
        if found.versions.get(what, version) != version
    ]
    if raised:
        return [f"'{case.name}': {', '.join(raised)}: make the golden record again with `{remake}`"]

    expected: dict[str, list[float]] = golden["values"]
    wrong = [f"{name} is gone" for name in expected if name not in found.values]
    common = {name: found.values[name] for name in expected if name in found.values}
    wrong += [
        f"{name} is {common[name]!r}, expected {value!r} within {margin:.2g}"
        for name, (value, margin) in expected.items()
        if name in common and not abs(common[name] - value) <= max(margin, ROUNDING)
    ]
    here = asdict(machine)
    known = next((entry for entry in golden["machines"] if entry["machine"] == here), None)
    where = "beyond what another CPU may do"
    if known is not None:
        where = "on a machine where they were bit for bit the same"
        digests = {"weights": found.weights, "predictions": found.predictions, "values": digest(common)}
        wrong += [f"{what} have another digest" for what, its in digests.items() if known[what] != its]
    if not wrong:
        return []
    more = f", and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return [
        f"'{case.name}': results changed {where}, and no version was raised ({'; '.join(wrong[:5])}{more}). If that is "
        f"meant, raise the version of what changed, of model '{case.model}' or of its dataset, metric or harness, and "
        f"make the golden record again with `{remake}`"
    ]
