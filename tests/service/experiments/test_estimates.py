"""Means and ratios with their errors, against another library, against plain loops, and against a bootstrap."""

import numpy as np
import polars as pl
import pytest
import tea_tasting as tt

from service.experiments.adjustment import adjusted
from service.experiments.estimates import estimates
from service.experiments.intervals import ratio
from service.experiments.metrics import METRICS
from service.experiments.moments import COVARIATES, moments
from tests.service.experiments.unit_world import config, frame, shoppers

PAIR = ("dial-0", "dial-0.8")
Z = 1.959963984540054


@pytest.fixture(scope="module")
def units() -> pl.DataFrame:
    """Two variants, of which the second sells a tenth more."""
    return shoppers(np.random.default_rng(1), 8000, lifts={"dial-0.8": 0.1}, unknown=0.0)


@pytest.fixture(scope="module")
def peer(units: pl.DataFrame) -> dict[str, dict[str, float]]:
    """What tea-tasting says of the same units, for one look at the end."""
    plain = {"use_t": False, "equal_var": False}
    experiment = tt.Experiment(
        {
            "purchases_per_user": tt.Mean("purchases", **plain),
            "revenue_per_user": tt.Mean("revenue", **plain),
            "click_through": tt.RatioOfMeans("clicks", "lists", **plain),
            "purchases_per_click": tt.RatioOfMeans("purchases", "clicks", **plain),
            "adjusted": tt.Mean("purchases", "before_purchases", **plain),
        },
        variant="variant",
    )
    return {row["metric"]: row for row in experiment.analyze(units, PAIR[0]).to_dicts()}


@pytest.mark.parametrize("metric", ["purchases_per_user", "revenue_per_user", "click_through", "purchases_per_click"])
def test_means_and_ratios_are_those_of_tea_tasting(
    metric: str, units: pl.DataFrame, peer: dict[str, dict[str, float]]
) -> None:
    """Value, standard error and lift of the difference."""
    of = estimates(moments(units, PAIR), METRICS[metric], ())
    means, variances = of.values[:, 0], of.covariance[:, 0, 0]
    error, theirs = np.sqrt(variances.sum()), peer[metric]

    lift = ratio((means[1], means[0]), (variances[1], variances[0]), 0.0, Z)

    assert means.tolist() == pytest.approx([theirs["control"], theirs["treatment"]], rel=1e-9)
    assert error == pytest.approx((theirs["effect_size_ci_upper"] - theirs["effect_size_ci_lower"]) / 2 / Z, rel=1e-6)
    assert lift.value == pytest.approx(theirs["rel_effect_size"], rel=1e-9)
    assert [lift.low, lift.high] == pytest.approx(
        [theirs["rel_effect_size_ci_lower"], theirs["rel_effect_size_ci_upper"]], abs=0.1 * error / means[0]
    )


def test_one_covariate_adjusts_as_in_tea_tasting(units: pl.DataFrame, peer: dict[str, dict[str, float]]) -> None:
    """CUPED with the purchases from before. Its θ is of both variants as one group: the same but for the effect."""
    of = adjusted(estimates(moments(units, PAIR), METRICS["purchases_per_user"], ["before_purchases"]))
    theirs = peer["adjusted"]
    width = (theirs["effect_size_ci_upper"] - theirs["effect_size_ci_lower"]) / 2 / Z

    assert of.means[1] - of.means[0] == pytest.approx(theirs["effect_size"], abs=0.01 * width)
    assert np.sqrt(of.variances.sum()) == pytest.approx(width, rel=1e-3)


def test_the_errors_of_a_ratio_and_of_covariates_are_those_of_a_bootstrap(units: pl.DataFrame) -> None:
    """Units drawn again, 2,000 times: the covariance of clicks per list with what was known before."""
    some = units.filter(variant="dial-0")[:500]
    found = estimates(moments(some, ["dial-0"]), METRICS["click_through"], ["before_clicks"])
    clicks, lists, before = (some[name].to_numpy() for name in ("clicks", "lists", "before_clicks"))
    drawn = np.random.default_rng(2).integers(500, size=(2000, 500))

    again = np.array([clicks[drawn].sum(1) / lists[drawn].sum(1), before[drawn].mean(1)])

    assert np.sqrt(np.diag(found.covariance[0])) == pytest.approx(again.std(axis=1), rel=0.05)
    assert found.covariance[0, 0, 1] == pytest.approx(np.cov(again)[0, 1], abs=0.1 * np.prod(again.std(axis=1)))


