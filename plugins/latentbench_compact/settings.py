"""What the compact VAEs share on the pairs of images that the paper's tables are of."""

from typing import Any

from latentbench_autoencoders.vae import MECHANISM, OOD_SCORES

__all__ = ["ON_OOD"]

#: Published: fully connected layers, Bernoulli pixels in [0, 1]. Batch and rate are those of the example that the
#: earlier paper's code base ships, as the supplement names none. 200 draws are the size of the ensembles in that
#: paper; how many there are here, no source says. To stop by the ELBO of validation images is ours.
ON_OOD: dict[str, Any] = {
    "trunk": "mlp",
    "reconstruction": "bernoulli",
    "learning_rate": 1e-3,
    "batch_size": 128,
    "importance_samples": 200,
    "scores": ("negative_elbo", *(score for score in OOD_SCORES if score != "hole_indicator"), *MECHANISM),
}
