"""MFCVAE: multi-facet clustering variational autoencoder (Falck et al., NeurIPS 2021).

Images have several independent partitions, called facets. Facet j = 1, ..., J has clusters c_j and a code z_j:

    c_j ~ Cat(pi_j),  z_j | c_j ~ N(mu_{j, c_j}, Sigma_{j, c_j}),  x | z_1, ..., z_J ~ p(x | f(z_1, ..., z_J)),

a mixture of Gaussians for each (``mixture``). The encoder gives q(z_j | x) = N(m_j(x), diag(s_j(x)^2)), for which the
best q(c_j | x) is known in closed form. With it, and one draw of z, the negative ELBO is

    -log p(x | z) + sum_j [ log q(z_j | x) - log sum_c pi_{j, c} N(z_j; mu_{j, c}, Sigma_{j, c}) ].

z_1 joins the network next to the pixels and z_J farthest from them (``ladder``). The facets are introduced one after
the other, z_J first ("progressive training").
"""

from collections.abc import Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING, Literal, Self, cast

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from latentbench import Batch, DataInfo, LatentbenchError, Model, Split, TrainingOptions
from latentbench_autoencoders.likelihoods import likelihood
from latentbench_autoencoders.scores import Draws
from latentbench_mfcvae.initialization import cluster_means, rescale_by_data
from latentbench_mfcvae.ladder import Convolutional, FullyConnected, Ladder
from latentbench_mfcvae.mixture import Covariance, Mixture, Posterior
from latentbench_mfcvae.presets import presets

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["MFCVAE"]

#: Sides above this are left out: the networks are made for 28 and 32 pixels.
LARGEST_SIDE = 64
#: Images that are encoded, and output values that are decoded, at a time when no gradients are needed.
ENCODED_AT_ONCE, DECODED_AT_ONCE = 1000, 2**18
#: Images across, and clusters, in the model's own pictures.
ACROSS = 8


