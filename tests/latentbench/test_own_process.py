"""The process of a command itself: what plugins do to it reaches no other plugin, and no file goes astray."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from latentbench.commands.cli import main
from latentbench.commands.common import outliving_os_exit, watched
from latentbench.errors import LatentbenchError
from latentbench.records.store import Store

BLOBS = """
import os, time
import numpy as np
import torch
from latentbench import Data, DataInfo, Dataset, Options, Role, StoredSplit, Targets, hookimpl

class Odd(Dataset):
    name = "odd"
    title, licence, citation, source = "Odd", "CC0-1.0", "none", "this file"

    class Config(Options):
        size: int = 40

    def load(self, data_root):
        {fault}
        splits = {{}}
        for number, role in enumerate(Role):
            images = np.random.default_rng(number).integers(0, 256, (self.config.size, 1, 8, 8), dtype=np.uint8)
            anomaly = (np.arange(self.config.size) % 4 == 0).astype(np.uint8) if role is Role.TEST else None
            splits[str(role)] = StoredSplit(role, torch.from_numpy(images), Targets(anomaly=anomaly))
        return Data(DataInfo(1, 8, 8, self.config.size), splits)

@hookimpl
def latentbench_datasets():
    return [Odd]
"""
BOARD = "name: b\ntitle: B\ndatasets: [{datasets}]\nmodels: [null-brightness]\nseeds: 1\ntwins: false\nrank: {rank}\n"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toys: Path) -> Run:
    """Runs a board of the datasets odd, whose load begins with ``fault``, and toy-blobs; with ``source`` as a plugin.

    Returns exit code, stdout and stderr. Paths are relative.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "else").mkdir()

    def call(
        *options: str, fault: str = "pass", source: str = "", datasets: str = "odd, toy-blobs"
    ) -> tuple[int, str, str]:
        (tmp_path / "odd.py").write_text(BLOBS.format(fault=fault))
        (tmp_path / "source.py").write_text(source)
        rank = "auroc@test/correlated" if datasets == "digits-shift" else "auroc@test"
        (tmp_path / "b.yaml").write_text(BOARD.format(datasets=datasets, rank=rank))
        plugins = ["--plugin", "odd.py", "--plugin", str(toys), *(["--plugin", "source.py"] if source else [])]
        code = main([*plugins, "run", "b.yaml", "--out", "out", "--jobs", "1", *options])
        return code, *capsys.readouterr()

    return call


def of(path: str) -> set[str]:
    """The datasets that have finished runs in a folder."""
    return {record.spec.dataset for _, record in Store(Path(path)).records() if record.status == "finished"}


HOOK = "from latentbench import hookimpl\n@hookimpl\ndef latentbench_models():\n    {}\n    return []\n"


