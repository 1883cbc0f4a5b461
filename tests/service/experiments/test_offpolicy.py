"""What another λ2 would have done: against closed forms, plain loops and worlds whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from causalrec.errors import ShapeError
from service.experiments.offpolicy import FOLDS, off_policy
from service.experiments.report import Estimate, OffPolicyPoint

Floats = NDArray[np.float64]
LOW, HIGH = 0.0, 2.0
TARGETS = (0.0, 0.1, 0.8, 1.3, 2.0)


def truth(lambda2: Floats | float) -> Floats:
    """Purchases per user of a dose: best at 0.8."""
    return np.asarray(0.6 - 0.2 * (np.asarray(lambda2) - 0.8) ** 2)


def uniform(n: int) -> Floats:
    """The density of a uniform draw."""
    return np.full(n, 1 / (HIGH - LOW))


def even(n: int) -> Floats:
    """λ2 of a log so even that sums over it are integrals: midpoints."""
    return LOW + (HIGH - LOW) * (np.arange(n) + 0.5) / n


def points(
    lambda2: Floats, reward: Floats, density: Floats | None = None, known: Floats | None = None
) -> list[OffPolicyPoint]:
    """The estimates at TARGETS."""
    density = uniform(len(reward)) if density is None else density
    return off_policy(lambda2, density, reward, TARGETS, 0.05, (LOW, HIGH), known)


def value(estimate: Estimate) -> float:
    assert estimate.value is not None
    return estimate.value


def covers(estimate: Estimate, true: float) -> bool:
    """The interval holds the truth."""
    assert estimate.low is not None
    assert estimate.high is not None
    return bool(estimate.low <= true <= estimate.high)


def kernel_by_loop(lambda2: float, target: float, h: float) -> float:
    """The boundary kernel from its two conditions, with moments by quadrature."""
    grid = np.linspace(max(LOW, target - h), min(HIGH, target + h), 20_001)
    shape = 0.75 * (1 - ((grid - target) / h) ** 2)
    a0, a1, a2 = (np.trapezoid(shape * (grid - target) ** power, grid) for power in range(3))
    c0, c1 = np.linalg.solve([[a0, a1], [a1, a2]], [1, 0])
    inside = abs(lambda2 - target) < h
    return float(0.75 * (1 - ((lambda2 - target) / h) ** 2) * (c0 + c1 * (lambda2 - target))) if inside else 0.0


def test_both_estimates_are_those_of_plain_loops() -> None:
    """Float64, unit by unit: kernel by quadrature, outcome model by least squares without the unit's fold."""
    rng = np.random.default_rng(0)
    n = 400
    lambda2, known = rng.uniform(LOW, HIGH, n), rng.poisson(2, (n, 2)).astype(float)
    reward = truth(lambda2) + 0.1 * known[:, 0] * lambda2 + rng.standard_normal(n)
    h = 0.7 * (HIGH - LOW) * n**-0.25

    def features(x: Floats, at: float) -> list[float]:
        return [1, at, at**2, at**3, *x, *(x * at)]

    found = points(lambda2, reward, known=known)

    design = np.array([features(x, at) for x, at in zip(known, lambda2, strict=True)])
    folds = np.arange(n) % FOLDS
    fits = [np.linalg.lstsq(design[folds != fold], reward[folds != fold])[0] for fold in range(FOLDS)]
    for point, target in zip(found, TARGETS, strict=True):
        weights, guesses, rest, total = [], 0.0, 0.0, 0.0
        for i in range(n):
            weights.append(kernel_by_loop(lambda2[i], target, h) * (HIGH - LOW))
            guesses += float(np.dot(fits[i % FOLDS], features(known[i], target))) / n
            rest += weights[i] * (reward[i] - float(np.dot(fits[i % FOLDS], design[i])))
            total += weights[i] * reward[i]
        effective = sum(weights) ** 2 / sum(weight**2 for weight in weights)
        assert point.effective_units == pytest.approx(effective, rel=1e-4)
        if effective >= 20:
            assert value(point.snips) == pytest.approx(total / sum(weights), rel=1e-4)
            assert value(point.doubly_robust) == pytest.approx(guesses + rest / sum(weights), rel=1e-4)


