import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.latentbench_autoencoders.given import (
    DEBIASED,
    INFO,
    SCORES,
    LinearGaussian,
    fitted,
    make,
    posterior_of,
    score_of,
)
from torch import Tensor
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
from latentbench_autoencoders.posteriors import kl_divergence
from latentbench_autoencoders.vae import NARROW, VAE


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
    model = make(VAE, latent_dim=3, reconstruction="bernoulli")
    torch.manual_seed(7)
    losses = model.training_step(Batch(images))
    torch.manual_seed(7)
    mu, log_var = posterior_of(model, images)
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
    model = make(cls, **options)
    for step, weight in (0, 0.0), (5, 0.0), (8, 0.6), (10, 1.0), (39, 1.0):
        model.progress = TrainingProgress(step=step, total_steps=40)
        for training in True, False:
            losses = model.train(training).training_step(Batch(images))
            weighted = losses["reconstruction"] + beta * (weight if training else 1) * losses["kl"]
            torch.testing.assert_close(losses["loss"], weighted)
    assert "kl_warmup" not in cls.Config().model_dump()


@pytest.mark.parametrize("options", [{}, {"trunk": "mlp"}, {"tile": 8, "initialization": "mean_image"}])
def test_where_the_kl_term_warms_up_the_posterior_begins_narrow(options: dict[str, Any], images: Tensor) -> None:
    narrow, plain = make(VAE, kl_warmup=0.5, **options), make(VAE, **options)
    (mu, log_var), (mu_plain, log_var_plain) = posterior_of(narrow, images), posterior_of(plain, images)
    assert torch.equal(mu, mu_plain)
    assert ((log_var / 2).exp() < 3 * NARROW).all()
    assert ((log_var_plain / 2).exp() > 0.3).all()


def test_codes_are_decoded_to_mean_images_and_sampled_at(images: Tensor) -> None:
    model = make(VAE)
    codes = model.encode(images)
    assert torch.equal(model.decode(codes), model.reconstruct(images))
    assert torch.equal(model.sample(len(codes), codes), model.reconstruct(images))


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
        make(VAE, **options)


def test_images_by_threshold_are_the_only_ones_that_the_model_sees(images: Tensor) -> None:
    options: dict[str, Any] = {"reconstruction": "bernoulli", "importance_samples": 8, "scores": SCORES[1:]}
    model, plain = make(VAE, binarize="threshold", **options), make(VAE, **options)
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
    model = make(VAE, binarize="draw", reconstruction="bernoulli")
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
    model = make(VAE, latent_dim=6)
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
    model = make(VAE, score="negative_log_likelihood", importance_samples=8)
    torch.manual_seed(99)
    other = VAE(model.config, INFO).eval()
    assert not torch.equal(score_of(other, images), score_of(model, images))
    other.load_state_dict(model.state_dict())
    assert torch.equal(score_of(other, images), score_of(model, images))


def test_structural_similarity_has_no_log_likelihood(images: Tensor) -> None:
    model = make(VAE, reconstruction="ssim")
    assert score_of(model, images).shape == (12,)
    with pytest.raises(LatentbenchError, match="model 'vae' has no log likelihood with reconstruction ssim"):
        model.log_likelihood(images)
    with pytest.raises(LatentbenchError, match="negative_log_likelihood needs reconstruction bernoulli or gaussian"):
        make(VAE, reconstruction="ssim", score="negative_log_likelihood")


def test_beta_one_is_the_vae_of_the_same_likelihood_bit_for_bit(images: Tensor) -> None:
    plain = fitted(VAE, images, reconstruction="bernoulli")
    one, four = fitted(BetaVAE, images, beta=1), fitted(BetaVAE, images)
    assert all(torch.equal(value, one.state_dict()[name]) for name, value in plain.state_dict().items())
    assert not all(torch.equal(value, four.state_dict()[name]) for name, value in plain.state_dict().items())


def test_beta_scales_the_gradient_of_the_kl_term_alone(images: Tensor) -> None:
    def gradient(beta: float) -> Tensor:
        model = make(BetaVAE, beta=beta)
        torch.manual_seed(1)
        model.training_step(Batch(images))["loss"].backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    none, one, three = gradient(0), gradient(1), gradient(3)
    torch.testing.assert_close(three - none, 3 * (one - none), atol=1e-4, rtol=1e-3)
    assert (one - none).norm() > 0.01 * none.norm()


def test_the_kl_term_falls_when_beta_rises(images: Tensor) -> None:
    def kl(beta: float) -> float:
        model = make(BetaVAE, beta=beta, epochs=60, batch_size=12, reconstruction="gaussian", sigma=0.3)
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
        model = make(BetaVAE, beta=beta, sigma=sigma, reconstruction="gaussian")
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
