"""Untrained twins: planned with keys of their own, run without a step, and the weights from which training sets out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.latentbench.running.test_phases import INFO, TRAIN, VALIDATION, make
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler

from latentbench import Batch, DataInfo, Model, Options, Split, Trainer
from latentbench.boards.board import Board
from latentbench.commands.cli import main
from latentbench.errors import LatentbenchError
from latentbench.plugins.registry import Plugins
from latentbench.records.record import Record
from latentbench.records.store import Store
from latentbench.running.plan import lineup_of, plan, plan_series
from latentbench.running.training import TrainingLoop
from latentbench.spec import Budget

CPU = torch.device("cpu")
VALUES: dict[str, Any] = {
    "name": "b",
    "title": "t",
    "datasets": [{"name": "toy-blobs", "options": {"size": 40}}],
    "models": ["centre-distance", "pca"],
    "seeds": 2,
    "budget": {"max_steps": 7},
    "rank": "auroc@test",
}


def board(**changes: Any) -> Board:
    return Board.parse({**VALUES, **changes}, "board 'b'")


@pytest.fixture(scope="module")
def plugins(toys: Path) -> Plugins:
    return Plugins.load([toys])


def train(model: Model, **options: Any) -> TrainingLoop:
    trainer = TrainingLoop(device=CPU, seed=0, **options)
    model.fit(TRAIN, VALIDATION, trainer)
    return trainer


def bits(model: Model) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


# Planning


def test_each_trained_model_has_a_twin_that_differs_in_its_budget_alone(plugins: Plugins, tmp_path: Path) -> None:
    runs = plan(board(), plugins, tmp_path)
    assert [str(run) for run in runs] == [
        f"{who} on toy-blobs, seed {seed}"
        for seed in (0, 1)
        for who in ("centre-distance", "pca", "untrained centre-distance")
    ]
    trained, twin = (run.spec for run in (runs[0], runs[2]))
    assert twin == trained.model_copy(update={"budget": Budget(max_steps=0)})
    assert (trained.untrained, twin.untrained) == (False, True)
    assert len({run.spec.key for run in runs}) == len(runs)
    assert str(twin) == "untrained centre-distance on toy-blobs, seed 0"


def test_a_board_or_one_of_its_datasets_may_do_without_twins(plugins: Plugins) -> None:
    def labels(**changes: Any) -> list[str]:
        return [one.entry.label for one in plan_series(board(**changes), plugins) if one.untrained]

    blobs = [{"name": "toy-blobs", "label": str(size), "options": {"size": size}} for size in (40, 44)]
    assert labels(datasets=blobs) == ["40", "44"]
    assert labels(datasets=blobs, twins=False) == []
    assert labels(datasets=[{**blobs[0], "twins": False}, blobs[1]]) == ["44"]
    assert labels(datasets=[blobs[0], {**blobs[1], "twins": True}], twins=False) == ["44"]


def test_variants_have_twins_and_those_that_differ_in_their_budget_alone_share_one(
    plugins: Plugins, tmp_path: Path
) -> None:
    variants = [
        {"model": "centre-distance", "label": "narrow", "options": {"latent_dim": 2}},
        {"model": "centre-distance", "label": "short", "budget": {"max_steps": 3}},
    ]
    runs = plan(board(variants=variants, seeds=1, models=["centre-distance"]), plugins, tmp_path)
    assert [run.label for run in runs if run.spec.untrained] == ["centre-distance", "narrow"]


def test_the_lineup_is_that_of_the_trained_models(plugins: Plugins) -> None:
    assert lineup_of(board(), plugins) == lineup_of(board(twins=False), plugins)


def test_a_board_s_own_budget_leaves_a_step(tmp_path: Path) -> None:
    from latentbench.boards.board import load_board

    path = tmp_path / "b.yaml"
    path.write_text("name: b\ntitle: t\ndatasets: [d]\nrank: a@b\nbudget:\n  max_steps: 0\n")
    with pytest.raises(LatentbenchError, match=r"b.yaml:6: 'budget' leaves no step: give it 1 or more: the untrained"):
        load_board(path)


NULLS = """
import torch
from latentbench import Model, Options, hookimpl


