"""Every snippet of CONTRIBUTING.md is run: whole plugins with the conformance kit, parts of a model inside of one."""

import re
import textwrap
import tomllib
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.cluster import KMeans
from torch import nn
from torch.nn.functional import softplus
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, StepLR

from latentbench import Model, Where
from latentbench.boards.board import load_board
from latentbench.commands.cli import main
from latentbench.evaluation.inference import infer
from latentbench.plugins.registry import Plugins
from latentbench.testing import check_dataset, check_metric, check_model
from latentbench.testing.fits import CPU, fit, synthetic
from tests.documents import Block, blocks, plugin_files

DOCUMENT = "CONTRIBUTING.md"
DATA = synthetic(1, 8, 8, {})
PYTHON = blocks(DOCUMENT, "python")
PLUGINS = [block for block in PYTHON if "@hookimpl" in block.text]
CHECKS = [block for block in PYTHON if "def test_" in block.text]
PARTS = [block for block in PYTHON if block not in PLUGINS + CHECKS]


def written(folder: Path, text: str) -> Path:
    """A plugin of the document in a file, under the name that the document gives it, if it gives one."""
    name = next((name for name, content in plugin_files(DOCUMENT).items() if content == text), "plugin.py")
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.slow
@pytest.mark.parametrize("block", PLUGINS, ids=str)
def test_a_whole_plugin_keeps_its_contract(block: Block, tmp_path: Path) -> None:
    plugins = Plugins.load([written(tmp_path, block.text)])
    kits: dict[str, Callable[[Any], object]] = {
        "models": check_model,
        "metrics": check_metric,
        "datasets": lambda dataset: check_dataset(dataset, tmp_path),
    }
    checked = 0
    for kind, check in kits.items():
        for offer in plugins.offers(kind).values():  # type: ignore[arg-type]
            if not offer.plugin.builtin:
                check(offer.value)
                checked += 1
    assert checked > 0


@pytest.mark.slow
@pytest.mark.parametrize("block", CHECKS, ids=str)
def test_a_check_of_a_plugin_passes_with_the_plugin_before_it(block: Block, tmp_path: Path) -> None:
    before = [one for one in PLUGINS if one.number < block.number][-1]
    names: dict[str, Any] = {"__name__": "shown"}
    exec(compile(f"{before.text}\n{block.text}", "shown.py", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


class Base(Model):
    """What the parts of a model take for granted: options, networks and losses of these names."""

    class Config(Model.Config):
        epochs: int = 2
        batch_size: int = 16
        latent_dim: int = 4
        encoder_epochs: int = 1
        decay: float = 0.5
        projection_steps: int = 2
        projection_rate: float = 0.01
        learning_rate: float = 1e-3

    config: Config

    def build(self, info):
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(info.image_numel, self.config.latent_dim))
        self.critic = nn.Sequential(nn.Flatten(), nn.Linear(info.image_numel, 1))
        layers = [nn.Linear(self.config.latent_dim, info.image_numel), nn.Unflatten(1, info.image_shape), nn.Sigmoid()]
        self.decoder = nn.Sequential(*layers)
        self.generator = deepcopy(self.decoder)
        self.register_buffer("means", torch.zeros(3, self.config.latent_dim))

    def optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)

    def training_step(self, batch):
        return (self.decoder(self.encode(batch.images)) - batch.images).square().mean()

    def encode(self, images):
        return self.encoder(images)

    def inversion_loss(self, batch):
        return Base.training_step(self, batch)

    def adversarial_steps(self, batch):
        fake = self.generator(torch.randn(len(batch.images), self.config.latent_dim))
        yield "generator", softplus(-self.critic(fake)).mean()
        yield "discriminator", softplus(self.critic(fake.detach())).mean()


class Adversarial(Base):
    """The same with an optimizer for each side."""

    def optimizers(self):
        return {"generator": Adam(self.generator.parameters()), "discriminator": Adam(self.critic.parameters())}

    def training_step(self, batch):
        return self.adversarial_steps(batch)


def k_means(codes: torch.Tensor, count: int) -> torch.Tensor:
    return torch.from_numpy(KMeans(count, n_init=1, random_state=0).fit(codes.numpy()).cluster_centers_)


NAMES = {
    "CosineAnnealingLR": CosineAnnealingLR, "StepLR": StepLR, "Adam": Adam, "Where": Where, "deepcopy": deepcopy,
    "k_means": k_means, "softplus": softplus, "torch": torch,
}  # fmt: skip
#: What stands in the document for what a reader has.
FILLED = {
    "self.encoder = ...": "self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(info.image_numel, 4))",
    '{"generator": ..., "discriminator": ...}': "Adversarial.optimizers(self)",
    "\n    ...\n": "\n    return weight * Base.training_step(self, batch)\n",
}


