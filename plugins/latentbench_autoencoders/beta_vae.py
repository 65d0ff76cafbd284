"""beta-VAE: a VAE whose KL term weighs beta times as much (Higgins et al., ICLR 2017), with its equations."""

from typing import Any

from pydantic import Field
from torch import Tensor

from latentbench import Batch, Where
from latentbench_autoencoders.likelihoods import Reconstruction
from latentbench_autoencoders.vae import KOLEKTOR_128, VAE, warming_up

__all__ = ["BetaVAE"]


def _at_128() -> dict[str | Where, Any]:
    """Presets where a beta of 4 collapses q(z | x) to the prior without a warm-up, beside those where 1 does.

    With one, a few dimensions hold an image and the others stay at the prior. Where validation images are then
    reconstructed worse at the mean, near to which the decoder knows no code, it is done over draws.
    """
    grid, tiles = Where("mvtec-ad", image_size=128, category="grid"), Where("magnetic-tile", image_size=128)
    found = warming_up(VAE.presets, Where("mvtec-ad", image_size=128), tiles, KOLEKTOR_128)
    found[grid] = VAE.presets[grid]
    for place in (grid, tiles, KOLEKTOR_128):
        found[place] = {**found[place], "reconstruct_at": "draws", "importance_samples": 16}
    return found


class BetaVAE(VAE):
    """beta-VAE. Of all that reconstruct well, it looks for the posterior that is nearest to the prior.

    The constrained problem is to maximize E_q(z|x) log p(x | z), subject to KL(q(z | x) || p(z)) < epsilon (eq. 2). Its
    Lagrangian under the conditions of Karush, Kuhn and Tucker (eq. 3) is bounded from below by the objective (eq. 4):

        L(theta, phi; x, z, beta) = E_q(z|x) [log p(x | z)] - beta KL(q(z | x) || p(z))

    with log p(x | z) summed over pixels and channels, and the KL divergence over the dimensions of z, both in nats.
    With beta = 1 it is the VAE of the same likelihood, bit for bit; beta > 1 is the published regime.

    What a beta does depends on the likelihood: Gaussian pixels of standard deviation sigma divide the squared error by
    2 sigma^2, so that beta and sigma stand for beta sigma^2 and a variance of one. Pixels are therefore Bernoulli, as
    on most datasets of the paper (appendix A.1) and in Burgess et al. (2018); if Gaussian, then of sigma 1.

    Only training uses beta. The bound on log p(x) is the ELBO, that is beta = 1, however the model was trained; so
    scores and log likelihood are those of the VAE.
    """

    version = 2

    class Config(VAE.Config):
        reconstruction: Reconstruction = Field("bernoulli", description="p(x | z); ssim stands in for one")
        sigma: float = Field(1.0, gt=0, description="standard deviation of the gaussian, images being in [0, 1]")
        beta: float = Field(4.0, ge=0, description="weight of the KL term against the summed reconstruction term")

    config: Config
    presets = {
        **{data: {name: preset[name] for name in preset if name != "sigma"} for data, preset in VAE.presets.items()},
        **_at_128(),
        "digits-shift": {"learning_rate": 3e-3, "batch_size": 100, "epochs": 40, "beta": 1.2},  # with 4 it collapses
    }

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The negative of the objective, eq. 4: reconstruction + beta KL, its mean over the batch."""
        losses = super().training_step(batch)
        return {**losses, "loss": losses["reconstruction"] + self.config.beta * self.kl_weight() * losses["kl"]}

    def facts(self) -> dict[str, float]:
        """The normalized beta, beta M / N for M dimensions of z and N values of an image, as the paper has it (4.2)."""
        return {"normalized_beta": self.config.beta * self.config.latent_dim / self.info.image_numel}
