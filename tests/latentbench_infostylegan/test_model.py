"""The model: what it promises, its losses and its average in closed form, what it warns of, and what it refuses."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from latentbench import Batch, DataInfo, LatentbenchError, Role, StoredSplit, Targets
from latentbench.model import TrainingProgress
from latentbench.running.training import TrainingLoop
from latentbench.testing import check_model
from latentbench_infostylegan import latentbench_models, measures
from latentbench_infostylegan.model import EMA_RAMP, VARIATION, InfoStyleGAN
from latentbench_infostylegan.network import Level, MinibatchDeviation
from latentbench_infostylegan.scores import OWN

INFO = DataInfo(channels=1, height=16, width=16, train_size=48)
SMALL: dict[str, Any] = {
    "continuous": 2,
    "categorical": (3,),
    "z_dim": 4,
    "style_dim": 8,
    "width": 2,
    "widest": 8,
    "epochs": 1,
    "batch_size": 16,
    "post_hoc_epochs": 1,
    "reader_steps": 2,
    "references": 20,
}


def make(info: DataInfo = INFO, **options: Any) -> InfoStyleGAN:
    torch.manual_seed(0)
    return InfoStyleGAN(InfoStyleGAN.Config.parse({**SMALL, **options}, "model 'infostylegan'"), info)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(48, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def fitted(model: InfoStyleGAN, images: Tensor, **trainer_options: Any) -> InfoStyleGAN:
    train = StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8))
    model.fit(train, None, TrainingLoop(device=torch.device("cpu"), seed=0, **trainer_options))
    return model.eval()


def test_the_plugin_offers_it() -> None:
    assert [model.name for model in latentbench_models()] == ["infostylegan"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 16, 16), {"mi": 0.1, "r1_every": 2}),  # three optimizers, two of which share the trunk
        pytest.param(
            (3, 28, 28),
            {"code_injection": "per_scale", "q_head": "separate", "precision": "bfloat16"},
            marks=pytest.mark.long,
        ),
    ],
)
def test_it_keeps_what_a_model_promises(
    shape: tuple[int, int, int], options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among the promises: a training that is cut off and resumed ends with the same weights, averages included."""
    monkeypatch.setattr(measures, "HELD_OUT", measures.BATCH)  # as in training, only less often
    channels, height, width = shape
    options = {**SMALL, "epochs": 2, "batch_size": 32, **options}
    check_model(InfoStyleGAN, channels=channels, height=height, width=width, options=options)


def test_a_code_and_a_score_do_not_depend_on_the_rest_of_the_batch(images: Tensor) -> None:
    model = fitted(make(), images)
    with torch.inference_mode():
        torch.testing.assert_close(model.encode(images)[5:6], model.encode(images[5:6]))
        company = torch.cat([images[5:6], torch.zeros(3, 1, 16, 16)])
        torch.testing.assert_close(model.encode(company)[:1], model.encode(images[5:6]))
        among, alone = model.score(images), model.score(images[5:6])
    for name, score in alone.items():
        torch.testing.assert_close(among[name][5:6], score, rtol=1e-4, atol=1e-4)


def test_its_scores_are_those_of_all_detectors_with_its_own_first(images: Tensor) -> None:
    model = fitted(make(), images)
    with torch.inference_mode():
        scores = model.score(torch.cat([images, 15 * images]))
    assert next(iter(scores)) == OWN == "trunk_mahalanobis"
    assert len(scores) == 3 * 4 + 4
    assert all(score.shape == (96,) and score.isfinite().all() for score in scores.values())
    assert (scores[OWN][48:] > scores[OWN][:48].max()).all()  # fifteen times as bright
    x = model.readings(images)
    torch.testing.assert_close(scores["negative_logit"][:48], -x.logit)


