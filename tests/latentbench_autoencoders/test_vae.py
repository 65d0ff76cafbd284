import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy
import torch
from torch import Tensor, nn
from torch import distributions as dist

import latentbench_autoencoders
from latentbench import Batch, DataInfo, LatentbenchError, Role, StoredSplit, Where
from latentbench.capabilities import capabilities_of
from latentbench.model import TrainingProgress
from latentbench.plugins.registry import Plugins
from latentbench.running.training import TrainingLoop
from latentbench_autoencoders import detector
from latentbench_autoencoders.ae import AE
from latentbench_autoencoders.autoencoder import Autoencoder
from latentbench_autoencoders.beta_vae import BetaVAE
from latentbench_autoencoders.posteriors import Gaussian, kl_divergence
from latentbench_autoencoders.vae import NARROW, VAE

INFO = DataInfo(channels=1, height=8, width=16, train_size=12)
OF_DRAWS = ["negative_log_likelihood", "hole_indicator", "log_ratio_std", "typicality", "input_complexity"]
DEBIASED = "debiased_negative_log_likelihood"
SCORES = ["negative_elbo", "reconstruction", "kl", "code_norm", "posterior_spread", *OF_DRAWS, DEBIASED]


def _make(cls: type[VAE], info: DataInfo = INFO, **options: Any) -> VAE:
    torch.manual_seed(0)
    return cls(cls.Config.parse(options, cls.name), info).eval()


def _posterior(model: VAE, images: Tensor) -> tuple[Tensor, Tensor]:
    """The means, and the logarithms of the variances."""
    q = model.posterior(images)
    assert isinstance(q, Gaussian)
    return q.mu, q.log_var


def _score(model: VAE, images: Tensor) -> Tensor:
    """The score of a model that gives one."""
    score = model.score(images)
    assert isinstance(score, Tensor)
    return score


@pytest.fixture
def images() -> Tensor:
    return torch.rand(12, 1, 8, 16, generator=torch.Generator().manual_seed(0))


class LinearGaussian:
    """x = W z + b + noise, z ~ N(0, I), W with orthogonal columns: its posterior is diagonal, its density closed."""

    sigma = 0.4
    b = torch.tensor([0.5, 0.2, 0.1, 0.8, 0.3, 0.4])
    W = torch.tensor([[1.0, 0.5], [1.0, -0.5], [0.6, 0.0], [0.0, 0.7], [0.3, 0.1], [-0.1, 0.9]])
    W = torch.linalg.qr(W).Q * torch.tensor([0.9, 0.5])
    posterior_variance = sigma**2 / (W.square().sum(0) + sigma**2)

    def draw(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(5)
        z, noise = torch.randn(count, 2, generator=generator), torch.randn(count, 6, generator=generator)
        return (z @ self.W.T + self.b + self.sigma * noise).view(-1, 1, 2, 3)

    def log_p(self, x: Tensor) -> Tensor:
        covariance = self.W @ self.W.T + self.sigma**2 * torch.eye(6)
        return dist.MultivariateNormal(self.b, covariance).log_prob(x.flatten(1))

    def log_p_given_z_std(self, x: Tensor) -> Tensor:
        """Standard deviation of log p(x | z), z ~ p(z | x): a sum over dimensions of squares of normal variables."""
        at_best = (x.flatten(1) - self.b) @ self.W / self.W.square().sum(0)  # z of least squares
        mean = self.posterior_variance / self.sigma**2 * ((x.flatten(1) - self.b) @ self.W)
        v, offset = self.posterior_variance, mean - at_best
        scale = self.W.square().sum(0) / (2 * self.sigma**2)
        return (scale.square() * (2 * v.square() + 4 * v * offset.square())).sum(1).sqrt()

    def vae(self, k: int, *, wrong: float = 0.0, **options: Any) -> VAE:
        """A VAE with this decoder and posterior, the posterior's mean and log variance raised by ``wrong``."""
        info = DataInfo(channels=1, height=2, width=3, train_size=1)
        options |= {"latent_dim": 2, "reconstruction": "gaussian", "sigma": self.sigma, "importance_samples": k}
        options |= {"trunk": "mlp"}
        model = _make(VAE, info, **options)
        to_posterior, to_pixels = nn.Linear(6, 4), nn.Linear(2, 6)
        model.encoder = nn.Sequential(nn.Flatten(), to_posterior)
        model.decoder = nn.Sequential(to_pixels, nn.Unflatten(1, (1, 2, 3)))
        to_mu = (self.posterior_variance / self.sigma**2)[:, None] * self.W.T
        with torch.no_grad():
            to_pixels.weight.copy_(self.W)
            to_pixels.bias.copy_(self.b)
            to_posterior.weight.copy_(torch.cat([to_mu, torch.zeros_like(to_mu)]))
            to_posterior.bias.copy_(torch.cat([wrong - to_mu @ self.b, self.posterior_variance.log() + wrong]))
        return model


def test_a_vae_can_also_sample_and_give_a_likelihood() -> None:
    expected = ["score", "localize", "encode", "decode", "reconstruct", "sample", "log_likelihood"]
    assert capabilities_of(VAE) == capabilities_of(BetaVAE) == expected


def test_the_names_are_the_fields() -> None:
    assert [model.name for model in (AE, VAE, BetaVAE)] == ["ae", "vae", "beta-vae"]
    assert BetaVAE.Config().beta == 4


def test_kl_is_that_of_torch_distributions_and_of_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    mu, log_var = torch.randn(4, 3, generator=generator), torch.randn(4, 3, generator=generator)
    q, p = dist.Normal(mu, (log_var / 2).exp()), dist.Normal(0.0, 1.0)
    kl = kl_divergence(mu, log_var)
    torch.testing.assert_close(kl, dist.kl_divergence(q, p).sum(1))
    z = mu + (log_var / 2).exp() * torch.randn(50_000, 4, 3, generator=generator)
    log_ratio = (q.log_prob(z) - p.log_prob(z)).sum(2)
    assert ((log_ratio.mean(0) - kl).abs() < 5 * log_ratio.std(0) / 50_000**0.5).all()


def test_the_step_is_the_negative_elbo_of_a_reparametrized_sample(images: Tensor) -> None:
    model = _make(VAE, latent_dim=3, reconstruction="bernoulli")
    torch.manual_seed(7)
    losses = model.training_step(Batch(images))
    torch.manual_seed(7)
    mu, log_var = _posterior(model, images)
    q = dist.Normal(mu, (log_var / 2).exp())
    log_p_x = dist.Bernoulli(logits=model.outputs(q.rsample()), validate_args=False).log_prob(images)
    kl = dist.kl_divergence(q, dist.Normal(0.0, 1.0))
    torch.testing.assert_close(losses["reconstruction"], -log_p_x.sum((1, 2, 3)).mean())
    torch.testing.assert_close(losses["kl"], kl.sum(1).mean())
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + losses["kl"])


