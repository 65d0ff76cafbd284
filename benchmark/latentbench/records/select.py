"""One value of many runs by seed, for tables and notebooks, with an error if the runs have different settings."""

from collections.abc import Iterable, Mapping
from typing import Any

from latentbench.config import canonical
from latentbench.errors import LatentbenchError
from latentbench.records.code import code_of
from latentbench.records.record import Record
from latentbench.value_name import ValueName

__all__ = ["matching", "select"]


def select(
    records: Iterable[Record],
    *,
    value: str | ValueName,
    dataset: str | None = None,
    options: Mapping[str, Any] | None = None,
    model: str | None = None,
    config: Mapping[str, Any] | None = None,
    untrained: bool = False,
) -> dict[int, float]:
    """The value of the finished runs that match, by seed.

    Args:
        records: in any order; a run that is recorded twice counts once.
        value: name of the value, also as text: ``auroc[kl]@test/correlated``.
        dataset: the dataset's name; None fits any.
        options: option values that the dataset must have; it may have others.
        model: the model's name; None fits any.
        config: option values that the model must have; it may have others. The board's lineup has a variant's Config.
        untrained: the untrained twins of the runs instead; the two are never mixed.

    Returns:
        Seed -> value, for runs that have it, sorted by seed; empty if no run matches.

    Raises:
        LatentbenchError: the matching runs differ in more than their seeds (the message says in what); or ``value`` is
            not the name of a value.

    >>> from latentbench.records.record import Environment, Record, Value
    >>> from latentbench.spec import RunSpec
    >>> def run(seed: int, latent_dim: int, number: float) -> Record:
    ...     spec = RunSpec(model="vae", model_version=1, config={"latent_dim": latent_dim}, dataset="ood",
    ...                    dataset_version=1, options={"pair": "fashion-mnist"}, split_hash="ab", seed=seed)
    ...     made = Environment(python="3.11", platform="", packages={}, cpu="", threads=1, device="cpu", plugins={})
    ...     auroc = Value(value=number, metric="auroc", version=1, title="AUROC", higher_is_better=True)
    ...     return Record(key=spec.key, status="finished", spec=spec, values={"auroc@test": auroc}, environment=made,
    ...                   started="-", finished="-")
    >>> runs = [run(1, 4, 0.9), run(0, 4, 0.8), run(0, 3, 0.7)]
    >>> select(runs, value="auroc@test", model="vae", config={"latent_dim": 4})
    {0: 0.8, 1: 0.9}
    >>> select(runs, value="auroc@test", model="vae")
    Traceback (most recent call last):
    latentbench.errors.LatentbenchError: the runs that fit are not of one setting: config.latent_dim is 3 or 4
    """
    name = str(ValueName.parse(value) if isinstance(value, str) else value)
    found = matching(
        records, value=name, dataset=dataset, options=options, model=model, config=config, untrained=untrained
    )
    return {seed: record.values[name].value for seed, record in found.items()}


def matching(
    records: Iterable[Record],
    *,
    value: str,
    dataset: str | None = None,
    options: Mapping[str, Any] | None = None,
    model: str | None = None,
    config: Mapping[str, Any] | None = None,
    untrained: bool = False,
) -> dict[int, Record]:
    """The finished runs that match and have the value, by seed; see ``select``."""
    fitting = [
        record
        for record in records
        if record.status == "finished"
        and value in record.values
        and dataset in (None, record.spec.dataset)
        and model in (None, record.spec.model)
        and _has(record.spec.options, options or {})
        and _has(record.spec.config, config or {})
        and record.spec.untrained == untrained
    ]
    if differences := _differences(fitting, value):
        raise LatentbenchError(f"the runs that fit are not of one setting: {'; '.join(differences)}")
    return {record.spec.seed: record for record in sorted(fitting, key=lambda one: one.spec.seed)}


def _has(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in given and given[name] == value for name, value in wanted.items())


def _differences(records: Iterable[Record], value: str) -> list[str]:
    """How the runs or measurements of the value differ besides their seeds: ``config.latent_dim is 3 or 4``."""
    settings = []
    for record in records:
        spec = record.spec.model_dump(mode="json", exclude={"seed"})
        spec["threads"] = record.spec.threads
        nested = {name: spec.pop(name) for name in ("config", "options", "budget")}
        spec |= {f"{part}.{name}": given for part, values in nested.items() for name, given in values.items()}
        measured = record.values[value]
        spec |= {f"{role}'s code": plugin for role, plugin in code_of(record).items()}
        settings.append(spec | {"metric version": measured.version, "metric's code": measured.plugin})
    names = dict.fromkeys(name for setting in settings for name in setting)
    found = {
        name: sorted({canonical(setting[name]) if name in setting else "absent" for setting in settings})
        for name in names
    }
    return [f"{name} is {' or '.join(values)}" for name, values in found.items() if len(values) > 1]
