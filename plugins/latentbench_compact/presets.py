"""What the compact VAEs share: the settings of the paper's tables, and N."""

from typing import Any

from latentbench import Where
from latentbench_autoencoders.vae import MECHANISM, OF_DRAWS, VAE

__all__ = ["ELSEWHERE", "ON_OOD", "N"]

#: Draws for the hole indicator. No source says how many there were; the ensembles of the authors' earlier paper are of
#: 200. Of N normal variables the standard deviation is known to 1 / sqrt(2 (N - 1)): to 5 %.
N = 200
#: On the pairs of images of the paper's tables. Published: fully connected layers, Bernoulli pixels in [0, 1]. Batch
#: and rate are those of the example that the earlier paper's code base ships, as the supplement names none. To stop by
#: the ELBO of validation images is ours.
ON_OOD: dict[str, Any] = {
    "trunk": "mlp",
    "reconstruction": "bernoulli",
    "learning_rate": 1e-3,
    "batch_size": 128,
    "importance_samples": N,
    "scores": ("negative_elbo", *(score for score in OF_DRAWS if score != "hole_indicator"), *MECHANISM),
}
_QUICK = ("digits-shift", "scenes")
#: Dataset -> options on other ones: the VAE's, and fewer draws of images that take longer to decode; half its epochs on
#: two that are to be quick, because a step takes longer than the VAE's.
ELSEWHERE: dict[str | Where, dict[str, Any]] = {
    data: {**preset, "importance_samples": 16, "epochs": preset["epochs"] // (2 if data in _QUICK else 1)}
    for data, preset in VAE.presets.items()
    if data != "ood"
}
