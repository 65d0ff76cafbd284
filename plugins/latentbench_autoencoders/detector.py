"""A variational autoencoder as a detector: eleven anomaly scores and the likelihood that some of them are made from.

Five scores take one code, by default the mean of q(z | x); the others take N draws z ~ q(z | x), and are those of
Glazunov & Zarras (UAI 2023, supplement G). ``latentbench_autoencoders.scores`` defines what is computed from the draws.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self, get_args

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from latentbench import DataInfo, LatentbenchError, Split
from latentbench_autoencoders.autoencoder import Autoencoder
from latentbench_autoencoders.posteriors import Posterior
from latentbench_autoencoders.scores import Draws, debiased_negative_log_likelihood, input_complexity, typicality

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["MECHANISM", "OF_DRAWS", "ScoreName", "VariationalDetector"]

ScoreName = Literal[
    "negative_elbo",
    "reconstruction",
    "kl",
    "code_norm",
    "posterior_spread",
    "negative_log_likelihood",
    "debiased_negative_log_likelihood",
    "hole_indicator",
    "log_ratio_std",
    "typicality",
    "input_complexity",
]
#: The scores that are made from draws of z, and therefore need a likelihood p(x | z).
OF_DRAWS = (
    "negative_log_likelihood",
    "debiased_negative_log_likelihood",
    "log_ratio_std",
    "typicality",
    "input_complexity",
    "hole_indicator",
)
#: What the hole indicator goes back to: where the codes are, and how wide their posteriors (supplement H).
MECHANISM = ("code_norm", "posterior_spread")
#: Values that are drawn or decoded at a time, because every image is decoded N times: 1 MiB in float32, for the cache.
AT_ONCE = 2**18
#: Training images that the mean of -log p(x) for typicality is taken over. The number is ours.
TYPICAL_IMAGES = 5000
#: Images, and draws of each, by which the mean of q(z | x) is compared with the draws that the decoder was trained on;
#: from this ratio of errors on, there is a warning. Where a decoder is nearly linear, the mean has the smaller error.
COMPARED, COMPARED_DRAWS, WORSE = 16, 8, 1.1

log = logging.getLogger("latentbench")


class VariationalDetector(Autoencoder, ABC):
    """An autoencoder whose code is a distribution q(z | x), with everything that scores images by it.

    No score depends on the batch or on the call: those at the mean draw nothing, and for the others the noise is drawn
    once, kept in the buffer ``eps``, and shared by all images.
    """

    class Config(Autoencoder.Config):
        score: ScoreName = Field(
            "negative_elbo",
            description="at z = mu: negative_elbo, reconstruction (sum of the error map), kl, code_norm or "
            "posterior_spread; "
            "of draws of z: negative_log_likelihood (importance-weighted), debiased_negative_log_likelihood (the same "
            "less the entropy of the pixels, of bernoulli alone), hole_indicator (standard deviation of log p(x | z)), "
            "log_ratio_std, typicality or input_complexity",
        )
        scores: tuple[ScoreName, ...] = Field(
            (), description="further scores, measured beside it", exclude_if=lambda scores: scores == ()
        )
        importance_samples: int = Field(64, ge=1, description="N: draws of z for an image's likelihood and scores")
        reconstruct_at: Literal["mean", "draws"] = Field(
            "mean",
            description="z of reconstructions, maps and the scores at one code: the mean of q(z | x), or its N draws, "
            "over which errors are averaged",
            exclude_if=lambda place: place == "mean",
        )

        @field_validator("scores")
        @classmethod
        def _in_one_order(cls, scores: tuple[ScoreName, ...]) -> tuple[ScoreName, ...]:
            return tuple(sorted(scores, key=get_args(ScoreName).index))

        @model_validator(mode="after")
        def _scores_can_be_given(self) -> Self:
            names = (self.score, *self.scores)
            if len(set(names)) < len(names):
                raise ValueError("score and scores name one twice")
            of_draws = [name for name in names if name in OF_DRAWS]
            if of_draws and self.reconstruction == "ssim":
                raise ValueError(f"score {of_draws[0]} needs reconstruction bernoulli or gaussian, not ssim")
            if "debiased_negative_log_likelihood" in names and self.reconstruction != "bernoulli":
                raise ValueError(
                    "score debiased_negative_log_likelihood needs reconstruction bernoulli: the least -log p(x | z) of "
                    f"{self.reconstruction} pixels is the same for all images"
                )
            for name in ("hole_indicator", "log_ratio_std"):
                if name in names and self.importance_samples < 2:
                    raise ValueError(f"score {name} is a standard deviation: importance_samples should be at least 2")
            return self

        def unused(self) -> Mapping[str, str]:
            """The number of draws, if nothing is drawn."""
            drawn = self.reconstruction != "ssim" or self.reconstruct_at == "draws"
            own = {} if drawn else {"importance_samples": "the reconstruction ssim is no likelihood"}
            return {**super().unused(), **own}

    config: Config
    eps: Tensor
    entropy: Tensor

    @abstractmethod
    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x) of the images x, (B, C, H, W)."""

    @abstractmethod
    def noise(self, count: int) -> Tensor:
        """(count, 1, E), on the CPU: the noise that ``Posterior.draw`` makes ``count`` draws of z from."""

    def build(self, info: DataInfo) -> None:
        """Make the networks, draw the noise of the scores, and make room for what typicality compares with."""
        super().build(info)
        self.register_buffer("eps", self.noise(self.config.importance_samples))
        if "typicality" in self._score_names:
            self.register_buffer("entropy", torch.zeros(()))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Train in the harness's loop; then, for typicality, take the mean of -log p(x) over training images.

        There is a warning where normal images are reconstructed worse at the mean of q(z | x) than at draws of it.
        """
        super().fit(train, validation, trainer)
        self.eval()
        if "typicality" in self._score_names:
            index = torch.randperm(len(train), generator=trainer.generator, device=trainer.device)[:TYPICAL_IMAGES]
            with torch.no_grad():
                batches = [train.batch(part, trainer.generator).images for part in torch.split(index, 500)]
                self.entropy.copy_(-torch.cat([self.log_likelihood(images) for images in batches]).mean())
        if self.config.reconstruct_at == "mean":
            self._look_at_the_mean(train if validation is None else validation, trainer)

    def decoded(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """What ``of`` gives for the decoder's outputs at the mean of q(z | x), or its mean over draws."""
        return self._over(self._codes(self.posterior(x)), of)

    def score(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """(B,): the score that the option ``score`` names; with ``scores``, all of them by name, that one first."""
        found = self._scores(images, self._score_names)
        return found if self.config.scores else found[self.config.score]

    def log_likelihood(self, images: Tensor) -> Tensor:
        """(B,) in nats: the importance-weighted lower bound on log p(x) from N draws (``Draws.log_likelihood``).

        Raises:
            LatentbenchError: the reconstruction is ssim, which is no likelihood.
        """
        if self.config.reconstruction == "ssim":
            raise LatentbenchError(
                f"model '{self.name}' has no log likelihood with reconstruction ssim", "use bernoulli or gaussian"
            )
        x = self.observed(images)
        return self.draws(self.posterior(x), x).log_likelihood()

    def draws(self, q: Posterior, x: Tensor) -> Draws:
        """N draws of z for each image of x, (B, C, H, W), decoded.

        They are drawn and decoded in chunks, each of at most ``AT_ONCE`` values of codes or outputs, or of one draw for
        all images. What the decoder needs for its hidden layers comes on top.
        """
        log_p_x, log_ratio = [], []
        for noise in torch.split(self.eps, max(1, AT_ONCE // q.mean.numel())):
            drawn, log_prior_over_posterior = q.draw(noise)
            log_ratio.append(log_prior_over_posterior)
            for z in torch.split(drawn, max(1, AT_ONCE // x.numel())):
                outputs = self.outputs(z.flatten(0, 1)).view(*z.shape[:2], *x.shape[1:])
                log_p_x.append(self.likelihood.log_prob_of_draws(outputs, x))
        log_p = torch.cat(log_p_x)
        return Draws(log_p, log_p + torch.cat(log_ratio))

    @property
    def _score_names(self) -> tuple[ScoreName, ...]:
        return (self.config.score, *self.config.scores)

    def _scores(self, images: Tensor, names: Sequence[ScoreName]) -> dict[str, Tensor]:
        """Name -> (B,), from one pass of the encoder, and one over the draws if any score needs them."""
        x = self.observed(images)
        q = self.posterior(x)
        found: dict[str, Tensor] = {}
        draws: Draws | None = None
        for name in names:
            if name in OF_DRAWS:
                draws = draws or self.draws(q, x)
                found[name] = self._of_draws(name, draws, x)
            else:
                found[name] = self._of_code(name, q, x)
        return found

    def _of_code(self, name: ScoreName, q: Posterior, x: Tensor) -> Tensor:
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
                return self._over(self._codes(q), lambda outputs: self.likelihood.negative_log(outputs, x)) + q.kl()

    def _of_draws(self, name: ScoreName, draws: Draws, x: Tensor) -> Tensor:
        match name:
            case "debiased_negative_log_likelihood":
                return debiased_negative_log_likelihood(draws.log_likelihood(), x)
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

    def _codes(self, q: Posterior) -> Tensor:
        """(K, B, D): the z at which images are reconstructed: the mean of q(z | x) alone, or its N draws."""
        return q.mean[None] if self.config.reconstruct_at == "mean" else q.draw(self.eps)[0]

    def _over(self, codes: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """The mean over K codes for each image, (K, B, D), of what ``of`` gives for the decoder's outputs, (B, ...)."""
        return sum((of(self.outputs(z)) for z in codes), start=codes.new_zeros(())) / len(codes)

    def _look_at_the_mean(self, normal: Split, trainer: "Trainer") -> None:
        """Warn if a code at the mean of q(z | x) is none that the decoder knows.

        Where q(z | x) is nearly the prior in most dimensions, the decoder was trained on z of length sqrt(D), and the
        mean is near to 0.
        """
        index = torch.arange(min(len(normal), COMPARED), device=trainer.device)
        with torch.no_grad():
            x = self.observed(normal.batch(index, trainer.generator).images)
            q = self.posterior(x)
            at_mean, of_draws = (
                self._over(codes, lambda outputs: self.likelihood.error(outputs, x)).mean()
                for codes in (q.mean[None], q.draw(self.eps[:COMPARED_DRAWS])[0])
            )
        if at_mean > WORSE * of_draws:
            log.warning(
                "model '%s': normal images are reconstructed %.1f times as badly at the mean of q(z | x) as at draws "
                "of it, on which the decoder was trained: set reconstruct_at=draws",
                *(self.name, at_mean / of_draws),
            )
