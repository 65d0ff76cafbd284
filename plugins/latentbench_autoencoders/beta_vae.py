"""beta-VAE: a VAE whose KL term weighs beta times as much (Higgins et al., ICLR 2017)."""

from pydantic import Field
from torch import Tensor

from latentbench import Batch
from latentbench_autoencoders.vae import VAE

__all__ = ["BetaVAE"]


class BetaVAE(VAE):
    """beta-VAE. With beta = 1 it is the VAE, bit for bit.

    beta shapes the training alone: scores and log likelihood are the VAE's, because the bound on log p(x) is the ELBO
    (beta = 1) whatever the model was trained with.
    """

    class Config(VAE.Config):
        """Options."""

        beta: float = Field(4.0, ge=0, description="weight of the KL term")

    config: Config

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The negative of eq. 4, mean over the batch."""
        losses = super().training_step(batch)
        return {**losses, "loss": losses["reconstruction"] + self.config.beta * losses["kl"]}