def test_the_untrained_twin_has_detectors_and_makes_no_step(images: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    first, twin = make(), fitted(make(), images, max_steps=0)
    for name, weight in first.named_parameters():
        assert torch.equal(weight, twin.state_dict()[name]), name
    assert all(detector.number == 20 for detector in twin.scores.detectors.values())
    assert all(score.isfinite().all() for score in twin.score(images).values())
    assert twin.facts()["variation_of_images"] > 0
    assert not caplog.records


def updates(model: InfoStyleGAN, images: Tensor) -> dict[str, dict[str, Tensor]]:
    found = {}
    for name, losses in model.training_step(Batch(images)):
        assert isinstance(losses, dict)
        found[name] = losses
    return found


def test_losses_are_logistic_and_the_information_is_logged_with_the_entropy(images: Tensor) -> None:
    model = make(mi=0.3).train()
    model.progress = TrainingProgress(step=1)
    torch.manual_seed(1)
    found = updates(model, images)
    torch.manual_seed(1)
    z, c = model.draw(48)
    fake = model.generator(z, c)
    real, of_fake = model.discriminator(2 * images - 1), model.discriminator(fake)
    torch.testing.assert_close(found["discriminator"]["loss"], (softplus(-real) + softplus(of_fake)).mean())
    torch.testing.assert_close(found["generator"]["adversarial"], softplus(-of_fake).mean())
    log_q = model.codes.log_q(model.read(fake), c).sum(1).mean()
    torch.testing.assert_close(found["generator"]["loss"], softplus(-of_fake).mean() - 0.3 * log_q)
    torch.testing.assert_close(found["q"]["loss"], -log_q)
    torch.testing.assert_close(found["q"]["information"], log_q + model.codes.entropy)


@pytest.mark.parametrize("q_head", ["shared", "separate"])
def test_the_generator_follows_minus_lambda_times_the_gradient_of_the_information(images: Tensor, q_head: str) -> None:
    """What its loss adds to the gradient of the adversarial one, against the gradient of the bound by itself."""
    model = make(mi=0.3, q_head=q_head).train()
    model.progress = TrainingProgress(step=1)
    parameters = [*model.generator.parameters()]
    torch.manual_seed(1)
    losses = updates(model, images)["generator"]
    torch.manual_seed(1)
    z, c = model.draw(48)
    information = model.codes.mean_log_q(model.read(model.generator(z, c)), c)
    of_loss, of_adversarial, of_information = (
        torch.autograd.grad(loss, parameters, retain_graph=True)
        for loss in (losses["loss"], losses["adversarial"], information)
    )
    assert max(gradient.abs().max() for gradient in of_information) > 1e-3
    for loss, adversarial, bound in zip(of_loss, of_adversarial, of_information, strict=True):
        torch.testing.assert_close(loss - adversarial, -0.3 * bound, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_generator_and_trunk_are_compiled_where_that_is_asked_for(
    images: Tensor, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    found: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: found.append(self))
    model = fitted(make(compiled=compiled), images, max_steps=0)
    assert found == ([model.generator, model.discriminator.trunk] if compiled else [])


def with_another_average(**options: Any) -> InfoStyleGAN:
    """A model whose averaged generator makes other images than the one that is trained."""
    model = make(**options)
    with torch.no_grad():
        for parameter in model.average.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        z, c = model.draw(4)
        assert (model.generator(z, c, noisy=False) - model.average(z, c, noisy=False)).abs().max() > 0.1
    return model


@pytest.mark.parametrize("q_head", ["shared", "separate"])
def test_post_hoc_q_and_the_encoder_learn_from_samples_of_the_average(images: Tensor, q_head: str) -> None:
    """Q by the likelihood of c, the encoder by that of c and of z with a mean square of 1."""
    model = with_another_average(q_head=q_head).train()
    model.progress = TrainingProgress(phase="post-hoc")
    torch.manual_seed(1)
    (first, of_q), (second, of_encoder) = model.training_step(Batch(images))
    assert (first, second) == ("q", "encoder")
    assert isinstance(of_q, dict)
    torch.manual_seed(1)
    z, c = model.draw(48)
    fake = model.average(z, c)
    log_q = model.codes.log_q(model.read(fake), c).sum(1).mean()
    torch.testing.assert_close(of_q["loss"], -log_q)
    torch.testing.assert_close(of_q["information"], log_q + model.codes.entropy)
    target = torch.cat([z / z.square().mean(1, keepdim=True).sqrt(), c], 1)
    torch.testing.assert_close(of_encoder, -model.latents.log_q(model.encoder(fake), target).sum(1).mean())


def test_a_reconstruction_is_what_the_average_makes_of_what_the_encoder_reads_in_the_image(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_another_average().eval()
    given, outputs = [], torch.randn(48, model.latents.outputs)

    def encoder(x: Tensor) -> Tensor:
        given.append(x)
        return outputs

    monkeypatch.setattr(model.encoder, "forward", encoder)
    with torch.inference_mode():
        found = model.reconstruct(images)
        z, numbers = outputs[:, :4], outputs[:, 4:6].clamp(-1, 1)  # four of z and two of c; as many log variances
        category = torch.eye(3)[outputs[:, 12:].argmax(1)]
        made = model.average(z, torch.cat([numbers, category], 1), noisy=False)
    assert len(given) == 1
    torch.testing.assert_close(given[0], 2 * images - 1)
    torch.testing.assert_close(found, (made / 2 + 0.5).clamp(0, 1))


def test_the_penalty_of_a_linear_discriminator_is_its_squared_slope(images: Tensor) -> None:
    model = make()
    slope = torch.randn(1, 16, 16)
    model.discriminator.trunk = nn.Identity()  # type: ignore[assignment]
    model.discriminator.judge = lambda x: (slope * x).sum((1, 2, 3))  # type: ignore[method-assign, assignment]
    torch.testing.assert_close(model.penalty(images), slope.square().sum())


def test_a_lazy_penalty_keeps_its_expectation(images: Tensor) -> None:
    """Over 16 steps the loss has as much of it as with a penalty in each."""
    model = make(r1_gamma=3.0).train()
    total: Tensor = torch.zeros(())
    for step in range(16):
        model.progress = TrainingProgress(step=step)
        losses = model.discrimination(images, images)
        total = total + losses["loss"]
        assert ("r1" in losses) == (step == 0)
    model.progress = TrainingProgress(step=1)
    bare = 16 * model.discrimination(images, images)["loss"]
    torch.testing.assert_close(total - bare, 16 * 3.0 / 2 * model.penalty(images), rtol=1e-3, atol=1e-4)


def test_the_average_follows_parameters_with_its_half_life_and_buffers_at_once() -> None:
    model = make(ema_half_life=32.0, batch_size=16)
    before = {name: value.clone() for name, value in model.average.named_parameters()}
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.add_(1)
        model.generator.roots.fill_(7)
    model.progress = TrainingProgress(step=10_000)
    for _ in range(4):  # 64 images: two half-lives
        model.after_update("generator")
        model.after_update("q")
    for name, value in model.average.named_parameters():
        torch.testing.assert_close(value, before[name] + 0.75)
    assert (model.average.roots == 7).all()


def test_at_first_the_average_follows_a_share_of_the_images_so_far() -> None:
    model = make()
    with torch.no_grad():
        model.generator.constant.add_(1)
    before = model.average.constant.clone()
    model.progress = TrainingProgress(step=99)
    model.after_update("generator")
    torch.testing.assert_close(model.average.constant, before + 1 - 0.5 ** (1 / (100 * EMA_RAMP)))


def test_without_information_q_is_first_fitted_to_samples_of_the_finished_generator(images: Tensor) -> None:
    model = make(mi=0.0)
    assert model.optimizers().keys() == {"discriminator", "generator"}
    first = [parameter.clone() for parameter in model.q.parameters()]
    model.train()
    for _, _ in model.training_step(Batch(images)):
        pass
    model.progress = TrainingProgress(phase="post-hoc")
    optimizers = model.optimizers()
    assert optimizers.keys() == {"q", "encoder"}
    fitted_to = {id(p) for one in optimizers.values() for group in one.param_groups for p in group["params"]}
    assert not fitted_to & {id(p) for p in [*model.generator.parameters(), *model.discriminator.parameters()]}
    assert all(torch.equal(one, other) for one, other in zip(first, model.q.parameters(), strict=True))


def test_the_gradient_of_an_update_of_q_is_clipped() -> None:
    model = make()
    optimizer = model.optimizers()["q"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 100.0)
    optimizer.step()
    norm = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(1, rel=1e-3)


def test_images_of_28_pixels_are_padded_with_black_and_cut_back() -> None:
    model = make(DataInfo(channels=1, height=28, width=28, train_size=48))
    x = torch.rand(3, 1, 28, 28)
    inside = model.inside(x)
    assert inside.shape == (3, 1, 32, 32)
    assert (inside[:, :, :2] == -1).all()
    assert (inside[:, :, :, -2:] == -1).all()
    torch.testing.assert_close(model.outside(inside), x)


def test_samples_are_of_the_average() -> None:
    model = with_another_average().eval()
    torch.manual_seed(0)
    found = model.sample(4)
    torch.manual_seed(0)
    torch.testing.assert_close(found, (model.average(*model.draw(4)) / 2 + 0.5).clamp(0, 1))


def test_samples_at_given_codes_are_of_the_nearest_possible_ones() -> None:
    model = with_another_average().eval()
    given = torch.tensor([[0.5, -7.0, 0.2, 0.5, 0.3]]).expand(4, -1)
    possible = torch.tensor([[0.5, -1.0, 0.0, 1.0, 0.0]]).expand(4, -1)
    torch.manual_seed(0)
    found = model.sample(4, given)
    torch.manual_seed(0)
    assert torch.equal(found, model.sample(4, possible))
    assert found.shape == (4, 1, 16, 16)


def test_pictures_are_rows_of_generated_images() -> None:
    with torch.inference_mode():
        sheets = make().eval().generated_pictures()
    assert {name: tuple(sheet.shape) for name, sheet in sheets.items()} == {
        "traversals": (3, 8, 1, 16, 16),
        "one-code": (8, 8, 1, 16, 16),
        "best-samples": (8, 8, 1, 16, 16),
    }


def test_a_row_of_one_code_has_one_code_and_rows_have_different_ones() -> None:
    """Seen where the generator ignores z."""
    model = make().eval()
    nn.init.zeros_(model.average.mapping.of_z.weight)
    with torch.inference_mode():
        rows = model.generated_pictures()["one-code"]
    torch.testing.assert_close(rows, rows[:, :1].expand_as(rows), rtol=0, atol=1e-5)
    assert ((rows[1:, 0] - rows[:-1, 0]).abs().flatten(1).amax(1) > 1e-3).all()


def test_the_best_samples_are_those_of_the_largest_logits_the_best_first() -> None:
    model = make().eval()
    with torch.inference_mode():
        best = model.generated_pictures()["best-samples"].flatten(0, 1)
        logits = model.readings(best).logit
        others = model.readings(model.sample(256)).logit
    assert (logits.diff() <= 1e-5).all()
    assert logits[0] > logits[-1] > others.median()


def warnings(model: InfoStyleGAN, split: StoredSplit, caplog: pytest.LogCaptureFixture, **options: Any) -> list[str]:
    """What is warned of at the end of a training."""
    with caplog.at_level(logging.WARNING, logger="latentbench"):
        model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0, **options))
    assert model.progress.step > 0
    assert all("\n" not in record.getMessage() for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


def frozen_at_zero(weight: nn.Parameter) -> None:
    nn.init.zeros_(weight).requires_grad_(False)


def without_z(info: DataInfo = INFO, **options: Any) -> InfoStyleGAN:
    """A model whose generator never looks at z, so that the samples of a code are one image."""
    model = make(info, **options)
    frozen_at_zero(model.generator.mapping.of_z.weight)
    model.average.load_state_dict(model.generator.state_dict())
    return model


def test_a_sound_training_has_no_warning(images: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(make(), StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8)), caplog) == []


@pytest.mark.parametrize(("mi", "mend"), [(0.1, "lower mi or give fewer codes"), (0.0, "give fewer codes")])
@pytest.mark.parametrize(
    ("targets", "reference"),
    [(None, "over training images:"), (Targets(attributes={"kind": np.arange(48) % 2}), "of one kind:")],
)
def test_a_training_after_which_the_samples_of_a_code_are_alike_ends_with_a_warning(
    images: Tensor,
    caplog: pytest.LogCaptureFixture,
    mi: float,
    mend: str,
    targets: Targets | None,
    reference: str,
) -> None:
    split = StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8), targets)
    attributes = {} if targets is None else {"kind": 2}
    (message,) = warnings(without_z(replace(INFO, attributes=attributes), mi=mi), split, caplog)
    assert "samples of one code are nearly alike: pixels vary by 0.000 with z, and by 0.2" in message
    assert reference in message
    assert message.endswith(f"the codes leave little to z: {mend}")


