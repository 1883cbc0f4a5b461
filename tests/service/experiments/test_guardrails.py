"""Guardrails: breached only when it is certain, also where the control has nothing of it."""

import numpy as np
import polars as pl
import pytest

from benchmarks.experiments.health import breached
from service.experiments.arms import Arms
from service.experiments.guardrails import LEAST_LISTS, coverage, guardrails
from service.experiments.model import Guardrail
from service.experiments.moments import moments
from service.experiments.report import GuardrailResult
from tests.service.experiments.unit_world import config, shoppers

NAMES = ("dial-0", "dial-0.8")


def judged(units: pl.DataFrame, metric: str, most: float) -> GuardrailResult:
    of = config(guardrails=(Guardrail(metric, most),))
    (found,) = guardrails(of.guardrails, Arms(of, moments(units, NAMES)), {})
    return found


def worse(column: str, values: pl.Expr, size: int = 4000) -> pl.DataFrame:
    """Units of whose second variant one column is something else."""
    changed = pl.when(variant=NAMES[1]).then(values).otherwise(pl.col(column))
    return shoppers(np.random.default_rng(0), size).with_columns(changed.alias(column))


def test_a_slower_variant_is_breached_beyond_what_is_allowed_only() -> None:
    """30 % slower: breaches 10 %, does not breach 50 %; the change is positive."""
    slower = worse("seconds", pl.col("seconds") * 1.3)

    strict, lenient = judged(slower, "latency", 0.1), judged(slower, "latency", 0.5)

    assert strict.change.value == pytest.approx(0.3, abs=0.05)
    assert strict.change.low is not None
    assert 0.1 < strict.change.low < 0.3
    assert (strict.breached, lenient.breached) == (True, False)


def test_worse_is_less_where_more_is_better() -> None:
    """Purchases per user fell by half."""
    poorer = worse("purchases", pl.lit(0.0), 4000)

    found = judged(poorer, "purchases_per_user", 0.2)

    assert found.change.value == pytest.approx(1.0)
    assert found.breached


def test_a_faster_variant_is_no_breach() -> None:
    assert not judged(worse("seconds", pl.col("seconds") * 0.5), "latency", 0.1).breached


def test_failures_that_only_the_variant_has_are_a_breach() -> None:
    """A share of nothing is unbounded, and yet it is certain that it is far more than allowed."""
    failing = worse("failures", (pl.int_range(pl.len()) % 20 == 0).cast(pl.Float64))

    found = judged(failing, "failures", 0.5)

    assert (found.change.value, found.change.high) == (None, None)
    assert found.breached


def test_a_few_failures_are_not() -> None:
    """Three among thousands, none of them the control's."""
    failing = worse("failures", (pl.int_range(pl.len()) % 1000 == 1).cast(pl.Float64))

    assert not judged(failing, "failures", 0.5).breached


def test_nothing_is_breached_before_there_are_enough_units() -> None:
    found = judged(worse("seconds", pl.col("seconds") * 10, size=150), "latency", 0.1)

    assert found.change.value is not None
    assert found.change.low is None
    assert not found.breached


def test_a_variant_just_as_slow_as_allowed_is_rarely_stopped() -> None:
    """100 experiments, 20 looks each: at most α = 5 % of them, with the room that 100 need."""
    rng = np.random.default_rng(1)

    assert sum(breached(rng, 20, 50) for _ in range(100)) <= 9


@pytest.mark.parametrize(
    ("shown", "lists", "low", "high"),
    [(800, 5000, 1 - 0.8 * 1.035, 1 - 0.8 * 0.965), (800, 2500, 1 - 1.6 * 1.035, 1 - 0.8 * 0.965)],
)
def test_coverage_is_compared_after_equally_many_lists(shown: int, lists: int, low: float, high: float) -> None:
    """With half the lists, 800 of 1000 items may be as many as the control had then: a concave curve bounds it."""
    found = coverage(
        dict(zip(NAMES, (1000, shown), strict=True)),
        dict(zip(NAMES, (5000.0, lists), strict=True)),
        NAMES[1],
        NAMES[0],
        Guardrail("coverage", 0.1),
    )

    assert found.change.value == pytest.approx(0.2)
    assert [found.change.low, found.change.high] == pytest.approx([low, high])
    assert found.breached == (low > 0.1)


def test_coverage_bounds_hold_for_random_lists() -> None:
    """Two variants with the same law of items, one with a third of the lists: never breached at 0."""
    rng, popularity = np.random.default_rng(2), 1 / np.arange(1, 2001)
    for _ in range(20):
        distinct = [len(np.unique(rng.choice(2000, n * 10, p=popularity / popularity.sum()))) for n in (3000, 1000)]

        found = coverage(
            dict(zip(NAMES, distinct, strict=True)),
            dict(zip(NAMES, (3000.0, 1000.0), strict=True)),
            NAMES[1],
            NAMES[0],
            Guardrail("coverage", 0.001),
        )

        assert found.change.value is not None
        assert found.change.value > 0.05
        assert not found.breached


def test_coverage_of_a_few_lists_is_not_judged() -> None:
    few = dict.fromkeys(NAMES, float(LEAST_LISTS - 1))

    found = coverage({NAMES[0]: 500, NAMES[1]: 5}, few, NAMES[1], NAMES[0], Guardrail("coverage", 0.1))

    assert found.change.value is None
    assert not found.breached
