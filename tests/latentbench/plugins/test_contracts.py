"""What makes an offered object valid: a good one of each kind, and every way to spoil it."""

from pathlib import Path
from typing import ClassVar

import click
import pytest
import torch

from latentbench import Data, Dataset, Executor, Metric, Model, Options, Where
from latentbench.plugins.contracts import KINDS, OfferError


class GoodModel(Model):
    def optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch):
        return batch.images.mean()

    def score(self, images):
        return images.mean((1, 2, 3))


class OwnFit(Model):
    class Config(Options):
        strength: float = 1.0

    def fit(self, train, validation, trainer):
        pass

    def encode(self, images):
        return images.flatten(1)


class GoodDataset(Dataset):
    name = "good"
    title = "Good images"
    licence = "CC0-1.0"
    citation = "Nobody (2020)"
    source = "made here"

    def load(self, data_root: Path) -> Data:
        raise NotImplementedError


class GoodMetric(Metric):
    name = "good"
    title = "Good"
    source = "the mean"
    capability = "score"
    targets = ("anomaly",)
    higher_is_better = True
    bounds = (0.0, float("inf"))

    def compute(self, evaluation):
        return 0.0


class GoodExecutor(Executor):
    name = "good"

    def run(self, tasks, jobs, progress):
        return iter(())


@pytest.mark.parametrize(
    ("kind", "offer", "name"),
    [
        ("models", GoodModel, "good-model"),
        ("models", OwnFit, "own-fit"),
        ("datasets", GoodDataset, "good"),
        ("metrics", GoodMetric, "good"),
        ("executors", GoodExecutor, "good"),
        ("commands", click.Command("good"), "good"),
    ],
)
def test_a_valid_object_is_called_by_its_name(kind, offer, name):
    assert KINDS[kind].name(offer) == name


@pytest.mark.parametrize("length", [65, 256, 10_000])
def test_a_name_that_no_folder_could_have_is_refused_in_a_short_line(length):
    class Long(GoodModel):
        name = "a" * length

    with pytest.raises(OfferError, match=rf"^model 'a{{64}}' has a name of {length:,} characters: 64 are the most$"):
        KINDS["models"].name(Long)
    Long.name = "a" * 64
    assert KINDS["models"].name(Long) == "a" * 64


@pytest.mark.parametrize("file", ["mine.yaml", "mine.yml"])
def test_a_board_is_called_as_its_file(tmp_path, file):
    path = tmp_path / file
    path.touch()
    assert KINDS["boards"].name(path) == "mine"


class NoCapability(GoodModel):
    score = None  # type: ignore[assignment]


class NoOptimizer(Model):
    training_step = GoodModel.training_step
    score = GoodModel.score


class NoStep(Model):
    optimizers = GoodModel.optimizers
    score = GoodModel.score


class NoTrainingOptions(GoodModel):
    class Config(Options):
        pass


class NoOptions(GoodModel):
    class Config:
        pass


class NoDefault(GoodModel):
    class Config(Model.Config):
        size: int


class WrongPreset(GoodModel):
    presets: ClassVar = {"mnist-shift": {"epochs": 5, "bach_size": 3}}


class WrongConditionalPreset(GoodModel):
    presets: ClassVar = {Where("ood", pair="fashion-mnist"): {"bach_size": 3}}


class ListOfPresets(GoodModel):
    presets: ClassVar = [{"epochs": 5}]  # type: ignore[assignment]


class PresetsByNumber(GoodModel):
    presets: ClassVar = {3: {"epochs": 5}}  # type: ignore[dict-item]


class PresetOfNoOptions(GoodModel):
    presets: ClassVar = {"ood": "epochs"}  # type: ignore[dict-item]


class WrongNeeds(GoodModel):
    needs = ("attribute",)


class Version(GoodModel):
    version = "1.0"  # type: ignore[assignment]


class Named(GoodModel):
    name = "Good, better"


class Abstract(Dataset):
    name, title, licence, citation, source = "abstract", "t", "l", "c", "s"


class NoLicence(GoodDataset):
    licence = " "


def metric(**changes):
    return type("Changed", (GoodMetric,), changes)


