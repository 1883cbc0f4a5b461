"""Means and ratios of every variant with the covariance of their errors: the delta method."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.experiments.intervals import LEAST_EFFECTIVE, LEAST_UNITS
from service.experiments.metrics import Metric
from service.experiments.moments import COVARIATES, Moments

Values = NDArray[np.float64]


class Estimates(NamedTuple):
    """
    Of every variant the metric, then the means of covariates (none, or those of moments.COVARIATES).

    values: [..., V, 1 + X]; covariance: of the errors of these, [..., V, 1 + X, 1 + X]. units: [..., V].
    effective: by how many units the numerator is made, as (Σy)²/Σy² counts them, over all variants [...].
    """

    variants: tuple[str, ...]
    values: Values
    covariance: Values
    units: Values
    effective: Values

    def enough(self) -> NDArray[np.bool_]:
        """[...]: whether there are enough units for intervals (see intervals)."""
        fewest: Values = self.units.min(axis=-1)
        return (fewest >= LEAST_UNITS) & (self.effective >= LEAST_EFFECTIVE)


def estimates(moments: Moments, metric: Metric, covariates: Sequence[str] = COVARIATES) -> Estimates:
    """
    R = Σ y / Σ d of every variant, d = 1 where the metric is per unit, and the mean of every covariate.

    Its error is linear in the units up to a smaller order: unit i adds ψᵢ/n with ψᵢ = (yᵢ − R·dᵢ)/d̄, so that the
    covariance of two such errors is Σ ψᵢ·ψ'ᵢ / (n·(n − 1)).
    Source: Deng, Knoblich & Lu 2018, "Applying the delta method in metric analytics", section 3.

    A variant of which fewer than LEAST_EFFECTIVE units make the sum knows too little of its own spread (nobody bought:
    none at all). It takes that of all variants together where that is greater.
    Returns: NaN where a variant has no unit, or a denominator of 0.
    """
    pairs = [(metric.numerator, metric.denominator or "weight"), *((name, "weight") for name in covariates)]
    rows = [tuple(moments.columns.index(name) for name in pair) for pair in pairs]
    values, spread = _linear(moments.gram, rows)
    units = moments.units()
    together = moments.gram.sum(axis=-3)
    _, common = _linear(together, rows)
    thin = _effective(moments.gram, rows[0][0]) < LEAST_EFFECTIVE
    borrow = thin & ~(spread[..., 0, 0] >= common[..., None, 0, 0])
    spread = np.where(borrow[..., None, None], common[..., None, :, :], spread)
    covariance = spread / np.maximum(units, 1)[..., None, None]
    return Estimates(moments.variants, values, covariance, units, _effective(together, rows[0][0]))


def _linear(gram: Values, rows: Sequence[tuple[int, ...]]) -> tuple[Values, Values]:
    """Ratios [..., S], and the covariance [..., S, S] of what one unit adds to them."""
    numerators, denominators = (list(part) for part in zip(*rows, strict=True))
    units, sums = gram[..., 0, 0], gram[..., 0, :]
    below = np.where(sums[..., denominators] != 0, sums[..., denominators], np.nan)
    values, shares = sums[..., numerators] / below, units[..., None] / below
    coefficients = np.zeros((*gram.shape[:-2], len(rows), gram.shape[-1]))
    np.put_along_axis(coefficients, _places(numerators, coefficients), shares[..., None], axis=-1)
    np.put_along_axis(coefficients, _places(denominators, coefficients), -(values * shares)[..., None], axis=-1)
    with np.errstate(invalid="ignore"):  # a denominator of 0 says nothing: NaN
        products = coefficients @ gram @ np.swapaxes(coefficients, -1, -2)
    alike = range(len(rows))
    products[..., alike, alike] = np.maximum(products[..., alike, alike], 0.0)  # where all do the same: rounding
    return values, products / np.maximum(units - 1, 1)[..., None, None]


def _places(columns: list[int], like: Values) -> NDArray[np.int64]:
    return np.broadcast_to(np.array(columns)[:, None], (*like.shape[:-1], 1))


def _effective(gram: Values, column: int) -> Values:
    total, squares = gram[..., 0, column], gram[..., column, column]
    counted: Values = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    return counted
