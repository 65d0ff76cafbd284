"""The kit passes models that keep their promises, and names the promise that a broken model really breaks."""

import re
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from latentbench import MISSING, Model, Options
from latentbench.testing import check_model


class Honest(Model):
    """One-class detector with a linear code, a classifier for each attribute, and a decoder."""

    class Config(Model.Config):
        latent_dim: int = 4

    config: Config
    centre: Tensor

    def build(self, info):
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(info.image_numel, self.config.latent_dim))
        self.decoder = nn.Linear(self.config.latent_dim, info.image_numel)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(self.config.latent_dim, values) for name, values in info.attributes.items()}
        )
        self.register_buffer("centre", torch.ones(self.config.latent_dim))

    def optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)

    def training_step(self, batch):
        loss = self.score(batch.images).mean() + (self.reconstruct(batch.images) - batch.images).square().mean()
        for name, logits in self.predict(batch.images).items():
            loss = loss + functional.cross_entropy(logits, batch.attributes[name], ignore_index=MISSING)
        return loss

    def encode(self, images):
        return self.encoder(images)

    def score(self, images):
        return (self.encode(images) - self.centre).square().sum(1)

    def localize(self, images):
        return (self.reconstruct(images) - images).square().sum(1)

    def predict(self, images):
        return {name: head(self.encode(images)) for name, head in self.heads.items()}

    def cluster(self, images):
        return {"code": self.encode(images).argmax(1)}

    def reconstruct(self, images):
        return torch.sigmoid(self.decoder(self.encode(images))).view_as(images)

    def sample(self, count):
        z = torch.randn(count, self.config.latent_dim, device=self.centre.device)
        return torch.sigmoid(self.decoder(z)).view(-1, *self.info.image_shape)

    def log_likelihood(self, images):
        noise = torch.randn(len(images), self.config.latent_dim, device=images.device)
        return -(self.encode(images) + noise).square().sum(1)


class Mean(Model):
    """Distance to the mean training image: fitted without the harness's loop."""

    class Config(Options):
        pass

    mean: Tensor

    def build(self, info):
        self.register_buffer("mean", torch.zeros(info.image_shape))

    def fit(self, train, validation, trainer):
        index = torch.arange(len(train), device=trainer.device)
        self.mean.copy_(train.batch(index, trainer.generator).images.mean(0))

    def score(self, images):
        return (images - self.mean).square().sum((1, 2, 3))


def test_a_model_that_keeps_its_promises_passes_with_a_line_for_each():
    report = check_model(Honest)
    for capability in ("score", "localize", "encode", "predict", "cluster", "reconstruct", "sample", "log_likelihood"):
        assert any(line.startswith(f"{capability}() takes images alone") for line in report)
    for capability in ("score", "localize", "encode", "predict", "cluster", "reconstruct"):
        assert f"{capability}() gives an image the same result in any batch" in report
    assert "log_likelihood() gives an image the same result with any others, if it draws the same" in report
    assert "a fit that is cut off and resumed equals one that is not" in report
    assert "without a step, as its untrained twin, it gives what it should, too" in report
    assert "0 synchronizations with the accelerator in a training step after the first" in report
    assert "a checkpoint made on 'sim' is resumed on 'cpu'" in report


def test_a_model_with_its_own_fit_passes_and_is_not_resumed():
    report = check_model(Mean)
    assert "two fits with one seed are equal" in report
    assert not any("resumed" in line for line in report)


@pytest.mark.parametrize(
    "shape",
    [
        {"channels": 3, "height": 8, "width": 8, "attributes": {}},
        {"attributes": {"shape": 5}, "options": {"latent_dim": 2, "epochs": 1}},
    ],
    ids=["colour, no attributes", "one attribute of five values"],
)
def test_other_images_attributes_and_options_can_be_asked_for(shape):
    check_model(Honest, **shape)


def test_the_callers_random_numbers_go_on_as_if_nothing_had_happened():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    check_model(Mean)
    assert torch.equal(torch.rand(4), expected)


class Decoding(Honest):
    """It decodes, and samples with a code given."""

    def decode(self, codes):
        levels = codes.sigmoid().mean(1)[:, None, None, None]
        return levels.expand(-1, *self.info.image_shape)

    def sample(self, count, codes=None):
        codes = torch.randn(count, self.config.latent_dim, device=self.centre.device) if codes is None else codes
        return (self.decode(codes) + 0.1 * torch.rand(count, *self.info.image_shape, device=codes.device)).clamp(0, 1)


