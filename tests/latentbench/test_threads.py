"""The number of CPU threads is part of a run: of its key where it is not 1, of its table, and of every resumption."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from threadpoolctl import threadpool_info

from latentbench.boards.board import load_board
from latentbench.boards.standings import standings
from latentbench.commands.cli import main
from latentbench.devices import cpu_threads
from latentbench.errors import LatentbenchError
from latentbench.executor import Execution, Task
from latentbench.plugins.registry import Plugins
from latentbench.records.record import Record
from latentbench.records.select import select
from latentbench.records.store import Store, read_record
from latentbench.running.execute import execute
from latentbench.running.plan import plan
from latentbench.spec import RunSpec

COMMITTED = Path(__file__).parents[2] / "leaderboards" / "results"

BOARD = """\
name: toys
title: Toys
datasets: [toy-blobs]
models: [centre-distance]
rank: auroc@test
twins: false
"""

#: Runs the command line in process and returns what it printed.
Cli = Callable[..., str]


@pytest.fixture
def cli(toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    (tmp_path / "toys.yaml").write_text(BOARD)
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> str:
        assert main(["--plugin", str(toys), *args]) == 0
        return capsys.readouterr().out

    return call


def run_records() -> dict[int, Record]:
    """The records, by what they say the number of threads was."""
    return {record.environment.threads: record for _, record in Store(Path("results")).records()}


def test_with_one_thread_the_key_is_that_of_the_committed_records() -> None:
    paths = sorted(COMMITTED.glob("*/*/*.json"))[::20]
    assert paths
    for path in paths:
        spec = json.loads(path.read_text())["spec"]
        assert "threads" not in spec
        assert RunSpec(**spec).key == RunSpec(**spec, threads=1).key == path.stem
        assert RunSpec(**spec, threads=2).key != path.stem
        assert RunSpec(**spec, threads=2).model_dump(mode="json", exclude_none=True) == {**spec, "threads": 2}


def test_another_number_of_threads_is_another_run_that_is_shown_and_never_averaged(cli: Cli) -> None:
    cli("run", "toys.yaml", "--jobs", "1")
    assert "1 of 1 runs are finished" in cli("run", "toys.yaml", "--jobs", "1", "--threads", "2")
    records = run_records()
    one, two = records[1], records[2]
    assert (one.spec.threads, two.spec.threads) == (1, 2)
    assert one.key != two.key

    (table,) = standings(load_board(Path("toys.yaml")), records.values())
    assert [[record.key for record in row.finished] for row in table.rows] == [[one.key]]
    assert [[record.key for record in row.finished] for row in table.others] == [[two.key]]
    with pytest.raises(LatentbenchError, match="threads is 1 or 2"):
        select(records.values(), value="auroc@test")

    cli("leaderboard", "toys.yaml")
    (text,) = Path().rglob("toys.md")
    assert "1 run in 1 other setting stands in the CSV." in text.read_text()
    lines = csv.DictReader(text.with_suffix(".csv").read_text().splitlines())
    assert {(line["threads"], line["runs"]) for line in lines} == {("1", one.key), ("2", two.key)}
    assert "\nthreads     2" in cli("show", two.key, "--full")
    assert "\nthreads " not in cli("show", one.key, "--full")


def test_a_board_may_set_the_number_and_its_table_names_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "toys.yaml").write_text(BOARD + "threads: 2\n")
    cli("run", "toys.yaml", "--jobs", "1")
    cli("run", "toys.yaml", "--jobs", "1", "--threads", "1")
    records = run_records()
    (table,) = standings(load_board(Path("toys.yaml")), records.values())
    assert [[record.key for record in row.finished] for row in table.rows] == [[records[2].key]]
    assert [[record.key for record in row.finished] for row in table.others] == [[records[1].key]]
    cli("leaderboard", "toys.yaml")
    (text,) = Path().rglob("toys.md")
    assert "budget: unlimited, 2 CPU threads for each run." in text.read_text()


CUT_OFF = """
from pathlib import Path

