"""The settings of MFCVAE on each dataset: the published ones, and ours where nothing is published."""

from typing import Any

from latentbench import Where

__all__ = ["presets"]


def presets() -> dict[str | Where, dict[str, Any]]:
    """Dataset -> options. Those for MNIST, 3D Shapes and SVHN are from the authors' configuration files and code.

    Their first epoch trains nothing, so the first stage is one epoch shorter here than there. The authors have no
    validation images; ``epochs`` is such that there are as many steps as with theirs. They train in float32.
    """
    conv = {
        "network": "conv",
        "widths": (64, 128),
        "covariance": "full",
        "learn_weights": False,
        "rescale_by_data": True,
        "reconstruction": "gaussian",
        "temperature": 0.3,
        "batch_size": 150,
        "stages": (100, 301),
    }
    mnist = {
        "clusters": (25, 25),
        "dims": (5, 5),
        "covariance": "diagonal",
        "network": "mlp",
        "reconstruction": "bernoulli",
    }
    faces = {"dims": (16, 16), "network": "conv", "widths": (16, 32)}
    return {
        "mnist": {
            **mnist,
            "learning_rate": 5e-4,
            "batch_size": 512,
            "epochs": 483,  # of 98 steps: 47,334; published 47,318, in 401 epochs of all 60,000 images
            "stages": (200, 201),
            "fade_in": 15_000 / (201 * 118),
            "precision": "bfloat16",
        },
        "3dshapes": {
            **conv,
            "clusters": (60, 20),
            "dims": (20, 2),
            "sigma": 0.6,
            "learning_rate": 3e-4,
            "epochs": 453,  # of 23 steps: 10,419; published 10,426, in 401 epochs of 3,840 images
            "fade_in": 2_000 / (301 * 26),
        },
        "svhn": {
            **conv,
            "clusters": (200, 50),
            "dims": (22, 7),
            "sigma": 0.3,
            "sigmoid": True,
            "learning_rate": 5e-4,
            "epochs": 401,
            "fade_in": 15_000 / (301 * 489),
        },
        # Ours. The upper facet is small, as with 3D Shapes, so that it takes what most pixels depend on.
        "scenes": {
            "clusters": (24, 12),
            "dims": (8, 2),
            "learn_weights": False,
            "network": "conv",
            "widths": (8, 16),
            "rescale_by_data": True,
            "sigmoid": True,
            "learning_rate": 1e-3,
            "batch_size": 64,
            "epochs": 10,
        },
        Where("scenes", factors=("shape", "colour", "background")): {"epochs": 60},
        # Ours: the settings of MNIST in fewer and smaller steps.
        "digits": {
            **mnist,
            "learning_rate": 5e-4,
            "batch_size": 128,
            "epochs": 180,
            "stages": (60, 120),
            "fade_in": 400 / (120 * 12),
        },
        # Ours: so small that they are trained in minutes, as no partition is asked for.
        "digits-shift": {"network": "mlp", "widths": (256, 512), "batch_size": 100, "epochs": 40},
        "mnist-shift": {"network": "mlp", "batch_size": 100, "epochs": 40},
        "ood": {"network": "mlp", "epochs": 20},
        "textures": {"dims": (16, 16), "network": "conv", "widths": (8, 16), "batch_size": 8, "epochs": 30},
        **{f"celeba{split}": faces | {"batch_size": 100} for split in ("", "-novelty")},
        **{f"celeba-subset{split}": faces | {"batch_size": 50} for split in ("", "-novelty")},
    }