def test_decode_and_sample_are_tried_on_the_models_own_codes():
    report = check_model(Decoding)
    for name in ("decode", "sample"):
        assert f"{name}() takes codes of encode(), leaves them as they are, and gives images in [0, 1]" in report
    assert not any(line.startswith("decode() takes images") for line in report)


def test_without_codes_decoding_is_not_tried():
    class Alone(Mean):
        def decode(self, codes):
            raise AssertionError("nothing to decode")

    assert "decode() at codes was not tried: there are none of encode()" in check_model(Alone)


@pytest.mark.parametrize(
    ("method", "line"),
    [
        (lambda self, codes: 2 * Decoding.decode(self, codes), "they are in "),
        (lambda self, codes: Decoding.decode(self, codes.zero_()), "it changes the codes"),
        (lambda self, codes: Decoding.decode(self, codes - codes.mean(0)), "in batches of 1 it differs by"),
        (lambda self, codes: codes, "expected shape (24, 1, 16, 32), got (24, 4)"),
        (lambda self, codes: Decoding.decode(self, codes) * np.random.default_rng().random(), "two results"),
    ],
)
def test_a_decoder_that_breaks_its_promise_is_named(method, line):
    broken = type("Broken", (Decoding,), {"decode": method})
    with pytest.raises(AssertionError, match=rf"- decode\(\) takes codes of encode\(\).*{re.escape(line)}"):
        check_model(broken)


class Infinite(Mean):
    def facts(self):
        return {"bound": float("inf")}


class Random(Mean):
    def facts(self):
        return {"bound": np.random.default_rng().random()}


@pytest.mark.parametrize(("broken", "line"), [(Infinite, "'bound' is inf"), (Random, "they are not the same")])
def test_facts_that_are_none_are_named(broken, line):
    with pytest.raises(AssertionError, match=rf"- facts\(\) are finite numbers, the same each time: .*{line}"):
        check_model(broken)


class Everything(Honest):
    """Two phases, each with a schedule, an initialization from data, and averaged weights."""

    average: nn.Sequential
    scale: nn.Module
    brightness: Tensor

    def build(self, info):
        super().build(info)
        self.average = deepcopy(self.encoder).requires_grad_(False)
        self.scale = nn.Linear(1, 1)
        self.register_buffer("brightness", torch.zeros(()))

    def optimizers(self):
        if self.progress.phase == "scale":
            return torch.optim.SGD(self.scale.parameters(), 0.1, momentum=0.9)
        parts = {"decoder": self.decoder, "encoder": self.encoder}
        return {name: torch.optim.Adam(part.parameters(), 1e-3) for name, part in parts.items()}

    def schedulers(self, optimizers):
        if self.progress.phase == "scale":
            return OneCycleLR(optimizers, 0.1, self.progress.total_steps)
        return {"encoder": CosineAnnealingLR(optimizers["encoder"], self.progress.total_steps)}

    def start(self, train, trainer):
        images = train.batch(torch.randperm(len(train), device=trainer.device)[:8], trainer.generator).images
        self.brightness.copy_(images.mean() + 0.1 * torch.rand((), device=trainer.device))

    def training_step(self, batch):
        if self.progress.phase == "scale":
            return (self.scale(self.brightness.view(1, 1)) - batch.images.mean()).square().mean()
        return self.steps(batch)

    def steps(self, batch):
        yield "encoder", self.score(batch.images).mean() * self.progress.step / self.progress.total_steps
        if self.progress.step % 3 == 0:
            yield "decoder", (self.reconstruct(batch.images) - batch.images).square().mean() * self.brightness

    def after_update(self, optimizer):
        for average, weight in zip(self.average.parameters(), self.encoder.parameters(), strict=True):
            average.lerp_(weight, 0.1)

    def encode(self, images):
        return (self.encoder if self.training else self.average)(images)

    def fit(self, train, validation, trainer):
        trainer.fit(self, train, validation, budget_share=0.5)
        trainer.fit(self, train, validation, phase="scale", epochs=1)


def test_a_model_that_uses_all_that_training_offers_passes():
    report = check_model(Everything)
    assert "a fit that is cut off and resumed equals one that is not" in report
    assert "it fits in a budget of 3 steps, in all of its phases" in report
    assert "it trains channels-last, and gives the same with its weights in that order" in report


class NoCapability(Model):
    def training_step(self, batch):
        raise NotImplementedError

    def optimizers(self):
        raise NotImplementedError


class TextVersion(Mean):
    version = "1"  # type: ignore[assignment]


class BadName(Mean):
    name = "Bad Name"


class NoDefault(Mean):
    class Config(Options):
        size: int


class BadPreset(Mean):
    presets = {"digits": {"epoch": 3}}