@pytest.mark.parametrize(("cls", "beta"), [(VAE, 1), (BetaVAE, 3)])
def test_the_kl_term_is_left_out_and_then_rises_while_it_warms_up(cls: type[VAE], beta: float, images: Tensor) -> None:
    """Of 40 steps the first 10; validation has the whole term, so that all epochs are compared by one loss."""
    options: dict[str, Any] = {"kl_warmup": 0.25} | ({"beta": beta} if cls is BetaVAE else {})
    model = _make(cls, **options)
    for step, weight in (0, 0.0), (5, 0.0), (8, 0.6), (10, 1.0), (39, 1.0):
        model.progress = TrainingProgress(step=step, total_steps=40)
        for training in True, False:
            losses = model.train(training).training_step(Batch(images))
            weighted = losses["reconstruction"] + beta * (weight if training else 1) * losses["kl"]
            torch.testing.assert_close(losses["loss"], weighted)
    assert "kl_warmup" not in cls.Config().model_dump()


@pytest.mark.parametrize("options", [{}, {"trunk": "mlp"}, {"tile": 8, "initialization": "mean_image"}])
def test_where_the_kl_term_warms_up_the_posterior_begins_narrow(options: dict[str, Any], images: Tensor) -> None:
    narrow, plain = _make(VAE, kl_warmup=0.5, **options), _make(VAE, **options)
    (mu, log_var), (mu_plain, log_var_plain) = _posterior(narrow, images), _posterior(plain, images)
    assert torch.equal(mu, mu_plain)
    assert ((log_var / 2).exp() < 3 * NARROW).all()
    assert ((log_var_plain / 2).exp() > 0.3).all()


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


def test_codes_are_decoded_to_mean_images_and_sampled_at(images: Tensor) -> None:
    model = _make(VAE)
    codes = model.encode(images)
    assert torch.equal(model.decode(codes), model.reconstruct(images))
    assert torch.equal(model.sample(len(codes), codes), model.reconstruct(images))