@pytest.mark.parametrize("metric", ["revenue_per_user", "purchases_per_click"])
def test_intervals_cover_as_often_as_those_of_a_bootstrap(metric: str) -> None:
    """300 heavy-tailed experiments of 400 units each: within the noise of 300, both hold the truth equally often."""
    rng, held, held_again = np.random.default_rng(4), [], []
    whole = shoppers(rng, 60_000, rate=0.5)
    y, d = whole["revenue" if metric == "revenue_per_user" else "purchases"].to_numpy(), np.ones(len(whole))
    d = d if metric == "revenue_per_user" else whole["clicks"].to_numpy()
    truth = y.sum() / d.sum()
    for _ in range(300):
        rows = rng.integers(len(whole), size=400)
        found = estimates(moments(whole[rows].with_columns(variant=pl.lit("a")), ["a"]), METRICS[metric], ())
        away = abs(found.values[0, 0] - truth) / np.sqrt(found.covariance[0, 0, 0])
        drawn = rng.choice(rows, (300, 400))
        low, high = np.quantile(y[drawn].sum(1) / d[drawn].sum(1), [0.025, 0.975])
        held.append(away <= Z)
        held_again.append(low <= truth <= high)

    assert np.mean(held) == pytest.approx(np.mean(held_again), abs=0.025)


def test_a_unit_counts_with_its_weight() -> None:
    """Of a tuned experiment: as weighted_mean of helper formulas has it, Σ y/p / Σ 1/p; a unit seen twice is one."""
    rows = frame({"purchases": [1.0, 0.0, 3.0, 2.0], "propensity": [0.5, 0.25, 0.5, 0.8]})
    rows = rows.with_columns(unit=pl.Series(["ann", "bob", "ann", "eve"]))

    found = estimates(moments(rows, ["dial-0"], weighted=True), METRICS["purchases_per_user"], ())

    assert found.units.tolist() == [3]
    assert found.values[0, 0] == pytest.approx((1 / 0.5 + 0 + 3 / 0.5 + 2 / 0.8) / (2 + 4 + 2 + 1.25))


def test_a_variant_in_which_nobody_bought_is_not_thought_to_be_sure_of_it() -> None:
    """Its own variance is 0; it takes that of all units, so that 0 of 100 against 5 % of 900 is no difference."""
    bought = np.r_[np.zeros(100), np.arange(900) % 20 == 0].astype(float)
    rows = frame({"purchases": bought, "variant": ["dial-0"] * 100 + ["dial-0.8"] * 900})

    found = estimates(moments(rows, PAIR), METRICS["purchases_per_user"], ())
    z = (found.values[1, 0] - found.values[0, 0]) / np.sqrt(found.covariance[:, 0, 0].sum())

    assert found.covariance[0, 0, 0] == pytest.approx(bought.var() / 100, rel=0.01)
    assert z < 2.5


def test_too_few_units_or_acts_are_not_enough() -> None:
    """100 units in every variant, and 20 that act."""
    rng = np.random.default_rng(0)
    few, plenty = (shoppers(rng, size, rate=0.2) for size in (180, 2000))
    rare = shoppers(rng, 2000, rate=0.002)

    enough = [estimates(moments(of, PAIR), METRICS["purchases_per_user"], ()).enough() for of in (few, plenty, rare)]

    assert [bool(each) for each in enough] == [False, True, False]


def test_nothing_known_of_a_variant_is_nan_and_no_error() -> None:
    rows = frame({"clicks": [1.0], "lists": [2.0]})

    found = estimates(moments(rows, PAIR), METRICS["click_through"], COVARIATES)

    assert found.values[0, 0] == 0.5
    assert np.isnan(found.values[1, 0])
    assert not found.enough()


def test_answers_that_failed_count_among_the_answers() -> None:
    """failures = failed / (lists + failed)."""
    rows = frame({"failures": [1.0, 0.0], "lists": [3.0, 4.0]})

    found = estimates(moments(rows, [config().control]), METRICS["failures"], ())

    assert found.values[0, 0] == pytest.approx(1 / 8)


@pytest.mark.parametrize("metric", ["revenue_per_user", "click_through"])
@pytest.mark.parametrize("count", [101, 103, 107])
def test_who_all_do_the_same_do_not_vary(metric: str, count: int) -> None:
    """A spread of 0, which rounding must not take below it."""
    same = {"revenue": 0.3, "clicks": 0.3, "lists": 3.0}
    units = frame({name: np.full(count, value) for name, value in same.items()})

    found = estimates(moments(units, PAIR[:1]), METRICS[metric], ())

    assert 0.0 <= found.covariance.item() < 1e-12
