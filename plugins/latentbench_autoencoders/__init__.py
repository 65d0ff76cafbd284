"""AE, VAE and beta-VAE: the baselines that every method is compared with."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Model

__all__ = ["latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer ``ae``, ``vae`` and ``beta-vae``."""
    from latentbench_autoencoders.ae import AE
    from latentbench_autoencoders.beta_vae import BetaVAE
    from latentbench_autoencoders.vae import VAE

    return [AE, VAE, BetaVAE]