def test_a_straight_line_is_found_exactly_up_to_the_ends_of_the_range() -> None:
    """The kernel has no first-order bias anywhere: a plain kernel is off by 3/16·h at the ends."""
    lambda2 = even(20_000)

    found = points(lambda2, 3 - 1.5 * lambda2)

    for point, target in zip(found, TARGETS, strict=True):
        assert value(point.snips) == pytest.approx(3 - 1.5 * target, abs=1e-3)


def test_smoothing_is_off_by_what_the_docstring_says_and_the_outcome_model_takes_it_away() -> None:
    """Inside the range SNIPS of a parabola is h²·m″/10 too low; the doubly robust estimate is exact."""
    n = 20_000
    h = 0.7 * (HIGH - LOW) * n**-0.25

    found = points(even(n), truth(even(n)))[2]

    assert value(found.snips) - truth(0.8) == pytest.approx(-0.4 * h**2 / 10, rel=0.01)
    assert value(found.doubly_robust) == pytest.approx(float(truth(0.8)), abs=1e-9)


def test_equal_rewards_are_found_exactly_and_densities_count_only_by_their_ratios() -> None:
    """Self-normalised: neither chance nor the unit of the density can move a constant."""
    rng = np.random.default_rng(1)
    lambda2 = rng.uniform(LOW, HIGH, 2000)
    reward = rng.poisson(0.5, 2000).astype(float)

    constant = points(lambda2, np.full(2000, 7.0))
    straight, scaled = points(lambda2, reward), points(lambda2, reward, 40 * uniform(2000))

    assert all(value(point.snips) == pytest.approx(7) for point in constant)
    assert all(value(point.doubly_robust) == pytest.approx(7) for point in constant)
    assert [value(p.snips) for p in scaled] == pytest.approx([value(p.snips) for p in straight])


def test_the_density_matters() -> None:
    """λ2 drawn mostly near 0 says the same as a uniform draw, for the log knows how it was drawn."""
    scaled = 1 - np.sqrt(1 - 0.96 * even(4000) / HIGH)  # density falls in a line, to a fifth
    lambda2, range_ = HIGH * scaled, (LOW, 0.8 * HIGH)
    density = (1 - scaled) / 0.96

    with_it = off_policy(lambda2, density, 3 - 1.5 * lambda2, [0.4, 1.2], 0.05, range_)
    without = off_policy(lambda2, uniform(4000), 3 - 1.5 * lambda2, [0.4, 1.2], 0.05, range_)

    assert [value(point.snips) for point in with_it] == pytest.approx([2.4, 1.2], abs=1e-3)
    assert min(value(p.snips) - 3 + 1.5 * t for p, t in zip(without, (0.4, 1.2), strict=True)) > 0.002


@pytest.mark.parametrize("estimate", ["snips", "doubly_robust"])
def test_intervals_hold_the_truth(estimate: str) -> None:
    """300 logs of 2,500 units with a long-tailed reward: at each λ2 at least 95 % of the intervals do."""
    rng = np.random.default_rng(3)
    hits = np.zeros(len(TARGETS))

    for _ in range(300):
        lambda2 = rng.uniform(LOW, HIGH, 2500)
        reward = rng.poisson(truth(lambda2)) * rng.lognormal(-0.125, 0.5, 2500)
        found = points(lambda2, reward)
        hits += [covers(getattr(p, estimate), float(truth(t))) for p, t in zip(found, TARGETS, strict=True)]

    assert hits.min() >= 0.95 * 300
    assert hits.mean() < 300  # an interval that is never wrong says nothing


