"""Records as a pandas data frame, for analyses beyond the leaderboards."""

from os import PathLike
from pathlib import Path

import pandas as pd

from latentbench.records.store import Store

__all__ = ["values_frame"]


def values_frame(results: str | PathLike[str], *, untrained: bool = False) -> pd.DataFrame:
    """Every measured value of every finished run in a results folder, a line each.

    Args:
        results: the folder.
        untrained: the untrained twins instead; the two never stand in one frame.

    Returns:
        Columns ``key, model, dataset, split_hash, seed, value_name, metric, version, readout, higher_is_better, value,
        fit_seconds``; then ``model.OPTION`` and ``dataset.OPTION`` for every option of any run, missing where a run has
        no such option. Sorted by dataset, model, key and value name.
    """
    lines = [
        {
            "key": record.key,
            "model": record.spec.model,
            "dataset": record.spec.dataset,
            "split_hash": record.spec.split_hash,
            "seed": record.spec.seed,
            "value_name": name,
            "metric": value.metric,
            "version": value.version,
            "readout": value.readout,
            "higher_is_better": value.higher_is_better,
            "value": value.value,
            "fit_seconds": record.phases["fit"].seconds if "fit" in record.phases else None,
            **{f"model.{option}": chosen for option, chosen in record.spec.config.items()},
            **{f"dataset.{option}": chosen for option, chosen in record.spec.options.items()},
        }
        for _, record in Store(Path(results)).records()
        if record.status == "finished" and record.spec.untrained == untrained
        for name, value in record.values.items()
    ]
    frame = pd.DataFrame(lines)
    return frame.sort_values(["dataset", "model", "key", "value_name"], ignore_index=True) if lines else frame
