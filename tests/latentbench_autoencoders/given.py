"""What tests of VAEs are given: models, images, and a VAE whose densities are known."""

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributions as dist

from latentbench import DataInfo, Role, StoredSplit
from latentbench.running.training import TrainingLoop
from latentbench_autoencoders.posteriors import Gaussian
from latentbench_autoencoders.vae import VAE

INFO = DataInfo(channels=1, height=8, width=16, train_size=12)
OF_DRAWS = ["negative_log_likelihood", "hole_indicator", "log_ratio_std", "typicality", "input_complexity"]
DEBIASED = "debiased_negative_log_likelihood"
SCORES = ["negative_elbo", "reconstruction", "kl", "code_norm", "posterior_spread", *OF_DRAWS, DEBIASED]


def make(cls: type[VAE], info: DataInfo = INFO, **options: Any) -> VAE:
    torch.manual_seed(0)
    return cls(cls.Config.parse(options, cls.name), info).eval()


def posterior_of(model: VAE, images: Tensor) -> tuple[Tensor, Tensor]:
    """The means, and the logarithms of the variances."""
    q = model.posterior(images)
    assert isinstance(q, Gaussian)
    return q.mu, q.log_var


def score_of(model: VAE, images: Tensor) -> Tensor:
    """The score of a model that gives one."""
    score = model.score(images)
    assert isinstance(score, Tensor)
    return score


def fitted(cls: type[VAE], images: Tensor, **options: Any) -> VAE:
    model = make(cls, epochs=3, batch_size=5, **options)
    split = StoredSplit(Role.TRAIN, (images * 255).to(torch.uint8))
    model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0))
    return model


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
        model = make(VAE, info, **options)
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
