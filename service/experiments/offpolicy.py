"""
What one λ2 would have done, from units whose λ2 was drawn at random; and fair means where the shares of variants moved.

A unit is weighted by how unlikely it was to get what it got: inverse propensity weighting, self-normalised (SNIPS).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from causalrec.errors import ShapeError
from service.experiments.intervals import LEAST_EFFECTIVE, LEAST_UNITS, PLANNED, interval
from service.experiments.report import Estimate, OffPolicyPoint

Floats = NDArray[np.float64]
NARROW: Final = 0.7
"""In the bandwidth: in the simulated shop smoothing is then about 0.2 standard errors at 2,000 units; 1 made it 0.5."""
FOLDS: Final = 5
"""The outcome model of a unit is fitted without its fold; row i is of fold i mod 5."""


class Weighted(NamedTuple):
    """A weighted mean, its standard error (NaN below two units), and how many equally weighted units say as much."""

    mean: float
    error: float
    effective: float


def weighted_mean(
    values: Floats, propensity: Floats, per: Floats | None = None, who: NDArray[np.int64] | None = None
) -> Weighted:
    """
    SNIPS mean of one variant over all versions of a tuned experiment: Σ yᵢ/pᵢ / Σ 1/pᵢ.

    Why not the plain mean: the share of a variant follows what was seen of it. Its units then come mostly from times
    at which it got a large share, so that a weekend or a lucky start counts more for one variant than for another:
    plain means are compared between different times, and even in a steady world they are too low on average (Nie et
    al. 2018). Over 1/p each version counts as often as it had units, for every variant alike; a floor under p keeps
    the weights bounded and the mean asymptotically normal (Hadad et al. 2021).
    Source: Swaminathan & Joachims 2015, "The self-normalized estimator for counterfactual learning"; standard error
    by linearisation.

    Args:
        values: y [n], of the variant's units only.
        propensity: p [n], the variant's share in the version that each was exposed to, in (0, 1].
        per: d [n], denominators of a ratio metric: Σ y/p / Σ d/p.
        who: [n], which rows are of one unit, which comes again in later versions: they are not independent.
    Returns: NaN without units, or where the denominators are 0.
    Raises: ShapeError; ValueError where a propensity is not above 0.
    """
    weights = 1 / _positive("propensity", propensity, values)
    counted = weights if per is None else weights * per
    total = counted.sum()
    if not total > 0:
        return Weighted(np.nan, np.nan, 0.0)
    mean = (weights * values).sum() / total
    influence = (weights * values - counted * mean) / total
    if who is not None:
        influence = np.bincount(np.unique(who, return_inverse=True)[1], weights=influence)
    n = len(influence)
    error = np.sqrt((influence**2).sum() * n / (n - 1)) if n > 1 else np.nan
    return Weighted(float(mean), float(error), _effective(weights))


def off_policy(
    lambda2: Floats,
    density: Floats,
    reward: Floats,
    targets: Sequence[float],
    alpha: float,
    between: tuple[float, float] | None = None,
    known: Floats | None = None,
    planned: float = PLANNED,
) -> list[OffPolicyPoint]:
    """
    E[reward] had every unit been served at t, for every t of `targets`, from units whose λ2 was drawn.

        wᵢ = K*((λᵢ − t)/h) / (h·qᵢ)                                          K*: Epanechnikov
        SNIPS            θ(t) = Σ wᵢ·yᵢ / Σ wᵢ
        doubly robust    θ(t) = mean m(xᵢ, t) + Σ wᵢ·(yᵢ − m(xᵢ, λᵢ)) / Σ wᵢ

    m: least squares over λ2 (cubic), what was known of the unit, and their products, cross-fitted. Since q is known,
    both are consistent whatever m is; a good m takes variance and smoothing bias away.
    Source: Kallus & Zhou 2018, "Policy evaluation and optimization with continuous treatments";
    Swaminathan & Joachims 2015 for the normalisation; Kennedy et al. 2017 for the doubly robust form.

    Beware of smoothing: units near t speak for t, so that SNIPS estimates m averaged over ±h, not m(t): off by about
    h²·m″(t)/10, downwards at a peak. Three things keep that small. h = 0.7·width·n^(−1/4) falls faster than the
    n^(−1/5) of least squared error, so the bias vanishes against the standard error, though slowly. At the ends of the
    range, where half of the neighbours are missing, K* is the boundary kernel of Jones 1993, whose bias is of order h²
    too, not h. And the doubly robust estimate is off by the curvature that m misses only. An effect narrower than h is
    not seen by either.

    Args:
        lambda2, density, reward: λ, q > 0 and y of each unit, [n].
        between: the range λ2 was drawn from; without it that of `lambda2`.
        known: x [n, c], what was known of the units before.
        planned: units for which the intervals are narrowest.
    Returns: estimates of None where t is outside the range or fewer than LEAST_EFFECTIVE effective units are near it;
        `thin` below LEAST_UNITS, or where fewer than LEAST_EFFECTIVE of them had a reward. Intervals are those of
        every look (see intervals), though a bandwidth that shrinks between looks is beyond its theorem: measured, by
        benchmarks.experiments.beyond.
    Raises: ShapeError; ValueError where a density is not above 0.
    """
    _positive("density", density, lambda2)
    if lambda2.shape != reward.shape or (known is not None and known.shape[:1] != reward.shape):
        shapes = (lambda2.shape, reward.shape, None if known is None else known.shape)
        raise ShapeError(f"lambda2, reward and known of shapes {shapes}: give one of each per unit")
    if not len(reward):
        return [_nothing(target, 0.0) for target in targets]
    low, high = between or (float(lambda2.min()), float(lambda2.max()))
    kernel = _Kernel(low, high, NARROW * max(high - low, 1e-9) * max(len(reward), 16) ** -0.25)
    model = _Outcome(lambda2, reward, low, high, known)
    return [_point(target, kernel, model, density, (alpha, planned)) for target in targets]


class _Kernel(NamedTuple):
    """K* of a range and a bandwidth."""

    low: float
    high: float
    width: float

    def weights(self, lambda2: Floats, target: float) -> Floats:
        """K*((λ − t)/h)/h [n]: integrates to 1 over the range and to 0 times (λ − t)."""
        u = (lambda2 - target) / self.width
        left, right = max(-1.0, (self.low - target) / self.width), min(1.0, (self.high - target) / self.width)
        a0, a1, a2 = (_moment(power, right) - _moment(power, left) for power in range(3))
        bent = (a2 - a1 * u) / (a0 * a2 - a1 * a1)
        return np.where(np.abs(u) < 1, 0.75 * (1 - u * u) * bent, 0.0) / self.width


def _moment(power: int, u: float) -> float:
    """∫ ¾(1 − u²)·u^power."""
    return 0.75 * (u ** (power + 1) / (power + 1) - u ** (power + 3) / (power + 3))


class _Outcome:
    """
    The cross-fitted outcome model over the units of a log. Features φ(x, λ): 1, s, s², s³, x and x·s, where s is λ2
    scaled to [−1, 1] and x is standardised. Gram matrices add up, so a fold is left out by subtracting it.
    """

    def __init__(self, lambda2: Floats, reward: Floats, low: float, high: float, known: Floats | None) -> None:
        self.lambda2, self.reward = lambda2, reward
        self._middle, self._half = (low + high) / 2, max((high - low) / 2, 1e-9)
        x = np.zeros((len(reward), 0)) if known is None else known
        spread = x.std(axis=0)
        self._x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        self._fold = np.arange(len(reward)) % FOLDS
        design = self._features(lambda2)
        folds = [design[fold::FOLDS] for fold in range(FOLDS)]
        grams = np.array([rows.T @ rows for rows in folds])
        sides = np.array([rows.T @ reward[fold::FOLDS] for fold, rows in enumerate(folds)])
        left = zip(grams.sum(axis=0) - grams, sides.sum(axis=0) - sides, strict=True)
        self._fits = np.array([np.linalg.pinv(gram, hermitian=True) @ side for gram, side in left])
        self.residual = reward - self._predicted(design)

    def at(self, target: float) -> Floats:
        """m(xᵢ, t) [n]."""
        return self._predicted(self._features(np.full(len(self.reward), target)))

    def _features(self, lambda2: Floats) -> Floats:
        s = ((lambda2 - self._middle) / self._half)[:, None]
        return np.hstack([s**0, s, s**2, s**3, self._x, self._x * s])

    def _predicted(self, design: Floats) -> Floats:
        predicted: Floats = np.einsum("nf,nf->n", design, self._fits[self._fold])
        return predicted


def _point(
    target: float, kernel: _Kernel, model: _Outcome, density: Floats, level: tuple[float, float]
) -> OffPolicyPoint:
    if not kernel.low <= target <= kernel.high:
        return _nothing(target, 0.0)
    weights = kernel.weights(model.lambda2, target) / density
    effective = _effective(weights)
    if weights.sum() <= 0 or effective < LEAST_EFFECTIVE:
        return _nothing(target, effective)
    weights /= weights.mean()
    plain = (weights * model.reward).mean()
    guess, correction = model.at(target), (weights * model.residual).mean()
    # Of a hundred units of whom two bought, no normal interval holds: units with a reward are counted too.
    thin = effective < LEAST_UNITS or _effective(weights[model.reward != 0]) < LEAST_EFFECTIVE
    return OffPolicyPoint(
        lambda2=target,
        snips=_estimate(plain + weights * (model.reward - plain), *level),
        doubly_robust=_estimate(guess + correction + weights * (model.residual - correction), *level),
        effective_units=effective,
        thin=thin,
    )


def _estimate(scores: Floats, alpha: float, planned: float) -> Estimate:
    """The mean of one score per unit, with its interval."""
    error = scores.std(ddof=1) / np.sqrt(len(scores))
    return interval(float(scores.mean()), float(error), len(scores), alpha, planned)


def _nothing(target: float, effective: float) -> OffPolicyPoint:
    none = Estimate(value=None, low=None, high=None)
    return OffPolicyPoint(lambda2=target, snips=none, doubly_robust=none, effective_units=effective, thin=True)


def _effective(weights: Floats) -> float:
    """Kish's (Σw)²/Σw²."""
    squares = (weights**2).sum()
    return float(weights.sum() ** 2 / squares) if squares > 0 else 0.0


def _positive(name: str, values: Floats, beside: Floats) -> Floats:
    if values.shape != beside.shape:
        raise ShapeError(f"{name} of shape {values.shape} beside values of shape {beside.shape}: give one per unit")
    if len(values) and not values.min() > 0:
        raise ValueError(f"{name} {values.min()}: what was served had a chance above 0; leave overrides out")
    return values
