"""Before the start: how many units it takes to see an effect, and what effect so many units would show."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.stats import norm

from causalrec.errors import RequestError
from service.experiments.estimates import estimates
from service.experiments.intervals import PLANNED, factor
from service.experiments.metrics import METRICS
from service.experiments.moments import moments

POWER: Final = 0.8
FARTHEST: Final = 1_000.0
"""More than so many times the units there are is no plan any more."""


class Baseline(NamedTuple):
    """A metric as it is: its mean, and the standard deviation of what one unit adds to it."""

    mean: float
    deviation: float


class Plan(NamedTuple):
    """
    Units of all variants together, and the lift they show with the wanted power, for one look at the end (fixed) and
    for always-valid intervals whose `planned_units` is this number. by_variant: its parts.
    """

    units: int
    by_variant: Mapping[str, int]
    lift: float


class Plans(NamedTuple):
    """The same question for both kinds of intervals: always-valid ones pay for being looked at at any time."""

    fixed: Plan
    always_valid: Plan


def of_rate(rate: float) -> Baseline:
    """Of a metric that is 1 for this share of the units and 0 for the others."""
    if not 0 < rate < 1:
        raise RequestError("rate", rate, "must be a share between 0 and 1: which part of the users does it")
    return Baseline(rate, float(np.sqrt(rate * (1 - rate))))


def of_units(units: pl.DataFrame, metric: str, variant: str | None = None) -> Baseline:
    """
    From what units of an experiment did (metrics.UNITS), of one variant or of all. Without CUPED, so that a plan errs
    on the safe side.
    """
    of = units.filter(pl.col("exposed").is_not_null()).with_columns(pl.lit("all").alias("variant"))
    if variant is not None:
        of = units.filter(pl.col("exposed").is_not_null(), pl.col("variant") == variant)
    found = estimates(moments(of, (variant or "all",)), METRICS[metric], ())
    if not found.enough():
        raise RequestError(
            "metric", metric, f"{len(of)} units say too little of it; give its mean and deviation instead"
        )
    return Baseline(float(found.values[0, 0]), float(np.sqrt(found.covariance[0, 0, 0] * len(of))))


def plan(
    baseline: Baseline,
    weights: Mapping[str, float],
    control: str,
    *,
    lift: float | None = None,
    units: int | None = None,
    alpha: float = 0.05,
    power: float = POWER,
    comparisons: int = 1,
) -> Plans:
    """
    How many units show a lift of `lift`, or which lift `units` show.

        N = (deviation/(lift·mean))² · (1/w + 1/w_control) · (reach + z_power)²

    for the variant of the smallest share w. reach: z of 1 − α/2 for one look at the end; for always-valid intervals
    their factor at the planned number (see intervals), which counts only the last look: earlier ones add to the power.
    Source of the first: any text on two means; the variance is taken to be that of the baseline in every variant.

    Args:
        weights: share of every variant.
        comparisons: of how many this is one; each is planned at α/comparisons, the strictest step of Holm's.
    Raises: RequestError unless exactly one of lift and units is given, or where a number makes no sense.
    """
    _check(baseline, lift, units, alpha, power)
    share = min(weight for name, weight in weights.items() if name != control)
    spread = (baseline.deviation / baseline.mean) ** 2 * (1 / share + 1 / weights[control])
    level = alpha / comparisons
    reaches = norm.isf(level / 2), float(factor(PLANNED, alpha, PLANNED, level))
    return Plans(*(_plan(weights, spread * (reach + norm.ppf(power)) ** 2, lift, units) for reach in reaches))


def units_until(
    difference: float, error: float, units: float, alpha: float, planned: float, level: float | None = None
) -> float | None:
    """
    How many units of a comparison it takes until its interval leaves 0 out, should the difference stay what it is.

    Args:
        error: its standard error at `units`.
    Returns: at least `units`; None where FARTHEST times as many are not enough.
    """
    if not difference or not np.isfinite(error) or error <= 0:
        return None

    def missing(more: float) -> float:
        reach = factor(units * np.exp(more), alpha, planned, level)
        return float(reach - abs(difference) / error * np.exp(more / 2))

    farthest = float(np.log(FARTHEST))
    if missing(farthest) > 0:
        return None
    return units if missing(0.0) <= 0 else units * float(np.exp(brentq(missing, 0.0, farthest)))


def _plan(weights: Mapping[str, float], needed: float, lift: float | None, units: int | None) -> Plan:
    if lift is not None:
        total = int(np.ceil(needed / lift**2))
    else:
        total, lift = units or 0, float(np.sqrt(needed / (units or 1)))
    return Plan(total, {name: int(np.ceil(total * weight)) for name, weight in weights.items()}, abs(lift))


def _check(baseline: Baseline, lift: float | None, units: int | None, alpha: float, power: float) -> None:
    if (lift is None) == (units is None):
        raise RequestError("lift", lift, "give either the lift to be seen or the number of units, and not both")
    if lift is not None and lift == 0:
        raise RequestError("lift", lift, "must not be 0: how much of a change matters? 0.05 is 5 %")
    if units is not None and units < 1:
        raise RequestError("units", units, "must be at least 1")
    if not (baseline.mean > 0 and baseline.deviation > 0):
        raise RequestError("baseline", tuple(baseline), "mean and deviation must be above 0")
    if not 0 < alpha < 1:
        raise RequestError("alpha", alpha, "must be between 0 and 1")
    if not 0 < power < 1:
        raise RequestError("power", power, "must be between 0 and 1")
