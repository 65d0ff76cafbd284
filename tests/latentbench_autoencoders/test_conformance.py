from typing import Any

import pytest

from latentbench.testing import check_model
from latentbench_autoencoders.ae import AE
from latentbench_autoencoders.beta_vae import BetaVAE
from latentbench_autoencoders.vae import VAE


@pytest.mark.parametrize("cls", [AE, VAE, BetaVAE])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 8, 16), {}),
        ((3, 9, 13), {"reconstruction": "bernoulli"}),
        pytest.param((1, 5, 6), {"trunk": "mlp", "precision": "bfloat16"}, marks=pytest.mark.long),
        (
            (3, 8, 16),
            {"schedule": "cosine", "initialization": "mean_image", "memory_format": "channels_last", "smoothing": 1.5},
        ),
        pytest.param((1, 8, 12), {"initialization": "mean_image", "tile": 4, "latent_dim": 12}, marks=pytest.mark.long),
    ],
)
def test_each_keeps_what_a_model_promises(
    cls: type[AE | VAE], shape: tuple[int, int, int], options: dict[str, Any]
) -> None:
    channels, height, width = shape
    check_model(cls, channels=channels, height=height, width=width, options=options)


@pytest.mark.parametrize("score", ["reconstruction", "kl", "negative_log_likelihood"])
def test_a_vae_keeps_it_with_every_score(score: str) -> None:
    check_model(VAE, height=8, width=8, options={"score": score})
