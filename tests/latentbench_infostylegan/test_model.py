"""The model: what it promises, and what it refuses."""

from typing import Any

import pytest

from latentbench.testing import check_model
from latentbench_infostylegan import latentbench_models
from latentbench_infostylegan.model import InfoStyleGAN

SMALL: dict[str, Any] = {"continuous": 2, "z_dim": 4, "style_dim": 8, "width": 2, "widest": 8, "post_hoc_epochs": 1}


def test_the_plugin_offers_it() -> None:
    assert [model.name for model in latentbench_models()] == ["infostylegan"]


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 16, 16), {}),
        (
            (3, 28, 28),
            {"categorical": (3,), "code_injection": "per_scale", "q_head": "separate", "precision": "bfloat16"},
        ),
        ((1, 32, 32), {"continuous": 0, "categorical": (2, 3), "mi": 0.0, "r1_every": 1}),
    ],
)
def test_it_keeps_what_a_model_promises(shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    """Among the promises is that a training that is cut off and resumed ends with the same weights, bit for bit."""
    channels, height, width = shape
    check_model(InfoStyleGAN, channels=channels, height=height, width=width, options=SMALL | options)
