"""The intervals of a report, beside the truth and beside what was served."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from training.experiments.traffic import OUTSIDE, Sums, Totals
from training.experiments.truth import Brings, Truth

Json = Mapping[str, Any]


class Measure(NamedTuple):
    """What a metric is made of: per list, or per click; per_user: of all of a user's visits together."""

    numerator: Brings
    denominator: Brings | None
    per_user: bool


METRICS: Final[Mapping[str, Measure]] = {
    "purchases_per_user": Measure("purchases", None, per_user=True),
    "revenue_per_user": Measure("revenue", None, per_user=True),
    "clicks_per_user": Measure("clicks", None, per_user=True),
    "purchases_per_list": Measure("purchases", None, per_user=False),
    "click_through": Measure("clicks", None, per_user=False),
    "purchases_per_click": Measure("purchases", "clicks", per_user=False),
}
"""The metrics that have a truth."""


class Check(NamedTuple):
    """
    One interval. truth: of the lists before the traffic, over everybody. served: the same of the lists that went out;
    None where they are no one λ2's.
    """

    what: str
    metric: str
    low: float
    high: float
    truth: float
    served: float | None

    def holds(self, value: float | None) -> bool:
        """Whether `value` lies in the interval."""
        return value is not None and self.low <= value <= self.high


def checks(report: Json, truth: Truth, totals: Totals) -> list[Check]:
    """Every interval of the report of which the truth is known."""
    return [*_lifts(report, truth, totals), *_best(report, truth), *_points(report, truth, totals)]


def _lifts(report: Json, truth: Truth, totals: Totals) -> Iterator[Check]:
    lambda2 = {each["variant"]: each["lambda2"] for each in report["variants"]}
    for each in report["comparisons"]:
        pair = each["variant"], each["control"]
        if each["metric"] in METRICS and not {None} & {lambda2[name] for name in pair} and _there(each["lift"]):
            measure = METRICS[each["metric"]]
            true = [_true(truth, measure, lambda2[name]) for name in pair]
            served = [_served(totals, measure, name) for name in pair]
            yield Check(
                f"lift of {pair[0]}",
                each["metric"],
                each["lift"]["low"],
                each["lift"]["high"],
                true[0] / true[1] - 1,
                served[0] / served[1] - 1,
            )


def _best(report: Json, truth: Truth) -> Iterator[Check]:
    for each in report["dose_response"]:
        measure = METRICS.get(each["metric"])
        if measure is not None and measure.denominator is None and _there(each["best"]):
            low, high = each["curve"][0]["lambda2"], each["curve"][-1]["lambda2"]
            best = truth.best(low, high, measure.numerator)
            yield Check("best λ2", each["metric"], each["best"]["low"], each["best"]["high"], best, None)


def _points(report: Json, truth: Truth, totals: Totals) -> Iterator[Check]:
    measure = METRICS.get(report["primary"])
    if measure is None:
        return
    users = sum(len(users) for variant, users in totals.users.items() if variant != OUTSIDE)
    visits = totals.inside / users if measure.per_user and users else 1.0
    for point in report["off_policy"]:
        for name in ("snips", "doubly_robust"):
            if _there(point[name]):
                wanted = visits * _true(truth, measure, point["lambda2"])
                ends = point[name]["low"], point[name]["high"]
                yield Check(f"λ2 = {point['lambda2']:g} by {name}", report["primary"], *ends, wanted, None)


def _there(estimate: Mapping[str, float | None]) -> bool:
    return estimate["low"] is not None and estimate["high"] is not None


def _true(truth: Truth, measure: Measure, lambda2: float) -> float:
    below = 1.0 if measure.denominator is None else truth.at(lambda2, measure.denominator)
    return truth.at(lambda2, measure.numerator) / below


def _served(totals: Totals, measure: Measure, variant: str) -> float:
    sums = totals.sums.get(variant, Sums())
    above = getattr(sums, f"expected_{measure.numerator}")
    if measure.denominator is not None:
        return _ratio(above, getattr(sums, f"expected_{measure.denominator}"))
    return _ratio(above, float(len(totals.users[variant])) if measure.per_user else sums.visits)


def _ratio(above: float, below: float) -> float:
    return above / below if below else float("nan")
