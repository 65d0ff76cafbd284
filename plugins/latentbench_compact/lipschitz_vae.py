"""VAE whose encoder has a fixed Lipschitz constant (Glazunov & Zarras, UAI 2023, supplement E)."""

from pydantic import Field
from torch import nn

from latentbench import DataInfo
from latentbench_autoencoders.vae import VAE, ScoreName
from latentbench_compact.lipschitz import Certificate, LipschitzEncoder, Mode, certificate
from latentbench_compact.presets import ELSEWHERE, ON_OOD, N

__all__ = ["VAELipschitz"]


class VAELipschitz(VAE):
    """VAE with ||f(x) - f(x')||_inf <= M ||x - x'||_inf for f = (mu, log sigma^2), whatever it was trained on.

    So the codes of all images in [0, 1]^D, outliers included, lie in a set whose size is known beforehand. Pixels of
    k times the range reach k times as far: then it is the slope that is bounded, and no fixed set.

    Rows of weights keep their signs (``rows: sphere``), as in the code of Anil et al. (2019) that algorithm 1 goes
    back to. As it is printed the projection leaves no negative weight (``simplex``): f is then monotone, a brighter
    image has a wider posterior without end, and z is drawn from everywhere, so that the indicator is large whatever
    the image shows. Which of the two the authors ran is not known; the ELBO of validation images is better where signs
    are kept. It takes epochs: after one, sigma still falls to 0 where brightness rises.

    The supplement gives neither M, nor what is done with the two heads, nor the sizes that GroupSort sorts. M = 20, one
    constant for both heads, and sorting by twos are ours.
    """

    class Config(VAE.Config):
        """Options."""

        score: ScoreName = Field("hole_indicator", description="as in vae")
        importance_samples: int = Field(N, ge=1, description="N: draws of z for an image's likelihood and scores")
        lipschitz: float = Field(
            20.0, gt=0, allow_inf_nan=False, description="M, the constant of the encoder in the l-infinity norm"
        )
        rows: Mode = Field(
            "sphere",
            description="what rows of weights are projected to: sphere keeps signs; ball: of constant M at most; "
            "simplex, as printed, leaves no negative ones",
        )
        group: int | None = Field(2, ge=1, description="features that GroupSort sorts together; None: all")

    config: Config
    presets = {**ELSEWHERE, "ood": {**ON_OOD, "latent_dim": 10, "width": 16, "epochs": 12, "patience": 3}}
    encoder: LipschitzEncoder

    def build(self, info: DataInfo) -> None:
        """The parts of a VAE; its encoder's layers, in place of what rectifies them, sorted and bounded."""
        super().build(info)
        config = self.config
        layers = [layer for layer in self.encoder.children() if not isinstance(layer, nn.LeakyReLU)]
        self.encoder = LipschitzEncoder(info.image_shape, layers, config.lipschitz, config.rows, config.group)

    def facts(self) -> dict[str, float]:
        """The proved l-infinity Lipschitz constant of the encoder, also the radius of the set that codes lie in."""
        return {"lipschitz_bound": self.certificate().bound}

    def certificate(self) -> Certificate:
        """The constant that is proved from the weights as they are, and where the codes of images are."""
        return certificate(self.encoder)