def test_a_training_after_which_all_samples_are_alike_ends_with_a_warning(
    images: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    model = without_z()
    of_c = model.generator.mapping.of_c
    assert of_c is not None
    frozen_at_zero(of_c.weight)
    model.average.load_state_dict(model.generator.state_dict())
    (message,) = warnings(model, StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8)), caplog)
    assert "has collapsed: pixels vary by 0.000 over samples, and by 0.2" in message


@pytest.mark.parametrize(("mi", "mend"), [(0.1, "raise r1_gamma or lower mi"), (0.0, "raise r1_gamma")])
def test_a_training_that_the_discriminator_wins_ends_with_a_warning(
    images: Tensor, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, mi: float, mend: str
) -> None:
    """The generator stays as it is and makes grey images, and training images are white; none is seen in company."""
    monkeypatch.setattr(MinibatchDeviation, "of_groups", staticmethod(lambda x: torch.ones(len(x))))
    split = StoredSplit(Role.TRAIN, ((0.9 + images / 10) * 255).to(torch.uint8))
    model = make(mi=mi, generator_learning_rate=1e-12, discriminator_learning_rate=1e-2, r1_gamma=0.0, epochs=8)
    with torch.no_grad():
        for level in model.generator.levels:
            assert isinstance(level, Level)
            level.image.weight.mul_(0.1)
    model.average.load_state_dict(model.generator.state_dict())
    (message,) = warnings(model, split, caplog)
    assert "the discriminator has won: it judges 100.0 % of training images and samples rightly" in message
    assert message.endswith(mend)


