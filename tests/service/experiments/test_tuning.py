"""Thompson tuning: shares follow the probability of being best, and none falls below the floor."""

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from causalrec.errors import RequestError
from service.experiments.metrics import UNITS
from service.experiments.model import EMPTY, Config, Tuning, Variant
from service.experiments.tuning import MINIMUM, posterior, shares, weights

NAMES = ("0", "0.5", "1")
LISTS = 2.0


def config(
    weight: tuple[float, ...] = (0.5, 0.3, 0.2), floor: float = 0.1, primary: str = "purchases_per_user"
) -> Config:
    """A tuned experiment over three λ2."""
    variants = tuple(Variant(name, float(name), share) for name, share in zip(NAMES, weight, strict=True))
    said = EMPTY._replace(key="k", version=3, series=3, salt="k", variants=variants, control="0")
    return said._replace(kind="tuned", primary=primary, tuning=Tuning(floor, 3600.0))


def frame(purchases: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]], propensity: float = 0.3) -> pl.DataFrame:
    """A unit per value, each with two lists."""
    parts = []
    for name, values in purchases.items():
        part = pl.DataFrame({"purchases": values}).with_row_index("unit")
        part = part.with_columns(unit=pl.format("{}-{}", pl.lit(name), "unit"), variant=pl.lit(name))
        parts.append(part.with_columns(propensity=pl.lit(propensity), lists=pl.lit(LISTS), failures=pl.lit(0.0)))
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in UNITS.items() if name not in parts[0].columns]
    return pl.concat(parts).with_columns(missing).select(UNITS.names())


def bought(*rates: float, units: int = 2000) -> pl.DataFrame:
    """Poisson purchases at these rates for the variants in their order."""
    rng = np.random.default_rng(0)
    return frame({name: rng.poisson(rate, units).astype(float) for name, rate in zip(NAMES, rates, strict=True)})


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12).filter(lambda p: sum(p) > 0), st.floats(0.001, 1))
def test_shares_are_millionths_of_sum_one_and_none_is_below_the_floor(odds: list[float], part: float) -> None:
    """Whatever the probabilities, and for a floor up to everything."""
    best, floor = np.array(odds) / sum(odds), part / len(odds)

    found = shares(best, floor)

    assert min(found) >= floor - 1e-12
    assert sum(found) == pytest.approx(1, abs=1e-12)
    assert sum(Fraction(round(share * 10**6), 10**6) for share in found) == 1 or len(set(found)) == 1
    assert found == pytest.approx(floor + (1 - len(odds) * floor) * best, abs=2e-6 * len(odds))


def test_nothing_moves_before_every_variant_has_enough_units() -> None:
    """With one unit too few in one variant the shares stay; with it they move."""
    rng = np.random.default_rng(1)
    units = frame({name: rng.poisson(1 + float(name), MINIMUM).astype(float) for name in NAMES})

    early, now = (weights(part, config(), np.random.default_rng(0)) for part in (units[1:], units))

    assert early == {"0": 0.5, "0.5": 0.3, "1": 0.2}
    assert now["1"] > 0.6


def test_the_best_gets_all_but_the_floor_and_the_same_generator_the_same_shares() -> None:
    """A variant far ahead leaves the others their floor."""
    units = bought(0.2, 0.8, 0.3)

    found = weights(units, config(), np.random.default_rng(0))

    assert found == {"0": 0.1, "0.5": 0.8, "1": 0.1}
    assert weights(bought(0.50, 0.52, 0.5), config(), np.random.default_rng(5)) == weights(
        bought(0.50, 0.52, 0.5), config(), np.random.default_rng(5)
    )


def test_the_share_is_the_probability_of_being_best() -> None:
    """Of two normal posteriors, Φ of their distance over its error."""
    rng = np.random.default_rng(2)
    one, two = rng.normal(1.0, 1, 1000), rng.normal(1.05, 1, 1000)
    hopeless = rng.normal(-5, 1, 1000)
    z = (two.mean() - one.mean()) / np.sqrt((one.var(ddof=1) + two.var(ddof=1)) / 1000)

    means, errors = posterior([frame({"x": values}) for values in (one, two)], "purchases_per_user")
    found = weights(frame({"0": one, "0.5": two, "1": hopeless}), config(floor=1e-6), np.random.default_rng(0))

    assert (means[1] - means[0]) / np.hypot(*errors) == pytest.approx(z, rel=0.01)
    assert found["0.5"] == pytest.approx(stats.norm.cdf(z), abs=0.02)


def test_that_nobody_has_bought_yet_says_nothing() -> None:
    """Equal shares where all are alike; and one buyer among three times 100 units decides nothing."""
    none = bought(0, 0, 0, units=100)
    one = frame({"0": np.zeros(100), "0.5": np.eye(1, 100)[0], "1": np.zeros(100)})

    found = weights(none, config(), np.random.default_rng(0))
    after_one = weights(one, config(), np.random.default_rng(0))

    assert list(found.values()) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert after_one["0.5"] < 0.75


def test_a_metric_that_is_better_when_lower_moves_the_other_way() -> None:
    """Seconds per answer: the fastest gets most. Ratios are those of sums."""
    units = bought(3, 1, 3).with_columns(seconds=pl.col("purchases"))

    found = weights(units, config(primary="latency"), np.random.default_rng(0))
    means, _ = posterior([units.filter(variant=name) for name in NAMES], "latency")

    assert found == {"0": 0.1, "0.5": 0.8, "1": 0.1}
    assert means == pytest.approx([-1.5, -0.5, -1.5], rel=0.1)


def test_a_ratio_nobody_can_know_yet_is_the_prior_alone() -> None:
    """No ratings for one variant: it is believed to be like the others, by a wide margin."""
    rated = bought(4, 4, 4).with_columns(rating_sum=4 * pl.col("purchases"), ratings=pl.col("purchases") + 0.01)
    units = rated.with_columns(
        pl.when(pl.col("variant") == "1").then(0.0).otherwise(pl.col("ratings")).alias("ratings")
    )

    found = weights(units, config(primary="mean_rating"), np.random.default_rng(0))

    assert 0.1 < found["1"] < 0.6


def test_overrides_are_not_learnt_from() -> None:
    """Who was put there by name has no propensity."""
    named = bought(9, 0, 0).with_columns(propensity=pl.lit(None, pl.Float64))

    units = pl.concat([bought(0.2, 0.2, 0.8), named])

    assert weights(units, config(), np.random.default_rng(0)) == {"0": 0.1, "0.5": 0.1, "1": 0.8}


def test_what_cannot_be_tuned_is_refused() -> None:
    """No tuning, and floors that leave nothing to share, are named."""
    units, rng = bought(1, 1, 1), np.random.default_rng(0)

    with pytest.raises(RequestError, match="make an experiment of kind tuned"):
        weights(units, config()._replace(tuning=None), rng)
    for floor in (0.0, 0.34):
        with pytest.raises(RequestError, match=r"tuning\.floor=.*at most 0\.3333"):
            weights(units, config(floor=floor), rng)
