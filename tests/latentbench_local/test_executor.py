"""The local executor: every run in a process of its own, so that what a plugin does to its process stays there."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from latentbench.commands.cli import main
from latentbench.records.record import Record
from latentbench.records.store import Store

FAULTS = '''
import os, signal, sys, threading, time
from functools import wraps
import numpy as np
import torch
from latentbench import Metric, Model, hookimpl

class Honest(Model):
    class Config(Model.Config):
        epochs: int = 2
    def build(self, info):
        self.weight = torch.nn.Parameter(torch.randn(info.image_numel))
    def optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)
    def score(self, images):
        return torch.relu(images.flatten(1) @ self.weight)
    def training_step(self, batch):
        return self.score(batch.images).square().mean()

class AHonest(Honest):
    """Honest, and the first of its board."""

class SysExit(Honest):
    def training_step(self, batch):
        sys.exit(0)

class OsExit(Honest):
    def training_step(self, batch):
        os._exit(0)

class Signalled(Honest):
    def training_step(self, batch):
        number = int(os.environ["SIGNAL"])
        signal.signal(number, signal.SIG_DFL)  # nohup has processes ignore SIGHUP
        os.kill(os.getpid(), number)
        time.sleep(1000)

class Endless(Honest):
    def training_step(self, batch):
        time.sleep(1000)

class Lingering(Honest):
    def build(self, info):
        super().build(info)
        threading.Thread(target=time.sleep, args=(1000,)).start()

class Doubles(Honest):
    def fit(self, train, validation, trainer):
        torch.set_default_dtype(torch.float64)
        os.chdir("/")
        np.random.rand()
        original = torch.relu
        @wraps(original)
        def patched(x):
            return -original(x)
        torch.relu = patched
        super().fit(train, validation, trainer)

class Exits(Metric):
    name, title, source = "exits", "exits", "here"
    capability, targets = "score", ("anomaly",)
    higher_is_better, bounds = True, (0.0, 1.0)
    def compute(self, evaluation):
        sys.exit(0)

class Ends(Metric):
    name, title, source = "ends", "ends", "here"
    capability, targets = "score", ("anomaly",)
    higher_is_better, bounds = True, (0.0, 1.0)
    def compute(self, evaluation):
        how = os.environ["WITH_ENDS"]
        if how == "exit":
            os._exit(0)
        elif how == "endless":
            time.sleep(1000)
        elif how == "interrupt":
            raise KeyboardInterrupt
        return 0.5

class Slow(Honest):
    steps = 0
    def training_step(self, batch):
        self.steps += 1
        time.sleep(float(os.environ.get("SECONDS_OF_A_STEP", "0")) * (self.steps > 1))
        return super().training_step(batch)

class Interrupts(Honest):
    def training_step(self, batch):
        raise KeyboardInterrupt

class LeavesItsGenerator(Honest):
    def score(self, images):
        if not torch.is_grad_enabled():
            raise GeneratorExit
        return super().score(images)
    def validation_step(self, batch):
        return torch.zeros(())

class NoException(Honest):
    def build(self, info):
        class Stop(BaseException):
            pass
        raise Stop("here")

@hookimpl
def latentbench_models():
    return [
        AHonest, SysExit, OsExit, Signalled, Endless, Lingering, Doubles, Slow, Interrupts, LeavesItsGenerator,
        NoException, Honest,
    ]

@hookimpl
def latentbench_metrics():
    return [Exits] * ("WITH_EXITS" in os.environ) + [Ends] * ("WITH_ENDS" in os.environ)

@hookimpl
def latentbench_run_finished(spec, record):
    if os.environ.get("ENDS_WHEN_FINISHED"):
        os._exit(0)
'''

Run = Callable[..., tuple[int, str, dict[str, Record]]]


@pytest.fixture
def run(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a board of the named models, two at a time: exit code, stderr, records by model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faults.py").write_text(FAULTS)

    def call(*models: str, options: tuple[str, ...] = ()) -> tuple[int, str, dict[str, Record]]:
        board = f"name: faults\ntitle: Faults\ndatasets: [toy-blobs]\nmodels: [{', '.join(models)}]\n"
        board += "twins: false\nrank: auroc@test\n"
        (tmp_path / "faults.yaml").write_text(board)
        plugins = ["--plugin", str(toys), "--plugin", "faults.py"]
        code = main([*plugins, "run", "faults.yaml", "--jobs", "2", *options])
        records = {record.spec.model: record for _, record in Store(tmp_path / "results").records()}
        return code, capsys.readouterr().err, records

    return call


def test_a_model_that_ends_the_process_is_a_failed_run_and_the_others_go_on(run: Run) -> None:
    code, err, records = run("a-honest", "sys-exit", "os-exit", "honest")
    assert code == 2
    assert {name: record.status for name, record in records.items()} == {
        "a-honest": "finished",
        "honest": "finished",
        "os-exit": "failed",
        "sys-exit": "failed",
    }
    failures = {name: record.failure.message for name, record in records.items() if record.failure}
    called = (
        r"plugin 'faults sha256:\w+': model 'sys-exit', fit\(\), step 1 called sys\.exit\(0\): a plugin must not end"
    )
    assert re.match(called, failures["sys-exit"])
    assert failures["os-exit"] == "os-exit on toy-blobs, seed 0 (fitting) ended the process with exit code 0"
    assert "2 of 4 runs failed" in err


@pytest.mark.parametrize(
    ("number", "name"), [(11, " (SIGSEGV)"), (14, " (SIGALRM)"), (6, " (SIGABRT)"), (8, " (SIGFPE)"), (40, "")]
)
def test_a_signal_that_a_run_brings_upon_itself_is_a_failure_that_names_it(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int, name: str
) -> None:
    monkeypatch.setenv("SIGNAL", str(number))
    code, err, records = run("signalled")
    assert code == 2
    failure = records["signalled"].failure
    assert failure is not None
    assert failure.type == "ProcessExit"
    told = f"signalled on toy-blobs, seed 0 (fitting) ended the process by signal {number}{name}"
    assert failure.message == told
    assert f"1 of 1 runs failed: {told} (latentbench show " in err
    assert "--retry-failed" in err


@pytest.mark.parametrize("number", [15, 1])
def test_a_run_that_is_killed_from_outside_is_named_and_resumed(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setenv("SIGNAL", str(number))
    code, err, records = run("signalled")
    assert code == 2
    assert not records
    lost = f"its process was killed by signal {number}; the same command resumes it"
    assert f"error: 1 of 1 runs did not end: signalled on toy-blobs, seed 0: {lost}\n" in err


def test_a_metric_that_ends_the_process_costs_its_own_value_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WITH_EXITS", "1")
    code, _, records = run("honest")
    assert code == 0
    assert records["honest"].unmeasured["exits@test"] == "SystemExit: 0"
    assert "auroc@test" in records["honest"].values


def test_an_endless_step_is_ended_and_recorded(run: Run) -> None:
    code, _, records = run("endless", "honest", options=("--timeout", "8"))
    assert code == 2
    assert records["honest"].status == "finished"
    assert records["endless"].failure is not None
    assert records["endless"].failure.type == "Timeout"
    assert records["endless"].failure.message == ("endless on toy-blobs, seed 0 (fitting) did not end within 8 seconds")


def test_a_thread_that_never_ends_keeps_no_run_from_ending(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentbench_local.executor._GRACE", 0.5)
    code, _, records = run("lingering")
    assert code == 0
    assert records["lingering"].status == "finished"


def test_what_a_plugin_does_to_its_process_is_told_and_reaches_no_other_run(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code, _, alone = run("honest")
    assert code == 0
    (tmp_path / "results").rename(tmp_path / "alone")
    code, _, records = run("doubles", "honest", options=("--jobs", "1"))
    assert code == 0
    assert records["honest"].values == alone["honest"].values
    assert records["honest"].environment.changes == []
    assert set(records) == {"doubles", "honest"}, (
        "its folder was left while it ran, and its record is here all the same"
    )
    changes = records["doubles"].environment.changes
    assert changes[0].startswith("fitting: torch.relu was replaced by one of module latentbench_file")
    assert changes[1:] == [
        "fitting: the default dtype became torch.float64",
        "fitting: the working folder became /",
        "fitting: NumPy's global generator was drawn from, which a resumed run does not restore",
    ]
    assert sum("torch.relu was replaced" in record.getMessage() for record in caplog.records) == 1


def test_a_plugin_that_patches_torch_when_it_is_imported_is_told_of_in_every_record(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "relu", torch.relu)  # the command imports the plugin in this process, too: put it back
    (tmp_path / "patch.py").write_text(
        "import torch\nfrom latentbench import hookimpl\n"
        "original = torch.relu\n"
        "torch.relu = lambda x: original(x) + 1\n"
        "@hookimpl\ndef latentbench_models():\n    return []\n"
    )
    code, _, records = run("honest", options=("--plugin", "patch.py"))
    assert code == 0
    (change,) = records["honest"].environment.changes
    assert re.fullmatch(
        r"importing plugins: torch\.relu was replaced by one of module latentbench_file\w*patch_py_[0-9a-f]{12}", change
    )
    loaded = records["honest"].environment.loaded
    assert set(loaded) == {"toys", "faults", "patch"}
    assert re.fullmatch(r"patch\.py sha256:[0-9a-f]{12}", loaded["patch"])


#: As when the system kills the process from which runs are forked, for want of memory.
NO_SERVER = """
import sys
from latentbench.commands.cli import main
from latentbench_local import executor
executor._context.set_forkserver_preload(["ends"])
sys.exit(main(sys.argv[1:]))
"""


def test_a_fork_server_that_ends_is_told_of_and_is_no_interrupt(toys: Path, tmp_path: Path) -> None:
    (tmp_path / "ends.py").write_text("import os; os._exit(1)")
    (tmp_path / "one.yaml").write_text(
        "name: one\ntitle: One\ndatasets: [toy-blobs]\nmodels: [pca]\nrank: auroc@test\n"
    )
    (tmp_path / "start.py").write_text(NO_SERVER)
    command = [sys.executable, "start.py", "--plugin", str(toys), "run", "one.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("latentbench: error: ")
    assert "the process from which runs are forked ended before it forked one: start the command again" in line


def test_an_executor_that_says_nothing_has_finished_nothing(run: Run) -> None:
    code, err, records = run("honest", options=("--executor", "silent"))
    assert code == 2
    assert "1 of 1 runs did not end: executor 'silent' told nothing of honest on toy-blobs, seed 0" in err
    assert not records


def test_a_failure_after_the_fit_does_not_lose_the_fit(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, records = run("nan-scores")
    assert code == 2
    failed = records["nan-scores"]
    assert failed.status == "failed"
    assert failed.weights is not None
    assert (tmp_path / "results/toy-blobs/nan-scores" / failed.weights.file).is_file()
    code, _, records = run("nan-scores", options=("--retry-failed",))
    assert code == 2
    assert records["nan-scores"].resumed == 1, "the fit was taken from its checkpoint"
    json.loads((tmp_path / "results/toy-blobs/nan-scores" / f"{failed.key}.json").read_text())


@pytest.mark.parametrize(
    ("how", "kind", "told"),
    [
        ("exit", "ProcessExit", "ended the process with exit code 0"),
        ("endless", "Timeout", "did not end within 12 seconds"),
    ],
)
def test_a_metric_that_ends_or_blocks_the_process_is_named_and_the_fit_is_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, kind: str, told: str
) -> None:
    monkeypatch.setenv("WITH_ENDS", how)
    code, err, records = run("honest", options=("--timeout", "12"))
    assert code == 2
    failed = records["honest"]
    assert failed.failure is not None
    assert failed.failure.type == kind
    where = r"honest on toy-blobs, seed 0 \(measuring plugin 'faults sha256:\w+': metric 'ends' on split 'test'\) "
    assert re.fullmatch(where + told, failed.failure.message)
    assert failed.failure.message in err
    store = Store(tmp_path / "results")
    assert failed.weights is not None
    assert store.path(failed.spec).with_name(failed.weights.file).is_file()
    assert store.predictions(store.path(failed.spec), failed), "they are there, with the hash that the record names"

    monkeypatch.setenv("WITH_ENDS", "well")
    code, _, records = run("honest", options=("--retry-failed", "--timeout", "120"))
    assert code == 0
    assert records["honest"].resumed == 1, "the fit was taken from its checkpoint"
    assert records["honest"].weights == failed.weights
    assert records["honest"].predictions == failed.predictions
    assert records["honest"].values["ends@test"].value == 0.5


def test_a_run_that_was_too_slow_goes_on_from_its_checkpoint(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECONDS_OF_A_STEP", "1000")
    code, _, records = run("slow", options=("--timeout", "8", "--checkpoint-seconds", "0"))
    assert code == 2
    assert records["slow"].failure is not None
    assert records["slow"].weights is None, "its fit has not ended"
    monkeypatch.setenv("SECONDS_OF_A_STEP", "0")
    code, _, records = run("slow", options=("--retry-failed",))
    assert code == 0
    assert records["slow"].status == "finished"
    assert records["slow"].resumed == 1


def test_files_of_an_earlier_attempt_are_not_taken_for_those_of_one_that_ended_sooner(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WITH_ENDS", "exit")
    _, _, records = run("slow")
    assert records["slow"].weights is not None
    for checkpoint in Path("results/.work").glob("*/checkpoint*.pt"):
        checkpoint.unlink()
    monkeypatch.setenv("SECONDS_OF_A_STEP", "1000")
    _, _, records = run("slow", options=("--retry-failed", "--timeout", "8"))
    assert records["slow"].weights is records["slow"].predictions is None


@pytest.mark.parametrize(
    ("model", "kind", "where"),
    [
        ("interrupts", "KeyboardInterrupt", r"fit\(\), step 1: KeyboardInterrupt"),
        ("leaves-its-generator", "GeneratorExit", r"capability 'score' on split 'test': GeneratorExit"),
        ("no-exception", "Stop", r"build\(\): Stop: here"),
    ],
)
def test_what_is_no_exception_is_a_failure_like_any_other(run: Run, model: str, kind: str, where: str) -> None:
    code, err, records = run(model)
    assert code == 2
    failure = records[model].failure
    assert failure is not None
    assert failure.type == kind
    assert re.fullmatch(rf"plugin 'faults sha256:\w+': model '{model}', {where}", failure.message)
    assert failure.message in err
    assert failure.traceback.startswith("Traceback")
    assert "faults.py" in failure.traceback


def test_a_metric_that_raises_an_interrupt_ends_no_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WITH_ENDS", "interrupt")
    code, _, records = run("honest")
    assert code == 2
    failed = records["honest"]
    assert failed.failure is not None
    assert failed.failure.type == "KeyboardInterrupt"
    assert re.match(r"measuring plugin 'faults sha256:\w+': metric 'ends' on split 'test'", failed.failure.message)
    assert failed.weights is not None
    assert failed.predictions is not None


def test_a_process_that_ends_once_its_record_is_written_costs_no_record(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENDS_WHEN_FINISHED", "1")
    code, err, records = run("honest")
    assert code == 2
    assert (
        "1 of 1 runs did not end: honest on toy-blobs, seed 0 (recording) ended the process with exit code 0; " in err
    )
    assert "its finished record is kept" in err
    assert records["honest"].status == "finished"