class Brightness(Model):
    '''Mean brightness: nothing is learned, and no seed matters.'''

    null, deterministic = True, True

    class Config(Options):
        pass

    def fit(self, train, validation, trainer):
        pass

    def score(self, images):
        return images.mean((1, 2, 3))


class Noise(Brightness):
    deterministic = False

    def score(self, images):
        return torch.rand(len(images))


class Fitted(Brightness):
    '''Fitted in a loop of its own, in a method that is called as the harness's is.'''

    null = deterministic = False

    class Config(Model.Config):
        pass

    def training_step(self, batch):
        return None


@hookimpl
def latentbench_models():
    return [Brightness, Noise, Fitted]
"""


@pytest.fixture
def with_nulls(toys: Path, tmp_path: Path) -> Path:
    (tmp_path / "nulls.py").write_text(NULLS)
    return tmp_path / "nulls.py"


def test_a_null_has_no_twin_and_a_deterministic_model_one_run(toys: Path, with_nulls: Path, tmp_path: Path) -> None:
    values = board(models=["brightness", "noise"])
    plugins = Plugins.load([toys, with_nulls])
    assert [str(run) for run in plan(values, plugins, tmp_path)] == [
        "brightness on toy-blobs, seed 0", "noise on toy-blobs, seed 0", "noise on toy-blobs, seed 1"
    ]  # fmt: skip
    assert [run.spec.seed for run in plan(values, plugins, tmp_path, seeds=4)] == [0, 0, 1, 2, 3]


# Training without a step


class Counted(Model):
    """It tells which of its methods are called, and starts from the data."""

    class Config(Model.Config):
        epochs: int = 3
        batch_size: int = 8
        patience: int | None = 1

    scale: Tensor

    def build(self, info: DataInfo) -> None:
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(info.image_numel, 2), nn.BatchNorm1d(2))
        self.register_buffer("scale", torch.zeros(()))
        self.calls: list[str] = []

    def optimizers(self) -> Optimizer:
        self.calls.append("optimizers")
        return torch.optim.Adam(self.parameters(), 0.1)

    def schedulers(self, optimizers: Any) -> lr_scheduler.LRScheduler:
        self.calls.append(f"schedulers over {self.progress.total_steps}")
        return lr_scheduler.OneCycleLR(optimizers, 0.1, total_steps=self.progress.total_steps)

    def start(self, train: Split, trainer: Trainer) -> None:
        self.calls.append("start")
        images = train.batch(torch.arange(len(train)), trainer.generator).images
        self.scale.copy_(images.std() + torch.rand(()))

    def training_step(self, batch: Batch) -> Tensor:
        self.calls.append("step")
        return self.net(batch.images).square().mean() + self.scale

    def validate(self, split: Split, trainer: Trainer) -> float | None:
        self.calls.append("validate")
        return super().validate(split, trainer)

    def score(self, images: Tensor) -> Tensor:
        return self.net(images).square().sum(1) * self.scale


def counted(**options: Any) -> Counted:
    torch.manual_seed(0)
    return Counted(Counted.configure("test", options), INFO)


def test_without_a_step_the_weights_are_those_from_which_training_sets_out(tmp_path: Path) -> None:
    before = []

    class Watched(Counted):
        def training_step(self, batch: Batch) -> Tensor:
            before.append(bits(self))
            return super().training_step(batch)

    twin = counted()
    trainer = train(twin, max_steps=0)
    torch.manual_seed(0)
    train(Watched(Watched.configure("test", {}), INFO), max_steps=1)
    assert bits(twin) == {**before[0], "net.2.num_batches_tracked": bits(twin)["net.2.num_batches_tracked"]}
    assert twin.calls == ["optimizers", "schedulers over 15", "start"]  # 3 epochs of 5 steps, as without a budget
    assert twin.scale > 0
    assert torch.equal(twin.net[2].running_mean, torch.zeros(2))  # type: ignore[arg-type]
    training = trainer.training
    assert training is not None
    assert (training.steps, training.epochs, training.stopped, training.best_epoch) == (0, 0, "max_steps", None)
    assert (training.losses, training.phases, trainer.images) == ([], [], 0)


def test_every_phase_ends_before_its_first_step() -> None:
    model = make()
    trainer = train(model, max_steps=0)
    assert trainer.training is not None
    assert [(phase.phase, phase.steps, phase.stopped) for phase in trainer.training.phases] == [
        ("main", 0, "max_steps"), ("encoder", 0, "max_steps")
    ]  # fmt: skip
    assert model.steps == []
    assert model.shift.any()  # the second phase's start


def test_it_is_resumed_at_its_end_and_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    whole = counted()
    train(whole, max_steps=0, checkpoint=path)
    again = counted()
    torch.rand(7)
    trainer = train(again, max_steps=0, checkpoint=path)
    assert (bits(again), trainer.resumed, again.calls) == (bits(whole), 1, ["optimizers", "schedulers over 15"])

    class Killed(Counted):
        def fit(self, train: Split, validation: Split | None, trainer: Trainer) -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("latentbench.running.fitting.Fit._start", _start_and_die)
                super().fit(train, validation, trainer)

    path = tmp_path / "killed.pt"
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        train(Killed(Killed.configure("test", {}), INFO), max_steps=0, checkpoint=path)
    half = counted()
    torch.rand(7)
    assert train(half, max_steps=0, checkpoint=path).resumed == 1
    assert bits(half) == bits(whole)
    assert half.calls == ["optimizers", "schedulers over 15"]


def _start_and_die(self: Any) -> None:
    self.state.resumed = 0
    with torch.no_grad():
        self._model.start(self._train, self._trainer)
    self._save()
    raise KeyboardInterrupt


# Whole runs


def run(toys: Path, more: Path, folder: Path, models: str, seeds: int = 1) -> tuple[int, dict[str, Record]]:
    (folder / "b.yaml").write_text(
        "name: b\ntitle: t\ndatasets: [toy-blobs]\nrank: auroc@test\nmodels: [centre-distance, brightness, fitted]\n"
    )
    files = ["--plugin", str(toys), "--plugin", str(more)]
    options = ["--out", str(folder / "r"), "--jobs", "1", "--models", models, "--seeds", str(seeds)]
    code = main([*files, "run", str(folder / "b.yaml"), *options])
    return code, {str(record.spec): record for _, record in Store(folder / "r").records()}


def test_a_twin_is_a_run_like_any_other_with_every_capability_measured(
    toys: Path, with_nulls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, records = run(toys, with_nulls, tmp_path, "centre-distance,brightness")
    trained, twin, null = (
        records[f"{who} on toy-blobs, seed 0"] for who in ("centre-distance", "untrained centre-distance", "brightness")
    )
    assert code == 0
    assert twin.values.keys() == trained.values.keys()
    assert twin.values["auroc@test"] != trained.values["auroc@test"]
    assert (twin.training and twin.training.steps, trained.training and trained.training.steps) == (0, 12)
    assert (bool(trained.artefacts), twin.artefacts) == (True, {})
    assert [(one.null, one.deterministic) for one in (trained, twin, null)] == [(False, False)] * 2 + [(True, True)]

    out = ["--results", str(tmp_path / "r")]
    capsys.readouterr()
    for record, line in (
        (twin, "untrained   the twin of the trained runs"),
        (null, "null        a row without a trained network"),
    ):
        assert main(["show", record.key, *out]) == 0
        assert line in capsys.readouterr().out
    assert main(["check-records", str(tmp_path / "r"), "--jobs", "1"]) == 0
    assert main(["--plugin", str(toys), "--plugin", str(with_nulls), "evaluate", str(tmp_path / "b.yaml"), *out]) == 0


def test_what_trains_in_a_loop_of_its_own_is_no_twin(toys: Path, with_nulls: Path, tmp_path: Path) -> None:
    code, records = run(toys, with_nulls, tmp_path, "fitted")
    assert code == 2
    assert records["fitted on toy-blobs, seed 0"].status == "finished"
    failure = records["untrained fitted on toy-blobs, seed 0"].failure
    assert failure is not None
    assert failure.message.startswith("model 'fitted' trains in a loop of its own, so it has no untrained twin: derive")


def test_a_model_without_options_of_the_loop_has_no_twin(plugins: Plugins) -> None:
    class Own(Counted):
        class Config(Options):
            pass

    (one,) = plan_series(board(models=["centre-distance"], twins=False), plugins)
    assert one.twin is not None
    assert replace(one, model=Own).twin is None
