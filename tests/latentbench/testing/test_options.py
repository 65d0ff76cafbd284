"""Every option of every built-in model has an effect or is refused; dead ones are found."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
import torch
from pydantic import Field
from tests.golden.replay import builtin_models
from torch import Tensor

from latentbench import Batch, DataInfo, Model, Options, TrainingOptions
from latentbench.plugins.registry import Plugins
from latentbench.testing import check_options

#: Values for the options of which the kit cannot guess any that differ from the default in effect, by model.
VALUES: dict[str, dict[str, Sequence[Any]]] = {
    **{name: {"scores": [("kl",)]} for name in ("vae", "beta-vae", "vae-sphere")},
    "vae-lipschitz": {"scores": [("kl",)], "trunk": ()},
    **{f"null-{kind}-clusters": {"clusters": [5]} for kind in ("chance", "component", "pixel")},
    "null-component-mixture": {"clusters": [5]},
    "null-nearest-patch": {"patches": [10]},
    "sdc": {
        "dilations": (),  # on so small a map only a dilation of 1 fits: see tests/latentbench_sdc/test_network.py
        "shapes": [("ellipse",)],
        "fills": [("flat",)],
        "textures": (),
        "blobs": [(2, 3)],
        "side": [(0.2, 0.4)],
        "opacity": [(1.0, 1.0)],
        "coverage": [(0.1, 0.5)],
        "softness": [40.0],
        "clean": [1.0],  # of so few images, one more or less that is clean may be none
        "residual": ["standardized", "patches", "patches_with_image"],
        "pooling": ["mean"],
        "probes": [("lines",)],
    },
    "infostylegan": {
        "categorical": [(4,)],
        "width": [6],
        "widest": [6],
        "ema_half_life": [1.0],  # a longer one has no effect in so few steps
        "compiled": (),  # another way to the same numbers, but for rounding
    },
    "mfcvae": {"clusters": [(4, 5)], "dims": [(5, 4)], "widths": [(16, 12)], "stages": [(1, 2)]},
}
#: Settings in which a short fit shows the effect, or is short. Rows of four weights, which only the fully connected
#: trunk has, are small enough for the ball.
SETTINGS: dict[str, dict[str, Any]] = {
    # chosen is one of two measures, or poolings, and then that one changes nothing
    "sdc": {"options": {"residual": "squared", "pooling": "maximum"}, "height": 16, "width": 16},
    "vae-lipschitz": {"options": {"trunk": "mlp"}, "height": 2, "width": 2},
    "infostylegan": {
        "options": {
            "continuous": 2,
            "z_dim": 4,
            "style_dim": 8,
            "width": 4,
            "widest": 8,
            "post_hoc_epochs": 1,
            "reader_steps": 2,
            "references": 20,
        },
        "height": 16,
        "width": 16,
    },
    "mfcvae": {"options": {"clusters": (5, 5), "widths": (16, 24)}},
}
#: Models whose many choices make hundreds of fits, or whose fits take long. Of autoencoders, "ae" and "beta-vae" stay.
LONG = {"infostylegan", "mfcvae", "sdc", "vae", "vae-lipschitz", "vae-sphere"}

PLUGINS = Plugins.load()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long) if name in LONG else name for name in builtin_models(PLUGINS)],
)
def test_every_option_of_a_built_in_model_has_an_effect_or_is_refused(name: str) -> None:
    model = PLUGINS.get("models", name).value
    kept = check_options(model, values=VALUES.get(name), **SETTINGS.get(name, {}))
    loop = TrainingOptions.model_fields.keys() - {"epochs", "batch_size"}
    assert len(kept) == 1 + len(model.Config.model_fields.keys() - loop)


class Linear(Model):
    """A linear autoencoder; ``shift`` is added by the mode "shifted" only."""

    class Config(TrainingOptions):
        learning_rate: float = Field(1e-2, gt=0)
        mode: Literal["plain", "shifted"] = "plain"
        shift: float = 0.5

    config: Config

    def build(self, info: DataInfo) -> None:
        self.layer = torch.nn.Linear(info.image_numel, info.image_numel)

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.config.learning_rate)

    def training_step(self, batch: Batch) -> Tensor:
        return self.score(batch.images).mean()

    def score(self, images: Tensor) -> Tensor:
        x = images.flatten(1)
        shift = self.config.shift if self.config.mode == "shifted" else 0.0
        return (self.layer(x) + shift - x).square().sum(1)


class Named(Linear):
    class Config(Linear.Config):
        def unused(self) -> Mapping[str, str]:
            return {} if self.mode == "shifted" else {"shift": "the mode plain has none"}

    config: Config


class Dead(Named):
    class Config(Named.Config):
        temperature: float = 1.0

    config: Config


class Odd(Named):
    class Config(Named.Config):
        layers: tuple[int, ...] = ()

    config: Config


def test_an_option_that_another_one_switches_off_is_found_unless_it_is_named() -> None:
    with pytest.raises(AssertionError) as caught:
        check_options(Linear)
    assert str(caught.value) == (
        "model 'linear' breaks what it promises\n"
        "- the option 'shift' has an effect, or is refused: 0.75 changes nothing"
    )
    assert "the option 'shift' has an effect, or is refused" in check_options(Named)


def test_a_dead_option_is_found_in_every_setting() -> None:
    with pytest.raises(AssertionError, match=r"'temperature' .*: 1\.5 changes nothing$"):
        check_options(Dead)


def test_an_option_of_another_type_needs_values() -> None:
    with pytest.raises(AssertionError, match=r"'layers' .*: there is no value to try: give one in 'values'"):
        check_options(Odd)
    with pytest.raises(AssertionError, match=r"'layers' .*: \(3,\) changes nothing"):
        check_options(Odd, values={"layers": [(3,)]})


def test_a_model_without_training_is_checked_too() -> None:
    class Offset(Model):
        class Config(Options):
            offset: int = 1

        config: Config

        def fit(self, train: Any, validation: Any, trainer: Any) -> None:
            pass

        def score(self, images: Tensor) -> Tensor:
            return images.flatten(1).sum(1) + self.config.offset

    assert check_options(Offset) == ["it can be fitted", "the option 'offset' has an effect, or is refused"]
