"""Holm's method and rank intervals against their definitions, spelt out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.boards.rank_sets import RankInterval, holm, rank_intervals

SETTINGS = settings(max_examples=200)
p_values = st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.012, 0.02, 0.03, 0.049, 0.2, 0.9, 1.0]), max_size=9)


def rejected(p: list[float], level: float) -> set[int]:
    """Holm (1979): from the smallest p-value on, as long as each is below the level over the number that is left."""
    out: set[int] = set()
    for place in sorted(range(len(p)), key=lambda one: p[one]):
        if not p[place] * (len(p) - len(out)) < level:
            break
        out.add(place)
    return out


@SETTINGS
@given(p_values, st.sampled_from([0.05, 0.1]))
def test_adjusted_p_values_below_a_level_are_what_the_step_down_rejects(p, level):
    assert set(np.flatnonzero(holm(np.array(p)) < level)) == rejected(p, level)


def test_holm_s_worked_example():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@SETTINGS
@given(
    st.integers(0, 7).flatmap(
        lambda k: st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=k, max_size=k)
    )
)
def test_a_rank_interval_counts_the_better_and_the_worse(wins):
    k = len(wins)
    better = [[wins[i][j] and i != j and not (wins[j][i] and j < i) for j in range(k)] for i in range(k)]
    intervals = rank_intervals(np.array(better, dtype=bool).reshape(k, k))
    assert intervals == [
        (1 + sum(better[other][row] for other in range(k)), k - sum(better[row][other] for other in range(k)))
        for row in range(k)
    ]


def test_how_it_is_written():
    assert (str(RankInterval(1, 3)), str(RankInterval(2, 2))) == ("1-3", "2")
