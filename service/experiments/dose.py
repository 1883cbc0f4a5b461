"""
A metric as a function of λ2, and the λ2 at which it is best, from the means of a few λ2 or from many drawn ones.

The curve is a Gaussian process f over λ2 with an unknown level, seen at every λ2 with that mean's error:

    y_k = f(x_k) + ε_k,   ε_k ~ N(0, s_k²),   f ~ GP(level, a²·k(|x − x'|/ℓ)),   k: Matérn 5/2

How far (ℓ) and how much (a) it bends is not known either: every pair of SCALES × AMPLITUDES counts by how well it
explains the means (its evidence). Source: Rasmussen & Williams 2006, "Gaussian processes for machine learning",
equations 2.25, 2.26 and 2.30. Matérn 5/2, because curves of λ2 rise slowly and fall suddenly: the smoother squared
exponential is sure of the wrong top there (docs/results/experiments.md has what was tried).

The interval of the best λ2 inverts a test: it holds every λ2 that no other one beats with probability 1 − α. Errors
are widened first, so that it reaches as far as a confidence sequence (`intervals.factor`): it may be looked at any
time. It is of the best λ2 within the range tried; it touches the end of the range where the best may lie beyond it.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from causalrec.errors import ShapeError
from service.experiments.intervals import LEAST_UNITS, PLANNED, factor
from service.experiments.metrics import METRICS
from service.experiments.report import DosePoint, DoseResponse, Estimate

Values = NDArray[np.float64]

STEP: Final = 0.05
"""Of λ2, between the points of the curve: the interval's ends are known as well as that."""
NARROW: Final = 0.5
"""An interval of the best λ2 that is narrower is conclusive."""
LEAST_DOSES: Final = 3
SCALES: Final = np.array([0.25, 0.35, 0.5, 0.7, 1.0])
"""ℓ as shares of the range tried."""
AMPLITUDES: Final = np.array([0.1, 0.3, 1.0, 3.0])
"""a as multiples of how far the means lie from their mean."""
LEVEL: Final = 10.0
"""Standard deviation of the level, in the same multiples: it could be anywhere."""
BINS: Final = 16
MOST: Final = 1000
"""units_needed is looked for up to so many times the units there are."""


class Curves(NamedTuple):
    """The curve given the means, for every pair of scale and amplitude: H weights, means [H, G], covariances."""

    weights: Values
    means: Values
    covariances: Values

    def mean(self) -> Values:
        """[G], over all pairs."""
        expected: Values = self.weights @ self.means
        return expected

    def spread(self) -> Values:
        """Standard deviation [G], over all pairs."""
        variances = np.diagonal(self.covariances, axis1=1, axis2=2)
        total: Values = np.sqrt(self.weights @ (variances + (self.means - self.mean()) ** 2))
        return total

    def beaten(self) -> Values:
        """[G]: the probability that the point which most surely beats this one is better."""
        variances = np.diagonal(self.covariances, axis1=1, axis2=2)
        of_difference = variances[:, :, None] + variances[:, None, :] - 2 * self.covariances
        difference = self.means[:, :, None] - self.means[:, None, :]
        z = difference / np.sqrt(np.maximum(of_difference, 1e-12 * variances.max()))
        better = np.einsum("h,hij->ij", self.weights, ndtr(z))
        surest: Values = better.max(axis=0)
        return surest


class Doses(NamedTuple):
    """What is known: means [K] at λ2 [K] with their errors [K], and the range tried."""

    lambda2: Values
    means: Values
    errors: Values
    low: float
    high: float

    def grid(self) -> Values:
        """The λ2 of the curve, [G]: the range in equal steps of about STEP."""
        return np.linspace(self.low, self.high, max(10, round((self.high - self.low) / STEP)) + 1)