class SquareOnly(Honest):
    def build(self, info):
        if info.height != info.width:
            raise ValueError("images must be square")


class NanLoss(Honest):
    def training_step(self, batch):
        return super().training_step(batch) * torch.nan


class NanState(Mean):
    def fit(self, train, validation, trainer):
        self.mean.fill_(torch.nan)


class LabelsNeverMissing(Honest):
    def training_step(self, batch):
        logits = self.predict(batch.images)
        return sum(functional.cross_entropy(logits[name], labels) for name, labels in batch.attributes.items())


class NumpyInTraining(Honest):
    def training_step(self, batch):
        return super().training_step(batch) * np.random.default_rng().uniform(0.5, 1.5)


class AnnealsByAttribute(Honest):
    steps = 0

    def training_step(self, batch):
        self.steps += 1
        return super().training_step(batch) + self.steps / 8 * self.encode(batch.images).square().sum()


class AnnealsByPlainStart(Honest):
    """What it finds at the start is not in a buffer."""

    scale = 1.0

    def start(self, train, trainer):
        self.scale = float(torch.rand(()))

    def training_step(self, batch):
        return super().training_step(batch) * self.scale


class PlainAverage(Honest):
    """Its average is kept in a plain attribute, and written to a buffer."""

    encoder: nn.Sequential
    average: Tensor | float = 0.0

    def after_update(self, optimizer):
        self.average = 0.9 * self.average + 0.1 * self.encoder.get_parameter("1.bias").detach()
        self.centre.copy_(self.average)


class Forgetful(LRScheduler):
    """Lowers the rate by a number that its state does not hold."""

    def __init__(self, optimizer):
        self.calls = 0
        super().__init__(optimizer)

    def get_lr(self):
        self.calls += 1
        return [group["initial_lr"] / self.calls for group in self.optimizer.param_groups]

    def state_dict(self):
        return {name: value for name, value in super().state_dict().items() if name != "calls"}


class ForgetfulSchedule(Honest):
    def schedulers(self, optimizers):
        return Forgetful(optimizers)


class ObjectInSchedule(Honest):
    """The state of its scheduler holds an object, which a checkpoint cannot give back."""

    def schedulers(self, optimizers):
        scheduler = CosineAnnealingLR(optimizers, self.progress.total_steps)
        scheduler.owner = Options()  # type: ignore[attr-defined]
        return scheduler


class ForgottenPhase(Honest):
    """Its second phase needs what the first has left in a plain attribute."""

    seen = 0.0

    def training_step(self, batch):
        if self.progress.phase == "main":
            self.seen += float(batch.images.mean())
            return super().training_step(batch)
        return super().training_step(batch) * self.seen

    def fit(self, train, validation, trainer):
        trainer.fit(self, train, validation, budget_share=0.5)
        trainer.fit(self, train, validation, phase="second")


class GreedyPhase(Honest):
    """Its first phase leaves nothing of a budget."""

    def fit(self, train, validation, trainer):
        trainer.fit(self, train, validation)
        trainer.fit(self, train, validation, phase="second", epochs=1)


class Viewed(Honest):
    """Takes for granted how the images are stored."""

    convolution: nn.Module

    def build(self, info):
        super().build(info)
        self.convolution = nn.Conv2d(info.channels, 4, 3, padding=1)

    def training_step(self, batch):
        features = self.convolution(batch.images)
        return super().training_step(batch) + features.view(len(features), -1).square().mean()


class WrongShape(Mean):
    def score(self, images):
        return super().score(images)[:, None]


class NanScore(Mean):
    def score(self, images):
        return super().score(images) * torch.tensor(0.0).log() * 0


class IntegerScore(Mean):
    def score(self, images):
        return super().score(images).long()


class NeedsLabels(Mean):
    def score(self, images, labels):  # type: ignore[override]
        return super().score(images) * labels


class InPlace(Mean):
    def score(self, images):
        return images.sub_(self.mean).square().sum((1, 2, 3))


class BatchDependent(Mean):
    def score(self, images):
        scores = super().score(images)
        return scores - scores.mean()


class NoisyBatchDependent(Mean):
    def log_likelihood(self, images):
        scores = self.score(images)
        return scores - scores.mean() + torch.rand(len(images), device=images.device)


class DrawsElsewhere(Mean):
    def score(self, images):
        return super().score(images) + torch.from_numpy(np.random.default_rng().normal(size=len(images)))


class TooBright(Mean):
    def reconstruct(self, images):
        return images * 1.5


class DarkSamples(Mean):
    def sample(self, count):
        return self.mean.expand(count, *self.info.image_shape) - 0.5


