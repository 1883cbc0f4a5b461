"""Propensity-weighted means: what the versions of a tuned experiment say together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalrec.errors import ShapeError
from service.experiments.offpolicy import weighted_mean

units = st.lists(st.tuples(st.integers(0, 9), st.floats(0.01, 1), st.integers(1, 4)), min_size=2, max_size=50)


@given(units)
def test_mean_ratio_and_effective_size_are_those_of_a_plain_loop(drawn: list[tuple[int, float, int]]) -> None:
    """Σ y/p over Σ d/p, with the error of its linearisation, unit by unit."""
    top, bottom, squares, weights = 0.0, 0.0, 0.0, 0.0
    for y, p, d in drawn:
        top, bottom, weights, squares = top + y / p, bottom + d / p, weights + 1 / p, squares + 1 / p**2
    spread = sum(((y - top / bottom * d) / p / bottom) ** 2 for y, p, d in drawn)

    values, propensity, per = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    found = weighted_mean(values, propensity, per)

    assert found.mean == pytest.approx(top / bottom)
    assert found.error == pytest.approx((spread * len(drawn) / (len(drawn) - 1)) ** 0.5, abs=1e-9)
    assert found.effective == pytest.approx(weights**2 / squares)


def test_of_equal_shares_it_is_the_plain_mean_and_its_standard_error() -> None:
    """Nothing is lost where the shares never moved."""
    values = np.random.default_rng(0).poisson(2, 1000).astype(float)

    found = weighted_mean(values, np.full(1000, 0.2))

    assert found.mean == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std(ddof=1) / 1000**0.5)
    assert found.effective == pytest.approx(1000)


def test_versions_count_alike_for_every_variant() -> None:
    """On a good day the share was 0.9, on a bad one 0.1: plain means would call the day an effect of the variant."""
    good, bad = np.full(900, 5.0), np.full(100, 1.0)
    values, propensity = np.concatenate([good, bad]), np.repeat([0.9, 0.1], [900, 100])

    found = weighted_mean(values, propensity)

    assert values.mean() == 4.6
    assert found.mean == pytest.approx(3)  # 1,000 units on either day


def test_rows_of_one_unit_are_not_taken_for_several() -> None:
    """A unit that comes again in every version with the same outcome tells no more than once."""
    rng = np.random.default_rng(1)
    values, propensity = rng.poisson(2, 500).astype(float), rng.uniform(0.1, 0.9, 500)

    once = weighted_mean(values, propensity)
    thrice = weighted_mean(np.tile(values, 3), np.tile(propensity, 3), who=np.tile(np.arange(500), 3))

    assert thrice.mean == pytest.approx(once.mean)
    assert thrice.error == pytest.approx(once.error)


def test_of_nobody_or_of_nothing_there_is_no_mean() -> None:
    """No units, no denominator: NaN, not 0; a single unit has no error."""
    ones = np.ones(1)

    assert np.isnan(weighted_mean(ones[:0], ones[:0]).mean)
    assert np.isnan(weighted_mean(ones, ones, 0 * ones).mean)
    assert weighted_mean(ones, ones).mean == 1
    assert np.isnan(weighted_mean(ones, ones).error)


def test_shares_that_cannot_be_are_refused() -> None:
    """A share of 0 was never served; one share per value."""
    ones = np.ones(3)

    with pytest.raises(ValueError, match=r"propensity 0\.0"):
        weighted_mean(ones, np.array([0.5, 0.0, 0.5]))
    with pytest.raises(ShapeError, match="one per unit"):
        weighted_mean(ones, ones[:2])
