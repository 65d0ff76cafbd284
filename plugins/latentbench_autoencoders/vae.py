"""VAE: auto-encoding variational Bayes (Kingma & Welling, ICLR 2014)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from latentbench import Batch, DataInfo, LatentbenchError, Split
from latentbench_autoencoders.autoencoder import Autoencoder
from latentbench_autoencoders.posteriors import Gaussian, Posterior
from latentbench_autoencoders.scores import Draws, input_complexity, typicality

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["VAE", "ScoreName"]

#: At z = mu, or of N draws of z ~ q(z | x): see ``latentbench_autoencoders.scores``.
ScoreName = Literal[
    "negative_elbo",
    "reconstruction",
    "kl",
    "code_norm",
    "posterior_spread",
    "negative_log_likelihood",
    "hole_indicator",
    "log_ratio_std",
    "typicality",
    "input_complexity",
]
#: Those that need draws, and a likelihood for them: the scores of Glazunov & Zarras (2023, supplement G).
OF_DRAWS = ("negative_log_likelihood", "log_ratio_std", "typicality", "input_complexity", "hole_indicator")
#: What the indicator comes from: where the codes are, and how wide their posteriors (claims of supplement H).
MECHANISM = ("code_norm", "posterior_spread")
#: Output values that are decoded at a time, where every image is decoded N times: 16 MiB in float32.
DECODED_AT_ONCE = 2**22
#: Training images that the mean of -log p is taken over. Ours.
TYPICAL_IMAGES = 5000


class VAE(Autoencoder):
    """Variational autoencoder: prior p(z) = N(0, I), posterior q(z | x) = N(mu, diag(sigma^2)).

    By default it scores by the negative ELBO, what it was trained to make small, with z at the posterior mean: without
    a draw, an image's score is the same in every batch and every call. Scores of draws keep that: noise is drawn once,
    and all images share it.

    A subclass with another posterior overrides ``encoder_outputs``, ``posterior``, ``noise`` and ``prior``.
    """

    class Config(Autoencoder.Config):
        """Options."""

        score: ScoreName = Field(
            "negative_elbo",
            description="at z = mu: negative_elbo, reconstruction (sum of the error map), kl, code_norm or "
            "posterior_spread; "
            "of draws of z: negative_log_likelihood (importance-weighted), hole_indicator (standard deviation of "
            "log p(x | z)), log_ratio_std, typicality or input_complexity",
        )
        scores: tuple[ScoreName, ...] = Field(
            (), description="further scores, measured beside it", exclude_if=lambda scores: scores == ()
        )
        importance_samples: int = Field(64, ge=1, description="N: draws of z for an image's likelihood and scores")
        binarize: Literal["no", "draw", "threshold"] = Field(
            "no",
            description="pixels to 0 and 1; draw: in training alone, anew in each step, with their gray for the "
            "probability of 1; threshold: always, at 1/2",
            exclude_if=lambda binarize: binarize == "no",
        )

        @model_validator(mode="after")
        def _binary_pixels_are_bernoulli(self) -> Self:
            if self.binarize != "no" and self.reconstruction != "bernoulli":
                raise ValueError(f"binarize {self.binarize} needs reconstruction bernoulli, not {self.reconstruction}")
            return self

        @model_validator(mode="after")
        def _scores_can_be_given(self) -> Self:
            names = (self.score, *self.scores)
            if len(set(names)) < len(names):
                raise ValueError("score and scores name one twice")
            of_draws = [name for name in names if name in OF_DRAWS]
            if of_draws and self.reconstruction == "ssim":
                raise ValueError(f"score {of_draws[0]} needs reconstruction bernoulli or gaussian, not ssim")
            for name in ("hole_indicator", "log_ratio_std"):
                if name in names and self.importance_samples < 2:
                    raise ValueError(f"score {name} is a standard deviation: importance_samples should be at least 2")
            return self

    config: Config
    # On ood with the scores of Glazunov & Zarras (2023). Their table 6 has a CNN, of which ``trunk: conv`` is not one;
    # these are the fully connected layers of their Lipschitz VAE, beside which it stands there. Leaky is ours.
    presets = {
        **Autoencoder.presets,
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
    eps: Tensor
    entropy: Tensor

    def build(self, info: DataInfo) -> None:
        """Encoder, decoder, likelihood, the noise of the draws, and what typicality is measured from."""
        super().build(info)
        # Drawn once and kept, so that a score of an image does not depend on its batch.
        self.register_buffer("eps", self.noise(self.config.importance_samples))
        if "typicality" in self._score_names:
            self.register_buffer("entropy", torch.zeros(()))

    @property
    def encoder_outputs(self) -> int:
        """Of each dimension of z: mu and log sigma^2."""
        return 2 * self.config.latent_dim

    def observed(self, images: Tensor) -> Tensor:
        """The x of images, (B, C, H, W): themselves, or their pixels made binary (Salakhutdinov & Murray 2008)."""
        match self.config.binarize:
            case "draw" if self.training:
                return images.bernoulli()
            case "threshold":
                return images.gt(0.5).to(images.dtype)
            case _:
                return images

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x) of images x (B, C, H, W)."""
        return Gaussian(*self.encoder(x).float().chunk(2, dim=1))

    def noise(self, count: int) -> Tensor:
        """(count, 1, E) on the CPU: what ``Posterior.draw`` makes ``count`` draws of."""
        return torch.randn(count, 1, self.config.latent_dim)

    def prior(self, count: int) -> Tensor:
        """(count, D): z ~ p(z)."""
        return torch.randn(count, self.config.latent_dim, device=self.eps.device)

    def encode(self, images: Tensor) -> Tensor:
        """(B, D): the posterior mean."""
        return self.posterior(self.observed(images)).mean

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The negative ELBO with one sample of z for each image (eq. 10, L = 1), mean over the batch."""
        x = self.observed(batch.images)
        q = self.posterior(x)
        reconstruction = self.likelihood.negative_log(self.outputs(q.rsample()), x).mean()
        kl = q.kl().mean()
        return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Train in the harness's loop; then, for typicality, take the mean of -log p over training images."""
        super().fit(train, validation, trainer)
        if "typicality" in self._score_names:
            self.eval()
            index = torch.randperm(len(train), generator=trainer.generator, device=trainer.device)[:TYPICAL_IMAGES]
            with torch.no_grad():
                batches = [train.batch(part, trainer.generator).images for part in torch.split(index, 500)]
                self.entropy.copy_(-torch.cat([self.log_likelihood(images) for images in batches]).mean())

    def score(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """(B,): the anomaly score of the option ``score``; with ``scores`` by name, that one first."""
        found = self._scores(images, self._score_names)
        return found if self.config.scores else found[self.config.score]

    def log_likelihood(self, images: Tensor) -> Tensor:
        """(B,) in nats: the importance-weighted lower bound on log p(x) of N draws (``Draws.log_likelihood``).

        Raises:
            LatentbenchError: structural similarity is no likelihood.
        """
        if self.config.reconstruction == "ssim":
            raise LatentbenchError(
                f"model '{self.name}' has no log likelihood with reconstruction ssim", "use bernoulli or gaussian"
            )
        x = self.observed(images)
        return self.draws(self.posterior(x), x).log_likelihood()

    def draws(self, q: Posterior, x: Tensor) -> Draws:
        """N draws for each image of x (B, C, H, W), decoded in chunks of at most ``DECODED_AT_ONCE`` output values, or
        of one draw of all images; what the decoder holds on the way comes on top of them.
        """
        log_p_x, log_ratio = [], []
        for noise in torch.split(self.eps, max(1, DECODED_AT_ONCE // x.numel())):
            z, log_prior_over_posterior = q.draw(noise)
            outputs = self.outputs(z.flatten(0, 1)).view(*z.shape[:2], *x.shape[1:])
            log_p_x.append(self.likelihood.log_prob_of_draws(outputs, x))
            log_ratio.append(log_prior_over_posterior)
        log_p = torch.cat(log_p_x)
        return Draws(log_p, log_p + torch.cat(log_ratio))

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W): the reconstruction's error by pixel, 0 where it is perfect (``Likelihood.error``)."""
        return super().localize(self.observed(images))

    def sample(self, count: int, codes: Tensor | None = None) -> Tensor:
        """(count, C, H, W) in [0, 1]: mean images at z drawn from the prior, or at given codes (count, D)."""
        return self.likelihood.mean(self.outputs(self.prior(count))) if codes is None else self.decode(codes)

    @property
    def _score_names(self) -> tuple[ScoreName, ...]:
        return (self.config.score, *self.config.scores)

    def _scores(self, images: Tensor, names: Sequence[ScoreName]) -> dict[str, Tensor]:
        """Name -> (B,), of one pass of the encoder, and one over the draws where any needs them."""
        x = self.observed(images)
        q = self.posterior(x)
        found: dict[str, Tensor] = {}
        draws: Draws | None = None
        for name in names:
            if name in OF_DRAWS:
                draws = draws or self.draws(q, x)
                found[name] = self._of_draws(name, draws, x)
            else:
                found[name] = self._at_mean(name, q, x)
        return found

    def _at_mean(self, name: ScoreName, q: Posterior, x: Tensor) -> Tensor:
        match name:
            case "reconstruction":
                return self.localize(x).sum((1, 2))
            case "kl":
                return q.kl()
            case "code_norm":
                return q.mean.square().sum(1).sqrt()
            case "posterior_spread":
                return q.spread
            case _:
                return self.likelihood.negative_log(self.outputs(q.mean), x) + q.kl()

    def _of_draws(self, name: ScoreName, draws: Draws, x: Tensor) -> Tensor:
        match name:
            case "hole_indicator":
                return draws.hole_indicator()
            case "log_ratio_std":
                return draws.log_ratio_std()
            case "typicality":
                return typicality(draws.log_likelihood(), self.entropy)
            case "input_complexity":
                return input_complexity(draws.log_likelihood(), x)
            case _:
                return -draws.log_likelihood()
