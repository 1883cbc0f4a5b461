"""Differences, lifts and always-valid intervals as GrowthBook's gbstats computes them, in its own environment."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from service.experiments.adjustment import adjusted
from service.experiments.estimates import estimates
from service.experiments.intervals import PLANNED, factor, interval, ratio, tuned
from service.experiments.metrics import METRICS
from service.experiments.moments import moments
from service.experiments.sample_ratio import sample_ratio
from tests.service.experiments import peers
from tests.service.experiments.unit_world import shoppers

pytestmark = pytest.mark.timeout(600)  # the first time ever makes the environment
NAMES = ("dial-0", "dial-0.8")
ALPHA = 0.05
TUNING = PLANNED * (-2 * np.log(ALPHA) + np.log(1 - 2 * np.log(ALPHA))) / tuned(ALPHA)
"""gbstats takes an approximation of the best ρ; at this N* it is ours."""
COUNTS = [4800, 5200]


@pytest.fixture(scope="module")
def units() -> pl.DataFrame:
    return shoppers(np.random.default_rng(7), 6000, lifts={NAMES[1]: 0.3}, rate=1.0, unknown=0.0)


def question(units: pl.DataFrame, y: str, *, relative: bool = False, **others: str) -> dict[str, Any]:
    """What gbstats is asked: sums of y, and of a denominator d or a covariate x."""

    def sums(of: pl.DataFrame) -> dict[str, Any]:
        found: dict[str, Any] = {"n": len(of), "y": [of[y].sum(), (of[y] ** 2).sum()]}
        for name, column in others.items():
            found |= {name: [of[column].sum(), (of[column] ** 2).sum()], f"y{name}": (of[y] * of[column]).sum()}
        return found

    a, b = (sums(units.filter(variant=name)) for name in NAMES)
    return {"a": a, "b": b, "alpha": ALPHA, "relative": relative, "tuning": TUNING}


@pytest.fixture(scope="module")
def answers(units: pl.DataFrame) -> dict[str, Any]:
    tests = {
        "purchases_per_user": question(units, "purchases"),
        "revenue_per_user": question(units, "revenue"),
        "click_through": question(units, "clicks", d="lists"),
        "purchases_per_click": question(units, "purchases", d="clicks"),
        "lift": question(units, "purchases", relative=True),
        "adjusted": question(units, "purchases", x="before_purchases"),
    }
    return peers.gbstats({"tests": tests, "srm": [COUNTS, [0.5, 0.5]]})


@pytest.mark.parametrize("metric", ["purchases_per_user", "revenue_per_user", "click_through", "purchases_per_click"])
def test_differences_and_their_always_valid_intervals(
    metric: str, units: pl.DataFrame, answers: dict[str, Any]
) -> None:
    """Means and ratios, to rounding."""
    of = estimates(moments(units, NAMES), METRICS[metric], ())
    error = float(np.sqrt(of.covariance[:, 0, 0].sum()))

    ours = interval(float(of.values[1, 0] - of.values[0, 0]), error, float(of.units.sum()), ALPHA)

    assert [ours.value, ours.low, ours.high] == pytest.approx(
        [answers["tests"][metric]["expected"], *answers["tests"][metric]["ci"]], rel=1e-6
    )


def test_the_lift(units: pl.DataFrame, answers: dict[str, Any]) -> None:
    """Theirs is linearised, ours Fieller's: the same value, and a width that is the same to a few percent."""
    of = estimates(moments(units, NAMES), METRICS["purchases_per_user"], ())
    (control, other), (of_control, of_other) = of.values[:, 0], of.covariance[:, 0, 0]
    theirs = answers["tests"]["lift"]

    ours = ratio((other, control), (of_other, of_control), 0.0, float(factor(6000, ALPHA)))

    assert ours.value == pytest.approx(theirs["expected"])
    assert ours.high is not None
    assert ours.low is not None
    assert ours.high - ours.low == pytest.approx(theirs["ci"][1] - theirs["ci"][0], rel=0.05)


def test_cuped_by_one_covariate(units: pl.DataFrame, answers: dict[str, Any]) -> None:
    """Their θ is that of both variants as one group: nearly the same."""
    of = adjusted(estimates(moments(units, NAMES), METRICS["purchases_per_user"], ["before_purchases"]))
    theirs = answers["tests"]["adjusted"]
    error = float(np.sqrt(of.variances.sum()))

    ours = interval(float(of.means[1] - of.means[0]), error, 6000, ALPHA)

    assert ours.value == pytest.approx(theirs["expected"], abs=0.02 * error)
    assert [ours.low, ours.high] == pytest.approx(theirs["ci"], abs=0.03 * error)


def test_the_chi_square(answers: dict[str, Any]) -> None:
    found = sample_ratio([(dict.fromkeys(NAMES, 0.5), dict(zip(NAMES, COUNTS, strict=True)))])

    assert found is not None
    assert found.chi_square_p_value == pytest.approx(answers["srm"])
