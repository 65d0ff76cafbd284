"""VAE: auto-encoding variational Bayes (Kingma & Welling, ICLR 2014)."""

from math import log
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from latentbench import Batch, DataInfo, LatentbenchError
from latentbench_autoencoders.autoencoder import Autoencoder

__all__ = ["VAE", "kl_divergence"]

#: Values in the images that the importance-weighted likelihood decodes at a time: 64 MiB as float32.
DECODED_AT_ONCE = 2**24


class VAE(Autoencoder):
    """Variational autoencoder: prior p(z) = N(0, I), posterior q(z | x) = N(mu, diag(sigma^2)).

    By default it scores by the negative ELBO, what it was trained to make small, with z at the posterior mean: without
    a draw, an image's score is the same in every batch and every call.
    """

    class Config(Autoencoder.Config):
        """Options."""

        score: Literal["negative_elbo", "reconstruction", "kl", "negative_log_likelihood"] = Field(
            "negative_elbo",
            description="at z = mu: negative_elbo, reconstruction (sum of the error map) or kl; "
            "or negative_log_likelihood (importance-weighted)",
        )
        importance_samples: int = Field(64, ge=1, description="k of the importance-weighted log likelihood")

        @model_validator(mode="after")
        def _has_a_likelihood(self) -> Self:
            if self.score == "negative_log_likelihood" and self.reconstruction == "ssim":
                raise ValueError("score negative_log_likelihood needs reconstruction bernoulli or gaussian, not ssim")
            return self

    config: Config
    # On ood as the VAE in the tables of Glazunov & Zarras (2023), whose score is the likelihood.
    presets = {**Autoencoder.presets, "ood": {**Autoencoder.presets["ood"], "reconstruction": "bernoulli"}}
    outputs_per_dim = 2  # mu and log sigma^2
    eps: Tensor

    def build(self, info: DataInfo) -> None:
        """Encoder, decoder, likelihood, and the noise of the importance samples."""
        super().build(info)
        # Drawn once and kept, so that the log likelihood of an image does not depend on its batch.
        self.register_buffer("eps", torch.randn(self.config.importance_samples, 1, self.config.latent_dim))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean mu and log sigma^2 of q(z | x), each (B, D)."""
        mu, log_var = self.encoder(x).float().chunk(2, dim=1)
        return mu, log_var

    def encode(self, images: Tensor) -> Tensor:
        """(B, D): the posterior mean."""
        mu, _ = self.posterior(images)
        return mu

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The negative ELBO with one sample of z for each image (eq. 10, L = 1), mean over the batch."""
        x = batch.images
        mu, log_var = self.posterior(x)
        eps = torch.randn_like(mu)
        z = mu + (log_var / 2).exp() * eps
        reconstruction = self.likelihood.negative_log(self.decode(z), x).mean()
        kl = kl_divergence(mu, log_var).mean()
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    def score(self, images: Tensor) -> Tensor:
        """(B,): the anomaly score of the option ``score``."""
        match self.config.score:
            case "negative_elbo":
                mu, log_var = self.posterior(images)
                return self.likelihood.negative_log(self.decode(mu), images) + kl_divergence(mu, log_var)
            case "reconstruction":
                return self.localize(images).sum((1, 2))
            case "kl":
                return kl_divergence(*self.posterior(images))
            case "negative_log_likelihood":
                return -self.log_likelihood(images)

    def log_likelihood(self, images: Tensor) -> Tensor:
        """(B,) in nats: the importance-weighted lower bound L_k on log p(x) (Burda et al. 2016, eq. 8).

        All images share the model's k draws of eps. Memory is bounded: the samples are decoded in chunks.

        Raises:
            LatentbenchError: structural similarity is no likelihood.
        """
        if self.config.reconstruction == "ssim":
            raise LatentbenchError(
                f"model '{self.name}' has no log likelihood with reconstruction ssim", "use bernoulli or gaussian"
            )
        mu, log_var = self.posterior(images)
        log_w = []
        for eps in torch.split(self.eps, max(1, DECODED_AT_ONCE // images.numel())):
            z = mu + (log_var / 2).exp() * eps  # (k, B, D)
            x = images.repeat(len(z), 1, 1, 1)
            log_p_x = -self.likelihood.negative_log(self.decode(z.flatten(0, 1)), x).view(len(z), -1)
            log_p_z_over_q = (log_var + eps.square() - z.square()).sum(2) / 2  # both densities' constants cancel
            log_w.append(log_p_x + log_p_z_over_q)
        return torch.cat(log_w).logsumexp(0) - log(len(self.eps))

    def sample(self, count: int) -> Tensor:
        """(count, C, H, W) in [0, 1]: mean images at z drawn from the prior."""
        z = torch.randn(count, self.config.latent_dim, device=self.eps.device)
        return self.likelihood.mean(self.decode(z))


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, diag(sigma^2)) || N(0, I)), (B, D) each -> (B,) in nats (appendix B)."""
    return -(1 + log_var - mu.square() - log_var.exp()).sum(1) / 2
