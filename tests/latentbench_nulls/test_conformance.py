"""Every null keeps what a model promises, on gray, coloured, odd-sized and small images, and on an accelerator."""

import pytest

from latentbench import Model
from latentbench.testing import check_model
from latentbench_nulls import latentbench_models

NULLS = latentbench_models()


@pytest.fixture(params=NULLS, ids=lambda model: model.name)
def null(request: pytest.FixtureRequest) -> type[Model]:
    model: type[Model] = request.param
    return model


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 13, 17), (1, 17, 32)])
def test_it_keeps_what_a_model_promises(null, channels, height, width):
    check_model(null, channels=channels, height=height, width=width, attributes={"left": 2, "right": 3})


def test_it_is_a_null_and_sorts_with_the_others(null):
    assert null.null
    assert null.name.startswith("null-")
