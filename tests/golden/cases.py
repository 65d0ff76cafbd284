"""The runs whose results are kept: for every built-in model at least one, on embedded data, of a second or so."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Case", "cases"]

#: Options that keep each dataset small.
_SMALL: dict[str, dict[str, Any]] = {
    "digits-shift": {"train_pairs": 500, "validation_pairs": 200, "test_pairs": 50},
    "scenes": {
        "factors": ["shape", "colour"],
        "image_size": 16,
        "train_images": 200,
        "validation_images": 50,
        "test_images": 200,
    },
    "textures": {
        "image_size": 32,
        "train_images": 72,
        "validation_images": 20,
        "normal_test_images": 40,
        "defective_test_images": 10,
    },
}


@dataclass(frozen=True)
class Case:
    """One run: a model on a dataset, for a few steps, with the model's preset there and then ``config``."""

    name: str
    """Also the name of the file that holds its golden record."""
    model: str
    dataset: str = "digits-shift"
    config: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    max_steps: int = 10

    @property
    def options(self) -> dict[str, Any]:
        """The options of the dataset."""
        return _SMALL[self.dataset]


_CASES = (
    Case("ae-conv", "ae"),
    Case("ae-mlp-ssim", "ae", "textures", {"trunk": "mlp", "reconstruction": "ssim", "score": "maximum"}),
    Case(
        "ae-tiles",
        "ae",
        "textures",
        {"tile": 16, "initialization": "mean_image", "schedule": "cosine", "smoothing": 2.0},
    ),
    Case("vae-mlp-bernoulli", "vae", config={"trunk": "mlp", "reconstruction": "bernoulli", "binarize": "draw"}),
    Case(
        "vae-conv-scores",
        "vae",
        "textures",
        {
            "scores": (
                *("reconstruction", "kl", "code_norm", "posterior_spread", "negative_log_likelihood"),
                *("hole_indicator", "log_ratio_std", "typicality", "input_complexity"),
            ),
            "importance_samples": 8,
        },
    ),
    Case("beta-vae", "beta-vae"),
    Case("pca", "pca"),
    Case("pca-textures", "pca", "textures"),
    Case("null-chance-clusters", "null-chance-clusters", "scenes"),
    Case("null-component-clusters", "null-component-clusters", "scenes"),
    Case("null-component-mixture", "null-component-mixture", "scenes"),
    Case("null-pixel-clusters", "null-pixel-clusters", "scenes"),
    Case("null-local-contrast", "null-local-contrast", "textures"),
    Case("null-median-image", "null-median-image", "textures"),
    Case("null-nearest-patch", "null-nearest-patch", "textures"),
    Case("null-patch-gaussian", "null-patch-gaussian", "textures"),
    Case("null-untrained-patch-gaussian", "null-untrained-patch-gaussian", "textures"),
    Case("vae-sphere", "vae-sphere"),
    Case("vae-sphere-wood", "vae-sphere", "textures", {"latent_dim": 5, "direction": "stereographic"}),
    Case("vae-sphere-power", "vae-sphere", "textures", {"trunk": "mlp", "posterior": "power_spherical"}),
    Case("vae-lipschitz", "vae-lipschitz"),
    Case("vae-lipschitz-simplex", "vae-lipschitz", "textures", {"trunk": "mlp", "rows": "simplex"}),
    Case(
        "mfcvae",
        "mfcvae",
        config={"clusters": (4, 6), "network": "mlp", "widths": (64, 96), "reconstruction": "bernoulli"},
    ),
    Case(
        "mfcvae-conv-full",
        "mfcvae",
        "textures",
        {
            "clusters": (4, 6),
            "dims": (6, 2),
            "covariance": "full",
            "learn_weights": False,
            "network": "conv",
            "widths": (8, 12),
            "rescale_by_data": True,
            "sigmoid": True,
            "batch_size": 8,
        },
    ),
    Case(
        "infostylegan",
        "infostylegan",
        "scenes",
        {
            "batch_size": 16,
            "epochs": 2,
            "generator_learning_rate": 2e-3,
            "discriminator_learning_rate": 2e-3,
            "q_learning_rate": 1e-3,
            "reader_steps": 10,
            "references": 100,
        },
    ),
    Case(
        "infostylegan-per-scale",
        "infostylegan",
        "textures",
        {
            "categorical": (3,),
            "code_injection": "per_scale",
            "q_head": "separate",
            "mi": 0.5,
            "r1_every": 2,
            "reader_steps": 10,
        },
    ),
    Case("sdc", "sdc", "textures", {"batch_size": 8}),
    Case("shift-base", "shift-base"),
    Case("shift-balanced", "shift-balanced"),
    Case("shift-mi", "shift-mi"),
    Case("shift-cmi", "shift-cmi"),
    Case("shift-cmi-conv-mmd", "shift-cmi", config={"encoder": "conv", "estimator": "mmd", "score": "free_energy"}),
)


def cases(models: Iterable[str]) -> list[Case]:
    """The cases of these models; one that has none here gets the default case, on ``digits-shift``."""
    found = []
    for model in models:
        found += [case for case in _CASES if case.model == model] or [Case(model, model)]
    return found
