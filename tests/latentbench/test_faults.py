"""Faults of plugins, really injected: each is told with plugin, owner and phase, and costs nothing that it need not."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.store import Store
from latentbench.running.execute import _load_data

FAULTS = """
from pathlib import Path

import torch
from latentbench import Data, DataInfo, Executor, LatentbenchError, Metric, Model, Options, StoredSplit, hookimpl
from toys import Blobs, CentreDistance


class OnFire(Blobs):
    name = "on-fire"
    def load(self, data_root):
        raise OSError("disk is on fire")
    def prepare(self, data_root):
        raise OSError(5, "disk is on fire")


class Dry(Blobs):
    name = "dry"
    def load(self, data_root):
        raise LatentbenchError("no water", "open the tap")


class Nothing(Blobs):
    name = "nothing"
    def load(self, data_root):
        pass


class Exits(Blobs):
    name = "exits"
    def load(self, data_root):
        raise SystemExit(3)


class Wide(Blobs):
    name = "wide"
    def load(self, data_root):
        data = super().load(data_root)
        return Data(DataInfo(1, 8, 9, 60, {"side": 2}), data.splits)


class Random(Blobs):
    name = "random"
    def load(self, data_root):
        data = super().load(data_root)
        images = torch.randint(0, 256, (60, 1, 8, 8), generator=torch.Generator().manual_seed(torch.seed() % 2**32))
        train = StoredSplit(data.train.role, images.to(torch.uint8), data.train.targets)
        return Data(data.info, {**data.splits, "train": train})


class Moves(Blobs):
    name = "moves"
    def load(self, data_root):
        place = Path("loads")
        loads = place.read_text() if place.exists() else ""
        place.write_text(loads + "x")
        if len(loads) < 2:  # the rehearsal, and the plan
            return super().load(data_root)
        self.config = self.Config(size=40)
        return super().load(data_root)


class BadScore(CentreDistance):
    def score(self, images):
        if not self.training:
            return None.info
        return super().score(images)
    def training_step(self, batch):
        return CentreDistance.score(self, batch.images).mean()


class BadBuild(CentreDistance):
    def build(self, info):
        raise KeyError("depth")


class BadStep(CentreDistance):
    def training_step(self, batch):
        if self.progress.step == 6:
            raise ValueError("no loss")
        return super().training_step(batch)


class DryStep(CentreDistance):
    def training_step(self, batch):
        raise LatentbenchError("no water", "open the tap")


class ExitsInScore(CentreDistance):
    def score(self, images):
        return super().score(images) if torch.is_grad_enabled() else exit(4)
    def validate(self, split, trainer):
        return None


class Forgetful(Model):
    class Config(Options):
        pass
    def fit(self, train, validation, trainer):
        self.mean = 0.3
    def score(self, images):
        return (images.mean((1, 2, 3)) - self.mean).abs()


class OfScores(Metric):
    title, source, capability, targets = "Of scores", "here", "score", ("anomaly",)
    higher_is_better, bounds = True, (0.0, 1.0)
    def compute(self, evaluation):
        return 0.5


class BadApplies(OfScores):
    name = "bad-applies"
    def applies(self, targets, conditions):
        raise OSError("disk is on fire")


class BadUnavailable(OfScores):
    name = "bad-unavailable"
    @classmethod
    def unavailable(cls):
        raise OSError("disk is on fire")


class BadCompute(OfScores):
    name = "bad-compute"
    def compute(self, evaluation):
        raise OSError("disk is on fire")


class Stumbles(Executor):
    name = "stumbles"
    def run(self, tasks, jobs, progress):
        raise ConnectionError("no cluster")
        yield


@hookimpl
def latentbench_datasets():
    return [OnFire, Dry, Nothing, Exits, Wide, Random, Moves]


@hookimpl
def latentbench_models():
    return [BadScore, BadBuild, BadStep, DryStep, ExitsInScore, Forgetful]


@hookimpl
def latentbench_metrics():
    return [BadApplies, BadUnavailable, BadCompute]


@hookimpl
def latentbench_executors():
    return [Stumbles]
