import re
from typing import Any

import numpy as np
import pytest
import scipy
import torch
from tests.latentbench_autoencoders.given import (
    DEBIASED,
    OF_DRAWS,
    SCORES,
    LinearGaussian,
    fitted,
    make,
    posterior_of,
    score_of,
)
from torch import Tensor, nn
from torch import distributions as dist

from latentbench import Batch, DataInfo
from latentbench_autoencoders import detector
from latentbench_autoencoders.posteriors import Gaussian
from latentbench_autoencoders.vae import VAE


def test_with_the_exact_posterior_one_importance_sample_gives_the_exact_log_likelihood() -> None:
    world = LinearGaussian()
    x = world.draw(50)
    torch.testing.assert_close(world.vae(1).log_likelihood(x), world.log_p(x), atol=1e-4, rtol=1e-4)


def test_the_importance_weighted_bound_lies_between_elbo_and_log_likelihood_and_converges() -> None:
    world = LinearGaussian()
    x = world.draw(400)
    exact = world.log_p(x).mean()
    with torch.inference_mode():
        elbo = -torch.stack([world.vae(1, wrong=0.7).training_step(Batch(x))["loss"] for _ in range(20)]).mean()
        loose, tight = (world.vae(k, wrong=0.7).log_likelihood(x).mean() for k in (20, 20_000))
    assert elbo + 0.2 < loose < exact - 0.01
    torch.testing.assert_close(tight, exact, atol=0.01, rtol=0)


