"""Always-valid intervals, p-values and ratios of means."""

from types import ModuleType

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from service.experiments.intervals import PLANNED, factor, interval, p_value, ratio, tuned
from tests.service.experiments import peers

LEVELS = (0.001, 0.05, 0.3)


@pytest.fixture(scope="module")
def savvi() -> ModuleType:
    return peers.savvi("linear_regression")


@pytest.mark.parametrize("alpha", LEVELS)
def test_the_interval_is_narrowest_at_the_planned_number_of_units(alpha: float) -> None:
    """ρ is the one that a numerical search over ρ finds."""
    units = 700

    def width(log_x: float) -> float:
        x = np.exp(log_x)
        return float(np.sqrt(2 * (x + 1) / x * np.log(np.sqrt(x + 1) / alpha)))

    found = minimize_scalar(width, bounds=(-5, 8), method="bounded", options={"xatol": 1e-10})

    assert tuned(alpha) == pytest.approx(np.exp(found.x), rel=1e-4)
    assert factor(units, alpha, units) == pytest.approx(found.fun, rel=1e-9)


def test_the_factors_that_the_documentation_names() -> None:
    """3.04 standard errors at the plan for α = 0.05; more of them off it."""
    at, ten, hundred = factor([1.0, 10.0, 100.0], 0.05, 1.0)
    tenth, hundredth = factor([0.1, 0.01], 0.05, 1.0)

    assert at == pytest.approx(3.04, abs=0.005)
    assert (ten / at, hundred / at) == pytest.approx((1.07, 1.18), abs=0.01)
    assert (tenth / at, hundredth / at) == pytest.approx((1.26, 2.95), abs=0.01)


@pytest.mark.parametrize("alpha", LEVELS)
@pytest.mark.parametrize("units", [50, 10_000, 10**6])
def test_a_p_value_is_the_level_whose_interval_just_leaves_zero_out(alpha: float, units: int) -> None:
    """Interval and p-value never contradict each other, also at the level of one among several comparisons."""
    for level in (alpha, alpha / 12):
        z = float(factor(units, alpha, level=level))

        assert p_value(z, units, alpha) == pytest.approx(level, rel=1e-9)
    assert p_value(0.0, units, alpha) == 1


def test_intervals_and_p_values_are_those_of_savvi(savvi: ModuleType) -> None:
    """Its sequential t-test (Lindon et al. 2022) of two equal halves has the same limit: normal data, 4,000 units."""
    units = 4000
    rng = np.random.default_rng(3)
    treated = np.arange(units) % 2
    y = rng.normal(0.06 * treated)
    peer = savvi.LinearRegression(0.05, 2, phi=PLANNED / 4 / tuned(0.05))
    for row in np.column_stack([y, np.ones(units), treated]):
        peer.update(row)
    means, variances = zip(*((y[treated == arm].mean(), y[treated == arm].var(ddof=1)) for arm in (0, 1)), strict=True)
    error = np.sqrt(sum(variances) / (units / 2))

    ours = interval(means[1] - means[0], error, units, 0.05)

    assert [ours.low, ours.high] == pytest.approx(peer.calculate_conf_int()[1], abs=5e-4)
    assert p_value(ours.value / error, units, 0.05) == pytest.approx(min(1, peer.calculate_p_value()[1]), rel=0.01)


def test_an_unknown_error_gives_no_interval() -> None:
    assert interval(0.3, np.nan, 50, 0.05).model_dump() == {"value": 0.3, "low": None, "high": None}
    assert interval(np.nan, 1.0, 50, 0.05).value is None


def test_the_ratio_of_two_well_known_means_is_that_of_the_delta_method() -> None:
    """With small errors Fieller's interval is the linearised one."""
    means, variances, shared = (1.1, 1.0), (4e-6, 9e-6), 2e-6
    error = np.sqrt(variances[0] + 1.1**2 * variances[1] - 2 * 1.1 * shared)

    found = ratio(means, variances, shared, 2.5)

    assert found.value == pytest.approx(0.1)
    assert [found.low, found.high] == pytest.approx([0.1 - 2.5 * error, 0.1 + 2.5 * error], abs=1e-4)


def test_the_ratio_holds_the_truth_as_often_as_it_says() -> None:
    """Also where the second mean is only four standard errors from 0, where the delta method does not."""
    rng, truth, reach = np.random.default_rng(0), 2.0, norm.isf(0.025)
    drawn = rng.normal((truth, 1.0), (0.5, 0.25), (4000, 2))

    found = [ratio((first, second), (0.25, 0.0625), 0.0, reach) for first, second in drawn]
    held = [(each.low or 0) <= truth - 1 <= (np.inf if each.high is None else each.high) for each in found]

    assert np.mean(held) == pytest.approx(0.95, abs=0.01)


def test_a_ratio_to_nearly_nothing_is_bounded_from_one_side_or_not_at_all() -> None:
    """A control without any failure and a variant with many: it is surely more, by how much nobody knows."""
    surely = ratio((0.05, 0.0), (1e-6, 1e-6), 0.0, 3.0)
    unclear = ratio((0.001, 0.0), (1e-6, 1e-6), 0.0, 3.0)

    assert surely.value is None
    assert surely.low is not None
    assert surely.low > 1
    assert surely.high is None
    assert (unclear.low, unclear.high) == (None, None)


@pytest.mark.parametrize("first", [0.8, 0.95, 1.0, 1.05, 1.3])
def test_the_ratio_leaves_nothing_out_exactly_where_the_difference_does(first: float) -> None:
    """A report never calls a difference whose lift might be none."""
    variances, reach = (0.0009, 0.0016), 3.0

    found = ratio((first, 1.0), variances, 0.0, reach)

    assert found.low is not None
    assert found.high is not None
    assert (found.low <= 0 <= found.high) == (abs(first - 1.0) <= reach * np.sqrt(sum(variances)))
