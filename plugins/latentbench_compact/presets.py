"""Settings that both compact VAEs use: those of the paper's tables, and those for other datasets."""

from typing import Any

from latentbench import Where
from latentbench_autoencoders.detector import MECHANISM, OF_DRAWS
from latentbench_autoencoders.vae import VAE

__all__ = ["ELSEWHERE", "ON_OOD", "N"]

#: Draws for the hole indicator. The paper does not say how many; the ensembles of the authors' earlier paper have 200
#: members. The standard deviation of N normal variables is known to a share of 1 / sqrt(2 (N - 1)), here 5 %.
N = 200
#: On the pairs of datasets of the paper's tables. Fully connected layers and Bernoulli pixels in [0, 1] are published.
#: The supplement names neither batch size nor learning rate: they are those of an example in the code base that the
#: authors used before. Stopping by the ELBO of validation images is ours.
ON_OOD: dict[str, Any] = {
    "trunk": "mlp",
    "reconstruction": "bernoulli",
    "learning_rate": 1e-3,
    "batch_size": 128,
    "importance_samples": N,
    "scores": ("negative_elbo", *(score for score in OF_DRAWS if score != "hole_indicator"), *MECHANISM),
}
_QUICK = ("digits-shift", "scenes")
#: Dataset -> options on the other datasets: those of the VAE, with fewer draws, because larger images take longer to
#: decode; and with half the epochs on the two datasets that have to be quick, because a step takes longer than a VAE's.
#: Images are taken whole: one sphere, one bounded encoder.
ELSEWHERE: dict[str | Where, dict[str, Any]] = {
    data: {**preset, "importance_samples": 16, "epochs": preset["epochs"] // (2 if data in _QUICK else 1)}
    for data, preset in VAE.presets.items()
    if data != "ood" and "tile" not in preset
}