class OneAttribute(Mean):
    def predict(self, images):
        return {"left": images.flatten(1)[:, :2]}


class PlainAttribute(Mean):
    def fit(self, train, validation, trainer):
        super().fit(train, validation, trainer)
        self.scale = float(self.mean.mean())

    def score(self, images):
        return super().score(images) * getattr(self, "scale", 1.0)


class RandomProjection(Mean):
    def build(self, info):
        super().build(info)
        self.projection = torch.randn(info.image_numel, 3)

    def encode(self, images):
        return images.flatten(1) @ self.projection


class LateBuffer(Mean):
    def fit(self, train, validation, trainer):
        super().fit(train, validation, trainer)
        self.register_buffer("scale", self.mean.mean())


class NeedsAStep(Honest):
    trained: Tensor

    def build(self, info):
        super().build(info)
        self.register_buffer("trained", torch.zeros(()))

    def training_step(self, batch):
        self.trained.fill_(1)
        return super().training_step(batch)

    def localize(self, images):
        if not self.trained:
            raise RuntimeError("nothing has been learned")
        return super().localize(images)


class DrawsDirections(Mean):
    deterministic = True

    def fit(self, train, validation, trainer):
        super().fit(train, validation, trainer)
        self.mean.add_(torch.randn(self.mean.shape))


class FloatCluster(Mean):
    def cluster(self, images):
        return {"one": images.mean((1, 2, 3))}


@pytest.mark.parametrize(
    ("model_class", "line"),
    [
        (NoCapability, "it can be offered: name, version, Config, presets, capabilities: *has no capability"),
        (TextVersion, "it can be offered*needs a version*'1'"),
        (BadName, "it can be offered*needs a name of lower-case letters"),
        (NoDefault, "it can be offered*'size'"),
        (BadPreset, "it can be offered*has no option 'epoch'"),
        (SquareOnly, "it builds: ValueError: images must be square"),
        (NanLoss, "it fits, and what it has learned is finite: *loss*nan*"),
        (NanState, "it fits, and what it has learned is finite: 'mean' is not finite"),
        (LabelsNeverMissing, "it fits, and what it has learned is finite: IndexError: Target -1 is out of bounds"),
        (NumpyInTraining, "two fits with one seed are equal: '*' differs"),
        (AnnealsByAttribute, "a fit that is cut off and resumed equals one that is not: '*' differs"),
        (AnnealsByPlainStart, "a fit that is cut off and resumed equals one that is not: '*' differs"),
        (PlainAverage, "a fit that is cut off and resumed equals one that is not: 'centre' differs"),
        (ForgetfulSchedule, "a fit that is cut off and resumed equals one that is not: '*' differs"),
        (ObjectInSchedule, "a fit that is cut off and resumed equals one that is not: its checkpoint cannot be"),
        (ForgottenPhase, "a fit that is cut off and resumed equals one that is not: '*' differs"),
        (GreedyPhase, "it fits in a budget of 3 steps, in all of its phases: model 'greedy-phase': the budget of 3 *"),
        (Viewed, "it trains channels-last, and gives the same with its weights in that order: RuntimeError: view size"),
        (WrongShape, "score() takes images alone*: its output: expected shape (24,), got (24, 1)"),
        (NanScore, "score() takes images alone*: its output: expected finite values, got 24 NaN of 24"),
        (IntegerScore, "score() takes images alone*: its output: expected floating-point numbers, got torch.int64"),
        (NeedsLabels, "score() takes images alone*: TypeError: *missing 1 required positional argument: 'labels'"),
        (InPlace, "score() takes images alone, leaves them as they are*: it changes the images in place"),
        (BatchDependent, "score() gives an image the same result in any batch: in batches of 1 it differs by "),
        (
            NoisyBatchDependent,
            "log_likelihood() gives an image the same result with any others, if it draws the same: w",
        ),
        (DrawsElsewhere, "score() draws from PyTorch's global generator alone: with one seed it gives two results"),
        (TooBright, "reconstruct() gives images in [0, 1]: they are in [*, 1.*]"),
        (DarkSamples, "sample() gives images in [0, 1]: they are in [-0.*]"),
        (OneAttribute, "predict() takes images alone*: its output: expected attributes left, right, got left"),
        (FloatCluster, "cluster() takes images alone*: its output, 'one': expected integers, got torch.float32"),
        (PlainAttribute, "all that it has learned is in its state_dict*: its score() differs"),
        (RandomProjection, "all that it has learned is in its state_dict*: its encode() differs"),
        (NeedsAStep, "without a step, as its untrained twin, it gives what it should, too: RuntimeError: nothing has"),
        (DrawsDirections, "it is deterministic, as it says: two seeds give the same results: its score() differs"),
        (LateBuffer, 'all that it has learned is in its state_dict*: RuntimeError: *Unexpected key*"scale"'),
    ],
)
def test_a_broken_promise_is_named(model_class, line):
    with pytest.raises(AssertionError) as error:
        check_model(model_class)
    subject, *lines = str(error.value).splitlines()
    assert subject == f"model '{model_class.name}' breaks what it promises"
    assert len(lines) == 1, lines
    position = 0
    for piece in line.split("*"):
        position = lines[0].index(piece, position) + len(piece)


