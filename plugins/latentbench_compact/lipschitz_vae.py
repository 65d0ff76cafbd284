"""VAE whose encoder has a fixed Lipschitz constant (Glazunov & Zarras, UAI 2023, supplement E)."""

from typing import Self

from pydantic import Field, model_validator
from torch import nn

from latentbench import DataInfo
from latentbench_autoencoders.detector import ScoreName
from latentbench_autoencoders.vae import VAE
from latentbench_compact.certificate import Certificate, certificate
from latentbench_compact.lipschitz import LipschitzEncoder, Mode
from latentbench_compact.presets import ELSEWHERE, ON_OOD, N

__all__ = ["VAELipschitz"]


class VAELipschitz(VAE):
    """VAE with ||f(x) - f(x')||_inf <= M ||x - x'||_inf for f = (mu, log sigma^2), whatever it was trained on.

    The codes of all images in [0, 1]^D, outliers included, therefore lie in a set whose size is known before training.
    Images with k times the intensity reach k times as far: for them the slope is bounded, but not the set.

    Rows of weights keep their signs by default (``rows: sphere``), which the printed algorithm does not let them. That,
    and what the supplement leaves open, is in README.md beside this file.
    """

    class Config(VAE.Config):
        score: ScoreName = Field("hole_indicator", description="as in vae")
        importance_samples: int = Field(N, ge=1, description="N: draws of z for an image's likelihood and scores")
        lipschitz: float = Field(20.0, gt=0, description="M, the constant of the encoder in the l-infinity norm")
        rows: Mode = Field(
            "sphere",
            description="what rows of weights are projected to: sphere keeps signs; ball: of constant M at most; "
            "simplex, as printed, leaves no negative ones",
        )
        group: int | None = Field(2, ge=1, description="features that GroupSort sorts together; None: all")

        @model_validator(mode="after")
        def _of_whole_images(self) -> Self:
            if self.tile is not None:
                raise ValueError("the certificate is of an encoder that takes whole images: leave tile unset")
            return self

    config: Config
    presets = {**ELSEWHERE, "ood": {**ON_OOD, "latent_dim": 10, "width": 16, "epochs": 12, "patience": 3}}
    encoder: LipschitzEncoder

    def build(self, info: DataInfo) -> None:
        """Make a VAE, then bound the layers of its encoder and put GroupSort in the place of its rectifiers."""
        super().build(info)
        config = self.config
        layers = [layer for layer in self.encoder.children() if not isinstance(layer, nn.LeakyReLU)]
        self.encoder = LipschitzEncoder(info.image_shape, layers, config.lipschitz, config.rows, config.group)

    def facts(self) -> dict[str, float]:
        """The proved l-infinity Lipschitz constant of the encoder, also the radius of the set that codes lie in."""
        return {"lipschitz_bound": self.certificate().bound}

    def certificate(self) -> Certificate:
        """The Lipschitz constant that the present weights prove, and the ball that holds the codes of all images."""
        return certificate(self.encoder)
