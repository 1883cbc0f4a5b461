"""CUPED: what it takes away, and that it never does harm."""

import numpy as np
import polars as pl
import pytest

from service.experiments.adjustment import LEAST_PER_COVARIATE, Adjusted, adjusted
from service.experiments.estimates import Estimates, estimates
from service.experiments.metrics import BEFORE, METRICS
from service.experiments.moments import COVARIATES, moments
from tests.service.experiments.unit_world import config, shoppers

PAIR = ("dial-0", "dial-0.8")


def of(units: pl.DataFrame, metric: str = "purchases_per_user") -> tuple[Estimates, Adjusted]:
    found = estimates(moments(units, PAIR), METRICS[metric])
    return found, adjusted(found)


def test_the_adjustment_is_least_squares_on_what_was_known() -> None:
    """With equal variants: regression within variants on the filled-in past and an indicator of an unknown one."""
    units = shoppers(np.random.default_rng(0), 6000, rate=2.0, unknown=0.2)
    known = units.with_columns(pl.col(BEFORE).fill_null(pl.col(BEFORE).mean()))
    missing = units["before_clicks"].is_null().to_numpy().astype(float)
    treated = (units["variant"] == PAIR[1]).to_numpy().astype(float)
    x = np.column_stack([np.ones(len(units)), treated, known.select(BEFORE).to_numpy(), missing])

    fitted, residues, *_ = np.linalg.lstsq(x, units["purchases"].to_numpy(), rcond=None)
    error = np.sqrt(residues[0] / (len(x) - x.shape[1]) * np.linalg.inv(x.T @ x)[1, 1])
    _, ours = of(units)

    assert ours.means[1] - ours.means[0] == pytest.approx(fitted[1], abs=0.02 * error)
    assert np.sqrt(ours.variances.sum()) == pytest.approx(error, rel=0.005)


def test_a_past_that_says_much_takes_much_variance_away() -> None:
    """Half of the variance of purchases is the pace that the past tells of: by their correlation."""
    units = shoppers(np.random.default_rng(1), 20_000, rate=2.0, unknown=0.0)

    plain, ours = of(units)
    correlation = np.corrcoef(units["purchases"], units["before_clicks"])[0, 1]

    assert ours.reduction > correlation**2 > 0.25
    assert ours.variances.sum() == pytest.approx((1 - ours.reduction) * plain.covariance[:, 0, 0].sum())


@pytest.mark.parametrize("size", [250, 2000])
@pytest.mark.parametrize("metric", ["revenue_per_user", "click_through"])
def test_it_never_widens(metric: str, size: int) -> None:
    """50 experiments whose past is shuffled, so that it says nothing."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        units = shoppers(rng, size)
        units = units.with_columns(units.select(BEFORE)[rng.permutation(size)])

        plain, ours = of(units, metric)

        assert ours.variances.sum() <= plain.covariance[:, 0, 0].sum()


def test_adjusting_does_not_move_the_truth() -> None:
    """The mean of 200 experiments' adjusted differences is the true one, within its error."""
    rng = np.random.default_rng(3)
    found = np.array([of(shoppers(rng, 2000, rate=1.0, lifts={PAIR[1]: 0.2}))[1].means for _ in range(200)])
    differences = found[:, 1] - found[:, 0]

    assert differences.mean() == pytest.approx(0.2, abs=3 * differences.std() / np.sqrt(200))


def test_variances_of_adjusted_means_are_what_they_are() -> None:
    """Over 300 experiments, of three variants of unequal shares: of each, and of their common shift."""
    rng, three = np.random.default_rng(4), config((0.0, 0.4, 0.8))
    three = three._replace(
        variants=tuple(v._replace(weight=w) for v, w in zip(three.variants, (0.5, 0.3, 0.2), strict=True))
    )
    names = [variant.name for variant in three.variants]
    found = [
        adjusted(estimates(moments(shoppers(rng, 1500, of=three, rate=2.0), names), METRICS["purchases_per_user"]))
        for _ in range(300)
    ]

    means = np.array([each.means for each in found])
    said = np.mean([each.variances for each in found], axis=0)
    contrast = means[:, 2] - means[:, 0]

    assert contrast.var() == pytest.approx(said[2] + said[0], rel=0.25)
    assert np.cov(means.T)[0, 2] == pytest.approx(np.mean([each.shared for each in found]), abs=0.3 * said[0])


def test_a_past_without_spread_is_left_out() -> None:
    """Nobody is known, or everybody did the same: the indicator and a copied column add nothing and break nothing."""
    units = shoppers(np.random.default_rng(5), 1000, unknown=1.0)
    copied = shoppers(np.random.default_rng(5), 1000, rate=2.0).with_columns(
        pl.col("before_clicks").alias("before_carts")
    )

    assert of(units)[1].reduction == 0
    assert 0.2 < of(copied)[1].reduction < 1


def test_few_units_are_not_adjusted() -> None:
    """Below 20 units of the smaller variant per covariate."""
    units = shoppers(np.random.default_rng(6), LEAST_PER_COVARIATE * len(COVARIATES) * 2 - 40, rate=3.0)

    plain, ours = of(units)

    assert ours.reduction == 0
    assert ours.means.tolist() == plain.values[:, 0].tolist()
