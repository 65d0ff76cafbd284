"""vae-sphere and vae-lipschitz as models: what they promise, their codes, and encoders that are very sure."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import gamma
from scipy.stats import vonmises_fisher
from torch import Tensor, nn

from latentbench import Batch, DataInfo, LatentbenchError, Role, StoredSplit
from latentbench.running.training import TrainingLoop
from latentbench.testing import check_model
from latentbench_autoencoders.vae import NARROW, VAE
from latentbench_compact import latentbench_models
from latentbench_compact.lipschitz import LipschitzEncoder
from latentbench_compact.lipschitz_vae import VAELipschitz
from latentbench_compact.sphere_vae import OnSphere, VAESphere
from latentbench_compact.von_mises_fisher import VonMisesFisher

INFO = DataInfo(channels=1, height=8, width=10, train_size=60)
MODELS: list[type[VAE]] = [VAESphere, VAELipschitz]


def _make(cls: type[VAE], info: DataInfo = INFO, **options: Any) -> Any:
    torch.manual_seed(0)
    return cls(cls.Config.parse(options, f"model '{cls.name}'"), info).eval()


def _fitted(model: VAE, images: Tensor) -> VAE:
    split = StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8))
    model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0))
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    """Bars at ten places, and noise."""
    generator = torch.Generator().manual_seed(0)
    bars = torch.eye(10)[torch.arange(60) % 10][:, None, None].expand(60, 1, 8, 10)
    return (0.8 * bars + 0.2 * torch.rand(60, 1, 8, 10, generator=generator)).clamp(0, 1)


def test_the_plugin_offers_both() -> None:
    assert [model.name for model in latentbench_models()] == ["vae-sphere", "vae-lipschitz"]


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (VAESphere, {}),
        (VAESphere, {"latent_dim": 2, "reconstruction": "bernoulli", "trunk": "mlp"}),
        (VAESphere, {"latent_dim": 5, "direction": "stereographic", "kl_warmup": 0.5}),
        (VAESphere, {"posterior": "power_spherical", "precision": "bfloat16"}),
        (VAELipschitz, {}),
        (VAELipschitz, {"rows": "sphere", "group": None, "trunk": "mlp"}),
        (VAELipschitz, {"scores": ["kl", "typicality"], "importance_samples": 5}),
    ],
)
def test_each_keeps_what_a_model_promises(cls: type[VAE], options: dict[str, Any]) -> None:
    check_model(cls, height=8, width=10, options={"width": 4, **options})


@pytest.mark.parametrize("cls", MODELS)
def test_a_score_depends_neither_on_the_batch_nor_on_the_call(cls: type[VAE], images: Tensor) -> None:
    model = _make(cls, importance_samples=8)
    with torch.inference_mode():
        first = model.score(images)
        assert torch.equal(model.score(images), first)
        alone = torch.cat([model.score(image[None]) for image in images])
        # Sums of 784 float32 terms, whose order depends on the batch: to 784 roundings of 6e-8 at most.
        torch.testing.assert_close(alone, first, rtol=784 * 2.0**-24, atol=0)


@pytest.mark.parametrize(("cls", "own"), [(VAESphere, {}), (VAELipschitz, {"rows": "sphere"})])
def test_each_learns(cls: type[VAE], own: dict[str, Any], images: Tensor) -> None:
    options: dict[str, Any] = {"trunk": "mlp", "reconstruction": "bernoulli", "width": 4, "batch_size": 20}
    model = _make(cls, **options, **own, learning_rate=3e-3, epochs=150)

    def loss() -> float:
        torch.manual_seed(1)
        with torch.no_grad():
            return float(model.training_step(Batch(images))["loss"])

    before = loss()
    _fitted(model, images)
    assert loss() < 0.8 * before
    mean_image = images.mean(0, keepdim=True).expand_as(images)
    assert (model.reconstruct(images) - images).square().mean() < 0.7 * (mean_image - images).square().mean()


# --- the sphere


@pytest.mark.parametrize("direction", ["normalize", "stereographic"])
@pytest.mark.parametrize("m", [2, 3, 4, 7])
def test_codes_draws_and_the_prior_are_on_the_sphere(m: int, direction: str, images: Tensor) -> None:
    model = _make(VAESphere, latent_dim=m, direction=direction)
    z, _ = model.posterior(images).draw(model.eps)
    assert z.shape == (200, 60, m)
    for points in (model.encode(images), model.posterior(images).rsample(), z, model.prior(50)):
        torch.testing.assert_close(points.norm(dim=-1), torch.ones(points.shape[:-1]))


def test_a_code_is_decoded_by_its_direction(images: Tensor) -> None:
    model = _make(VAESphere, latent_dim=3)
    codes = model.encode(images)
    torch.testing.assert_close(model.decode(7 * codes), model.reconstruct(images))


@pytest.mark.parametrize("m", [2, 3, 4, 6])
def test_the_weights_of_draws_are_the_densities_of_scipy(m: int, images: Tensor) -> None:
    model = _make(VAESphere, latent_dim=m, importance_samples=5)
    q = model.posterior(images[:3])
    z, log_ratio = q.draw(model.eps)
    for item, (mu, kappa) in enumerate(zip(q.q.mean_direction, q.q.concentration, strict=True)):
        direction = mu.detach().double().numpy()
        direction /= np.linalg.norm(direction)
        points = z[:, item].detach().double().numpy()
        log_q = vonmises_fisher(direction, kappa.item()).logpdf(points / np.linalg.norm(points, axis=1)[:, None])
        log_p = -np.log(2 * np.pi ** (m / 2) / gamma(m / 2))  # one over the area
        np.testing.assert_allclose(log_ratio[:, item].detach().numpy(), log_p - log_q, atol=1e-4)


def test_where_the_decoder_ignores_z_the_log_likelihood_is_the_decoders(images: Tensor) -> None:
    """E p(x, z) / q(z | x) = p(x) whatever q is: here p(x | z) is one number, and the mean of the ratios is 1."""
    model = _make(VAESphere, importance_samples=20_000, reconstruction="bernoulli")
    logits = torch.randn(1, 1, 8, 10, generator=torch.Generator().manual_seed(2))
    model.outputs = lambda z: logits.expand(len(z), 1, 8, 10)
    with torch.inference_mode():
        exact = -model.likelihood.negative_log(logits.expand(6, 1, 8, 10), images[:6])
        torch.testing.assert_close(model.log_likelihood(images[:6]), exact, atol=0.03, rtol=0)


@pytest.mark.parametrize("m", [2, 3, 4, 8])
@pytest.mark.parametrize("raw", [-1e30, -100.0, 1e4, 1e8, 1e20, 1e30])
def test_an_encoder_that_is_very_sure_has_finite_losses_and_gradients(m: int, raw: float, images: Tensor) -> None:
    model = _make(VAESphere, latent_dim=m, trunk="mlp", reconstruction="bernoulli")
    with torch.no_grad():
        model.encoder[-1].bias[-1] = raw
    losses = model.training_step(Batch(images))
    losses["loss"].backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert model.posterior(images).q.concentration.min() >= 1


def test_where_the_kl_term_warms_up_draws_are_near_the_mean_at_first(images: Tensor) -> None:
    """By as much in each of the other 7 directions as a Gaussian of deviation NARROW."""
    model = _make(VAESphere, latent_dim=8, kl_warmup=0.5)
    q = model.posterior(images)
    torch.manual_seed(0)
    distance = torch.stack([(q.rsample() - q.mean).square().sum(1) for _ in range(200)]).mean()
    assert distance.item() == pytest.approx(7 * NARROW**2, rel=0.1)


def test_the_sphere_needs_two_dimensions() -> None:
    with pytest.raises(LatentbenchError, match=r"model 'vae-sphere': 'latent_dim': .* greater than or equal to 2"):
        _make(VAESphere, latent_dim=1)


def test_the_hole_indicator_of_a_narrow_posterior_is_small() -> None:
    model = _make(VAESphere, trunk="mlp", reconstruction="bernoulli")
    x = torch.rand(6, 1, 8, 10, generator=torch.Generator().manual_seed(1))
    mu = model.encode(x).detach()

    def indicator(kappa: float) -> Tensor:
        q = OnSphere(VonMisesFisher(mu, torch.full((6,), kappa)))
        return model.draws(q, x).hole_indicator()

    assert (indicator(1.0) > indicator(20.0)).all()
    assert (indicator(20.0) > indicator(1e4)).all()


# --- the Lipschitz constant


@pytest.mark.parametrize("trunk", ["mlp", "conv"])
@pytest.mark.parametrize("M", [0.5, 8.0])
def test_training_leaves_the_constant(trunk: str, M: float, images: Tensor) -> None:
    options: dict[str, Any] = {"trunk": trunk, "width": 4, "batch_size": 20, "learning_rate": 1e-2, "epochs": 30}
    model = _fitted(_make(VAELipschitz, lipschitz=M, **options), images)
    assert isinstance(model, VAELipschitz)
    assert model.certificate().bound == pytest.approx(M, rel=1e-4)
    assert model.facts() == {"lipschitz_bound": model.certificate().bound}
    with torch.no_grad():
        f = model.encoder(images)
    centre = model.certificate().centre
    assert (f - centre).abs().max() <= model.certificate().radius
    for a in range(0, 60, 7):
        slopes = (f - f[a]).abs().amax(1) / (images - images[a]).abs().amax((1, 2, 3)).clamp_min(1e-3)
        assert slopes.max() <= model.certificate().bound * (1 + 1e-5)


@pytest.mark.parametrize("trunk", ["mlp", "conv"])
def test_the_encoder_has_the_layers_of_the_plain_one(trunk: str) -> None:
    def weights(encoder: nn.Module) -> list[tuple[int, ...]]:
        return [tuple(layer.weight.shape) for layer in encoder.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]

    info = DataInfo(channels=3, height=20, width=17, train_size=10)
    lipschitz, plain = _make(VAELipschitz, info, trunk=trunk), _make(VAE, info, trunk=trunk)
    assert isinstance(lipschitz.encoder, LipschitzEncoder)
    assert weights(lipschitz.encoder) == weights(plain.encoder)
    assert lipschitz.encode(torch.rand(2, 3, 20, 17)).shape == (2, 32)


def test_the_published_sizes() -> None:
    model = VAELipschitz(VAELipschitz.configure("ood", {}), DataInfo(1, 28, 28, 100))
    sizes = [tuple(layer.weight.shape) for layer in model.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [(512, 784), (256, 512), (20, 256), (256, 10), (512, 256), (784, 512)]
    sphere = VAESphere(VAESphere.configure("ood", {}), DataInfo(1, 28, 28, 100))
    sizes = [tuple(layer.weight.shape) for layer in sphere.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [(256, 784), (128, 256), (4, 128), (128, 3), (256, 128), (784, 256)]
    assert sphere.config.importance_samples == model.config.importance_samples == 200


@pytest.mark.parametrize("M", [0, -2, float("inf"), float("nan")])
def test_a_constant_that_is_none_is_refused(M: float) -> None:
    with pytest.raises(LatentbenchError, match="model 'vae-lipschitz': 'lipschitz': Input should be"):
        _make(VAELipschitz, lipschitz=M)


@pytest.mark.parametrize("cls", MODELS)
def test_one_draw_has_no_standard_deviation(cls: type[VAE]) -> None:
    with pytest.raises(LatentbenchError, match=r"hole_indicator is a standard deviation: .* at least 2"):
        _make(cls, importance_samples=1)