import torch
from latentbench import hookimpl
from toys import CentreDistance


class CutOff(CentreDistance):
    # Is cut off in its second epoch, and keeps in its weights with how many threads each epoch began.
    def build(self, info):
        super().build(info)
        self.register_buffer("threads", torch.zeros(3))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def training_step(self, batch):
        if self.training:
            step = int(self.steps)
            self.steps += 1
            self.threads[step // 4] = torch.get_num_threads()
            if step == 6 and not Path("cut-off").exists():
                Path("cut-off").touch()
                raise KeyboardInterrupt
        return super().training_step(batch)


@hookimpl
def latentbench_models():
    return [CutOff]
"""


def test_a_resumed_run_continues_with_its_own_number(
    cli: Cli, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(toys.parent))
    (tmp_path / "cut_off.py").write_text(CUT_OFF)
    (tmp_path / "toys.yaml").write_text(BOARD.replace("centre-distance", "cut-off"))
    plugins = Plugins.load([toys, tmp_path / "cut_off.py"])
    (planned,) = plan(load_board(tmp_path / "toys.yaml"), plugins, tmp_path, threads=2)
    task = Task(planned.spec, Execution(tmp_path / "results", tmp_path, checkpoint_seconds=0))
    with pytest.raises(KeyboardInterrupt):
        execute(task, plugins)

    cli("--plugin", "cut_off.py", "run", "toys.yaml", "--jobs", "1", "--threads", "1")
    assert run_records().keys() == {1}, "another run, which leaves the one that was cut off alone"
    assert run_records()[1].resumed == 0
    cli("--plugin", "cut_off.py", "run", "toys.yaml", "--jobs", "1", "--threads", "2")
    record = run_records()[2]
    assert (record.key, record.resumed, record.environment.threads) == (planned.spec.key, 1, 2)
    weights = load_file(Path("results/toy-blobs/cut-off") / f"{record.key}.safetensors")
    assert weights["threads"].tolist() == [2, 2, 2]


def test_the_environment_does_not_change_the_number(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    cli("run", "toys.yaml", "--jobs", "1")
    ((_, more),) = run_records().items()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cli("run", "toys.yaml", "--jobs", "1", "--out", "again")
    (path,) = Path("again").glob("*/*/*.json")
    assert read_record(path).result() == more.result()
    assert more.environment.threads == 1


def test_variables_that_choose_other_kernels_are_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    cli("run", "toys.yaml", "--jobs", "1")
    record = run_records()[1]
    assert record.environment.variables["MKL_CBWR"] == "COMPATIBLE"
    assert "MKL_CBWR=COMPATIBLE" in cli("show", record.key, "--full")
    cli("leaderboard", "toys.yaml")
    (text,) = Path().rglob("toys.md")
    assert "`MKL_CBWR=COMPATIBLE`" in text.read_text()


def test_all_libraries_compute_with_the_threads_of_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()]
    for number in (1, 2):
        with cpu_threads(number):
            assert torch.get_num_threads() == number
            assert {pool["num_threads"] for pool in threadpool_info()} <= {*range(1, number + 1)}
            assert os.environ["OMP_NUM_THREADS"] == os.environ["OPENBLAS_NUM_THREADS"] == str(number)
        assert before == (torch.get_num_threads(), [pool["num_threads"] for pool in threadpool_info()])
        assert os.environ["OMP_NUM_THREADS"] == "7"
        assert "OPENBLAS_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("number", [1, 2])
def test_a_run_is_evaluated_again_with_its_own_number_of_threads(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    cli("run", "toys.yaml", "--jobs", "1", "--threads", str(number))
    found = []
    monkeypatch.setattr("latentbench.evaluation.again.evaluate_again", lambda *_: found.append(torch.get_num_threads()))
    cli("evaluate", "--metrics", "auroc")
    assert found == [number]
