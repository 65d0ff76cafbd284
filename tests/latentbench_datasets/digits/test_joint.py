import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbench_datasets.digits.joint import joint


@given(st.floats(-1, 1))
def test_the_joint_is_the_published_formula(c: float) -> None:
    published = 0.5 * np.array([[(1 + c) / 2, (1 - c) / 2], [(1 - c) / 2, (1 + c) / 2]])
    np.testing.assert_allclose(joint(c), published, rtol=0, atol=1e-15)


@given(st.floats(-1, 1))
def test_the_joint_has_uniform_marginals_and_the_correlation_asked_for(c: float) -> None:
    p = joint(c)
    assert (p >= 0).all()
    np.testing.assert_allclose([p.sum(0), p.sum(1)], 0.5, rtol=0, atol=1e-15)
    values = np.array([0, 1])
    covariance = (p * np.outer(values, values)).sum() - 0.5 * 0.5
    assert covariance / (0.5 * 0.5) == pytest.approx(c, abs=1e-14)


def test_a_correlation_of_nine_tenths_makes_ninety_five_in_a_hundred_pairs_match() -> None:
    assert np.trace(joint(0.9)) == pytest.approx(0.95)


@pytest.mark.parametrize("wrong", [1.01, -2.0, float("nan")])
def test_no_joint_has_a_correlation_outside_minus_one_to_one(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"a correlation lies in \[-1, 1\], got"):
        joint(wrong)
