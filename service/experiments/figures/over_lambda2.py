"""Charts of a report whose horizontal axis is λ2: the dose-response, and what λ2 not served would have done."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from service.experiments import wording
from service.experiments.figures.axes import Axis, axis, plain
from service.experiments.figures.charts import TICKS, Best, Chart, Mark, Plane, place, three
from service.experiments.report import DosePoint, DoseResponse, Estimate, OffPolicyPoint, Report

REACH: Final = 4.0  # times the band's extent: as far as an axis follows the intervals of what was measured


class Span(NamedTuple):
    """What a dose-response's vertical axis must show, around the middle of its curve."""

    middle: float
    low: float
    high: float


def dose_charts(report: Report) -> list[Chart | None]:
    """
    The fitted metrics over λ2; None where nothing could be fitted.

    The vertical axes span the same share of each metric's own middle: what is steep in one panel is as steep in the
    other. The points are what was measured at each λ2.
    """
    spans = [_span(report, dose) for dose in report.dose_response]
    known = [span for span in spans if span is not None]
    if known and all(span.middle > 0 for span in known):
        down = max(1 - span.low / span.middle for span in known)
        up = max(span.high / span.middle - 1 for span in known)
        spans = [span and Span(span.middle, span.middle * (1 - down), span.middle * (1 + up)) for span in spans]
    return [span and _dose_chart(report, dose, span) for dose, span in zip(report.dose_response, spans, strict=True)]


def off_policy_chart(report: Report) -> Chart | None:
    """What each λ2 would have done: the doubly robust estimate as the curve, SNIPS as points."""
    points = report.off_policy
    across = axis(point.lambda2 for point in points)
    up = axis(value for point in points for value in (*three(point.doubly_robust), *three(point.snips)))
    if across is None or up is None:
        return None
    plane = Plane(across, up)
    places = [place(point.lambda2, point.doubly_robust) for point in points]
    marks = [plane.mark(point.lambda2, point.snips, f"SNIPS at {_at(point)}", hollow=point.thin) for point in points]
    return Chart(
        f"{wording.sentence(wording.metric_words(report.primary))}, had everybody got this λ2",
        _highest(points) + f"{wording.counted(sum(point.thin for point in points), 'value')} of λ2 out of "
        f"{len(points)} rest on too few units.",
        plane.band(places),
        plane.line(places),
        [mark for mark in marks if mark],
        across.ticks(TICKS, plain),
        plane.y_ticks(),
    )


def _dose_chart(report: Report, dose: DoseResponse, span: Span) -> Chart | None:
    across, up = axis(point.lambda2 for point in dose.curve), axis([span.low, span.high])
    if across is None or up is None:
        return None
    plane = Plane(across, up)
    places = [(point.lambda2, point.value, point.low, point.high) for point in dose.curve]
    return Chart(
        f"{wording.sentence(wording.metric_words(dose.metric))} over λ2",
        f"Best λ2: {wording.best(dose.best)}. The curve goes from {_end(dose.curve[0])} to {_end(dose.curve[-1])}.",
        plane.band(places),
        plane.line(places),
        list(_measured(report, dose, plane)),
        across.ticks(TICKS, plain),
        plane.y_ticks(),
        _best(dose.best, plane.across),
    )


def _span(report: Report, dose: DoseResponse) -> Span | None:
    """The band in full; the intervals of what was measured as far as that leaves the band a quarter of the height."""
    band = axis(value for point in dose.curve for value in (point.value, point.low, point.high))
    middles = sorted(point.value for point in dose.curve if wording.known(point.value))
    if band is None or not middles:
        return None
    ends = [v for e in report.variants if e.metric == dose.metric for v in three(e.estimate) if wording.known(v)]
    extent, middle = band.high - band.low, middles[len(middles) // 2]
    low = max(min([band.low, *ends]), middle - REACH / 2 * extent)
    high = min(max([band.high, *ends]), middle + REACH / 2 * extent)
    return Span(middle, low, high)


def _measured(report: Report, dose: DoseResponse, plane: Plane) -> Iterator[Mark]:
    for each in report.variants:
        if each.metric == dose.metric and each.lambda2 is not None:
            mark = plane.mark(each.lambda2, each.estimate, each.variant)
            if mark and plane.across.holds(each.lambda2):
                yield mark


def _best(found: Estimate, across: Axis) -> Best | None:
    if not wording.known(found.value):
        return None
    low, high = (
        min(max(across.at(end), 0.0), 100.0) if wording.known(end) else None for end in (found.low, found.high)
    )
    return Best(across.at(found.value), low, high, f"best {wording.number(found.value)}")


def _highest(points: list[OffPolicyPoint]) -> str:
    found = [(point.doubly_robust.value, point) for point in points if wording.known(point.doubly_robust.value)]
    if not found:
        return ""
    _, best = max(found, key=lambda each: each[0])
    return f"Highest at {_at(best)}: {wording.estimate(best.doubly_robust)}. "


def _at(point: OffPolicyPoint) -> str:
    return f"λ2 {wording.number(point.lambda2)}"


def _end(point: DosePoint) -> str:
    return f"{wording.number(point.value)} at λ2 {wording.number(point.lambda2)}"