def dose_response(
    metric: str,
    lambda2: ArrayLike,
    means: ArrayLike,
    errors: ArrayLike,
    units: int,
    alpha: float,
    planned: float = PLANNED,
    between: tuple[float, float] | None = None,
) -> DoseResponse:
    """
    The metric over λ2 from independent means, and the best λ2.

    Args:
        lambda2, means, errors: [K]; errors are standard errors of one look. What is not finite is left out.
        units: of all doses together.
        planned: units at which the interval is narrowest (`intervals.factor`).
        between: the range tried; None: from the smallest λ2 to the greatest.
    Returns: an empty curve and no interval where fewer than LEAST_DOSES different λ2 have a mean with an error, or
    there are fewer than LEAST_UNITS for each.
    Raises: ShapeError.
    """
    x, y, s = (np.asarray(values, dtype=np.float64) for values in (lambda2, means, errors))
    if not x.ndim == 1 or not x.shape == y.shape == s.shape:
        raise ShapeError(f"means {y.shape} and errors {s.shape} at λ2 {x.shape}: give one of each per λ2")
    known = np.isfinite(y) & np.isfinite(s) & (s > 0)
    x, y, s = x[known], y[known], s[known]
    nothing = Estimate(value=None, low=None, high=None)
    if len(np.unique(x)) < LEAST_DOSES or units < LEAST_UNITS * len(x):
        return DoseResponse(metric=metric, curve=[], best=nothing, conclusive=False, units_needed=None)
    sign = 1.0 if METRICS[metric].better == "higher" else -1.0
    low, high = between or (float(x.min()), float(x.max()))
    doses = Doses(x, sign * y, s, low, high)
    curves = _curves(doses, _widening(units, alpha, planned))
    best = _best(doses, curves, alpha)
    conclusive = _conclusive(doses, best)
    return DoseResponse(
        metric=metric,
        curve=_points(doses, curves, alpha, sign),
        best=best,
        conclusive=conclusive,
        units_needed=None if conclusive else _units_needed(doses, units, alpha, planned),
    )