@pytest.mark.parametrize(
    ("kind", "offer", "message"),
    [
        ("models", GoodDataset, "model 'good' is not a subclass of latentbench.Model"),
        ("models", 3, "model object of type int is not a subclass of latentbench.Model"),
        (
            "models",
            NoCapability,
            "model 'no-capability' has no capability: give it at least one method",
        ),
        ("models", NoOptimizer, r"model 'no-optimizer' has no optimizers\(\): define it, or override fit\(\)"),
        ("models", NoStep, r"model 'no-step' has no training_step\(\): define it, or override fit\(\)"),
        ("models", NoTrainingOptions, "trains with the harness's loop: derive its Config from Model.Config"),
        ("models", NoOptions, "needs a Config that derives from latentbench.Options"),
        ("models", NoDefault, "cannot have its default Config: 'size': Field required"),
        (
            "models",
            WrongPreset,
            "model 'wrong-preset' preset for 'mnist-shift' has no option 'bach_size': did you mean 'batch_size'",
        ),
        (
            "models",
            WrongConditionalPreset,
            r"model 'wrong-conditional-preset' preset for 'ood \(pair=fashion-mnist\)' has no option 'bach_size'",
        ),
        ("models", ListOfPresets, r"has presets, a mapping from datasets to options; it has \[{'epochs': 5}\]"),
        ("models", PresetsByNumber, r"has presets by dataset name or latentbench.Where; it has one for 3"),
        ("models", PresetOfNoOptions, r"preset for 'ood' is a mapping from options to values; it is 'epochs'"),
        ("models", WrongNeeds, r"has needs, a tuple of some of attributes; it has \('attribute',\)"),
        ("models", Version, "needs a version, a whole number from 1; it has '1.0'"),
        ("models", Named, "model 'Good, better' needs a name of lower-case letters, digits, '.', '_' and '-'"),
        ("datasets", GoodDataset(), "dataset 'good' is not a subclass of latentbench.Dataset"),
        ("datasets", Abstract, "dataset 'abstract' does not implement load"),
        ("datasets", NoLicence, "dataset 'good' needs a licence"),
        ("metrics", GoodModel, "is not a subclass of latentbench.Metric"),
        ("metrics", metric(title=None), "metric 'good' needs a title"),
        ("metrics", metric(capability="scores"), "needs a capability of score, .*; it has 'scores'"),
        ("metrics", metric(capability="decode"), "needs a capability of score, localize, encode, predict, cluster"),
        ("metrics", metric(capability="sample"), "needs samples, a whole number from 1 to 999999; it has None"),
        ("metrics", metric(capability="sample", samples=1_000_000), "needs samples, a whole number from 1 to 999999"),
        ("metrics", metric(samples=100), "has samples, which are for the capability sample; its capability is score"),
        ("metrics", metric(targets=("anomalies",)), r"needs targets, a tuple .*; it has \('anomalies',\)"),
        (
            "metrics",
            metric(targets="mask"),
            "needs targets, a tuple of some of anomaly, mask, attributes; it has 'mask'",
        ),
        ("metrics", metric(higher_is_better=None), "needs higher_is_better, True or False"),
        ("metrics", metric(bounds=(1.0, 0.0)), "needs bounds, a pair .* with low < high; it has"),
        ("metrics", metric(bounds=(0.0, float("nan"))), "needs bounds"),
        ("metrics", metric(bounds=1.0), "needs bounds"),
        ("metrics", metric(name=None), "metric Changed needs a name"),
        ("executors", Executor, "does not implement run"),
        ("commands", print, "is not a click.Command"),
        ("commands", click.Command(None), "needs a name"),
        ("boards", Path("nowhere.yaml"), "board 'nowhere' is not the Path of a .yaml file"),
        ("boards", Path(__file__), "is not the Path of a .yaml file"),
        ("claims", Path("nowhere.yaml"), "paper 'nowhere' is not the Path of a .yaml file"),
    ],
)
def test_an_invalid_object_is_refused_with_its_name_and_the_defect(kind, offer, message):
    with pytest.raises(OfferError, match=message):
        KINDS[kind].name(offer)
