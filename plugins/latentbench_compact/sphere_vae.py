"""Hyperspherical VAE (Davidson et al., UAI 2018), one of the two compact VAEs of Glazunov & Zarras (UAI 2023)."""

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, softplus

from latentbench import Where
from latentbench_autoencoders.posteriors import Posterior
from latentbench_autoencoders.vae import VAE, ScoreName
from latentbench_compact.presets import ELSEWHERE, ON_OOD, N
from latentbench_compact.spherical import PowerSpherical, Spherical, VonMisesFisher, log_area, stereographic, uniform

__all__ = ["OnSphere", "VAESphere"]


class OnSphere(Posterior):
    """q(z | x) on the sphere S^(m-1), held against the uniform p(z)."""

    def __init__(self, q: Spherical) -> None:
        self.q = q

    @property
    def mean(self) -> Tensor:
        """The mean direction mu, (B, m) of length 1."""
        return self.q.mean

    @property
    def spread(self) -> Tensor:
        """1 / sqrt(kappa): where kappa is large, the standard deviation along each tangent."""
        return self.q.concentration.rsqrt()

    def rsample(self) -> Tensor:
        """(B, m) of length 1."""
        return self.q.rsample()

    def kl(self) -> Tensor:
        """(B,) in nats."""
        return self.q.kl()

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws z (N, B, m), and -log(area) - log q(z | x) (N, B)."""
        z = self.q.draw(noise)
        return z, -log_area(self.q.m) - self.q.log_prob(z)


class VAESphere(VAE):
    """VAE with codes on the sphere S^(m-1): q(z | x) = vMF(mu, kappa), p(z) uniform; ``latent_dim`` is m.

    mu is a vector of R^m, divided by its length, as in the code that the paper says it took: a map from R^m without
    its origin, not the one-point (Alexandroff) compactification of R^(m-1) that the paper argues with.
    ``direction: stereographic`` is that one. kappa = softplus + 1, so that no posterior is uniform.

    Published are m = 3 for MNIST and m = 4 for Fashion-MNIST (supplement F); the area of the sphere shrinks where m is
    above 7, by which the authors call it a way for few dimensions only (supplement C).
    """

    class Config(VAE.Config):
        """Options."""

        latent_dim: int = Field(3, ge=2, description="m: codes have m coordinates and length 1")
        score: ScoreName = Field("hole_indicator", description="as in vae")
        importance_samples: int = Field(N, ge=1, description="N: draws of z for an image's likelihood and scores")
        posterior: Literal["von_mises_fisher", "power_spherical"] = Field(
            "von_mises_fisher", description="the published one, or the wider one of De Cao & Aziz (2020)"
        )
        direction: Literal["normalize", "stereographic"] = Field(
            "normalize", description="from encoder outputs to the sphere: division by their length, or projection"
        )

    config: Config
    presets = {
        **{data: {name: preset[name] for name in preset if name != "latent_dim"} for data, preset in ELSEWHERE.items()},
        "ood": {**ON_OOD, "width": 8, "epochs": 40, "patience": 5},
        Where("ood", pair="fashion-mnist"): {"latent_dim": 4},
    }

    @property
    def encoder_outputs(self) -> int:
        """What mu is made from, and one for kappa."""
        return self.config.latent_dim + (self.config.direction == "normalize")

    def posterior(self, x: Tensor) -> OnSphere:
        """q(z | x) of images x (B, C, H, W)."""
        outputs = self.encoder(x).float()
        u, raw = outputs[:, :-1], outputs[:, -1]
        mu = normalize(u) if self.config.direction == "normalize" else stereographic(u)
        return OnSphere(self._family(mu, softplus(raw) + 1))

    def noise(self, count: int) -> Tensor:
        """(count, 1, E) on the CPU."""
        return self._family.noise(count, self.config.latent_dim, "cpu")[:, None]

    def prior(self, count: int) -> Tensor:
        """(count, m): uniform on the sphere."""
        return uniform(count, self.config.latent_dim, self.eps.device)

    @property
    def _family(self) -> type[Spherical]:
        return VonMisesFisher if self.config.posterior == "von_mises_fisher" else PowerSpherical