def test_importance_samples_decoded_in_chunks_give_the_same(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(VAE, importance_samples=10)
    whole = model.log_likelihood(images)
    largest = 0

    def outputs(z: Tensor, outputs: Any = model.outputs) -> Tensor:
        nonlocal largest
        largest = max(largest, len(z))
        return outputs(z)

    monkeypatch.setattr(model, "outputs", outputs)
    monkeypatch.setattr(detector, "AT_ONCE", 3 * images.numel() + 1)
    torch.testing.assert_close(model.log_likelihood(images), whole)
    assert largest == 3 * len(images)


@pytest.mark.parametrize("score", SCORES)
def test_a_score_depends_neither_on_the_batch_nor_on_the_call(score: str, images: Tensor) -> None:
    model = make(VAE, score=score, reconstruction="bernoulli", importance_samples=8)
    with torch.inference_mode():
        first = score_of(model, images)
        assert first.shape == (12,)
        assert torch.equal(score_of(model, images), first)
        torch.testing.assert_close(score_of(model, images.flip(0)).flip(0), first)
        torch.testing.assert_close(torch.cat([score_of(model, image[None]) for image in images]), first)


def test_the_scores_are_what_they_are_called(images: Tensor) -> None:
    options: dict[str, Any] = {"reconstruction": "bernoulli", "importance_samples": 8}
    models = {score: make(VAE, score=score, **options) for score in SCORES}
    scores = {score: score_of(model, images) for score, model in models.items()}
    model = models["kl"]
    mu, log_var = posterior_of(model, images)
    kl = dist.kl_divergence(dist.Normal(mu, (log_var / 2).exp()), dist.Normal(0.0, 1.0)).sum(1)
    log_p_x = dist.Bernoulli(logits=model.outputs(mu), validate_args=False).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(scores["kl"], kl)
    torch.testing.assert_close(scores["code_norm"], mu.square().sum(1).sqrt())
    torch.testing.assert_close(scores["posterior_spread"], log_var.exp().sqrt().mean(1))
    torch.testing.assert_close(scores["negative_elbo"], kl - log_p_x)
    torch.testing.assert_close(scores["reconstruction"], model.localize(images).sum((1, 2)))
    torch.testing.assert_close(scores["negative_log_likelihood"], -model.log_likelihood(images))


def test_of_a_linear_gaussian_the_scores_of_draws_have_closed_forms() -> None:
    world = LinearGaussian()
    x = world.draw(40)
    model = world.vae(20_000, score="hole_indicator", scores=["log_ratio_std", "typicality"])
    model.entropy.fill_(3.0)
    with torch.inference_mode():
        scores = model.score(x)
    assert isinstance(scores, dict)
    assert list(scores) == ["hole_indicator", "log_ratio_std", "typicality"]
    torch.testing.assert_close(scores["hole_indicator"], world.log_p_given_z_std(x), atol=0, rtol=0.05)
    # With the exact posterior every weight is p(x).
    torch.testing.assert_close(scores["log_ratio_std"], torch.zeros(40), atol=1e-4, rtol=0)
    torch.testing.assert_close(scores["typicality"], (-world.log_p(x) - 3.0).abs(), atol=1e-4, rtol=1e-4)


def test_of_a_linear_gaussian_maps_and_elbo_over_draws_have_closed_forms() -> None:
    world = LinearGaussian()
    x = world.draw(40)
    at_mean, of_draws = world.vae(2), world.vae(20_000, reconstruct_at="draws")
    with torch.inference_mode():
        spread = (world.W.square() @ world.posterior_variance).view(2, 3) / (2 * world.sigma**2)
        torch.testing.assert_close(of_draws.localize(x), at_mean.localize(x) + spread, atol=0.05, rtol=0)
        torch.testing.assert_close(score_of(of_draws, x), -world.log_p(x), atol=0.05, rtol=0)  # the posterior is exact
        assert (score_of(of_draws, x) - score_of(at_mean, x)).min() > 0.5


class _Spherical(VAE):
    """Where q(z | x) is the prior and the decoder is right at the length that z has: at 0 it is black."""

    name = "vae"

    def posterior(self, x: Tensor) -> Gaussian:
        return Gaussian(*torch.zeros(2, len(x), self.config.latent_dim))

    def outputs(self, z: Tensor) -> Tensor:
        lengths = (z.square().mean(1) - 1)[:, None, None, None]
        return 0 * super().outputs(z) + 0.4 + 0.5 * lengths


@pytest.mark.parametrize("place", ["mean", "draws"])
def test_a_mean_of_the_posterior_that_the_decoder_does_not_know_is_warned_of(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = fitted(_Spherical, torch.full((12, 1, 8, 16), 0.4), latent_dim=64, reconstruct_at=place)
    with torch.inference_mode():
        gray = model.reconstruct(torch.full((1, 1, 8, 16), 0.4)).mean()
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    if place == "draws":
        assert float(gray) == pytest.approx(0.4, abs=0.05)
        assert warned == []
        return
    assert float(gray) == 0
    (line,) = warned
    factor = re.fullmatch(
        r"model 'vae': normal images are reconstructed (\S+) times as badly at the mean of q\(z \| x\) as at draws of "
        r"it, on which the decoder was trained: set reconstruct_at=draws",
        line,
    )
    assert factor is not None
    at_draws = [0.5 * (float(eps.square().mean()) - 1) for eps in model.eps[: detector.COMPARED_DRAWS]]
    assert float(factor[1]) == pytest.approx(0.5**2 / np.mean(np.square(at_draws)), abs=0.05)


def test_a_vae_whose_decoder_knows_the_mean_is_not_warned_of(images: Tensor, caplog: pytest.LogCaptureFixture) -> None:
    fitted(VAE, images)
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


@pytest.mark.parametrize("grays", [[0.0, 1.0, 0.5], [0.2, 0.7, 0.99]])
def test_bernoulli_pixels_that_z_tells_nothing_of_have_their_relative_entropy_for_a_debiased_likelihood(
    grays: list[float],
) -> None:
    images = torch.tensor(grays).view(1, 1, 1, 3)
    p = np.array([0.1, 0.6, 0.5])
    info = DataInfo(channels=1, height=1, width=3, train_size=1)
    model = make(VAE, info, trunk="mlp", reconstruction="bernoulli", score=DEBIASED, importance_samples=5)
    pixels = nn.Linear(32, 3)
    model.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3, 64))
    model.decoder = nn.Sequential(pixels, nn.Unflatten(1, (1, 1, 3)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # the posterior is the prior, so that every importance weight is p(x | z)
        pixels.bias.copy_(torch.from_numpy(scipy.special.logit(p)))
    expected = scipy.special.rel_entr(grays, p).sum() + scipy.special.rel_entr(1 - np.array(grays), 1 - p).sum()
    assert float(score_of(model, images)) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("reconstruction", ["bernoulli", "gaussian"])
def test_the_scores_of_draws_are_those_of_a_loop_over_draws(reconstruction: str, images: Tensor) -> None:
    names = ["hole_indicator", "log_ratio_std", "negative_log_likelihood"]
    model = make(VAE, reconstruction=reconstruction, score=names[0], scores=names[1:], importance_samples=7)
    mu, log_var = posterior_of(model, images)
    q = dist.Normal(mu, (log_var / 2).exp())
    log_p, log_w = [], []
    for eps in model.eps:
        z = mu + (log_var / 2).exp() * eps
        outputs = model.outputs(z)
        pixels = (
            dist.Bernoulli(logits=outputs, validate_args=False)
            if reconstruction == "bernoulli"
            else dist.Normal(outputs, model.config.sigma)
        )
        log_p.append(pixels.log_prob(images).sum((1, 2, 3)))
        log_w.append(log_p[-1] + (dist.Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(1))
    expected = {
        "hole_indicator": torch.stack(log_p).std(0),
        "log_ratio_std": torch.stack(log_w).std(0),
        "negative_log_likelihood": -(torch.stack(log_w).double().logsumexp(0).float() - torch.tensor(7.0).log()),
    }
    scores = model.score(images)
    assert isinstance(scores, dict)
    for name in names:
        torch.testing.assert_close(scores[name], expected[name], atol=2e-3, rtol=1e-4)


def test_the_hole_indicator_knows_posterior_and_decoder_alone(images: Tensor) -> None:
    model = make(VAE, score="hole_indicator", reconstruction="bernoulli", importance_samples=50)

    def scored_with(log_var: float) -> Tensor:
        mu, _ = posterior_of(model, images)
        return model.draws(Gaussian(mu, torch.full_like(mu, log_var)), images).hole_indicator()

    torch.testing.assert_close(scored_with(-60.0), torch.zeros(12), atol=1e-4, rtol=0)  # no width, no spread
    assert (scored_with(0.0) > scored_with(-2.0)).all()
    assert (scored_with(-2.0) > scored_with(-4.0)).all()


def test_scores_of_images_far_beyond_their_range_are_finite(images: Tensor) -> None:
    model = make(VAE, reconstruction="bernoulli", scores=[*OF_DRAWS, DEBIASED], trunk="mlp")
    *_, last = model.encoder.children()
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[-10:] = 1e4  # log sigma^2
        scores = model.score(15 * images)
    assert isinstance(scores, dict)
    assert all(score.isfinite().all() for score in scores.values())
    assert scores["hole_indicator"].min() > 1e6


def test_typicality_is_held_against_training_images(images: Tensor) -> None:
    model = fitted(VAE, images, score="typicality", importance_samples=8)
    stored = (images * 255).to(torch.uint8) / 255
    torch.testing.assert_close(model.entropy, -model.log_likelihood(stored).mean())
    torch.testing.assert_close(score_of(model, stored), (-model.log_likelihood(stored) - model.entropy).abs())


def test_further_scores_leave_training_and_the_models_own_score_alone(images: Tensor) -> None:
    plain, further = fitted(VAE, images), fitted(VAE, images, scores=OF_DRAWS)
    kept = {name: value for name, value in further.state_dict().items() if name != "entropy"}
    assert all(torch.equal(value, kept[name]) for name, value in plain.state_dict().items())
    assert kept.keys() == plain.state_dict().keys()
    scores = further.score(images)
    assert isinstance(scores, dict)
    assert list(scores) == ["negative_elbo", *OF_DRAWS]
    assert torch.equal(scores["negative_elbo"], score_of(plain, images))