def test_importance_samples_decoded_in_chunks_give_the_same(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _make(VAE, importance_samples=10)
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
    model = _make(VAE, score=score, reconstruction="bernoulli", importance_samples=8)
    with torch.inference_mode():
        first = _score(model, images)
        assert first.shape == (12,)
        assert torch.equal(_score(model, images), first)
        torch.testing.assert_close(_score(model, images.flip(0)).flip(0), first)
        torch.testing.assert_close(torch.cat([_score(model, image[None]) for image in images]), first)


def test_the_scores_are_what_they_are_called(images: Tensor) -> None:
    options: dict[str, Any] = {"reconstruction": "bernoulli", "importance_samples": 8}
    models = {score: _make(VAE, score=score, **options) for score in SCORES}
    scores = {score: _score(model, images) for score, model in models.items()}
    model = models["kl"]
    mu, log_var = _posterior(model, images)
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
        torch.testing.assert_close(_score(of_draws, x), -world.log_p(x), atol=0.05, rtol=0)  # the posterior is exact
        assert (_score(of_draws, x) - _score(at_mean, x)).min() > 0.5


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
    model = _fitted(_Spherical, torch.full((12, 1, 8, 16), 0.4), latent_dim=64, reconstruct_at=place)
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
    _fitted(VAE, images)
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


@pytest.mark.parametrize("grays", [[0.0, 1.0, 0.5], [0.2, 0.7, 0.99]])
def test_bernoulli_pixels_that_z_tells_nothing_of_have_their_relative_entropy_for_a_debiased_likelihood(
    grays: list[float],
) -> None:
    images = torch.tensor(grays).view(1, 1, 1, 3)
    p = np.array([0.1, 0.6, 0.5])
    info = DataInfo(channels=1, height=1, width=3, train_size=1)
    model = _make(VAE, info, trunk="mlp", reconstruction="bernoulli", score=DEBIASED, importance_samples=5)
    pixels = nn.Linear(32, 3)
    model.encoder = nn.Sequential(nn.Flatten(), nn.Linear(3, 64))
    model.decoder = nn.Sequential(pixels, nn.Unflatten(1, (1, 1, 3)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # the posterior is the prior, so that every importance weight is p(x | z)
        pixels.bias.copy_(torch.from_numpy(scipy.special.logit(p)))
    expected = scipy.special.rel_entr(grays, p).sum() + scipy.special.rel_entr(1 - np.array(grays), 1 - p).sum()
    assert float(_score(model, images)) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("reconstruction", ["bernoulli", "gaussian"])
def test_the_scores_of_draws_are_those_of_a_loop_over_draws(reconstruction: str, images: Tensor) -> None:
    names = ["hole_indicator", "log_ratio_std", "negative_log_likelihood"]
    model = _make(VAE, reconstruction=reconstruction, score=names[0], scores=names[1:], importance_samples=7)
    mu, log_var = _posterior(model, images)
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
    model = _make(VAE, score="hole_indicator", reconstruction="bernoulli", importance_samples=50)

    def scored_with(log_var: float) -> Tensor:
        mu, _ = _posterior(model, images)
        return model.draws(Gaussian(mu, torch.full_like(mu, log_var)), images).hole_indicator()

    torch.testing.assert_close(scored_with(-60.0), torch.zeros(12), atol=1e-4, rtol=0)  # no width, no spread
    assert (scored_with(0.0) > scored_with(-2.0)).all()
    assert (scored_with(-2.0) > scored_with(-4.0)).all()


def test_scores_of_images_far_beyond_their_range_are_finite(images: Tensor) -> None:
    model = _make(VAE, reconstruction="bernoulli", scores=[*OF_DRAWS, DEBIASED], trunk="mlp")
    *_, last = model.encoder.children()
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias[-10:] = 1e4  # log sigma^2
        scores = model.score(15 * images)
    assert isinstance(scores, dict)
    assert all(score.isfinite().all() for score in scores.values())
    assert scores["hole_indicator"].min() > 1e6


def test_typicality_is_held_against_training_images(images: Tensor) -> None:
    model = _fitted(VAE, images, score="typicality", importance_samples=8)
    stored = (images * 255).to(torch.uint8) / 255
    torch.testing.assert_close(model.entropy, -model.log_likelihood(stored).mean())
    torch.testing.assert_close(_score(model, stored), (-model.log_likelihood(stored) - model.entropy).abs())


def test_further_scores_leave_training_and_the_models_own_score_alone(images: Tensor) -> None:
    plain, further = _fitted(VAE, images), _fitted(VAE, images, scores=OF_DRAWS)
    kept = {name: value for name, value in further.state_dict().items() if name != "entropy"}
    assert all(torch.equal(value, kept[name]) for name, value in plain.state_dict().items())
    assert kept.keys() == plain.state_dict().keys()
    scores = further.score(images)
    assert isinstance(scores, dict)
    assert list(scores) == ["negative_elbo", *OF_DRAWS]
    assert torch.equal(scores["negative_elbo"], _score(plain, images))


def test_further_scores_and_binary_pixels_are_part_of_a_setting_only_where_there_are_any() -> None:
    assert not {"scores", "binarize"} & VAE.Config().model_dump().keys()
    assert VAE.Config(scores=("kl",)).model_dump(mode="json")["scores"] == ["kl"]
    assert set(VAE.configure("ood", {}).model_dump()["scores"]) == {*detector.OF_DRAWS, *detector.MECHANISM}
    assert VAE.Config(scores=("kl", "code_norm")) == VAE.Config(scores=("code_norm", "kl"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "kl", "scores": ["kl"]}, "score and scores name one twice"),
        ({"scores": ["kl", "typicality", "kl"]}, "score and scores name one twice"),
        ({"score": "hole_indicator", "importance_samples": 1}, "hole_indicator is a standard deviation: .* at least 2"),
        ({"scores": ["log_ratio_std"], "importance_samples": 1}, "log_ratio_std is a standard deviation"),
        ({"scores": [DEBIASED]}, f"{DEBIASED} needs reconstruction bernoulli: .* gaussian pixels is the same for all"),
        ({"score": DEBIASED, "reconstruction": "ssim"}, f"{DEBIASED} needs reconstruction bernoulli"),
        ({"scores": ["typicality"], "reconstruction": "ssim"}, "typicality needs reconstruction bernoulli or gaussian"),
        ({"binarize": "draw"}, "binarize draw needs reconstruction bernoulli, not gaussian"),
        ({"binarize": "threshold", "reconstruction": "ssim"}, "binarize threshold needs reconstruction bernoulli"),
        ({"scores": ["holes"]}, "'negative_elbo', 'reconstruction'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentbenchError, match=message):
        _make(VAE, **options)


def test_images_by_threshold_are_the_only_ones_that_the_model_sees(images: Tensor) -> None:
    options: dict[str, Any] = {"reconstruction": "bernoulli", "importance_samples": 8, "scores": SCORES[1:]}
    model, plain = _make(VAE, binarize="threshold", **options), _make(VAE, **options)
    assert plain.load_state_dict(model.state_dict())
    binary = (images > 0.5).float()
    scores, expected = model.score(images), plain.score(binary)
    assert isinstance(scores, dict)
    assert isinstance(expected, dict)
    assert all(torch.equal(scores[name], expected[name]) for name in SCORES)
    for ability in ("encode", "reconstruct", "localize", "log_likelihood"):
        assert torch.equal(getattr(model, ability)(images), getattr(plain, ability)(binary))
    assert not torch.equal(model.encode(images), plain.encode(images))


def test_pixels_are_drawn_anew_in_each_training_step_and_gray_ever_after() -> None:
    model = _make(VAE, binarize="draw", reconstruction="bernoulli")
    gray = torch.full((40, 1, 8, 16), 0.3)
    assert torch.equal(model.observed(gray), gray)
    seen: list[Tensor] = []
    model.train().encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for _ in range(2):
        model.training_step(Batch(gray))
    assert all(torch.equal(x, x.round()) for x in seen)
    assert not torch.equal(*seen)
    assert abs(float(torch.cat(seen).mean()) - 0.3) < 4 * (0.21 / 10240) ** 0.5  # four standard errors


def test_code_reconstruction_and_samples_have_their_shapes_and_ranges(images: Tensor) -> None:
    model = _make(VAE, latent_dim=6)
    assert model.encode(images).shape == (12, 6)
    assert model.localize(images).shape == (12, 8, 16)
    for made in (model.reconstruct(images), model.sample(12)):
        assert made.shape == (12, 1, 8, 16)
        assert 0 <= made.min() < made.max() <= 1


def test_samples_are_means_at_draws_from_the_prior() -> None:
    model = LinearGaussian().vae(1)
    torch.manual_seed(3)
    sample = model.sample(5)
    torch.manual_seed(3)
    z = torch.randn(5, 2)
    expected = z @ LinearGaussian.W.T + LinearGaussian.b
    torch.testing.assert_close(sample.flatten(1), expected.clamp(0, 1))


def test_a_saved_model_scores_as_before(images: Tensor) -> None:
    model = _make(VAE, score="negative_log_likelihood", importance_samples=8)
    torch.manual_seed(99)
    other = VAE(model.config, INFO).eval()
    assert not torch.equal(_score(other, images), _score(model, images))
    other.load_state_dict(model.state_dict())
    assert torch.equal(_score(other, images), _score(model, images))


def test_structural_similarity_has_no_log_likelihood(images: Tensor) -> None:
    model = _make(VAE, reconstruction="ssim")
    assert _score(model, images).shape == (12,)
    with pytest.raises(LatentbenchError, match="model 'vae' has no log likelihood with reconstruction ssim"):
        model.log_likelihood(images)
    with pytest.raises(LatentbenchError, match="negative_log_likelihood needs reconstruction bernoulli or gaussian"):
        _make(VAE, reconstruction="ssim", score="negative_log_likelihood")


def _fitted(cls: type[VAE], images: Tensor, **options: Any) -> VAE:
    model = _make(cls, epochs=3, batch_size=5, **options)
    split = StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8))
    model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0))
    return model


