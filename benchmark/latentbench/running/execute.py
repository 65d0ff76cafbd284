"""One run from its spec to its record: data, model, fit, evaluation, and a record whatever happens."""

import json
import logging
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from latentbench.config import format_options
from latentbench.data.splits import Data
from latentbench.devices import NoDeviceError, cpu_threads, open_device
from latentbench.errors import LatentbenchError, blame, describe, is_interrupt, origin
from latentbench.evaluation.collecting import collect, refuse_transductive
from latentbench.evaluation.facts import facts_of
from latentbench.evaluation.kept import kept_targets
from latentbench.evaluation.measuring import measure
from latentbench.evaluation.pictures import make_pictures
from latentbench.evaluation.predictions import Predictions
from latentbench.evaluation.replicates import keep_replicates
from latentbench.executor import Outcome, Progress, Task
from latentbench.files import StorageError, replacing
from latentbench.metric import why_unavailable
from latentbench.model import Model
from latentbench.plugins.contracts import KindName
from latentbench.plugins.process_state import ProcessState
from latentbench.plugins.registry import Offer, Plugins
from latentbench.records.code import is_stale, present_code, with_plugins
from latentbench.records.record import Artefact, BatchDependence, Environment, Failure, Record
from latentbench.records.store import BusyError, Store
from latentbench.running.asked import check_data
from latentbench.running.provenance import Meter, environment
from latentbench.running.supervision import check_supervision
from latentbench.running.training import TrainingLoop
from latentbench.spec import RunSpec
from latentbench.value_name import ValueName

__all__ = ["checkpoint_path", "execute", "give_up", "load_data"]

log = logging.getLogger("latentbench")


def execute(
    task: Task, plugins: Plugins | None = None, progress: Callable[[Progress], None] = lambda _: None
) -> Outcome:
    """Carry out one run, or resume it, and write its record.

    Call it in a process that has carried out nothing else: what plugins change of the process is reported and put back,
    but not every change can be detected.

    A finished run is left alone, unless other code made it and the task asks for such runs to be made again. Whatever a
    plugin raises becomes a failed record. A run is "lost", and stays unfinished, if its record cannot be written, if
    another process holds it, or if its device is missing.

    Args:
        task: the run, and how to carry it out.
        plugins: by default those that are installed and the task's files are loaded.
        progress: called with how far the run has come.
    """
    untouched = ProcessState.now()
    if plugins is None:
        plugins = Plugins.load(task.execution.plugin_files, trial=False)
    kinds: tuple[KindName, ...] = ("models", "datasets", "metrics")
    for kind in kinds:
        plugins.offers(kind)
    changes = [f"importing plugins: {change}" for change in untouched.undo()]
    spec, store = task.spec, Store(task.execution.out.absolute())  # wherever a plugin goes in the meantime
    try:
        with open_device(task.execution.device) as device, store.lock(spec):
            record = store.read(spec)
            if record is not None and task.execution.rerun and is_stale(record, plugins):
                store.discard_record(spec)
                record = None
            if record is None or record.status == "failed":
                started = ProcessState.now()
                plugins.notify("latentbench_run_started", spec=spec)
                changes += _undone(started, "latentbench_run_started()", spec)
                with cpu_threads(spec.threads):
                    record = _run(task, device, plugins, changes, store, progress)
                keep_replicates(store.path(spec), record, store, plugins.offers("metrics"))
                store.save_record(record, resumable=record.weights is not None and record.status == "failed")
                plugins.notify("latentbench_run_finished", spec=spec, record=record)
    except (StorageError, BusyError, NoDeviceError) as error:
        return Outcome(spec.key, "lost", str(error))
    return Outcome(spec.key, record.status, record.failure.message if record.failure else "")


def give_up(task: Task, kind: str, reason: str) -> Outcome:
    """Record that a run failed whose process can no longer do so itself.

    What it had come to stays: the record names the weights and predictions that it wrote, and its checkpoint is there
    for when it is made again. A finished record is left alone: the run is then "lost", because its process did not end
    as it should.

    Args:
        task: the run.
        kind: of the failure, in one word: "Timeout".
        reason: one line for the user.
    """
    now, store = _now(), Store(task.execution.out)
    there = store.read(task.spec)
    if there is not None and there.status == "finished":
        return Outcome(task.spec.key, "lost", f"{reason}; its finished record is kept")
    record = Record(
        key=task.spec.key,
        status="failed",
        spec=task.spec,
        started=now,
        finished=now,
        environment=environment(torch.device("cpu"), plugins={}).model_copy(update={"threads": task.spec.threads}),
        failure=Failure(type=kind, message=reason, traceback=""),
        **_Written(store, task.spec).read(),
    )
    try:
        store.save_record(record, resumable=True)
    except StorageError as error:
        return Outcome(task.spec.key, "lost", str(error))
    return Outcome(task.spec.key, "failed", reason)