def test_standard_errors_are_those_of_repetition() -> None:
    """The half width, divided by the interval's factor, is the spread of the estimates over 400 logs."""
    rng = np.random.default_rng(4)
    values, halves = [], []

    for _ in range(400):
        lambda2 = rng.uniform(LOW, HIGH, 2000)
        found = points(lambda2, truth(lambda2) + rng.standard_normal(2000))[2]
        values.append([value(found.snips), value(found.doubly_robust)])
        halves.append([e.high - e.value for e in (found.snips, found.doubly_robust)])  # type: ignore[operator]

    factor = 3.35  # intervals.factor(2000, 0.05)
    assert np.mean(halves, axis=0) / factor == pytest.approx(np.std(values, axis=0), rel=0.1)


def test_what_was_known_of_the_units_makes_the_doubly_robust_interval_narrower() -> None:
    """Past purchases foretell most of the reward: the outcome model takes that spread away."""
    rng = np.random.default_rng(5)
    lambda2, known = rng.uniform(LOW, HIGH, 4000), rng.standard_normal((4000, 1))
    reward = truth(lambda2) + 2 * known[:, 0] + 0.5 * rng.standard_normal(4000)

    found = points(lambda2, reward, known=known)[2]

    def width(estimate: Estimate) -> float:
        return estimate.high - estimate.low  # type: ignore[operator]

    assert covers(found.doubly_robust, 0.6)
    assert width(found.doubly_robust) < 0.6 * width(found.snips)


def test_an_outcome_model_that_is_wrong_does_no_harm() -> None:
    """A step is no cubic: away from the step both estimates are right, for q is known."""
    rng = np.random.default_rng(6)
    lambda2 = rng.uniform(LOW, HIGH, 100_000)
    reward = (lambda2 > 1) + 0.1 * rng.standard_normal(100_000)

    found = off_policy(lambda2, uniform(100_000), reward, [0.7, 1.3], 0.05, (LOW, HIGH))

    for point, true in zip(found, (0, 1), strict=True):
        assert value(point.snips) == pytest.approx(true, abs=0.02)
        assert value(point.doubly_robust) == pytest.approx(true, abs=0.02)


def test_too_few_units_or_buyers_are_thin_and_still_fewer_say_nothing() -> None:
    """Of many units with enough buyers the estimate is solid; of the same with 40 buyers or of 60 thin; of 12 empty."""
    rng = np.random.default_rng(7)
    lambda2 = rng.uniform(LOW, HIGH, 5000)
    often, rarely = (np.arange(5000) % 5 == 0).astype(float), (np.arange(5000) % 125 == 0).astype(float)

    solid, rare, few = (points(lambda2[:n], y[:n])[2] for n, y in ((5000, often), (5000, rarely), (12, often)))
    sparse = points(lambda2[:60], np.ones(60))[2]

    assert not solid.thin
    assert rare.thin
    assert rare.snips.low is not None
    assert sparse.thin
    assert 20 < sparse.effective_units < 100
    assert sparse.snips.low is not None
    assert few.thin
    assert (few.snips.value, few.doubly_robust.high) == (None, None)
    assert few.effective_units < 20


def test_nothing_is_said_outside_of_the_range_or_of_nobody() -> None:
    """A λ2 that nobody could get is not extrapolated to."""
    lambda2 = even(1000)

    outside = off_policy(lambda2, uniform(1000), truth(lambda2), [-0.1, 2.1], 0.05)
    nobody = off_policy(lambda2[:0], lambda2[:0], lambda2[:0], [0.5], 0.05, (LOW, HIGH))

    for point in (*outside, *nobody):
        assert (point.snips.value, point.doubly_robust.value, point.effective_units) == (None, None, 0)
        assert point.thin


def test_a_log_that_cannot_be_is_refused() -> None:
    """Arrays that do not fit, and densities that nobody could draw from, are named."""
    ones = np.ones(5)

    with pytest.raises(ShapeError, match=r"\(4,\)"):
        off_policy(ones, ones[:4], ones, [1.0], 0.05)
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        off_policy(ones, ones, ones[:3], [1.0], 0.05)
    with pytest.raises(ValueError, match=r"density 0\.0.*leave overrides out"):
        off_policy(ones, np.array([1, 1, 1, 0, 1.0]), ones, [1.0], 0.05)
