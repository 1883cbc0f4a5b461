"""Holm's correction."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.experiments.multiplicity import holm, in_words


def test_a_worked_example() -> None:
    """Smallest times four, and so on; never below a smaller one's, never above 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(0.001, 0.999))
def test_it_calls_what_a_closed_test_calls(p_values: list[float], alpha: float) -> None:
    """Holm is the closure of Bonferroni: called is what every intersection that holds it rejects."""
    places = range(len(p_values))
    groups = [group for size in places for group in itertools.combinations(places, size + 1)]
    rejected = {group: min(p_values[place] for place in group) * len(group) <= alpha for group in groups}

    found = [adjusted is not None and adjusted <= alpha for adjusted in holm(p_values)]

    assert found == [all(rejected[group] for group in groups if place in group) for place in places]


def test_what_is_not_known_yet_counts_as_a_comparison() -> None:
    assert holm([None, 0.02, None]) == [None, pytest.approx(0.06), None]


def test_it_never_makes_one_smaller() -> None:
    p_values = np.random.default_rng(0).random(20).tolist()

    assert all(after is not None and after >= before for before, after in zip(p_values, holm(p_values), strict=True))


def test_the_report_says_which_correction_it_is() -> None:
    assert "Holm over 12" in in_words(12)
    assert "nothing to correct" in in_words(1)