def test_beta_one_is_the_vae_of_the_same_likelihood_bit_for_bit(images: Tensor) -> None:
    plain = _fitted(VAE, images, reconstruction="bernoulli")
    one, four = _fitted(BetaVAE, images, beta=1), _fitted(BetaVAE, images)
    assert all(torch.equal(value, one.state_dict()[name]) for name, value in plain.state_dict().items())
    assert not all(torch.equal(value, four.state_dict()[name]) for name, value in plain.state_dict().items())


def test_beta_scales_the_gradient_of_the_kl_term_alone(images: Tensor) -> None:
    def gradient(beta: float) -> Tensor:
        model = _make(BetaVAE, beta=beta)
        torch.manual_seed(1)
        model.training_step(Batch(images))["loss"].backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    none, one, three = gradient(0), gradient(1), gradient(3)
    torch.testing.assert_close(three - none, 3 * (one - none), atol=1e-4, rtol=1e-3)
    assert (one - none).norm() > 0.01 * none.norm()


def test_the_kl_term_falls_when_beta_rises(images: Tensor) -> None:
    def kl(beta: float) -> float:
        model = _make(BetaVAE, beta=beta, epochs=60, batch_size=12, reconstruction="gaussian", sigma=0.3)
        split = StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8))
        model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0))
        return float(model.posterior(images).kl().mean().detach())

    assert kl(0.1) > 2 * kl(1) > 4 * kl(10)


