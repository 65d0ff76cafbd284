"""The objective as the paper states it: five terms with q(c | x) = p(c | z), by ``torch.distributions``, one draw."""

import torch
from torch import Tensor
from torch.distributions import Bernoulli, MixtureSameFamily, MultivariateNormal, Normal

from latentbench import Batch
from latentbench_mfcvae.mixture import Mixture
from latentbench_mfcvae.model import MFCVAE

__all__ = ["components", "five_terms", "loss", "reassigned"]


def components(mixture: Mixture) -> MultivariateNormal:
    """The K components of a facet."""
    scale = mixture.scale
    return MultivariateNormal(mixture.mu, scale_tril=scale if scale.ndim == 3 else torch.diag_embed(scale))


def log_densities(mixture: Mixture, z: Tensor) -> Tensor:
    """(B, K): log p(z | c)."""
    if mixture.covariance == "diagonal":
        return Normal(mixture.mu, mixture.scale).log_prob(z[:, None]).sum(2)
    return components(mixture).log_prob(z[:, None])


def five_terms(mixture: Mixture, q: Normal, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The means of log q(z | x), E log p(z | c), E log q(c | x) and E log p(c)."""
    log_pi = mixture.logits.log_softmax(0)
    log_p_z = log_densities(mixture, z)
    r = (log_p_z + log_pi).softmax(1)
    return (
        q.log_prob(z).sum(1).mean(),
        (r * log_p_z).sum(1).mean(),
        (r * r.clamp_min(1e-30).log()).sum(1).mean(),
        (r * log_pi).sum(1).mean(),
    )


def loss(model: MFCVAE, batch: Batch, gammas: tuple[float, ...]) -> Tensor:
    """The objective with a weight for each facet; the lowest one's is also its rung's. Draws as the model does."""
    x = batch.images
    posteriors = [Normal(q.mean, (q.log_var / 2).exp()) for q in model.ladder.encode(x)]
    z = [q.rsample() for q in posteriors]
    outputs = model.outputs(z, gammas[0])
    if model.config.reconstruction == "bernoulli":
        log_p_x = Bernoulli(logits=outputs, validate_args=False).log_prob(x)
    else:
        log_p_x = Normal(outputs, model.config.sigma).log_prob(x)
    total = -log_p_x.sum((1, 2, 3)).mean()
    mixtures = [mixture for mixture in model.mixtures.values() if isinstance(mixture, Mixture)]
    for mixture, q, z_j, gamma in zip(mixtures, posteriors, z, gammas, strict=True):
        log_q_z, log_p_z, log_q_c, log_p_c = five_terms(mixture, q, z_j)
        total = total + gamma * (log_q_z - log_p_z) + gamma * (log_q_c - log_p_c)
    return total


def reassigned(model: MFCVAE, batch: Batch) -> list[Tensor]:
    """The clusters of the batch after an update, computed from the densities again and copied to the CPU."""
    posteriors = model.ladder.encode(batch.images)
    mixtures = [mixture for mixture in model.mixtures.values() if isinstance(mixture, Mixture)]
    return [
        (log_densities(mixture, q.mean) + mixture.log_weights).argmax(1).cpu()
        for mixture, q in zip(mixtures, posteriors, strict=True)
    ]


def marginal(mixture: Mixture) -> MixtureSameFamily:
    """p(z) of a facet."""
    return MixtureSameFamily(torch.distributions.Categorical(logits=mixture.logits), components(mixture))
