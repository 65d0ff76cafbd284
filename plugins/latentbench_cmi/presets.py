"""The settings of Base, MI and CMI on each dataset: the published ones, and ours where nothing is published."""

from typing import Any

from latentbench import Where

__all__ = ["presets"]


def presets(mnist_rates: tuple[float, float], *, adversarial: bool = True) -> dict[str | Where, dict[str, Any]]:
    """Dataset -> options. Those for MNIST and CelebA are from the authors' README and code, which made the figures.

    The paper itself does not print lambda (``weight``), which is 1 on MNIST and 10 on CelebA.

    Args:
        mnist_rates: of encoder and heads on MNIST, where Base has others than MI and CMI. Discriminators learn at the
            rate of the heads everywhere.
        adversarial: whether there are discriminators.
    """

    def rates(encoder: float, heads: float) -> dict[str, float]:
        discriminators = {"discriminator_learning_rate": heads} if adversarial else {}
        return {"encoder_learning_rate": encoder, "head_learning_rate": heads, **discriminators}

    celeba = {"batch_size": 100, "epochs": 200, **({"weight": 10.0} if adversarial else {}), **rates(1e-5, 1e-4)}
    # Ours. On a part of the faces 200 epochs are fewer steps, so there are more epochs; and a part of the faces is soon
    # memorized, so the best epoch by validation loss is kept, where the authors keep the last.
    subset = {**celeba, "epochs": 1000, "patience": 200}
    return {
        "mnist-shift": {"batch_size": 100, "epochs": 400, "channel_copies": 3, **rates(*mnist_rates)},
        **{f"celeba{split}": celeba for split in ("", "-novelty")},
        **{f"celeba-subset{split}": subset for split in ("", "-novelty")},
        "digits-shift": {"batch_size": 100, "epochs": 60, **rates(1e-3, 3e-3)},  # ours
    }