def _preset(cls: type[Autoencoder], key: str | Where) -> Any:
    """The Config for a dataset, or for one with options."""
    if isinstance(key, str):
        return cls.configure(key, {})
    dataset = Plugins.load().get("datasets", key.dataset).value
    return cls.configure(key.dataset, {}, dataset.Config.parse(key.options, str(key)))


@pytest.mark.parametrize("cls", [AE, VAE, BetaVAE])
def test_presets_are_valid_options(cls: type[AE | VAE]) -> None:
    for key in cls.presets:
        assert _preset(cls, key) != cls.Config()


def test_beta_times_the_kl_equals_a_gaussian_of_variance_one_with_beta_times_the_variance(images: Tensor) -> None:
    def gradient(beta: float, sigma: float) -> Tensor:
        model = _make(BetaVAE, beta=beta, sigma=sigma, reconstruction="gaussian")
        torch.manual_seed(1)
        model.training_step(Batch(images))["loss"].backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    torch.testing.assert_close(0.1**2 * gradient(4, 0.1), gradient(0.04, 1), atol=1e-5, rtol=1e-4)


def test_every_preset_of_beta_vae_is_in_the_published_regime() -> None:
    for key in ("any-other", *BetaVAE.presets):
        config = _preset(BetaVAE, key)
        assert config.reconstruction == "bernoulli" or (config.reconstruction, config.sigma) == ("gaussian", 1)
        assert config.beta > 1


def test_the_readme_has_the_beta_and_the_normalized_beta_of_every_preset() -> None:
    text = (Path(latentbench_autoencoders.__file__).parent / "README.md").read_text()
    row = r"^\| `(.+)` \| (\d+) x (\d+) x (\d+) \| (\d+) \| (\S+) \| (\S+) \|$"
    rows = re.findall(row, text, re.MULTILINE)
    presets = {str(key): key for key in BetaVAE.presets}
    assert [dataset for dataset, *_ in rows] == [*presets]
    for dataset, *size, latent_dim, beta, normalized in rows:
        config, (channels, height, width) = _preset(BetaVAE, presets[dataset]), map(int, size)
        assert (int(latent_dim), float(beta)) == (config.latent_dim, config.beta), dataset
        model = BetaVAE(config, DataInfo(channels, height, width, 1))
        assert normalized == f"{model.facts()['normalized_beta']:.1e}", dataset
        assert model.facts()["normalized_beta"] == config.beta * config.latent_dim / (channels * height * width)