def model_with(part: str, base: type[Base]) -> type[Base]:
    """The model ``base`` with the methods and attributes that a part of the document defines."""
    for dots, text in FILLED.items():
        part = part.replace(dots, text)
    names = {**NAMES, "nn": nn, "Base": base, "Adversarial": Adversarial}
    exec(compile(f"class Shown(Base):\n{textwrap.indent(part, '    ')}", "shown.py", "exec"), names)
    shown: type[Base] = names["Shown"]  # type: ignore[assignment]
    return shown


def trains(part: str, base: type[Base] = Base) -> Base:
    model, trainer = fit(model_with(part, base), base.Config(), DATA)
    assert trainer.training is not None
    assert trainer.training.steps > 0
    assert isinstance(model, Base)
    return model


def run_presets(part: str) -> None:
    assert model_with(part, Base).configure("ood", {}).model_dump()["epochs"] == 40


def run_warm_up(part: str) -> None:
    model = trains(part)
    assert model.progress.step > 0


def run_schedulers(part: str) -> None:
    one, several = re.findall(r"^def schedulers.*?(?=^def|\Z)", part, re.DOTALL | re.MULTILINE)
    trains(one)
    trains(several, Adversarial)


def run_start(part: str) -> None:
    assert trains(part).get_buffer("means").abs().sum() > 0


def run_average(part: str) -> None:
    model = trains(f"{part}\n\ndef training_step(self, batch):\n    return self.encode(batch.images).square().mean()\n")
    weights = dict(model.named_parameters())
    assert not torch.equal(weights["average.1.weight"], weights["encoder.1.weight"])


def run_adversarial(part: str) -> None:
    trains(part, Adversarial)


def run_phases(part: str) -> None:
    _, trainer = fit(model_with(part, Base), Base.Config(), DATA, max_steps=10)
    assert trainer.training is not None
    assert [phase.phase for phase in trainer.training.phases] == ["main", "encoder"]


def run_localize(part: str) -> None:
    model = model_with(part, Base)(Base.Config(), DATA.info)
    images = DATA.train.batch(torch.arange(3), torch.Generator()).images
    maps = infer(model, "localize", [images], DATA.info, seed=0, device=CPU, where="the document")
    assert maps[""].shape == (3, 8, 8)


def run_simulated_device(part: str) -> None:
    model = Base(Base.Config(), DATA.info)
    exec(compile(part, "shown.py", "exec"), {**NAMES, "model": model, "split": DATA.train, "index": torch.arange(8)})


#: A part by what stands in it -> how it is run.
RUNS: dict[str, Callable[[str], None]] = {
    "presets = {": run_presets,
    "weight = min(1.0, self.progress.step": run_warm_up,
    "def schedulers": run_schedulers,
    "def start(self": run_start,
    "def after_update": run_average,
    'yield "generator"': run_adversarial,
    "trainer.fit(self, train, validation, phase=": run_phases,
    "def localize(self": run_localize,
    "with simulated_device()": run_simulated_device,
}


@pytest.mark.parametrize("block", PARTS, ids=str)
def test_a_part_of_a_model_works_in_a_model(block: Block) -> None:
    runs = [run for mark, run in RUNS.items() if mark in block.text]
    assert len(runs) == 1, "say in RUNS how it is run"
    runs[0](block.text)


def test_every_way_to_run_a_part_is_used() -> None:
    assert [mark for mark in RUNS if not any(mark in block.text for block in PARTS)] == []


BOARDS = [block for block in blocks(DOCUMENT) if block.language in ("yaml", "") and not block.commands]


@pytest.mark.parametrize("block", BOARDS, ids=str)
def test_a_board_can_be_planned(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the data, which nobody needs for a plan, the board of one's own parts is run by tests/test_boards.py."""
    monkeypatch.chdir(tmp_path)
    text = block.text
    if "name:" not in text.partition("\n")[0]:  # a part of a board
        noisy = "{name: ood, label: noisy, options: {pair: fashion-mnist}}"
        text = f"name: part\ntitle: Part\ndatasets: [ood, {noisy}]\nrank: auroc@test\n{text}"
    name = re.findall(r"^name: ([\w-]+)", text, re.MULTILINE)[0]
    Path(f"{name}.yaml").write_text(text)
    assert load_board(Path(f"{name}.yaml")).name == name
    files = [written(tmp_path, one.text) for one in PLUGINS if one.text in plugin_files(DOCUMENT).values()]
    plugins = [word for file in files for word in ("--plugin", str(file))]
    assert main([*plugins, "plan", f"{name}.yaml"]) == 0


@pytest.mark.parametrize("block", blocks(DOCUMENT, "toml"), ids=str)
def test_an_entry_point_is_one_of_latentbenchs(block: Block) -> None:
    assert set(tomllib.loads(block.text)["project"]["entry-points"]) == {"latentbench"}
