"""Options are typed, frozen and closed, and their errors name the option, what it should be, and what was given."""

import doctest
import math
from typing import Literal, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator, model_validator

from latentbench import config
from latentbench.config import Options, TrainingOptions, Where
from latentbench.errors import LatentbenchError


class Config(Options):
    latent_dim: int = Field(32, ge=1)
    rate: float = 0.5
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli"
    sizes: list[int] = [8, 16]
    shares: tuple[float, ...] = ()

    @field_validator("rate")
    @classmethod
    def _not_one(cls, rate: float) -> float:
        if rate == 1:
            raise ValueError("must not be one")
        return rate


class Pair(Options):
    low: int = 0
    high: int = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be less than high")
        return self


def test_a_mistake_of_several_options_together_is_told_as_it_is():
    with pytest.raises(LatentbenchError) as caught:
        Pair.parse({"low": 3}, "model 'm'")
    assert str(caught.value) == "model 'm': low must be less than high"


class Noisy(Options):
    noise: Literal["none", "gaussian"] = "none"
    sigma: float = 0.1

    def unused(self) -> dict[str, str]:
        return {} if self.noise == "gaussian" else {"sigma": "without noise there is none"}


def test_an_option_without_effect_is_refused_ignored_in_a_preset_and_left_out_of_what_is_kept():
    with pytest.raises(LatentbenchError) as caught:
        Noisy.parse({"sigma": 0.2}, "model 'm'")
    assert str(caught.value) == "model 'm': 'sigma' has no effect: without noise there is none: leave it out"
    config = Noisy.parse({"sigma": 0.2}, "model 'm'", presets={"sigma"})
    assert config == Noisy()
    assert config.model_dump() == {"noise": "none"}
    assert Noisy.parse(config.model_dump(), "model 'm'") == config
    used = Noisy.parse({"noise": "gaussian", "sigma": 0.2}, "model 'm'")
    assert used.model_dump(mode="json") == {"noise": "gaussian", "sigma": 0.2}


def test_no_values_give_the_defaults():
    assert Config.parse({}, "model 'm'") == Config()


@given(
    st.integers(1),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda rate: rate != 1),
    st.lists(st.integers()),
)
def test_what_is_parsed_is_kept_and_survives_a_round_trip(latent_dim, rate, sizes):
    values = {"latent_dim": latent_dim, "rate": rate, "sizes": sizes}
    config = Config.parse(values, "model 'm'")
    assert {name: getattr(config, name) for name in values} == values
    assert Config.parse(config.model_dump(), "model 'm'") == config


NOT_AN_INTEGER = "Input should be a valid integer, unable to parse string as an integer"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latent_dim": "many"}, f"'latent_dim': {NOT_AN_INTEGER}, got 'many'"),
        ({"latent_dim": 0}, "'latent_dim': Input should be greater than or equal to 1, got 0"),
        ({"likelihood": "poisson"}, "'likelihood': Input should be 'bernoulli' or 'gaussian', got 'poisson'"),
        ({"rate": 1.0}, "'rate': must not be one, got 1.0"),
        ({"sizes": [1, "x"]}, f"'sizes.1': {NOT_AN_INTEGER}, got 'x'"),
        ({"sizes": {}}, "'sizes': Input should be a valid list"),
        ({"sizes": 8}, "'sizes': Input should be a valid list, got 8 (one value is written [8])"),
        ({"shares": "0.5"}, "'shares': Input should be a valid tuple, got '0.5' (one value is written [0.5])"),
        ({"shares": None}, "'shares': Input should be a valid tuple, got None"),
        ({"rate": math.inf}, "'rate': Input should be a finite number, got inf"),
        ({"rate": "inf"}, "'rate': Input should be a finite number, got 'inf'"),
        ({"rate": "nan"}, "'rate': Input should be a finite number, got 'nan'"),
        ({"shares": [1, -math.inf]}, "'shares.1': Input should be a finite number, got -inf"),
        (
            {"latent_dim": 0, "rate": None},
            "'latent_dim': Input should be greater than or equal to 1, got 0; "
            "'rate': Input should be a valid number, got None",
        ),
    ],
)
def test_a_wrong_value_is_one_line(values, message):
    with pytest.raises(LatentbenchError) as caught:
        Config.parse(values, "model 'm'")
    assert str(caught.value) == f"model 'm': {message}"


def test_an_unknown_option_is_one_line_with_near_misses_and_all_that_is_known():
    with pytest.raises(LatentbenchError) as caught:
        Config.parse({"latent_dims": 3}, "model 'm'")
    known = "latent_dim, likelihood, rate, shares, sizes"
    assert str(caught.value) == f"model 'm' has no option 'latent_dims': did you mean 'latent_dim'? known: {known}"


def test_options_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Config().rate = 0.1  # type: ignore[misc]


def test_a_default_that_breaks_its_own_type_is_found():
    class Wrong(Options):
        size: int = "large"  # type: ignore[assignment]

    with pytest.raises(LatentbenchError, match=r"^model 'w': 'size': Input should be a valid integer"):
        Wrong.parse({}, "model 'w'")


@pytest.mark.parametrize("name", ["epochs", "batch_size", "patience"])
def test_training_options_are_at_least_one(name):
    assert getattr(TrainingOptions.parse({name: 1}, "model 'm'"), name) == 1
    with pytest.raises(LatentbenchError, match=f"'{name}': Input should be greater than or equal to 1, got 0"):
        TrainingOptions.parse({name: 0}, "model 'm'")


# Presets


def test_the_examples_are_right():
    assert doctest.testmod(config).failed == 0


class Data(Options):
    pair: Literal["a", "b"] = "a"
    sizes: tuple[int, ...] = (1, 2)
    rate: float = 1.0
    late: bool = Field(False, exclude_if=lambda late: late is False)


@pytest.mark.parametrize(
    ("where", "options", "holds"),
    [
        (Where("d"), Data(), True),
        (Where("d", pair="a"), Data(), True),
        (Where("d", pair="a"), Data(pair="b"), False),
        (Where("d", pair="a", sizes=[1, 2]), Data(), True),
        (Where("d", sizes=(1, 2)), Data(sizes=[1, 2]), True),
        (Where("d", sizes=(2, 1)), Data(), False),
        (Where("d", rate=1), Data(), True),
        (Where("d", late=False), Data(), True),  # whatever is left out of a run's key
        (Where("d", late=True), Data(), False),
        (Where("e", pair="a"), Data(), False),
        (Where("e", unknown="a"), Data(), False),
        (Where("d", pair="a"), None, False),
    ],
)
def test_a_dataset_is_meant_where_it_has_the_options(where, options, holds):
    assert where.holds("d", options) is holds


def test_an_option_that_the_dataset_lacks_is_named():
    with pytest.raises(LatentbenchError) as caught:
        Where("d", pare="a").holds("d", Data())
    message = (
        "the preset for 'd (pare=a)' asks for an option 'pare', which dataset 'd' lacks: did you mean 'pair'? known: "
    )
    assert str(caught.value).startswith(message)


def test_equal_conditions_are_one_key():
    assert {Where("d", a=[1], b=2): 1} | {Where("d", b=2, a=(1,)): 2} == {Where("d", a=[1], b=2): 2}
    assert len({Where("d"), Where("d", a=1), Where("e"), "d"}) == 4
