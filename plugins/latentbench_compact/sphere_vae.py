"""Hyperspherical VAE (Davidson et al., UAI 2018), one of the two compact VAEs of Glazunov & Zarras (UAI 2023)."""

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, softplus

from latentbench import Where
from latentbench_autoencoders.detector import ScoreName
from latentbench_autoencoders.networks import last_layer
from latentbench_autoencoders.posteriors import Posterior
from latentbench_autoencoders.vae import NARROW, VAE
from latentbench_compact.power_spherical import PowerSpherical
from latentbench_compact.presets import ELSEWHERE, ON_OOD, N
from latentbench_compact.spherical import Spherical, log_area, stereographic, uniform
from latentbench_compact.von_mises_fisher import VonMisesFisher

__all__ = ["OnSphere", "VAESphere"]


class OnSphere(Posterior):
    """q(z | x) on the sphere S^(m-1), held against the uniform p(z)."""

    def __init__(self, q: Spherical) -> None:
        self.q = q

    @property
    def mean(self) -> Tensor:
        """(B, m): the mean direction mu, of length 1."""
        return self.q.mean

    @property
    def spread(self) -> Tensor:
        """(B,): 1 / sqrt(kappa), which for large kappa is the standard deviation along each tangent."""
        return self.q.concentration.rsqrt()

    def rsample(self) -> Tensor:
        """(B, m): one z ~ q(z | x) for each image, of length 1."""
        return self.q.rsample()

    def kl(self) -> Tensor:
        """(B,): KL(q(z | x) || p(z)) in nats."""
        return self.q.kl()

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Draws z, (N, B, m), with log p(z) - log q(z | x), (N, B), where log p(z) = -log area."""
        z = self.q.draw(noise)
        return z, -log_area(self.q.m) - self.q.log_prob(z)


class VAESphere(VAE):
    """VAE with codes on the sphere S^(m-1): p(z) is uniform, q(z | x) = vMF(mu, kappa), and ``latent_dim`` is m.

    mu is a vector of R^m divided by its length, and kappa = softplus(.) + 1, so that no posterior is uniform. Both are
    as in the code of Davidson et al., which Glazunov & Zarras say they used. README.md beside this file says where this
    departs from their argument.

    The published m are 3 for MNIST and 4 for Fashion-MNIST (supplement F).
    """

    class Config(VAE.Config):
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
        """The values that mu is made from, and one for kappa."""
        return self.config.latent_dim + (self.config.direction == "normalize")

    def narrow_posterior(self) -> None:
        """Let kappa of q(z | x) be about 1 / ``NARROW``^2 before training, by its bias: as narrow as a VAE's."""
        bias = last_layer(self.encoder).bias
        assert bias is not None
        bias.detach()[-1] = NARROW**-2

    def posterior(self, x: Tensor) -> OnSphere:
        """q(z | x) of the images x, (B, C, H, W)."""
        outputs = self.encoder(x).float()
        u, raw = outputs[:, :-1], outputs[:, -1]
        mu = normalize(u) if self.config.direction == "normalize" else stereographic(u)
        return OnSphere(self._family(mu, softplus(raw) + 1))

    def noise(self, count: int) -> Tensor:
        """(count, 1, E), on the CPU: the noise of ``Spherical.draw``, the same for all images."""
        return self._family.noise(count, self.config.latent_dim, "cpu")[:, None]

    def prior(self, count: int) -> Tensor:
        """(count, m): z ~ p(z), uniform on the sphere."""
        return uniform(count, self.config.latent_dim, self.eps.device)

    def decode(self, codes: Tensor) -> Tensor:
        """(B, m) -> (B, C, H, W) in [0, 1]: the mean images at the directions of codes, whatever their length."""
        return super().decode(normalize(codes, dim=1))

    @property
    def _family(self) -> type[Spherical]:
        return VonMisesFisher if self.config.posterior == "von_mises_fisher" else PowerSpherical
