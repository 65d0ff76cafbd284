"""beta-VAE: a VAE whose KL term weighs beta times as much (Higgins et al., ICLR 2017)."""

from pydantic import Field
from torch import Tensor

from latentbench import Batch
from latentbench_autoencoders.vae import VAE

__all__ = ["BetaVAE"]


class BetaVAE(VAE):
    """beta-VAE. With beta = 1 it is the VAE, bit for bit.

    Only training uses beta. The bound on log p(x) is the ELBO, that is beta = 1, however the model was trained; so
    scores and log likelihood are those of the VAE.
    """

    class Config(VAE.Config):
        beta: float = Field(4.0, ge=0, description="weight of the KL term")

    config: Config

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The negative of the objective, eq. 4: reconstruction + beta KL, its mean over the batch."""
        losses = super().training_step(batch)
        return {**losses, "loss": losses["reconstruction"] + self.config.beta * losses["kl"]}