def test_a_dataset_that_leaves_the_folder_sends_no_record_elsewhere(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code, out, _ = run(fault="os.chdir('else')")
    assert code == 0
    assert "their records are in out" in out
    assert of("out") == {"odd", "toy-blobs"}
    assert list((tmp_path / "else").iterdir()) == []
    told = [record.getMessage() for record in caplog.records if "process of the command" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("plugin 'odd sha256:")
    assert told[0].endswith(
        f"dataset 'odd', load() changed the process of the command: the working folder became {tmp_path / 'else'}; "
        "it is put back"
    )


@pytest.mark.parametrize(
    ("source", "where"),
    [("import os\nos.chdir('else')\n" + HOOK.format("pass"), "its import"),
     ("import os\n" + HOOK.format("os.chdir('else')"), "latentbench_models()")],
    ids=["import", "hook"],
)  # fmt: skip
def test_a_plugin_file_that_leaves_the_folder_is_named_and_the_board_is_found(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, source: str, where: str
) -> None:
    code, _, _ = run(source=source, datasets="toy-blobs")
    assert code == 0
    assert of("out") == {"toy-blobs"}
    (told,) = {record.getMessage() for record in caplog.records if "process of the command" in record.getMessage()}
    assert told.startswith("plugin 'source sha256:")
    assert f"{where} changed the process of the command: the working folder became {tmp_path / 'else'}" in told


def test_a_plugin_file_that_changes_torch_breaks_no_built_in_dataset(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    change = "import torch\ntorch.set_default_dtype(torch.float64)\ntorch.nn.functional.mse_loss = lambda *_: 0\n"
    before = torch.nn.functional.mse_loss
    code, out, _ = run("--dry-run", source=change + HOOK.format("pass"), datasets="digits-shift")
    assert code == 0
    assert "1 runs to do" in out
    assert torch.get_default_dtype() == torch.float32
    assert torch.nn.functional.mse_loss is before
    (told,) = [record.getMessage() for record in caplog.records if "process of the command" in record.getMessage()]
    assert "torch.nn.functional.mse_loss was replaced" in told
    assert "the default dtype became torch.float64" in told


def test_a_plugin_file_that_changes_built_in_code_is_named_and_changes_no_value(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(datasets="toy-blobs")[0] == 0
    (alone,) = (record for _, record in Store(Path("out")).records())
    change = (
        "from latentbench_metrics.detection import AUROC\n"
        "from latentbench_nulls.images import Brightness\n"
        "import latentbench.running.execute\n"
        "AUROC.compute = lambda self, evaluation: 0.25\n"
        "Brightness.score = lambda self, images: -images.mean((1, 2, 3))\n"
        "latentbench.running.execute.measure = None\n"
    )
    assert run("--out", "changed", source=change + HOOK.format("pass"), datasets="toy-blobs")[0] == 0
    (changed,) = (record for _, record in Store(Path("changed")).records())
    assert changed.values == alone.values
    assert alone.environment.changes == []
    places = {
        "latentbench_metrics.detection.AUROC.compute",
        "latentbench_nulls.images.Brightness.score",
        "latentbench.running.execute.measure",
    }
    found = {change.removeprefix("importing plugins: ").split()[0] for change in changed.environment.changes}
    assert found == places
    told = {record.getMessage() for record in caplog.records if "process of the command" in record.getMessage()}
    (line,) = told
    assert line.startswith("plugin 'source sha256:")
    assert all(f"{place} was replaced by one of module " in line for place in places)


def test_a_hook_that_changes_built_in_code_when_a_run_starts_is_told_in_its_record(run: Run) -> None:
    source = (
        "from latentbench import hookimpl\n"
        "@hookimpl\n"
        "def latentbench_run_started(spec):\n"
        "    from latentbench_metrics.detection import AUROC\n"
        "    AUROC.compute = lambda self, evaluation: 0.25\n"
    )
    assert run(source=source, datasets="toy-blobs")[0] == 0
    (record,) = (record for _, record in Store(Path("out")).records())
    (change,) = record.environment.changes
    assert change.startswith("latentbench_run_started(): latentbench_metrics.detection.AUROC.compute was replaced by")
    assert record.values["auroc@test"].value != 0.25


def test_what_raises_is_put_back_as_well(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    here = Path.cwd()
    code, _, err = run(fault="os.chdir('else'); 1 // 0")
    assert code == 2
    assert "dataset 'odd', load(): ZeroDivisionError" in err
    assert Path.cwd() == here
    assert of("out") == {"toy-blobs"}


EXECUTOR = """
import os
from latentbench import Executor, execute, hookimpl

class Leaves(Executor):
    name = "leaves"
    def run(self, tasks, jobs, progress):
        for task in tasks:
            outcome = execute(task, progress=progress)
            os.chdir("else")
            yield outcome

@hookimpl
def latentbench_executors():
    return [Leaves]
"""


def test_an_executor_that_leaves_the_folder_takes_no_record_with_it(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("--executor", "leaves", source=EXECUTOR, datasets="toy-blobs")
    assert "1 of 1 runs are finished; their records are in out" in out
    assert of("out") == {"toy-blobs"}
    assert code == 0


def test_generators_are_put_back_without_a_word(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    source = "import random\nimport numpy\nrandom.seed(1)\nnumpy.random.seed(1)\n" + HOOK.format("pass")
    assert run("--dry-run", source=source, datasets="toy-blobs")[0] == 0
    assert not caplog.records


def test_where_torch_is_not_imported_the_folder_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "torch")
    with watched("plugin 'x 1': its import"):
        os.chdir("/")
    assert Path.cwd() == tmp_path
    assert "plugin 'x 1': its import changed the process of the command: the working folder became /" in caplog.text


@pytest.mark.parametrize(
    ("fault", "options", "told"),
    [
        ("os._exit(0)", (), "ended the process with exit code 0"),
        ("os.abort()", (), "was killed by signal 6"),
        ("raise KeyboardInterrupt", (), ": KeyboardInterrupt"),
        ("raise GeneratorExit", (), ": GeneratorExit"),
        ("time.sleep(1000)", ("--timeout", "30"), "did not return within 30 seconds"),
    ],
)
def test_a_dataset_that_ends_or_blocks_the_process_is_named_and_costs_no_other_run(
    run: Run, fault: str, options: tuple[str, ...], told: str
) -> None:
    code, _, err = run(*options, fault=fault)
    assert code == 2
    assert of("out") == {"toy-blobs"}
    (line,) = [line for line in err.splitlines() if line.startswith("latentbench: error: ")]
    assert "1 of 2 datasets were left out: 'odd': plugin 'odd sha256:" in line
    assert f"dataset 'odd', load(){' ' if told[0] != ':' else ''}{told}" in line


def test_progress_of_a_dataset_reaches_the_command(run: Run) -> None:
    code, out, _ = run("--dry-run", fault="self.progress(1, 2); self.progress(2, 2)")
    assert code == 0
    assert "2 runs to do" in out


ENDING = """
import os, sys
from pydantic import field_validator
from latentbench import Executor, Metric, Model, Options, execute, hookimpl

def end(place):
    if place == {place!r}:
        {fault}

class Ending(Model):
    class Config(Options):
        depth: int = 1
        @field_validator("depth")
        @classmethod
        def _valid(cls, depth):
            if depth == 2:  # as the command line asks for
                end("validator")
            return depth
        def unused(self):
            if self.depth == 2:
                end("unused")
            return {{}}
    @classmethod
    def configure(cls, *arguments):
        end("configure")
        return super().configure(*arguments)
    @classmethod
    def suits(cls, info):
        end("suits")
    def score(self, images):
        return images.mean((1, 2, 3))
    def fit(self, train, validation, trainer):
        pass

class OfScores(Metric):
    name, title, source, capability, targets = "of-scores", "Of scores", "here", "score", ("anomaly",)
    higher_is_better, bounds = True, (0.0, 1.0)
    def applies(self, targets, conditions):
        end("applies")
        return super().applies(targets, conditions)
    def parts(self, targets):
        end("parts")
    def compute(self, evaluation):
        return 0.5

class Here(Executor):
    name = "ending"
    def run(self, tasks, jobs, progress):
        end("executor")
        for task in tasks:
            yield execute(task, progress=progress)

@hookimpl
def latentbench_models():
    end("hook")
    return [Ending]

@hookimpl
def latentbench_metrics():
    return [OfScores]

@hookimpl
def latentbench_executors():
    return [Here]
"""
ENDING_BOARD = "name: e\ntitle: E\ndatasets: [toy-blobs]\nmodels: [ending]\nseeds: 1\nrank: of-scores@test\n"
CONFIGURE = "model 'ending', configure() for dataset 'toy-blobs'"


@pytest.fixture
def run_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toys: Path
) -> Callable[[str, str], tuple[int, str]]:
    """Runs a board of a stranger's model, by the stranger's executor, with a fault at a place; exit code and stderr."""
    monkeypatch.setattr(os, "_exit", lambda status: pytest.fail("the process of the tests would have ended"))
    monkeypatch.setattr("latentbench.running.plan.rehearse", lambda *_: None)
    monkeypatch.chdir(tmp_path)

    def call(place: str, fault: str) -> tuple[int, str]:
        Path("source.py").write_text(ENDING.format(place=place, fault=fault))
        Path("e.yaml").write_text(ENDING_BOARD)
        arguments = ["run", "e.yaml", "--out", "out", "--executor", "ending", "--set", "depth=2"]
        return main(["--plugin", "source.py", "--plugin", str(toys), *arguments]), capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("sys.exit(0)", "SystemExit: 0"),
        ("os._exit(0)", "os._exit(0) was called: a plugin must not end the process"),
        ("raise GeneratorExit", "GeneratorExit"),
    ],
)
@pytest.mark.parametrize(
    ("place", "where"),
    [
        ("configure", CONFIGURE),
        ("validator", CONFIGURE),
        ("unused", CONFIGURE),
        ("suits", "model 'ending', suits() for dataset 'toy-blobs'"),
        ("executor", "executor 'ending', run()"),
    ],
)
def test_what_ends_the_process_of_the_command_is_one_line_that_names_the_plugin(
    run_ending: Callable[[str, str], tuple[int, str]], place: str, where: str, fault: str, told: str
) -> None:
    code, err = run_ending(place, fault)
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("latentbench: error: plugin 'source sha256:")
    assert f"': {where}: {told}" in line


def test_what_nobody_expected_is_one_line_too(run_ending: Callable[[str, str], tuple[int, str]]) -> None:
    message = "latentbench: error: GeneratorExit: a plugin must not end the process\n"
    assert run_ending("applies", "raise GeneratorExit") == (2, message)


@pytest.mark.parametrize("place", ["applies", "parts"])
@pytest.mark.parametrize("fault", ["sys.exit(0)", "os._exit(0)"])
def test_a_metric_that_ends_the_process_while_runs_are_planned_costs_no_run(
    run_ending: Callable[[str, str], tuple[int, str]], place: str, fault: str
) -> None:
    assert run_ending(place, fault)[0] == 0
    ((_, record),) = Store(Path("out")).records()
    assert record.status == "finished"


def test_a_plugin_that_ends_the_command_with_0_does_not_end_it_in_silence(tmp_path: Path, toys: Path) -> None:
    (tmp_path / "source.py").write_text(ENDING.format(place="configure", fault="os._exit(0)"))
    (tmp_path / "e.yaml").write_text(ENDING_BOARD)
    command = [sys.executable, "-m", "latentbench", "--plugin", str(toys), "--plugin", "source.py", "plan", "e.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{CONFIGURE}: os._exit(0) was called" in done.stderr


def test_processes_and_threads_of_a_command_end_as_they_like() -> None:
    with outliving_os_exit():
        child = os.fork()
        if not child:
            os._exit(7)
        with pytest.raises(LatentbenchError, match=r"os\._exit\(7\) was called: a plugin must not end the process"):
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

    code = (
        "import os, threading\nfrom latentbench.commands.common import outliving_os_exit\n"
        "with outliving_os_exit():\n"
        "    threading.Thread(target=os._exit, args=(7,)).start()\n    threading.Event().wait()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