class TensorOnTheCpu(Honest):
    def training_step(self, batch):
        return super().training_step(batch) + (self.encode(batch.images) * torch.ones(self.config.latent_dim)).mean()


class GeneratorOfTheCpu(Honest):
    def training_step(self, batch):
        code, generator = self.encode(batch.images), torch.Generator().manual_seed(0)
        return super().training_step(batch) + torch.rand(len(code), generator=generator, device=code.device).mean()


class OutsideBuffers(Honest):
    def build(self, info):
        super().build(info)
        self.weights = torch.ones(self.config.latent_dim)

    def score(self, images):
        return (self.encode(images) - self.centre).square() @ self.weights


class ReadsItsLoss(Honest):
    def training_step(self, batch):
        loss = super().training_step(batch)
        return loss / max(1.0, loss.item())


class ReadsBetweenUpdates(Honest):
    def optimizers(self):
        return {
            "code": torch.optim.Adam(self.encoder.parameters()),
            "images": torch.optim.SGD(self.decoder.parameters()),
        }

    def training_step(self, batch):
        yield "code", super().training_step(batch)
        yield "images", super().training_step(batch) * (1.0 if self.centre.tolist() else 2.0)


class SelectsByAMask(Honest):
    def training_step(self, batch):
        labels = batch.attributes["left"]
        return super().training_step(batch) + self.encode(batch.images)[labels != MISSING].square().mean()


class FillsACacheOnce(Honest):
    cache = None

    def training_step(self, batch):
        if self.cache is None:
            self.cache = torch.tensor([0.5], device=batch.images.device)
        return super().training_step(batch) * self.cache.sum()


class SamplesOnTheCpu(Honest):
    def sample(self, count):
        z = torch.randn(count, self.config.latent_dim)
        return torch.sigmoid(self.decoder(z)).view(-1, *self.info.image_shape)


class NumpyInScore(Mean):
    def score(self, images):
        return torch.from_numpy((images - self.mean).square().numpy().sum((1, 2, 3)))


@pytest.mark.parametrize(
    ("model_class", "line"),
    [
        (TensorOnTheCpu, "on an accelerator it fits*: RuntimeError: Expected all tensors to be on the same device*"),
        (
            GeneratorOfTheCpu,
            "on an accelerator it fits*: RuntimeError: Expected a 'sim' device type for generator*'cpu'",
        ),
        (OutsideBuffers, "on an accelerator it fits*: RuntimeError: Expected all tensors to be on the same device*"),
        (ReadsItsLoss, "0 synchronizations*: there are 7 in 7 steps (item: 7)"),
        (ReadsBetweenUpdates, "0 synchronizations*: there are 7 in 7 steps (tolist: 7)"),
        (SelectsByAMask, "0 synchronizations*: there are * in 7 steps (index by a mask: *)"),
        (SamplesOnTheCpu, "on an accelerator sample() works*: RuntimeError: Expected all tensors to be on the same*"),
        (NumpyInScore, "on an accelerator score() works*: TypeError: can't convert sim:0 device type tensor to numpy*"),
    ],
)
def test_a_mistake_that_only_an_accelerator_shows_is_named(model_class, line):
    with pytest.raises(AssertionError) as error:
        check_model(model_class)
    _, *lines = str(error.value).splitlines()
    assert len(lines) == 1, lines
    position = 0
    for piece in line.split("*"):
        position = lines[0].index(piece, position) + len(piece)


def test_a_cache_that_is_filled_in_the_first_step_is_no_synchronization_of_a_step():
    assert "0 synchronizations with the accelerator in a training step after the first" in check_model(FillsACacheOnce)


def test_all_broken_promises_are_named_together():
    class Both(TooBright, WrongShape):
        pass

    with pytest.raises(AssertionError) as error:
        check_model(Both)
    assert [line.split("()")[0] for line in str(error.value).splitlines()[1:]] == ["- score", "- reconstruct"]
    assert isinstance(error.value.__cause__, Exception)
