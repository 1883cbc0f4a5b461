"""The metric over λ2 and the best λ2: against the formulas written out, and against curves whose best is known."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from numpy.typing import NDArray
from scipy.stats import multivariate_normal, norm

from causalrec.errors import ShapeError
from service.experiments import dose
from service.experiments.dose import advice, dose_response, dose_response_drawn
from service.experiments.intervals import factor
from service.experiments.report import DoseResponse

Values = NDArray[np.float64]
Curve = Callable[[Values], Values]

PRIMARY = "purchases_per_user"
DOSES = np.array([0.0, 0.4, 0.8, 1.2, 1.6])
MEANS = np.array([2.14, 2.18, 2.23, 2.30, 2.03])  # of a simulated shop whose best is 1.1
ALPHA = 0.05


def found(means: Values = MEANS, units: int = 10_000, lambda2: Values = DOSES) -> DoseResponse:
    """Of as many units per λ2, each with a standard deviation of 1."""
    errors = np.full(len(lambda2), np.sqrt(len(lambda2) / units))
    return dose_response(PRIMARY, lambda2, means, errors, units, ALPHA)


def width(response: DoseResponse) -> float:
    """Of the interval of the best."""
    assert response.best.low is not None
    assert response.best.high is not None
    return response.best.high - response.best.low


def matern(first: Values, second: Values, scale: float) -> Values:
    """The correlation of every pair, in plain loops."""
    values = np.empty((len(first), len(second)))
    for i, x in enumerate(first):
        for j, y in enumerate(second):
            r = 5**0.5 * abs(x - y) / scale
            values[i, j] = (1 + r + r * r / 3) * np.exp(-r)
    return values


class Written:
    """The same by the textbook: one joint normal of means and curve per pair of scale and amplitude, conditioned."""

    def __init__(self, means: Values, errors: Values, widening: float, grid: Values) -> None:
        self.parts = []
        level = np.average(means, weights=errors**-2)
        unit = np.sqrt(np.mean((means - level) ** 2) + np.mean(errors**2))
        for scale in dose.SCALES:
            for amplitude in dose.AMPLITUDES:
                everywhere = np.concatenate([DOSES, grid])
                joint = (amplitude * unit) ** 2 * matern(everywhere, everywhere, scale * 1.6) + (dose.LEVEL * unit) ** 2
                seen = joint[:5, :5]
                evidence = multivariate_normal(np.full(5, level), seen + np.diag(errors**2)).logpdf(means)
                gain = joint[5:, :5] @ np.linalg.inv(seen + np.diag((widening * errors) ** 2))
                self.parts.append((evidence, level + gain @ (means - level), joint[5:, 5:] - gain @ joint[:5, 5:]))
        weights = np.exp([part[0] for part in self.parts])
        self.weights = weights / weights.sum()

    def mean(self) -> Values:
        average: Values = np.sum([w * part[1] for w, part in zip(self.weights, self.parts, strict=True)], axis=0)
        return average

    def beats(self, first: int, second: int) -> float:
        """Probability that the curve is higher at the first point than at the second."""
        total = 0.0
        for w, (_, mean, covariance) in zip(self.weights, self.parts, strict=True):
            variance = covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]
            total += w * norm.cdf((mean[first] - mean[second]) / np.sqrt(variance))
        return float(total)


def test_the_curve_and_the_interval_are_those_of_the_formulas() -> None:
    """A mixture of Gaussian processes; the interval holds every λ2 that no other beats with 1 − α."""
    grid, errors = np.linspace(0, 1.6, 33), np.full(5, 0.02)
    widening = float(factor(12_500, ALPHA)) / norm.ppf(1 - ALPHA)
    written = Written(MEANS, errors, widening, grid)
    pairs = [max(written.beats(i, j) for i in range(33) if i != j) for j in range(33)]
    inside = grid[np.array(pairs) <= 1 - ALPHA]

    response = dose_response(PRIMARY, DOSES, MEANS, errors, 12_500, ALPHA)

    assert [point.lambda2 for point in response.curve] == pytest.approx(grid)
    assert [point.value for point in response.curve] == pytest.approx(written.mean(), abs=1e-4)
    assert (response.best.low, response.best.high) == pytest.approx((inside[0], inside[-1]))
    assert response.best.value == pytest.approx(grid[written.mean().argmax()])


def test_the_band_is_that_of_the_formulas() -> None:
    """The pointwise band reaches as far as 1 − α of one side with errors that are as wide as a confidence sequence."""
    grid, errors = np.linspace(0, 1.6, 33), np.full(5, 0.02)
    written = Written(MEANS, errors, float(factor(12_500, ALPHA)) / norm.ppf(1 - ALPHA), grid)
    parts = zip(written.weights, written.parts, strict=True)
    second = np.sum([w * (np.diag(covariance) + mean**2) for w, (_, mean, covariance) in parts], axis=0)
    reach = norm.ppf(1 - ALPHA) * np.sqrt(second - written.mean() ** 2)

    curve = dose_response(PRIMARY, DOSES, MEANS, errors, 12_500, ALPHA).curve

    assert [point.high - point.value for point in curve] == pytest.approx(reach, rel=1e-2)
    assert [point.value - point.low for point in curve] == pytest.approx(reach, rel=1e-2)


@pytest.mark.parametrize(("slope", "end"), [(0.2, 1.6), (-0.2, 0.0)])
def test_a_best_that_may_lie_beyond_the_range_touches_its_end(slope: float, end: float) -> None:
    """A curve that still rises at the end of the range tried is best there, as far as anybody knows."""
    best = found(2 + slope * DOSES, units=100_000).best

    assert end in (best.low, best.high)
    assert best.value == end


@pytest.mark.parametrize(
    ("means", "lambda2", "advised"),
    [
        (2 + 0.2 * DOSES, DOSES, ["It may lie beyond the range tried: try λ2 above 1.6, too."]),
        (2 - 0.2 * DOSES, DOSES + 0.4, ["It may lie beyond the range tried: try λ2 below 0.4, too."]),
        (2 - 0.2 * DOSES, DOSES, []),  # nothing is below 0
        (MEANS, DOSES, []),
        (
            np.array([1.84, 1.92, 2.02, 0.98, 0.30]),
            DOSES,
            ["As the means lie, more units alone tell little: try more λ2 around 0.70."],
        ),
    ],
)
def test_what_to_try_next_is_said(means: Values, lambda2: Values, advised: list[str]) -> None:
    """A wider range where the end may be best, closer λ2 where units alone would not tell, else nothing."""
    response = found(means, units=200_000, lambda2=lambda2)

    assert advice(response) == advised


def test_of_a_flat_curve_every_lambda2_may_be_the_best() -> None:
    """Nothing is known of what differs by less than its errors."""
    response = found(2 + 0.001 * default_rng(0).standard_normal(5), units=2000)

    assert (response.best.low, response.best.high) == (0.0, 1.6)
    assert not response.conclusive


def test_more_units_make_the_interval_narrow_and_conclusive() -> None:
    """The same means with smaller errors know better; the truth (1.1) stays inside."""
    few, many = found(units=2_000), found(units=50_000)

    assert width(many) < 0.5 < width(few)
    assert (few.conclusive, many.conclusive) == (False, True)
    assert many.units_needed is None
    assert many.best.low is not None
    assert many.best.high is not None
    assert many.best.low <= 1.1 <= many.best.high


def test_units_needed_are_enough_and_little_more_than_enough() -> None:
    """With the same means and so many units it would be conclusive; with two thirds of them not."""
    needed = found(units=3_000).units_needed

    assert needed is not None
    assert found(units=needed).conclusive
    assert not found(units=needed * 2 // 3).conclusive


def test_where_no_number_of_units_would_do_none_is_said() -> None:
    """Between λ2 that are 0.4 apart a cliff leaves open where the top is: only closer λ2 would tell."""
    response = found(np.array([1.84, 1.92, 2.02, 0.98, 0.30]), units=100_000)

    assert not response.conclusive
    assert response.units_needed is None


def test_a_range_all_of_which_may_be_best_is_not_conclusive_however_short() -> None:
    """Narrower than 0.5 because nobody tried more is no finding."""
    response = found(np.array([2.0, 2.0, 2.0]), lambda2=np.array([0.6, 0.7, 0.8]))

    assert width(response) < 0.5
    assert not response.conclusive


def test_of_a_metric_that_should_be_low_the_lowest_is_best() -> None:
    """Latency turned upside down is a metric that should be high: the same λ2, the band the other way round."""
    errors = np.full(5, 0.02)

    low = dose_response("latency", DOSES, 5 - MEANS, errors, 10_000, ALPHA)
    high = dose_response(PRIMARY, DOSES, MEANS, errors, 10_000, ALPHA)

    assert low.best == high.best
    assert [point.value for point in low.curve] == pytest.approx([5 - point.value for point in high.curve])
    assert all(point.low < point.value < point.high for point in low.curve)


@settings(deadline=None, max_examples=30)
@given(
    means=st.lists(st.floats(-3, 3), min_size=5, max_size=5),
    times=st.floats(1e-3, 1e3),
    more=st.floats(-5, 5),
    order=st.permutations(range(5)),
)
def test_neither_units_of_the_metric_nor_the_order_of_variants_matter(
    means: list[float], times: float, more: float, order: list[int]
) -> None:
    """Prices in cents or in euros, with or without a base fee: the best λ2 and its interval are the same."""
    y, errors = np.array(means), np.array([0.1, 0.2, 0.1, 0.3, 0.1])

    plain = dose_response(PRIMARY, DOSES, y, errors, 5000, ALPHA)
    other = dose_response(PRIMARY, DOSES[order], (times * (y + more))[order], times * errors[order], 5000, ALPHA)

    assert plain.best.low is not None
    assert plain.best.value is not None
    assert plain.best.high is not None
    assert 0.0 <= plain.best.low <= plain.best.value <= plain.best.high <= 1.6
    near = pytest.approx((plain.best.low, plain.best.high), abs=dose.STEP + 1e-6)  # the limit may fall to either side
    assert (other.best.low, other.best.high) == near


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_a_mean_without_an_error_is_left_out(bad: float) -> None:
    """A variant in which nobody bought yet has no error, and is no evidence of the least."""
    errors = np.full(5, 0.02)
    errors[0] = bad

    response = dose_response(PRIMARY, DOSES, MEANS, errors, 10_000, ALPHA)

    assert response == dose_response(PRIMARY, DOSES[1:], MEANS[1:], errors[1:], 10_000, ALPHA)
    assert response.curve[0].lambda2 == 0.4


def test_two_different_lambda2_make_no_curve() -> None:
    """An empty curve, no interval, no advice."""
    response = found(np.array([2.0, 2.1, 2.2]), lambda2=np.array([0.0, 0.8, 0.8]))

    assert response.curve == []
    assert (response.best.value, response.best.low, response.best.high) == (None, None, None)
    assert (response.conclusive, response.units_needed) == (False, None)
    assert advice(response) == []


def test_before_there_are_enough_units_there_is_no_interval() -> None:
    """100 for each λ2 are the least of which a mean is nearly normal."""
    assert found(units=499).best.value is None
    assert found(units=500).best.value is not None


def test_arrays_that_do_not_fit_are_refused() -> None:
    """The message names both shapes."""
    with pytest.raises(ShapeError, match=r"\(4,\).*\(5,\)"):
        dose_response(PRIMARY, DOSES, MEANS[:4], np.full(5, 0.1), 1000, ALPHA)
    with pytest.raises(ShapeError, match=r"\(3,\).*\(5,\)"):
        dose_response_drawn(PRIMARY, DOSES, MEANS[:3], ALPHA)


def test_looking_at_any_time_costs_width() -> None:
    """Errors grow by what a confidence sequence reaches further: least at the planned number of units."""
    errors, plans = np.full(5, 0.015), (100.0, 22_000.0, 10_000_000.0)

    less, right, more = (
        width(dose_response(PRIMARY, DOSES, MEANS, errors, 22_000, ALPHA, planned)) for planned in plans
    )

    assert right < min(less, more)


CURVES: dict[str, Curve] = {
    "a hill": lambda x: 2 - 0.3 * (x - 0.9) ** 2,
    "slowly up, suddenly down": lambda x: 2 + 0.1 * x - 0.5 * np.maximum(0, x - 1.05) ** 1.5,
    "a cliff": lambda x: (1.8 + 0.3 * x) / (1 + np.exp(12 * (x - 1.1))),
    "ever up": lambda x: 2 + 0.05 * x**2,
}


@pytest.mark.parametrize("name", CURVES)
def test_the_interval_contains_the_best_lambda2_however_many_units_there_are(name: str) -> None:
    """In at least 93 % of runs, at every number of units; the study of the simulated shop has more and worse curves."""
    rng, fine = default_rng(0), np.linspace(0, 1.6, 33)
    truth = fine[CURVES[name](fine).argmax()]
    for units in (1_000, 10_000, 100_000):
        error, held = np.sqrt(5 / units), 0
        for _ in range(60):
            best = found(CURVES[name](DOSES) + error * rng.standard_normal(5), units).best
            held += (best.low or 0.0) - 1e-6 <= truth <= (best.high or 0.0) + 1e-6
        assert held >= 56


def drawn(count: int, curve: Curve = CURVES["a hill"]) -> tuple[Values, Values]:
    """Units whose λ2 was drawn uniformly from [0, 1.6], and what they did."""
    rng = default_rng(1)
    lambda2 = rng.uniform(0, 1.6, count)
    return lambda2, curve(lambda2) + rng.standard_normal(count)


def test_the_best_of_a_drawn_lambda2_is_found() -> None:
    """Units with a λ2 each say as much as the means of their bins."""
    response = dose_response_drawn(PRIMARY, *drawn(100_000), ALPHA, between=(0.0, 1.6))

    assert response.conclusive
    assert response.best.low is not None
    assert response.best.high is not None
    assert response.best.low <= 0.9 <= response.best.high
    assert (response.curve[0].lambda2, response.curve[-1].lambda2) == (0.0, 1.6)


def test_a_drawn_lambda2_that_is_best_at_the_end_touches_it() -> None:
    """The range is that from which λ2 was drawn, not that of the bins' means."""
    best = dose_response_drawn(PRIMARY, *drawn(100_000, CURVES["ever up"]), ALPHA, between=(0.0, 1.6)).best

    assert best.high == 1.6


def test_few_drawn_units_make_no_curve() -> None:
    """Three bins of which each has enough units for a normal mean are the least."""
    assert dose_response_drawn(PRIMARY, *drawn(299), ALPHA).curve == []
    assert dose_response_drawn(PRIMARY, *drawn(300), ALPHA).curve != []