"""

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(toys.parent))
    Path("faults.py").write_text(FAULTS)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["--plugin", str(toys), "--plugin", "faults.py", *arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return code, printed.out, printed.err

    return call


def board(*datasets: str, models: str = "centre-distance") -> str:
    Path("b.yaml").write_text(
        f"name: b\ntitle: B\ndatasets: [{', '.join(datasets)}]\nmodels: [{models}]\nseeds: 1\n"
        "twins: false\nrank: auroc@test\n"
    )
    return "b.yaml"


PLUGIN = r"plugin 'faults sha256:\w+'"
BAD_DATASETS = [
    ("on-fire", rf"{PLUGIN}: dataset 'on-fire', load\(\): OSError: disk is on fire"),
    ("dry", rf"{PLUGIN}: dataset 'dry', load\(\): no water: open the tap"),
    ("nothing", r"dataset 'nothing': load\(\) gave NoneType: return a latentbench.Data"),
    ("exits", rf"{PLUGIN}: dataset 'exits', load\(\): SystemExit: 3"),
    ("wide", r"dataset 'wide', split 'train': images have shape \(1, 8, 8\), its DataInfo states \(1, 8, 9\)"),
]


@pytest.mark.parametrize(
    ("dataset", "message", "optional"),
    [(*bad, "false") for bad in BAD_DATASETS] + [(*bad, "true") for bad in BAD_DATASETS if bad[0] != "dry"],
)
def test_a_bad_dataset_is_told_with_its_plugin_and_the_others_are_run(
    cli: Cli, caplog: pytest.LogCaptureFixture, dataset: str, message: str, optional: str
) -> None:
    bad = f"{{name: {dataset}, label: bad, optional: {optional}}}"
    code, out, err = cli("run", board(bad, "toy-blobs"), "--executor", "here")
    assert code == 2
    assert "1 of 1 runs are finished" in out
    assert re.search(f"^latentbench: error: 1 of 2 datasets were left out: 'bad': {message}", err, re.MULTILINE), err
    assert any(re.match(f"left out 'bad': {message}.*; the other datasets are run$", line) for line in caplog.messages)
    assert [record.spec.dataset for _, record in Store(Path("results")).records()] == ["toy-blobs"]


@pytest.mark.parametrize(("dataset", "message"), BAD_DATASETS[:2])
def test_where_no_dataset_is_left_the_fault_is_the_only_line(cli: Cli, dataset: str, message: str) -> None:
    code, out, err = cli("run", board(dataset), "--executor", "here")
    assert (code, out) == (2, "")
    assert re.match(f"latentbench: error: {message}[^\n]*\n$", err), err


def test_two_bad_datasets_are_both_told(cli: Cli) -> None:
    code, _, err = cli("run", board("on-fire", "dry", "toy-blobs"), "--executor", "here")
    assert code == 2
    assert re.search("error: 2 of 3 datasets were left out: 'on-fire': .*on fire; 'dry': .*no water", err), err


def test_a_dataset_that_differs_each_time_is_said_to(cli: Cli) -> None:
    code, _, err = cli("run", board("random"), "--jobs", "1")
    assert code == 2
    message = (
        r"dataset 'random' is another one each time it is loaded \(split hashes \w{12}, \w{12}, \w{12}\): let load"
    )
    assert re.search(message, err), err


def test_a_dataset_that_has_changed_once_is_said_to(cli: Cli) -> None:
    code, _, err = cli("run", board("moves"), "--jobs", "1")
    assert code == 2
    assert "dataset 'moves' has changed since the run was planned: start it again; if that does not help" in err
    _load_data.cache_clear()  # as the next process has it
    assert cli("run", board("moves"), "--jobs", "1")[0] == 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "bad-score",
            rf"{PLUGIN}: model 'bad-score', capability 'score' on split 'validation': "
            "AttributeError: 'NoneType' object has no attribute 'info'",
        ),
        ("bad-build", rf"{PLUGIN}: model 'bad-build', build\(\): KeyError: 'depth'"),
        ("bad-step", rf"{PLUGIN}: model 'bad-step', fit\(\), step 7: ValueError: no loss"),
        ("dry-step", rf"{PLUGIN}: model 'dry-step', fit\(\), step 1: no water: open the tap"),
        (
            "exits-in-score",
            rf"{PLUGIN}: model 'exits-in-score', capability 'score' on split 'validation' called sys.exit\(4\)",
        ),
    ],
)
def test_a_bad_model_is_told_with_its_plugin_phase_and_run(cli: Cli, model: str, message: str) -> None:
    code, _, err = cli("run", board("toy-blobs", models=model), "--executor", "here")
    assert code == 2
    assert re.search(f"error: 1 of 1 runs failed: {model} on toy-blobs, seed 0: {message}", err), err


def test_a_model_whose_weights_hold_nothing_is_told_where_it_is_run(cli: Cli, caplog: pytest.LogCaptureFixture) -> None:
    assert (
        cli("run", board("toy-blobs", models="forgetful, centre-distance, null-brightness"), "--executor", "here")[0]
        == 0
    )
    (told,) = [line for line in caplog.messages if "no parameters and no buffers" in line]
    expected = (
        r"forgetful on toy-blobs, seed 0: .*, so \w{16}\.safetensors is empty and .*: keep what fit\(\) learns in buf"
    )
    assert re.match(expected, told), told


def test_a_bad_metric_costs_its_value_alone_and_is_told_with_its_plugin(
    cli: Cli, caplog: pytest.LogCaptureFixture
) -> None:
    assert cli("run", board("toy-blobs"), "--executor", "here")[0] == 0
    ((_, record),) = Store(Path("results")).records()
    assert "auroc@test" in record.values
    reason = "OSError: disk is on fire"
    assert {name: why for name, why in record.unmeasured.items() if "bad-" in name and name.endswith("@test")} == {
        "bad-applies@test": reason,
        "bad-compute@test": reason,
        "bad-unavailable@test": f"its unavailable() fails: {reason}",
    }
    told = [line for line in caplog.messages if re.search(f"no bad-compute@test: {PLUGIN}: {reason}$", line)]
    assert len(told) == 1
    assert cli("list", "metrics")[0] == 0


def test_a_bad_executor_is_told_with_its_plugin(cli: Cli) -> None:
    code, _, err = cli("run", board("toy-blobs"), "--executor", "stumbles")
    assert code == 2
    assert re.search(rf"error: {PLUGIN}: executor 'stumbles', run\(\): ConnectionError: no cluster", err), err


def test_a_dataset_that_cannot_be_prepared_is_told_with_its_plugin(cli: Cli) -> None:
    code, _, err = cli("data", "prepare", "on-fire")
    assert code == 2
    assert re.search(rf"error: {PLUGIN}: dataset 'on-fire', prepare\(\): OSError: \[Errno 5\] disk is on fire", err), (
        err
    )
