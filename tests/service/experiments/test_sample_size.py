"""Planning: how many units an effect takes, and what so many units show."""

import numpy as np
import pytest
import tea_tasting as tt
from scipy.stats import norm

from causalrec.errors import RequestError
from service.experiments.estimates import estimates
from service.experiments.intervals import factor
from service.experiments.metrics import METRICS
from service.experiments.moments import moments
from service.experiments.planning import Baseline, of_rate, of_units, plan, units_until
from tests.service.experiments.unit_world import shoppers

HALVES = {"dial-0": 0.5, "dial-0.8": 0.5}
BOUGHT = Baseline(0.2, 0.5)


def test_the_fixed_sample_size_is_that_of_tea_tasting() -> None:
    """From an experiment's own units: units for a lift of 10 %, and the lift that these units show."""
    units = shoppers(np.random.default_rng(0), 20_000)
    peer = tt.Mean("purchases", use_t=False, rel_effect_size=0.1, alpha=0.05, power=0.8)
    (theirs,) = peer.solve_power(units, "n_obs").to_dicts()

    forward = plan(of_units(units, "purchases_per_user"), HALVES, "dial-0", lift=0.1).fixed
    backward = plan(of_units(units, "purchases_per_user"), HALVES, "dial-0", units=forward.units).fixed

    assert forward.units == pytest.approx(theirs["n_obs"], rel=1e-3)
    assert backward.lift == pytest.approx(0.1, rel=1e-4)
    assert forward.by_variant == {"dial-0": -(-forward.units // 2), "dial-0.8": -(-forward.units // 2)}


@pytest.mark.parametrize(
    ("weights", "comparisons"), [(HALVES, 1), ({"dial-0": 0.5, "dial-0.8": 0.3, "dial-1": 0.2}, 2)]
)
def test_the_planned_units_have_the_planned_power(weights: dict[str, float], comparisons: int) -> None:
    """Normal differences at the planned number: 80 % are called by one look; by always-valid intervals too."""
    found = plan(BOUGHT, weights, "dial-0", lift=0.1, comparisons=comparisons)
    level, smallest = 0.05 / comparisons, min(weight for name, weight in weights.items() if name != "dial-0")

    for of, reach in ((found.fixed, norm.isf(level / 2)), (found.always_valid, float(factor(1, 0.05, 1, level)))):
        error = BOUGHT.deviation * np.sqrt(1 / (smallest * of.units) + 1 / (weights["dial-0"] * of.units))
        called = norm.sf(reach - 0.1 * BOUGHT.mean / error)

        assert called == pytest.approx(0.8, abs=0.001)
    assert 1.5 < found.always_valid.units / found.fixed.units < 2.5


def test_a_plan_from_units_takes_their_spread() -> None:
    """Of a ratio: what a unit adds to it; of one variant only, where one is named."""
    units = shoppers(np.random.default_rng(1), 4000, lifts={"dial-0.8": 1.0})
    found = estimates(moments(units, ["dial-0"]), METRICS["click_through"], ())

    ratio, mean = of_units(units, "click_through", "dial-0"), of_units(units, "purchases_per_user")

    assert ratio.deviation == pytest.approx(np.sqrt(found.covariance[0, 0, 0] * found.units[0]))
    assert mean.mean == pytest.approx(units["purchases"].mean())
    assert mean.deviation == pytest.approx(units["purchases"].std())


def test_a_rate_is_a_mean_of_ones() -> None:
    assert of_rate(0.1) == pytest.approx((0.1, 0.3))


def test_units_are_missing_until_the_interval_would_leave_nothing_out() -> None:
    """At that number, with an error that shrank by its root, it just does."""
    needed = units_until(0.1, 0.1, 2000, 0.05, 10_000)

    assert needed is not None
    assert factor(needed, 0.05, 10_000) * 0.1 * np.sqrt(2000 / needed) == pytest.approx(0.1)
    assert units_until(10.0, 0.1, 2000, 0.05, 10_000) == 2000
    assert units_until(1e-6, 0.1, 2000, 0.05, 10_000) is None


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "lift"),
        ({"lift": 0.1, "units": 100}, "lift"),
        ({"lift": 0.0}, "lift"),
        ({"units": 0}, "units"),
        ({"lift": 0.1, "alpha": 0.0}, "alpha"),
        ({"lift": 0.1, "power": 1.0}, "power"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(asked: dict[str, float], field: str) -> None:
    with pytest.raises(RequestError) as refused:
        plan(BOUGHT, HALVES, "dial-0", **asked)  # type: ignore[arg-type] # wrong on purpose

    assert refused.value.field == field


def test_a_baseline_that_nothing_can_be_planned_with_is_refused() -> None:
    with pytest.raises(RequestError, match="above 0"):
        plan(Baseline(0.0, 1.0), HALVES, "dial-0", lift=0.1)
    with pytest.raises(RequestError, match="share between 0 and 1"):
        of_rate(1.5)
    with pytest.raises(RequestError, match="say too little"):
        of_units(shoppers(np.random.default_rng(0), 50), "purchases_per_user")
