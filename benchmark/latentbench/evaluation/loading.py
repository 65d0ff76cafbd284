"""A finished run's model with its weights, without training: for evaluation, for scoring, and for notebooks."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from latentbench.data.splits import Data, DataInfo
from latentbench.devices import resolve_device
from latentbench.errors import LatentbenchError, blame, command_line
from latentbench.evaluation.kept import kept_data
from latentbench.model import Model
from latentbench.plugins.registry import Plugins
from latentbench.records.code import code_of, describe_change, present_code
from latentbench.records.record import Record
from latentbench.records.store import Store

__all__ = ["LoadedRun", "info_of", "load_model", "load_run", "load_run_data", "repeat_command"]


@dataclass(frozen=True)
class LoadedRun:
    """A finished run, as ``load_run`` gives it."""

    record: Record
    """What was measured, how, where and at what cost."""
    model: Model
    """In eval mode, on ``device``."""
    info: DataInfo
    """The shape of the images that the model takes, and the attributes of its dataset."""
    device: torch.device
    plugins: Plugins

    def data(self, data_root: str | Path = "data") -> Data:
        """The run's dataset, on the model's device.

        Raises:
            LatentbenchError: it is not there, or is not the one that the run had.
        """
        return load_run_data(self.record, self.plugins, Path(data_root)).to(self.device)


def load_run(
    run: str,
    results: str | Path = "results",
    *,
    device: str = "auto",
    data_root: str | Path = "data",
    plugins: Sequence[str | Path] = (),
) -> LoadedRun:
    """Load the record of a finished run, and its model with the weights.

    Args:
        run: a key or its beginning, "last", or "model/dataset/seed".
        results: folder of the records.
        device: where the model is to be: "cpu", "cuda", "cuda:1"; "auto" is CUDA where it is available, else the CPU.
        data_root: folder of the datasets; it is read only where the run's targets do not lie beside its record.
        plugins: plugin files to load, as ``--plugin`` does.

    Raises:
        LatentbenchError: there is no such run, or it failed; its weights were not kept (the message has the command
            that makes them again) or were made by other code; or there is no such device.
    """
    store, loaded = Store(Path(results)), Plugins.load([Path(file) for file in plugins])
    path, record = store.find(run)
    where = torch.device(resolve_device(device))
    info = info_of(path, record, store, loaded, Path(data_root))
    return LoadedRun(record, load_model(path, record, store, loaded, info).to(where), info, where, loaded)


def info_of(path: Path, record: Record, store: Store, plugins: Plugins, data_root: Path) -> DataInfo:
    """What the model knew of its dataset: from the targets beside the record, or else from the dataset.

    Raises:
        LatentbenchError: neither is there.
    """
    if record.targets is not None and (path.parent.parent / record.targets.file).is_file():
        return kept_data(store.targets(path, record)).info
    return load_run_data(record, plugins, data_root).info


def load_model(path: Path, record: Record, store: Store, plugins: Plugins, info: DataInfo) -> Model:
    """The fitted model of a run, on the CPU and in eval mode.

    Args:
        path: of the record.
        record: of the run.
        store: the folder that it lies in.
        plugins: where its model comes from.
        info: of its dataset.

    Raises:
        LatentbenchError: the run failed, its weights are not beside its record or are not those that it names, or the
            model's code or version is another one.
    """
    from safetensors.torch import load

    spec = record.spec
    if record.status != "finished":
        raise LatentbenchError(f"run {record.key} ({spec}) failed", "make it again with --retry-failed")
    if record.weights is None or not (file := path.parent / record.weights.file).is_file():
        what = f"the weights of run {record.key} ({spec}) are not beside its record"
        raise LatentbenchError(what, f"make them again with: {repeat_command(record, store)}")
    content = file.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != record.weights.sha256:
        raise LatentbenchError(f"{file} has SHA-256 {found}", f"its record expects {record.weights.sha256}")
    offer = plugins.get("models", spec.model)
    if offer.value.version != spec.model_version:
        what = f"its weights are of version {spec.model_version} of model '{spec.model}'"
        raise LatentbenchError(what, f"this is version {offer.value.version}, so run it again")
    then, now = code_of(record), present_code(spec, plugins)
    if then.get("model") != now.get("model"):
        what = f"its weights were made by other code of model '{spec.model}'"
        raise LatentbenchError(what, f"{describe_change(then, now)}; so run it again with --rerun")
    with blame(offer.plugin.blamed_for(f"model '{spec.model}', build() and its state")):
        model: Model = offer.value(offer.value.Config.parse(spec.config, f"model '{spec.model}'"), info)
        model.load_state_dict(load(content))
    return model.eval()


def repeat_command(record: Record, store: Store) -> str:
    """The command that makes a run again, and with it its weights."""
    return command_line("repeat", record.key, "--results", store.root, "--out", "repeated")


def load_run_data(record: Record, plugins: Plugins, data_root: Path) -> Data:
    """The dataset of the run, checked by its split hash.

    Raises:
        LatentbenchError: it is not there, or is not the one that the run had.
    """
    spec = record.spec
    offer = plugins.get("datasets", spec.dataset)
    with blame(offer.plugin.blamed_for(f"dataset '{spec.dataset}', load()")):
        data: Data = offer.value(offer.value.Config.parse(spec.options, f"dataset '{spec.dataset}'")).load(data_root)
    if data.split_hash != spec.split_hash:
        raise LatentbenchError(
            f"dataset '{spec.dataset}' in {data_root} has another split hash than the run's", "name another --data-root"
        )
    return data
