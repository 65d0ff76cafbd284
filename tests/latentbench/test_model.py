"""A model's presets: by dataset, and by the dataset's options, under what the user sets."""

from typing import ClassVar

import pytest

from latentbench import LatentbenchError, Model, Options, Where


class Data(Options):
    pair: str = "a"
    size: int = 1


class Careful(Model):
    class Config(Options):
        depth: int = 0
        width: int = 0

    presets: ClassVar = {
        "d": {"depth": 1, "width": 1},
        Where("d", pair="b"): {"depth": 2},
        Where("d", pair="b", size=2): {"depth": 3},
    }


@pytest.mark.parametrize(
    ("dataset", "data", "expected"),
    [
        ("other", Data(pair="b"), (0, 0)),
        ("d", Data(), (1, 1)),
        ("d", None, (1, 1)),
        ("d", Data(pair="b"), (2, 1)),
        ("d", Data(pair="b", size=2), (3, 1)),
        ("d", Data(size=2), (1, 1)),
    ],
)
def test_presets_that_apply_are_laid_over_each_other_and_the_users_options_over_all(dataset, data, expected):
    assert tuple(Careful.configure(dataset, {}, data).model_dump().values()) == expected
    assert tuple(Careful.configure(dataset, {"depth": 9}, data).model_dump().values()) == (9, expected[1])


def test_a_preset_that_asks_for_an_option_that_the_data_lack_is_named_with_its_model():
    class Wrong(Careful):
        presets: ClassVar = {Where("d", pare="b"): {"depth": 2}}

    with pytest.raises(
        LatentbenchError, match=r"^model 'wrong': the preset for 'd \(pare=b\)' asks for an option 'pare'"
    ):
        Wrong.configure("d", {}, Data())


def test_the_sphere_has_the_published_number_of_dimensions_on_each_pair():
    from latentbench_compact.sphere_vae import VAESphere
    from latentbench_datasets.digits.ood import Ood

    pairs = ("mnist-fashion", "fashion-mnist", "mnist-held-out")
    found = [VAESphere.configure("ood", {}, Ood.Config(pair=pair)).model_dump()["latent_dim"] for pair in pairs]
    assert found == [3, 4, 3]
