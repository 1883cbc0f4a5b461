"""
Intervals that hold at every look at once, so that stopping when one says something does not make it wrong more often.

Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", arXiv 2103.06476, theorem 2.2. An estimate with the standard error se from n units has the interval

    estimate ± se·√( 2·(x + 1)/x · log(√(x + 1)/α) ),    x = nρ²

ρ says for how many units it is narrowest; it is fixed before the first look by the number of units planned, at which
the root is √y with y − log y = 1 − 2·log α: 3.04 for α = 0.05, where one single look would have 1.96. Ten times the
planned units cost 7 % of the width, a hundred times 18 %; a tenth of them 26 %, a hundredth nearly three times.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw

from service.experiments.report import Estimate

Values = NDArray[np.float64]

PLANNED: Final = 10_000
"""Units, of all that are compared, for which intervals are narrowest where nobody planned a number."""
LEAST_UNITS: Final = 100
"""n0: a variant with fewer units has no interval. The sequence is asymptotic: it needs sums that are nearly normal."""
LEAST_EFFECTIVE: Final = 20.0
"""Nor has a metric whose sum is made by fewer units than this, as (Σy)²/Σy² counts them: most units never buy."""


def tuned(alpha: float) -> float:
    """nρ² at the planned n: where the interval is narrowest (the equation above, by Lambert's W)."""
    return float(-lambertw(-(alpha**2) / np.e, -1).real - 1)


def factor(units: ArrayLike, alpha: float, planned: float = PLANNED, level: float | None = None) -> Values:
    """
    How many standard errors the interval reaches to either side.

    Args:
        units: n > 0 that the estimate is made of, any shape.
        alpha: how often any of all looks may miss the truth.
        planned: n at which it shall be narrowest.
        level: takes alpha's place, in a sequence that stays tuned for alpha: of one comparison among several.
    """
    x = tuned(alpha) * np.asarray(units, dtype=np.float64) / planned
    reach: Values = np.sqrt(2 * (x + 1) / x * np.log(np.sqrt(x + 1) / (level or alpha)))
    return reach


def p_value(z: ArrayLike, units: ArrayLike, alpha: float, planned: float = PLANNED) -> Values:
    """
    Always-valid p-value: the smallest level at which the interval leaves out what is `z` standard errors away.

    alpha: the level for which the sequence is tuned, whatever the p-value is compared with.
    """
    x = tuned(alpha) * np.asarray(units, dtype=np.float64) / planned
    p: Values = np.minimum(1.0, np.sqrt(x + 1) * np.exp(-(np.asarray(z) ** 2) * x / (2 * (x + 1))))
    return p


def interval(value: float, error: float, units: float, alpha: float, planned: float = PLANNED) -> Estimate:
    """The value with its interval. error: its standard error; where that is not known, neither is the interval."""
    if not np.isfinite(value):
        return Estimate(value=None, low=None, high=None)
    if not np.isfinite(error) or units <= 0:
        return Estimate(value=value, low=None, high=None)
    reach = float(factor(units, alpha, planned)) * error
    return Estimate(value=value, low=value - reach, high=value + reach)


def ratio(means: tuple[float, float], variances: tuple[float, float], shared: float, reach: float) -> Estimate:
    """
    The first mean as a share of the second, less 1, with the interval of Fieller's theorem: every r whose difference
    first − (1 + r)·second is within `reach` standard errors of 0. So it leaves 0 out exactly where the interval of the
    difference does, and it stays honest where the second mean is hardly known, which a linearised ratio does not.

    Source: Fieller 1954, "Some problems in interval estimation".

    Args:
        means: both at least 0.
        variances: squared standard errors; shared: their covariance.
        reach: `factor`.
    Returns: high None: nothing bounds it from above. low None as well: the ratio could be anything.
    """
    first, second = means
    value = first / second - 1 if second > 0 else None
    a = second**2 - reach**2 * variances[1]
    b = first * second - reach**2 * shared
    c = first**2 - reach**2 * variances[0]
    inside = b * b - a * c  # of the roots of a·ρ² − 2·b·ρ + c = 0, where ρ = 1 + r
    if a > 0 and np.isfinite(inside):
        root = np.sqrt(max(inside, 0.0))
        return Estimate(value=value, low=float((b - root) / a) - 1, high=float((b + root) / a) - 1)
    if a < 0 < c:  # outside of both roots, of which one is negative, as no share of a metric is
        return Estimate(value=value, low=float((b - np.sqrt(inside)) / a) - 1, high=None)
    return Estimate(value=value, low=None, high=None)