def dose_response_drawn(
    metric: str,
    lambda2: ArrayLike,
    outcome: ArrayLike,
    alpha: float,
    planned: float = PLANNED,
    between: tuple[float, float] | None = None,
) -> DoseResponse:
    """
    As `dose_response`, from units [n] whose λ2 was drawn uniformly: of up to BINS bins with as many units each, the
    mean outcome at the mean λ2.

    Raises: ShapeError.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (lambda2, outcome))
    if not x.ndim == 1 or x.shape != y.shape:
        raise ShapeError(f"outcomes {y.shape} at λ2 {x.shape}: give one of each per unit")
    bins = min(BINS, len(x) // LEAST_UNITS)
    if bins < LEAST_DOSES:
        return dose_response(metric, (), (), (), len(x), alpha)
    chunks = np.array_split(np.argsort(x, kind="stable"), bins)
    at, means = (np.array([values[chunk].mean() for chunk in chunks]) for values in (x, y))
    errors = [y[chunk].std(ddof=1) / np.sqrt(len(chunk)) for chunk in chunks]
    tried = between or (float(x.min()), float(x.max()))
    return dose_response(metric, at, means, errors, len(x), alpha, planned, tried)


def advice(found: DoseResponse) -> list[str]:
    """What to try next, in sentences: λ2 beyond the range, where its end may be best; λ2 closer to each other."""
    best, said = found.best, []
    if best.value is None or not found.curve:
        return []
    first, last = found.curve[0].lambda2, found.curve[-1].lambda2
    if best.high == last and best.low != first:
        said.append(f"It may lie beyond the range tried: try λ2 above {last:g}, too.")
    if best.low == first and best.high != last and first > 0:
        said.append(f"It may lie beyond the range tried: try λ2 below {first:g}, too.")
    if not found.conclusive and found.units_needed is None:
        said.append(f"As the means lie, more units alone tell little: try more λ2 around {best.value:.2f}.")
    return said


def _widening(units: float, alpha: float, planned: float) -> float:
    """By how much errors grow, so that 1 − α of one side is as far as the confidence sequence reaches."""
    return float(factor(units, alpha, planned) / ndtri(1 - alpha))


def _curves(doses: Doses, widening: float) -> Curves:
    """The posterior with widened errors; how much a curve bends is judged by the errors as they are."""
    centred = doses.means - np.average(doses.means, weights=doses.errors**-2)
    unit = np.sqrt(np.mean(centred**2) + np.mean(doses.errors**2))
    y, s, grid = centred / unit, doses.errors / unit, doses.grid()
    prior = [_prior(doses, *at) for at in ((doses.lambda2, doses.lambda2), (grid, doses.lambda2), (grid, grid))]
    weights = _evidence(prior[0], y, s)
    seen, across, shown = (covariance[weights > 1e-4] for covariance in prior)
    weights = weights[weights > 1e-4] / weights[weights > 1e-4].sum()
    solved = np.linalg.solve(seen + np.diag((widening * s) ** 2), np.swapaxes(across, 1, 2))
    covariances = shown - across @ solved
    means = np.einsum("hkg,k->hg", solved, y)
    level = np.average(doses.means, weights=doses.errors**-2)
    return Curves(weights, level + unit * means, unit**2 * covariances)


def _prior(doses: Doses, first: Values, second: Values) -> Values:
    """Covariances of the curve at `first` [F] with it at `second` [S], for every pair: [H, F, S]."""
    apart = np.abs(first[:, None] - second) / (doses.high - doses.low)
    r = np.sqrt(5) * apart / SCALES[:, None, None]
    matern = (1 + r + r**2 / 3) * np.exp(-r)
    pairs = matern[:, None] * (AMPLITUDES**2)[None, :, None, None]
    covariances: Values = pairs.reshape(-1, *apart.shape) + LEVEL**2
    return covariances


def _evidence(prior: Values, y: Values, s: Values) -> Values:
    """Weight [H] of every pair: the density of the means under it, over the sum of all."""
    covariances = prior + np.diag(s**2)
    fit = np.einsum(
        "k,hk->h", y, np.linalg.solve(covariances, np.broadcast_to(y[:, None], (len(prior), len(y), 1)))[..., 0]
    )
    log = -(fit + np.linalg.slogdet(covariances)[1]) / 2
    density = np.exp(log - log.max())
    weights: Values = density / density.sum()
    return weights


def _best(doses: Doses, curves: Curves, alpha: float) -> Estimate:
    grid, top = doses.grid(), int(curves.mean().argmax())
    inside = np.flatnonzero(curves.beaten() <= 1 - alpha)
    first, last = min(top, *inside[:1]), max(top, *inside[-1:])
    low, value, high = (round(float(grid[at]), 6) for at in (first, top, last))
    return Estimate(value=value, low=low, high=high)


def _conclusive(doses: Doses, best: Estimate) -> bool:
    """Narrower than NARROW, and than the range itself: a range all of which may be best has told nothing."""
    if best.low is None or best.high is None:
        return False
    width = best.high - best.low
    return width < NARROW - 1e-6 and width < doses.high - doses.low - 1e-6


def _points(doses: Doses, curves: Curves, alpha: float, sign: float) -> list[DosePoint]:
    """The curve with its pointwise band, which reaches as far as the interval does."""
    mean, reach = curves.mean(), ndtri(1 - alpha) * curves.spread()
    lows, highs = np.sort([sign * (mean - reach), sign * (mean + reach)], axis=0)
    rows = zip(doses.grid(), sign * mean, lows, highs, strict=True)
    return [DosePoint(lambda2=round(float(at), 6), value=float(v), low=float(a), high=float(b)) for at, v, a, b in rows]


def _units_needed(doses: Doses, units: int, alpha: float, planned: float) -> int | None:
    """
    At how many units the interval would be conclusive if the means stayed what they are and their errors shrank; None
    where it would not be at MOST times as many.
    """

    def enough(times: float) -> bool:
        later = doses._replace(errors=doses.errors / np.sqrt(times))
        return _conclusive(later, _best(later, _curves(later, _widening(times * units, alpha, planned)), alpha))

    times = 1.0
    while not enough(times := times * 2):
        if times >= MOST:
            return None
    low, high = times / 2, times
    for _ in range(3):
        middle = np.sqrt(low * high)
        low, high = (low, middle) if enough(middle) else (middle, high)
    return int(np.ceil(high * units))