def checkpoint_path(store: Store, spec: RunSpec) -> Path:
    """Where the checkpoint of an unfinished run is, if it has one."""
    return store.work(spec) / "checkpoint.pt"


def load_data(
    plugins: Plugins,
    dataset: str,
    options: dict[str, Any],
    data_root: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> Data:
    """The dataset made ready; the last two are kept, because the runs of a board share theirs.

    Args:
        plugins: where it comes from.
        dataset: its name.
        options: its options.
        data_root: folder of the datasets.
        progress: called with a title, what is done and of how much, while something is prepared.

    Raises:
        LatentbenchError: its files are missing or corrupt, or it breaks a promise that is quickly checked.
        Exception: whatever else its plugin raises, with a note of whose it is.
    """
    offer = plugins.get("datasets", dataset)
    with blame(offer.plugin.blamed_for(f"dataset '{dataset}', load()")):
        return _load_data(offer.value, json.dumps(options, sort_keys=True), data_root, progress)


@lru_cache(maxsize=2)
def _load_data(
    dataset: type[Any], options: str, data_root: Path, progress: Callable[[str, int, int], None] | None = None
) -> Data:
    made = dataset(dataset.Config.parse(json.loads(options), f"dataset '{dataset.name}'"))
    if progress is not None:
        made.progress = partial(progress, f"preparing {dataset.name}")
    loaded = made.load(data_root)
    check_data(dataset.name, loaded)
    data: Data = loaded
    return data


def _changed_data(plugins: Plugins, spec: RunSpec, data: Data, data_root: Path) -> LatentbenchError:
    """Why the data are not those that the run was planned with: they are loaded once more, to tell."""
    _load_data.cache_clear()
    again = load_data(plugins, spec.dataset, spec.options, data_root)
    if again.split_hash == data.split_hash:
        mend = "start it again; if that does not help, what load() gives depends on the process, as a set's order does"
        return LatentbenchError(f"dataset '{spec.dataset}' has changed since the run was planned", mend)
    hashes = ", ".join(one[:12] for one in (spec.split_hash, data.split_hash, again.split_hash))
    return LatentbenchError(
        f"dataset '{spec.dataset}' is another one each time it is loaded (split hashes {hashes})",
        "let load() depend on its options and files alone: seed every generator, sort every listing",
    )


def _run(
    task: Task,
    device: torch.device,
    plugins: Plugins,
    changes: list[str],
    store: Store,
    progress: Callable[[Progress], None],
) -> Record:
    """Fit and evaluate; returns the record, finished or failed, with the artefacts that it names already written.

    ``changes`` is what plugins have changed of the process, to which more is added.
    """
    spec, execution = task.spec, task.execution
    started = _now()
    tail = _Tail()
    log.addHandler(tail)
    offers: dict[str, Offer] = {}
    trainer: TrainingLoop | None = None
    last_step = last_total = 0
    phase, state = "starting", ProcessState.now()
    weights, kept, measured = None, None, ""
    written = _Written(store, spec)
    written.clear()
    batches: dict[str, BatchDependence] = {}

    def enter(next_phase: str) -> None:
        """End a phase, put back what a plugin changed of the process in it, and begin the next one."""
        nonlocal phase, state
        changes.extend(_undone(state, phase, spec))
        phase, state = next_phase, ProcessState.now()
        log.info("%s: %s", spec, phase)
        progress(Progress(spec.key, last_step, last_total, phase=phase))

    def notify(step: int, total: int, losses: dict[str, float]) -> None:
        nonlocal last_step, last_total
        last_step, last_total = step, total
        progress(Progress(spec.key, step, total, losses, phase))
        plugins.notify("latentbench_run_progress", spec=spec, step=step, total=total, losses=losses)

    def announce(name: str, split: str) -> None:
        """Say which metric is measured now: whoever sees the process end can then name it."""
        nonlocal measured
        measured = " " + plugins.get("metrics", name).plugin.blamed_for(f"metric '{name}' on split '{split}'")
        progress(Progress(spec.key, last_step, last_total, phase=phase + measured))

    try:
        offers = {"model": plugins.get("models", spec.model), "dataset": plugins.get("datasets", spec.dataset)}
        metrics = plugins.values("metrics")
        enter("loading data")
        data = load_data(plugins, spec.dataset, spec.options, execution.data_root)
        if data.split_hash != spec.split_hash:
            raise _changed_data(plugins, spec, data, execution.data_root)
        data = data.to(device)

        model_class = offers["model"].value
        whose = offers["model"].plugin.blamed_for(f"model '{spec.model}'")
        if "attributes" in model_class.needs:
            check_supervision(spec.model, data, device)
        enter("building the model")
        torch.manual_seed(spec.seed)
        with blame(f"{whose}, build()"):
            model = model_class(model_class.Config.parse(spec.config, f"model '{spec.model}'"), data.info).to(device)
        trainer = TrainingLoop(
            device=device,
            seed=spec.seed,
            max_steps=spec.budget.max_steps,
            checkpoint=checkpoint_path(store, spec),
            code=present_code(spec, plugins),
            checkpoint_seconds=execution.checkpoint_seconds,
            notify=notify,
        )
        _import_optimizers()
        enter("fitting")
        loop = trainer
        named, where = _in_words(spec, offers), lambda: f"{whose}, fit(){f', step {loop.step}' if loop.step else ''}"
        with blame(where), _named_in_warnings(named), Meter(device) as fit:
            model.fit(data.train, data.validation, trainer)
        if spec.untrained and trainer.training is None:
            what = f"model '{spec.model}' trains in a loop of its own, so it has no untrained twin"
            raise LatentbenchError(what, "derive its Config from latentbench.Options, not from Model.Config")
        with blame(f"{whose}, its state"):
            learned = model.state_dict()
            weights = store.save_weights(spec, learned)
            written.note(weights=weights)
        if not learned and not model_class.null:
            log.warning(
                "%s: the fitted model has no parameters and no buffers, so %s is empty and gives its results to nobody "
                "again: keep what fit() learns in buffers",
                *(spec, weights.file),
            )
        enter("evaluating")
        with Meter(device) as evaluate:
            predictions = collect(
                model, data, metrics, owner=str(offers["model"].plugin), device=device, seed=spec.seed
            )
            kept = store.save_predictions(spec, predictions.per_image)
            written.note(weights=weights, predictions=kept)
            batches = dict(predictions.batches)
            if not execution.transductive:
                refuse_transductive(spec.model, predictions)
            truth = store.save_targets(spec, kept_targets(data))  # before any metric sees it
            enter("measuring")
            measurement = measure(predictions, data, metrics, announce)
            if measurement.kept:
                kept = store.save_predictions(spec, {**predictions.per_image, **measurement.kept})
                written.note(weights=weights, predictions=kept)
        enter("describing the model")
        with Meter(device) as described:
            facts = _facts(model, spec, device)
            artefacts = {} if spec.untrained else _pictures(model, data, predictions, spec, offers, store, device)
        enter("recording")
        for name, reason in measurement.unmeasured.items():
            metric = plugins.get("metrics", ValueName.parse(name).metric)
            if reason != why_unavailable(metric.value):
                log.warning("%s: no %s: %s", spec, name, metric.plugin.blamed_for(reason))
        return Record(
            key=spec.key,
            status="finished",
            spec=spec,
            null=model_class.null,
            deterministic=model_class.deterministic,
            values=with_plugins(measurement.values, plugins.offers("metrics")),
            unmeasured=dict(measurement.unmeasured),
            training=trainer.training,
            probe=dict(predictions.readouts.get("probe", {})),
            kmeans={facet: int(count) for facet, count in predictions.readouts.get("k-means", {}).items()},
            parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
            phases={
                "fit": fit.phase(trainer.images, trainer.earlier_seconds),
                "evaluate": evaluate.phase(predictions.images),
                "describe": described.phase(0),
            },
            started=started,
            finished=_now(),
            resumed=trainer.resumed,
            environment=_environment(device, offers, plugins, changes),
            facts=facts,
            batches=batches,
            artefacts=artefacts,
            predictions=kept,
            targets=truth,
            weights=weights,
        )
    except StorageError:
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        log.debug("run %s failed", spec.key, exc_info=True)
        offer = offers.get("model")
        return Record(
            key=spec.key,
            status="failed",
            spec=spec,
            null=offer is not None and offer.value.null,
            deterministic=offer is not None and offer.value.deterministic,
            started=started,
            finished=_now(),
            resumed=trainer.resumed if trainer else 0,
            environment=_environment(device, offers, plugins, changes),
            batches=batches,
            predictions=kept,
            weights=weights,
            failure=Failure(
                type=type(error).__name__,
                message=_reason(error, spec, phase + measured if phase == "measuring" else phase),
                traceback="".join(traceback.format_exception(error)),
                log=list(tail.lines),
            ),
        )
    finally:
        log.removeHandler(tail)


def _undone(state: ProcessState, what: str, spec: RunSpec) -> list[str]:
    """What has changed of the process since, put back, with what changed it; each is warned of."""
    changes = [f"{what}: {change}" for change in state.undo()]
    for change in changes:
        log.warning("%s, %s", spec, change)
    return changes


def _in_words(spec: RunSpec, offers: Mapping[str, Offer]) -> str:
    """The run with the dataset's options that differ from its defaults, such as the category."""
    defaults = offers["dataset"].value.Config.model_construct().model_dump(mode="json", warnings=False)
    options = {name: value for name, value in spec.options.items() if value != defaults.get(name)}
    return spec.called(spec.model, f"{spec.dataset} ({format_options(options)})" if options else spec.dataset)


@contextmanager
def _named_in_warnings(run: str) -> Iterator[None]:
    """Warnings that are logged meanwhile begin with the run: a model knows neither its dataset nor its seed."""

    def name(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            record.msg = f"{run.replace('%', '%%') if record.args else run}: {record.msg}"
        return True

    log.addFilter(name)
    try:
        yield
    finally:
        log.removeFilter(name)


def _facts(model: Model, spec: RunSpec, device: torch.device) -> dict[str, float]:
    """What the model tells of itself; nothing, with a warning, where that fails: it costs no run its results."""
    try:
        return facts_of(model, device, spec.seed)
    except (Exception, SystemExit) as error:
        log.warning("%s: no facts: %s", spec, describe(error))
        return {}


def _pictures(
    model: Model,
    data: Data,
    predictions: Predictions,
    spec: RunSpec,
    offers: Mapping[str, Offer],
    store: Store,
    device: torch.device,
) -> dict[str, Artefact]:
    """The run's pictures, written; each that cannot be made is left out with a warning."""
    try:
        pictures, failures = make_pictures(
            model, data, predictions, title=str(spec), owner=str(offers["model"].plugin), device=device, seed=spec.seed
        )
    except (Exception, SystemExit) as error:
        pictures, failures = {}, {"pictures": describe(error)}
    for name, reason in failures.items():
        log.warning("%s: no picture '%s': %s", spec, name, reason)
    published = offers["dataset"].value.redistributable
    return {
        name: store.save_picture(spec, name, picture.png, publishable=published or not picture.shows_data)
        for name, picture in pictures.items()
    }


def _import_optimizers() -> None:
    """PyTorch imports its compiler, for seconds, when the first optimizer is made: that time is not the run's."""
    torch.optim.SGD([torch.zeros(1)])


def _reason(error: BaseException, spec: RunSpec, phase: str) -> str:
    """Why the run failed, as one line for a user: in whose code, in which phase, what, and the mend."""
    where = origin(error) or phase
    if isinstance(error, SystemExit):
        return f"{where} called sys.exit({error.code!r}): a plugin must not end the process"
    if isinstance(error, torch.OutOfMemoryError):
        batch_size = spec.config.get("batch_size") if phase == "fitting" else None
        mend = f"lower batch_size (now {batch_size})" if batch_size else "choose a larger one, or a smaller model"
        return f"{where}: out of memory on the device: {mend}"
    return describe(error) if isinstance(error, LatentbenchError) or origin(error) else f"{where}: {describe(error)}"


def _environment(device: torch.device, offers: dict[str, Offer], plugins: Plugins, changes: list[str]) -> Environment:
    return environment(
        device,
        plugins={role: str(offer.plugin) for role, offer in offers.items()},
        loaded={info.name: f"{info.distribution} {info.version}" for info in plugins.infos() if not info.builtin},
        distributions=[offer.plugin.distribution for offer in offers.values()],
        changes=changes,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class _Written:
    """A note in the run's work folder of what it has written, for a record that its own process cannot write."""

    def __init__(self, store: Store, spec: RunSpec) -> None:
        self._path = store.work(spec) / "written"

    def clear(self) -> None:
        """Nothing is written yet: the files of an earlier attempt are not this one's."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def note(self, **written: Artefact | None) -> None:
        """These are written."""
        content = {name: artefact.model_dump(mode="json") for name, artefact in written.items() if artefact is not None}
        with replacing(self._path) as file:
            file.write(json.dumps(content).encode())

    def read(self) -> dict[str, Any]:
        """What was written, by the record's names; nothing where the note cannot be read."""
        try:
            content = json.loads(self._path.read_bytes())
            return {
                name: Artefact.model_validate(content[name]) for name in ("weights", "predictions") if name in content
            }
        except (OSError, ValueError, TypeError):
            return {}


class _Tail(logging.Handler):
    """Keeps the last lines that were logged, for a failure's record."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: deque[str] = deque(maxlen=50)

    def emit(self, record: logging.LogRecord) -> None:
        stamp = time.strftime("%H:%M:%S", time.gmtime(record.created))
        self.lines.append(f"{stamp} {record.levelname} {record.getMessage()}")
