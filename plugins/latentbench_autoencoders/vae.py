"""VAE: auto-encoding variational Bayes (Kingma & Welling, ICLR 2014). Equations and appendices are numbered as there.

How a VAE scores images as a detector is in ``latentbench_autoencoders.detector``.
"""

from collections.abc import Mapping
from math import log
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from latentbench import Batch, DataInfo, Where
from latentbench_autoencoders.autoencoder import Autoencoder
from latentbench_autoencoders.detector import MECHANISM, OF_DRAWS, VariationalDetector
from latentbench_autoencoders.networks import last_layer
from latentbench_autoencoders.posteriors import Gaussian, Posterior

__all__ = ["KOLEKTOR_128", "NARROW", "VAE", "warming_up"]

#: Standard deviation at which q(z | x) begins where the KL term warms up; ours.
NARROW = 0.05
#: Where sigma of q(z | x) grows without bound as the KL term comes in, unless gradients are clipped.
KOLEKTOR_128 = Where("kolektor-sdd", image_size=(320, 128))


def warming_up(presets: Mapping[str | Where, Mapping[str, Any]], *places: str | Where) -> dict[str | Where, Any]:
    """Some of the presets, with the KL term warming up in the first 3 of 10 steps."""
    return {place: {**presets[place], "kl_warmup": 0.3} for place in places}


class VAE(VariationalDetector):
    """Variational autoencoder: prior p(z) = N(0, I), posterior q(z | x) = N(mu, diag(sigma^2)), decoder p(x | z).

    The decoder's pixels are by default Gaussian with one fixed standard deviation, the option ``sigma``, 0.1; on ood
    they are Bernoulli.

    By default it scores by the negative ELBO, which it was trained to make small, with z at the posterior's mean.

    A subclass with another prior and posterior overrides ``encoder_outputs``, ``posterior``, ``noise`` and ``prior``.
    """

    class Config(VariationalDetector.Config):
        binarize: Literal["no", "draw", "threshold"] = Field(
            "no",
            description="pixels to 0 and 1; draw: in training alone, anew in each step, with their gray for the "
            "probability of 1; threshold: always, at 1/2",
            exclude_if=lambda binarize: binarize == "no",
        )
        kl_warmup: float = Field(
            0.0,
            ge=0,
            le=1,
            description="share of the steps in which the KL term is first left out, then rises to its weight; q(z | x) "
            "begins narrow; 0: none",
            exclude_if=lambda share: share == 0,
        )

        @model_validator(mode="after")
        def _binary_pixels_are_bernoulli(self) -> Self:
            if self.binarize != "no" and self.reconstruction != "bernoulli":
                raise ValueError(f"binarize {self.binarize} needs reconstruction bernoulli, not {self.reconstruction}")
            return self

    config: Config
    # On ood the scores of Glazunov & Zarras (2023), with the fully connected layers of their Lipschitz VAE, so that the
    # two compare. (Their table 6 has a convolutional network, which ``trunk: conv`` is not.)
    presets = {
        **Autoencoder.presets,
        # where q(z | x) collapses to the prior otherwise, or takes long to leave it
        **warming_up(Autoencoder.presets, "textures", Where("mvtec-ad", image_size=128, category="bottle")),
        KOLEKTOR_128: {**Autoencoder.presets[KOLEKTOR_128], "kl_warmup": 0.3, "clip_gradients": 1e4},
        "ood": {
            **Autoencoder.presets["ood"],
            "reconstruction": "bernoulli",
            "learning_rate": 1e-3,
            "epochs": 20,
            "patience": 3,
            "scores": (*OF_DRAWS, *MECHANISM),
            "importance_samples": 200,
        },
    }

    def build(self, info: DataInfo) -> None:
        """Make the networks and the likelihood; a model whose KL term warms up begins as an autoencoder almost."""
        super().build(info)
        if self.config.kl_warmup:
            self.narrow_posterior()

    def narrow_posterior(self) -> None:
        """Let sigma of q(z | x) be about ``NARROW`` before training, by the biases of log sigma^2."""
        bias = last_layer(self.encoder).bias
        assert bias is not None
        _, of_log_var = bias.detach().chunk(2)
        of_log_var.fill_(2 * log(NARROW))

    @property
    def encoder_outputs(self) -> int:
        """For each dimension of z its mu and its log sigma^2."""
        return 2 * self.config.latent_dim

    def observed(self, images: Tensor) -> Tensor:
        """x: the images, or their pixels made binary (Salakhutdinov & Murray, 2008)."""
        match self.config.binarize:
            case "draw" if self.training:
                return images.bernoulli()
            case "threshold":
                return images.gt(0.5).to(images.dtype)
            case _:
                return images

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x) = N(mu, diag(sigma^2)), both from the encoder (eq. 9)."""
        mu, log_var = self.encoder(x).float().chunk(2, dim=1)
        return Gaussian(mu, log_var)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The negative ELBO with one draw of z for each image (eq. 10 with L = 1), its mean over the batch.

        While the KL term warms up, it weighs less (``kl_weight``).
        """
        x = self.observed(batch.images)
        q = self.posterior(x)
        z = q.rsample()
        reconstruction = self.likelihood.negative_log(self.outputs(z), x).mean()
        kl = q.kl().mean()
        return {"loss": reconstruction + self.kl_weight() * kl, "reconstruction": reconstruction, "kl": kl}

    def kl_weight(self) -> float:
        """1; while the KL term warms up, 0 for the first half of that time, then rising to 1 in equal steps.

        From a deterministic autoencoder to a variational one, as Sonderby et al. do it (Ladder variational
        autoencoders, NeurIPS 2016, section 2.3). Without it, q(z | x) can collapse to the prior where images differ
        little from their mean: what the decoder sees at first is noise, and mu is 0 before it uses z. That half of the
        time has no KL term at all is ours: Adam follows a gradient that is alone, however small its weight.
        """
        steps = self.config.kl_warmup * self.progress.total_steps
        return min(max(2 * self.progress.step / steps - 1, 0.0), 1.0) if self.training and steps else 1.0

    def noise(self, count: int) -> Tensor:
        """(count, 1, D): eps ~ N(0, I), from which z = mu + sigma eps (section 2.4)."""
        return torch.randn(count, 1, self.config.latent_dim)

    def prior(self, count: int) -> Tensor:
        """(count, D): z ~ p(z)."""
        return torch.randn(count, self.config.latent_dim, device=self.eps.device)

    def encode(self, images: Tensor) -> Tensor:
        """(B, D): the mean of q(z | x)."""
        return self.posterior(self.observed(images)).mean

    def sample(self, count: int, codes: Tensor | None = None) -> Tensor:
        """(count, C, H, W) in [0, 1]: the mean images of p(x | z) for z ~ p(z), or at given codes (count, D)."""
        return self.likelihood.mean(self.outputs(self.prior(count))) if codes is None else self.decode(codes)