class MFCVAE(Model):
    """Several clusterings of the same images, each by a mixture of Gaussians over a code of its own.

    Facets are called z1, z2, ... from the pixels upwards; so are their codes.
    """

    class Config(TrainingOptions):
        clusters: tuple[PositiveInt, ...] = Field((25, 25), min_length=1, description="K_j of each facet")
        dims: tuple[PositiveInt, ...] = Field((5, 5), min_length=1, description="size of each z_j")
        covariance: Covariance = Field("diagonal", description="of a cluster")
        learn_weights: bool = Field(True, description="pi_j; otherwise uniform")
        network: Literal["mlp", "conv"] = Field(
            "mlp", description="fully connected, or convolutional for sides that can be halved once a level down to 4"
        )
        widths: tuple[PositiveInt, ...] = Field(
            (500, 2000), min_length=1, description="units, or channels, of each level; published for conv: 64 and 128"
        )
        rescale_by_data: bool = Field(False, description="initialize linear and transposed layers by data")
        reconstruction: Literal["bernoulli", "gaussian"] = Field("gaussian", description="p(x | z)")
        sigma: float = Field(0.3, gt=0, description="standard deviation of the gaussian, images being in [0, 1]")
        sigmoid: bool = Field(False, description="whether means of the gaussian go through a sigmoid")
        samples: int = Field(1, ge=1, description="L: draws of z for each image and step")
        stages: tuple[PositiveFloat, ...] = Field(
            (), description="relative lengths of the stages, each of which introduces a facet; (): all alike"
        )
        fade_in: float = Field(0.6, ge=0, le=1, description="share of a stage in which its facet's weight rises to 1")
        progressive: bool = Field(True, description="False: all facets from the beginning")
        learning_rate: float = Field(5e-4, gt=0, description="of Adam")
        importance_samples: int = Field(64, ge=1, description="draws of z for an image's log likelihood")
        temperature: float = Field(1.0, gt=0, description="scales the standard deviation of samples in a cluster")

        @model_validator(mode="after")
        def _facets_agree(self) -> Self:
            facets = len(self.dims)
            if len(self.clusters) != facets:
                raise ValueError(f"{facets} facets in dims, but {len(self.clusters)} in clusters")
            if "stages" not in self.unused() and self.stages and len(self.stages) != facets:
                raise ValueError(f"{facets} facets, but {len(self.stages)} stages")
            if len(self.widths) < facets:
                raise ValueError(
                    f"{facets} facets need as many levels, each with a width, and there are {len(self.widths)}"
                )
            return self

        @model_validator(mode="after")
        def _selection_waits_for_all_facets(self) -> Self:
            if self.patience is None or "stages" in self.unused():
                return self
            lengths = self.stages or (1.0,) * len(self.dims)
            rest = 1 - (1 - self.fade_in) * lengths[-1] / sum(lengths)
            if self.select_after < (least := ceil(self.epochs * rest)):
                raise ValueError(f"patience needs select_after of at least {least}: before, facets are missing")
            return self

        def unused(self) -> Mapping[str, str]:
            """What only a gaussian has, and what only facets that are introduced one after the other have."""
            own: dict[str, str] = {}
            if self.reconstruction != "gaussian":
                own |= dict.fromkeys(("sigma", "sigmoid"), "only the reconstruction gaussian has one")
            if len(self.dims) == 1:
                own |= dict.fromkeys(("progressive", "stages", "fade_in"), "there is a single facet")
            elif not self.progressive:
                own |= dict.fromkeys(("stages", "fade_in"), "all facets are there from the beginning")
            return {**super().unused(), **own}

    config: Config
    eps: Tensor
    presets = presets()

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """Whether the sides are at most 64 pixels."""
        longer = max(info.height, info.width)
        return f"its networks are for sides of at most {LARGEST_SIDE} pixels" if longer > LARGEST_SIDE else None

    def build(self, info: DataInfo) -> None:
        """Make the ladder, a mixture for each facet, and draw the noise of the likelihood.

        Raises:
            LatentbenchError: a facet has more clusters than there are training images, or the images do not fit conv.
        """
        config = self.config
        if max(config.clusters) > info.train_size:
            raise LatentbenchError(
                f"model '{self.name}': {max(config.clusters)} clusters, but {info.train_size} training images",
                "set fewer clusters",
            )
        self.names = [f"z{j}" for j in range(1, len(config.dims) + 1)]
        self.ladder = self._ladder(info)
        self.priors = nn.ModuleList(
            Mixture(clusters, dims, config.covariance, learn_weights=config.learn_weights)
            for clusters, dims in zip(config.clusters, config.dims, strict=True)
        )
        self.likelihood = likelihood(config.reconstruction, config.sigma)
        self.register_buffer("eps", torch.randn(config.importance_samples, 1, sum(config.dims)))

    @property
    def mixtures(self) -> dict[str, Mixture]:
        """Facet -> p(z_j)."""
        return dict(zip(self.names, cast(Iterable[Mixture], self.priors), strict=True))

    def _ladder(self, info: DataInfo) -> Ladder:
        config = self.config
        levels = len(config.widths)
        fits = Convolutional.fits(info, levels)
        if config.network == "conv" and not fits:
            raise LatentbenchError(
                f"model '{self.name}': sides of {info.height} and {info.width} pixels cannot be halved {levels} times "
                "down to at least 4",
                "set network to mlp, or fewer widths",
            )
        network = Convolutional if config.network == "conv" else FullyConnected
        return network(info, config.dims, config.widths)

    def optimizers(self) -> torch.optim.Optimizer:
        """Adam with its defaults (Kingma & Ba 2015)."""
        return torch.optim.Adam(self.parameters(), self.config.learning_rate, fused=True)

    def start(self, train: Split, trainer: "Trainer") -> None:
        """Scale the ladder by the first batch, if that is wanted; then put the clusters where the codes are.

        The means of each mixture are those of one that is fitted to the untrained encoder's m_j(x).
        """
        if self.config.rescale_by_data:
            index = torch.arange(min(self.config.batch_size, len(train)), device=trainer.device)
            images = train.batch(index, trainer.generator).images
            self.train()
            rescale_by_data(self.ladder, lambda: self.outputs([q.mean for q in self.ladder.encode(images)]))
            self.eval()
        for mixture, q in zip(self.mixtures.values(), self._training_codes(train, trainer), strict=True):
            mixture.mu.copy_(cluster_means(q.mean, len(mixture.mu), trainer.seed))

    def introduced(self) -> tuple[int, float]:
        """The lowest facet that has been introduced, counted from 0, and its weight, which rises from 0 to 1.

        The stages divide ``progress.total_steps`` by their relative lengths.
        """
        facets = len(self.names)
        if facets == 1 or not self.config.progressive:
            return 0, 1.0
        lengths = self.config.stages or (1,) * facets
        step, begin = self.progress.step, 0.0
        for stage, length in enumerate(lengths):
            steps = self.progress.total_steps * length / sum(lengths)
            if step < round(begin + steps) or stage == facets - 1:
                break
            begin += steps
        fade = self.config.fade_in * steps
        weight = 1.0 if stage == 0 or fade == 0 else min(1.0, (step - round(begin)) / fade)
        return facets - 1 - stage, weight

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        """The negative ELBO with L draws of z for each image and the optimal q(c | x), its mean over the batch.

        With the facets that have been introduced; the weight of the newest one is also that of its terms. The loss is
        the sum of the five terms of the ELBO that are reported: "reconstruction" + "log_q_z" - "log_p_z_given_c" +
        "log_q_c" - "log_p_c". In eval mode z is the posterior's mean.
        """
        x = batch.images
        first, alpha = self.introduced()
        posteriors = self.ladder.encode(x, first)
        draws, log_q = zip(*(q.at(self._noise(q)) for q in posteriors), strict=True)
        z = [one.flatten(0, 1) for one in draws]
        reconstruction = self.likelihood.negative_log(self.outputs(z, alpha), x.repeat(len(draws[0]), 1, 1, 1)).mean()

        loss = reconstruction
        terms = x.new_zeros(4)
        for j, (mixture, z_j, log_q_j) in enumerate(zip([*self.mixtures.values()][first:], draws, log_q, strict=True)):
            gamma = alpha if j == 0 else 1.0
            log_p_c, log_p_z = mixture.log_weights, mixture.log_prob(z_j).mean(0)
            kl = log_q_j.mean() - (log_p_c + log_p_z).logsumexp(1).mean()
            loss = loss + gamma * kl
            terms = terms + gamma * _four_terms(log_q_j.detach(), log_p_c.detach(), log_p_z.detach())
        log_q_z, log_p_z_given_c, log_q_c, log_p_c = terms
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "log_q_z": log_q_z,
            "log_p_z_given_c": log_p_z_given_c,
            "log_q_c": log_q_c,
            "log_p_c": log_p_c,
        }

    def validate(self, split: Split, trainer: "Trainer") -> float | None:
        """The loss if ``patience`` selects by it; otherwise it would cost more than a twentieth of the training."""
        return None if self.config.patience is None else super().validate(split, trainer)

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Train in the harness's loop; then count the training images in each cluster, for ``facts``."""
        super().fit(train, validation, trainer)
        self.eval()
        with torch.no_grad():
            self.count(train, trainer)

    def count(self, train: Split, trainer: "Trainer") -> None:
        """Note to which clusters the images of one pass belong."""
        for mixture, q in zip(self.mixtures.values(), self._training_codes(train, trainer), strict=True):
            mixture.observe(q)

    def outputs(self, z: list[Tensor], alpha: float = 1.0) -> Tensor:
        """(B, C, H, W) in float32: what the likelihood takes, from codes of the uppermost facets."""
        outputs = self.ladder.decode(z, alpha).float()
        return outputs.sigmoid() if self.config.sigmoid and self.config.reconstruction == "gaussian" else outputs

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """Facet -> (B, D_j): the mean of q(z_j | x)."""
        return {name: q.mean for name, q in zip(self.names, self.ladder.encode(images), strict=True)}

    def cluster(self, images: Tensor) -> dict[str, Tensor]:
        """Facet -> (B,): the most probable cluster at the mean of q(z_j | x), as the authors assign images."""
        codes = self.encode(images)
        return {
            name: (mixture.log_weights + mixture.log_prob(codes[name])).argmax(1)
            for name, mixture in self.mixtures.items()
        }

    def decode(self, codes: Mapping[str, Tensor]) -> Tensor:
        """(B, C, H, W) in [0, 1]: the mean images at codes of all facets."""
        return self.likelihood.mean(self.outputs([codes[name] for name in self.names]))

    def reconstruct(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1]: the mean image at the mean of q(z | x)."""
        return self.decode(self.encode(images))

    def sample(self, count: int, codes: Mapping[str, Tensor] | None = None) -> Tensor:
        """(count, C, H, W) in [0, 1]: mean images at z ~ p(z), with given codes or clusters of some facets."""
        given, z = codes or {}, {}
        for name, mixture in self.mixtures.items():
            part = given.get(name)
            if part is None:
                part = torch.multinomial(mixture.log_weights.exp(), count, replacement=True)
            z[name] = part if part.is_floating_point() else mixture.sample(part, self.config.temperature)
        return self.decode(z)

    def log_likelihood(self, images: Tensor) -> Tensor:
        """(B,) in nats: the importance-weighted lower bound on log p(x) (Burda et al., 2016, eq. 8).

        Raises:
            LatentbenchError: images outside [0, 1] under a Bernoulli likelihood.
        """
        return self.draws(images, self.ladder.encode(images)).log_likelihood()

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Anomaly scores by name, each (B,): the negative log likelihood, and the surprise in each facet.

        The surprise is ours: -log p(z_j) at the mean of q(z_j | x), under the facet's mixture.
        """
        posteriors = self.ladder.encode(images)
        return {
            "negative_log_likelihood": -self.draws(images, posteriors).log_likelihood(),
            **{
                f"surprise_{name}": -mixture.log_marginal(q.mean)
                for (name, mixture), q in zip(self.mixtures.items(), posteriors, strict=True)
            },
        }

    def draws(self, x: Tensor, posteriors: list[Posterior]) -> Draws:
        """N draws of z for each image, all from the same noise, so that an image's result does not depend on others."""
        if self.config.reconstruction == "bernoulli" and len(x) and not (x.min() >= 0 and x.max() <= 1):
            raise LatentbenchError(
                f"model '{self.name}': images with pixels outside [0, 1] have no likelihood under reconstruction "
                "bernoulli",
                "use gaussian",
            )
        log_p_x, log_ratio = [], []
        for noise in torch.split(self.eps, max(1, DECODED_AT_ONCE // max(1, x.numel()))):
            z, ratio = [], torch.zeros(())
            by_facet = torch.split(noise, list(self.config.dims), dim=2)
            for mixture, q, eps in zip(self.mixtures.values(), posteriors, by_facet, strict=True):
                z_j, log_q = q.at(eps)
                z.append(z_j)
                ratio = ratio + mixture.log_marginal(z_j) - log_q
            outputs = self.outputs([one.flatten(0, 1) for one in z])
            log_p_x.append(self.likelihood.log_prob_of_draws(outputs.reshape(len(noise), *x.shape), x))
            log_ratio.append(ratio)
        log_p = torch.cat(log_p_x)
        return Draws(log_p, log_p + torch.cat(log_ratio))

    def facts(self) -> dict[str, float]:
        """Of each facet: clusters without training images, the smallest weight, and the mean entropy of q(c | x)."""
        found = {}
        for name, mixture in self.mixtures.items():
            found[f"empty_clusters_{name}"] = float((mixture.occupancy == 0).sum())
            found[f"smallest_weight_{name}"] = float(mixture.log_weights.detach().exp().min())
            found[f"assignment_entropy_{name}"] = float(mixture.entropy)
        return found

    def pictures(self, images: Tensor) -> dict[str, Tensor]:
        """``exchange-FACET``: images with this facet from another one.

        Those of the first row give the facet, those of the first column all others.
        """
        sources = images[: ACROSS - 1]
        codes, count = self.encode(sources), len(sources)
        found = {}
        for name in self.mixtures:
            rows = [torch.cat([torch.ones_like(sources[:1]), sources])]
            for place in range(count):
                mixed = {other: code[place].expand(count, -1) for other, code in codes.items()} | {name: codes[name]}
                rows.append(torch.cat([sources[place : place + 1], self.decode(mixed)]))
            found[f"exchange-{name}"] = torch.stack(rows)
        return found

    def generated_pictures(self) -> dict[str, Tensor]:
        """``samples-FACET``: samples of the facet's largest clusters, a row from each."""
        found = {}
        for name, mixture in self.mixtures.items():
            largest = mixture.occupancy.argsort(descending=True, stable=True)[:ACROSS]
            count = len(largest)
            samples = self.sample(count**2, {name: largest.repeat_interleave(count)})
            found[f"samples-{name}"] = samples.reshape(count, count, *samples.shape[1:])
        return found

    def _noise(self, q: Posterior) -> Tensor:
        """(L, B, D_j): of the draws of z in training; 0, for its mean, in eval mode."""
        if not self.training:
            return torch.zeros_like(q.mean)[None]
        return torch.randn(self.config.samples, *q.mean.shape, device=q.mean.device)

    def _training_codes(self, train: Split, trainer: "Trainer") -> list[Posterior]:
        """q(z_j | x) of each facet for one pass of the training images, in eval mode."""
        parts = torch.split(torch.arange(len(train), device=trainer.device), ENCODED_AT_ONCE)
        found = [self.ladder.encode(train.batch(part, trainer.generator).images) for part in parts]
        return [
            Posterior(torch.cat([q.mean for q in facet]), torch.cat([q.log_var for q in facet]))
            for facet in zip(*found, strict=True)
        ]


def _four_terms(log_q_z: Tensor, log_p_c: Tensor, log_p_z: Tensor) -> Tensor:
    """(4,): the means over images of log q(z | x), E log p(z | c), E log q(c | x) and E log p(c), E over q(c | x).

    Args:
        log_q_z: (L, B).
        log_p_c: (K,).
        log_p_z: (B, K), log p(z | c), its mean over the draws of z.
    """
    q = (log_p_c + log_p_z).softmax(1)
    return torch.stack(
        [
            log_q_z.mean(),
            (q * log_p_z).sum(1).mean(),
            -torch.special.entr(q).sum(1).mean(),
            (q * log_p_c).sum(1).mean(),
        ]
    )