def test_variation_of_a_quarter_and_an_accuracy_of_99_percent_are_where_warnings_begin(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Digits without information, committed with 0.20 of the variation of a digit within a code, are below it."""
    model = make()

    def warned(images: float, samples: float, one_code: float, accuracy: float) -> list[str]:
        caplog.clear()
        model.measured[-4:] = torch.tensor([images, samples, one_code, accuracy])
        with caplog.at_level(logging.WARNING, logger="latentbench"):
            model._warn()
        return [record.getMessage().partition(":")[0] for record in caplog.records]

    assert model.names[-4:] == [*VARIATION, "discriminator_accuracy"]
    assert warned(0.4, 0.11, 0.11, 0.98) == []
    assert warned(0.163, 0.178, 0.033, 0.6) == ["model 'infostylegan'"]
    assert warned(0.4, 0.09, 0.09, 0.98) == ["model 'infostylegan' has collapsed"]
    assert len(warned(0.4, 0.09, 0.09, 0.995)) == 2


@pytest.mark.parametrize("mi", [0.0, 0.1])
def test_the_norm_of_each_gradient_is_among_the_losses(images: Tensor, mi: float) -> None:
    """Against gradients that are taken of the same losses at the same weights."""
    train = StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8))
    networks = ["discriminator", "generator", *(["q"] if mi else [])]
    loop = TrainingLoop(device=torch.device("cpu"), seed=0, max_steps=2)
    model = make(mi=mi, batch_size=48)
    loop.fit(model, train, None)
    assert loop.training is not None
    (losses, *_) = loop.training.losses
    assert {name for name in losses if name.endswith("gradient_norm")} == {f"{name}/gradient_norm" for name in networks}

    model = make(mi=mi)
    optimizers, found = model.optimizers(), {}
    for name, losses_of in model.train().training_step(Batch(images)):
        assert isinstance(losses_of, dict)
        parameters = [p for group in optimizers[name].param_groups for p in group["params"]]
        optimizers[name].zero_grad()
        gradients = torch.autograd.grad(losses_of["loss"], parameters, retain_graph=True)
        losses_of["loss"].backward(inputs=parameters)
        optimizers[name].step()
        expected = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        torch.testing.assert_close(losses_of["gradient_norm"], expected)
        found[name] = losses_of["gradient_norm"]
    assert list(found) == networks


def test_a_generator_that_ignores_z_has_no_variation_at_a_code_and_one_that_ignores_all_has_none(
    images: Tensor,
) -> None:
    def variations(model: InfoStyleGAN) -> tuple[float, float]:
        facts = fitted(model, images, max_steps=0).facts()
        return facts["variation_of_samples"], facts["variation_of_one_code"]

    without_z = make()
    nn.init.zeros_(without_z.average.mapping.of_z.weight)
    samples, one_code = variations(without_z)
    assert samples > 0
    assert one_code == pytest.approx(0, abs=1e-6)
    of_c = without_z.average.mapping.of_c
    assert of_c is not None
    nn.init.zeros_(of_c.weight)
    assert variations(without_z) == pytest.approx((0, 0), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"continuous": 0, "categorical": ()}, "there is no code: set continuous or categorical"),
        ({"continuous": -1}, "'continuous': Input should be greater than or equal to 0, got -1"),
        ({"categorical": (10, 1)}, "'categorical.1': Input should be greater than or equal to 2, got 1"),
        ({"width": 9, "widest": 8}, "width is 9, and no resolution has more channels than widest, 8: raise widest or"),
        ({"categorical": 10}, "'categorical': Input should be a valid tuple, got 10 (one value is written [10])"),
        ({"mi": float("inf")}, "'mi': Input should be a finite number, got inf"),
        ({"mi": -0.1}, "'mi': Input should be greater than or equal to 0, got -0.1"),
        ({"batch_size": 49}, "48 training images are fewer than a batch of 49: set a smaller batch_size"),
        ({"r1_gamma": 0.0, "r1_every": 4}, "'r1_every' has no effect: r1_gamma is 0"),
    ],
)
def test_options_that_cannot_be_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentbenchError) as error:
        make(**options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("side", [16, 28, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_powers_of_two_suit_it_and_28(side: int, channels: int) -> None:
    assert InfoStyleGAN.suits(DataInfo(channels, side, side, 99)) is None


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (DataInfo(3, 48, 48, 99), "not 48x48: where the dataset has an option image_size, set it"),
        (DataInfo(1, 32, 64, 99), "not 64x32"),
        (DataInfo(1, 8, 8, 99), "not 8x8"),
        (DataInfo(3, 256, 256, 99), "not 256x256"),
        (DataInfo(2, 32, 32, 99), "1 or 3 channels, not 2"),
    ],
)
def test_other_shapes_do_not_suit_it_and_are_refused(info: DataInfo, reason: str) -> None:
    found = InfoStyleGAN.suits(info)
    assert found is not None
    assert reason in found
    with pytest.raises(LatentbenchError, match=r"^model 'infostylegan': its"):
        make(info)
