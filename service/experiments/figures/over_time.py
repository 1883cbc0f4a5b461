"""Charts of a report whose horizontal axis is time: a point per look."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from service.experiments import arrangement, wording
from service.experiments.figures.axes import Axis, Tick, axis
from service.experiments.figures.charts import Chart, Place, Plane, place, three
from service.experiments.report import Estimate, Look, Report

MOST_LOOKS: Final = 240  # drawn; more cannot be told apart
MARKED: Final = 40  # looks that are also drawn as points
DAY: Final = 86_400.0
NO_DIFFERENCE: Final = Estimate(value=None, low=None, high=None)


def timeline_charts(report: Report) -> list[Chart]:
    """
    Per variant the primary metric's difference from the control at each look, all on the same axes. The first looks'
    intervals, which may be many times as wide as the last, may leave them.
    """
    looks = _drawn(report.timeline)
    across, up = axis(look.at for look in looks), axis(_settled(looks), through=0.0)
    if across is None or up is None:
        return []
    names = dict.fromkeys(name for look in report.timeline for name in look.difference)
    return [_timeline(report, name, looks, Plane(across, up)) for name in names]


def sample_ratio_chart(report: Report) -> Chart | None:
    """The sequential test's p-value at each look, on a logarithmic axis."""
    looks = [look for look in _drawn(report.timeline) if wording.known(look.srm_p_value)]
    across = axis(look.at for look in looks)
    if across is None:
        return None
    decades = [math.log10(max(look.srm_p_value, 1e-12)) for look in looks]
    lowest = math.floor(min(*decades, -3.0))
    plane = Plane(across, Axis(lowest - 0.15, 0.15))
    places: list[Place] = [(look.at, decade, None, None) for look, decade in zip(looks, decades, strict=True)]
    every = math.ceil(-lowest / 4)
    return Chart(
        "Sample ratio test: p-value at each look",
        f"{wording.counted(len(report.timeline), 'look')}; at the last one p is "
        f"{wording.probability(looks[-1].srm_p_value)}, the smallest is {wording.probability(10 ** min(decades))}.",
        "",
        plane.line(places),
        [],
        _times(across, looks),
        [Tick(plane.y(decade), f"{10.0**decade:g}") for decade in range(0, lowest - 1, -every)],
    )


def _timeline(report: Report, name: str, looks: Sequence[Look], plane: Plane) -> Chart:
    found = [(look.at, look.difference.get(name, NO_DIFFERENCE)) for look in looks]
    places = [place(at, each) for at, each in found]
    marks = [plane.mark(at, each, wording.when(at)) for at, each in found] if len(found) <= MARKED else []
    return Chart(
        arrangement.label(report, name),
        f"Difference from {report.control} in {wording.metric_words(report.primary)} at "
        f"{wording.counted(len(report.timeline), 'look')} from {wording.when(looks[0].at)} to "
        f"{wording.when(looks[-1].at)}. At the last one: {wording.estimate(found[-1][1], signed=True)}.",
        plane.band(places),
        plane.line(places),
        [mark._replace(low=None, high=None) for mark in marks if mark],
        _times(plane.across, looks),
        plane.y_ticks(),
        zero=plane.y(0.0),
    )


def _drawn(looks: Sequence[Look]) -> list[Look]:
    """All looks, or evenly spaced ones with the last among them."""
    every = max(1, math.ceil(len(looks) / MOST_LOOKS))
    return list(looks[::-1][::every][::-1])


def _settled(looks: Sequence[Look]) -> list[float | None]:
    """What the axis must show: every value, and the intervals of all but the first fifth of the looks."""
    values = [each.value for look in looks for each in look.difference.values()]
    late = looks[len(looks) // 5 :]
    return values + [value for look in late for each in look.difference.values() for value in three(each)]


def _times(across: Axis, looks: Sequence[Look]) -> list[Tick]:
    """The first look, the one in the middle of the time and the last: by day, or by the minute within two days."""
    first, last = looks[0].at, looks[-1].at
    moments = dict.fromkeys([first, (first + last) / 2, last])
    pattern = "%d %b" if last - first > 2 * DAY else "%d %b %H:%M"
    return [Tick(across.at(at), datetime.fromtimestamp(at, UTC).strftime(pattern)) for at in moments]
