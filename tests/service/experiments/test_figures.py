"""Figures as places: what lies where, and what happens to what lies outside."""

import re

import pytest

from service.experiments import arrangement
from service.experiments.figures.axes import axis, plain
from service.experiments.figures.charts import Chart
from service.experiments.figures.interval_plots import against_control, guardrail_plot, preference_plot
from service.experiments.figures.over_lambda2 import dose_charts, off_policy_chart
from service.experiments.figures.over_time import MOST_LOOKS, sample_ratio_chart, timeline_charts
from service.experiments.report import Report
from tests.service.experiments import reports
from tests.service.experiments.reports import NAMES, NOTHING, around, split


def span(chart: Chart) -> tuple[float, float]:
    """The values at the bottom and at the top of a chart, from two of its ticks."""
    (low, low_at), (high, high_at) = (
        (float(tick.label.replace("−", "-")), 100 - tick.at) for tick in (chart.y_ticks[0], chart.y_ticks[-1])
    )
    slope = (high - low) / (high_at - low_at)
    return low - slope * low_at, low + slope * (100 - low_at)


def heights(path: str) -> list[float]:
    """Every y of a path."""
    return [float(y) for _, y in re.findall(r"([-\d.e]+) ([-\d.e]+)", path)]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.6, ["0.0", "0.5", "1.0", "1.5"]),
        (-0.031, 0.052, ["−0.02", "0.00", "0.02", "0.04"]),
        (3.0, 3.0, ["2.8", "3.0", "3.2"]),
        (0.0, 0.0, ["−1.0", "−0.5", "0.0", "0.5", "1.0"]),
        (12_000.0, 47_000.0, ["20 000", "30 000", "40 000"]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, labels: list[str]) -> None:
    """Steps of 1, 2 or 5 of some power of ten, each with the decimals it needs; also of a range of one value."""
    made = axis([low, high])

    assert made is not None
    found = [tick.label.replace("\N{NARROW NO-BREAK SPACE}", " ") for tick in made.ticks(5, plain)]
    assert found == labels


def test_nothing_known_makes_no_axis() -> None:
    """Neither None, nor NaN, nor infinite values are drawn."""
    assert axis([None, float("nan"), float("inf")], through=0.0) is None
    assert axis([None, 2.0, float("nan")], through=0.0) == axis([0.0, 2.0])


def test_all_metrics_share_one_axis_and_what_leaves_it_is_marked() -> None:
    """The primary metric and click-through determine it; the arrow says that another one's interval goes on."""
    report = split()
    cards = arrangement.cards(report)

    plots = [plot for plot in against_control(report, cards) if plot]

    assert [card.metric for card in cards] == ["purchases_per_user", "click_through", "revenue_per_user"]
    assert len({tuple(plot.ticks) for plot in plots}) == len({plot.zero for plot in plots}) == 1
    assert [each.cut for each in plots[0].intervals] == [(False, False)] * 4
    assert plots[2].intervals[0].cut == (False, True)
    assert plots[2].intervals[0].high == 100


def test_an_interval_lies_where_its_numbers_say() -> None:
    """Linear between two ticks; a value beyond the axis is not drawn at its edge."""
    plot = against_control(report := split(), arrangement.cards(report))[0]
    assert plot is not None
    assert plot.zero is not None
    ten = next(tick.at for tick in plot.ticks if tick.label.startswith("+10"))
    lift = report.comparisons[0].lift

    drawn = plot.intervals[0]

    assert lift.value is not None
    assert drawn.value is not None
    assert drawn.value == pytest.approx(plot.zero + (ten - plot.zero) * lift.value / 0.1, abs=0.01)
    far = report.comparisons[-1].model_copy(update={"lift": around(9.0, 0.1)})
    beyond = against_control(again := split(comparisons=[*report.comparisons, far]), arrangement.cards(again))[-1]
    assert beyond is not None
    assert (beyond.intervals[-1].value, beyond.intervals[-1].cut) == (None, (False, True))


def test_guardrails_are_drawn_with_their_limits() -> None:
    """The limit is always on the drawing, also where nothing is known yet."""
    rows = [reports.guardrails()[0].model_copy(update={"change": NOTHING, "most": 0.2})]

    plot = guardrail_plot(split(), "latency", rows)

    assert plot is not None
    assert plot.zero is not None
    assert plot.intervals[0].limit is not None
    assert plot.zero < plot.intervals[0].limit < 100


def test_preferences_lie_around_the_middle() -> None:
    """0 in the middle, whoever is preferred; the right-hand side is the first's."""
    plot = preference_plot(reports.interleaved().preferences)

    assert plot.zero == 50
    clicks, purchases = (each.value for each in plot.intervals)
    assert clicks is not None
    assert purchases is not None
    assert purchases < 50 < clicks
    assert plot.ends is not None
    assert NAMES[0] in plot.ends[1]


def test_dose_responses_span_the_same_share_of_their_metric() -> None:
    """So that what is steep in one panel is as steep in the other; the best λ2 and its interval are marked."""
    report = split()

    charts = [chart for chart in dose_charts(report) if chart]

    middles = [sorted(point.value for point in dose.curve)[16] for dose in report.dose_response]
    ranges = [[end / middle for end in span(chart)] for chart, middle in zip(charts, middles, strict=True)]
    assert ranges[0] == pytest.approx(ranges[1], rel=1e-3)
    best = charts[0].best
    assert best is not None
    assert best.low is not None
    assert best.high is not None
    assert 0 < best.low < best.at < best.high < 100
    assert best.label == "best 0.82"
    assert len(charts[0].marks) == 5


def test_a_gap_breaks_a_curve() -> None:
    """It is not bridged: looks without an interval have no band."""
    looks = reports.timeline(9)
    looks[4] = looks[4].model_copy(update={"difference": {**looks[4].difference, NAMES[1]: NOTHING}})

    chart = timeline_charts(split(timeline=looks))[0]

    assert (chart.line.count("M"), chart.band.count("Z"), len(chart.marks)) == (2, 2, 8)


def test_the_first_looks_do_not_squash_the_others() -> None:
    """Their intervals may leave the drawing; values and the later intervals are on it."""
    looks = reports.timeline(20)
    wide = {name: around(0.01, 50.0) for name in looks[0].difference}
    looks[0] = looks[0].model_copy(update={"difference": wide})

    chart = timeline_charts(split(timeline=looks))[0]

    assert min(heights(chart.band)) < 0
    assert max(heights(chart.band)) > 100
    assert all(0 <= y <= 100 for y in heights(chart.line))
    later = heights(chart.band)[4:-4]
    assert all(0 <= y <= 100 for y in later)


def test_of_very_many_looks_the_last_is_drawn() -> None:
    """Evenly spaced ones back from it; single points are not marked then."""
    report = split(timeline=reports.timeline(3000))

    chart = timeline_charts(report)[0]

    assert len(heights(chart.line)) <= MOST_LOOKS
    assert chart.x_ticks[-1].label == "05 Jan"
    assert chart.marks == []


def test_small_p_values_are_told_apart() -> None:
    """On a logarithmic axis, down to one that is 0."""
    looks = [
        look.model_copy(update={"srm_p_value": p})
        for look, p in zip(reports.timeline(4), (1.0, 1e-3, 1e-6, 0.0), strict=True)
    ]

    chart = sample_ratio_chart(split(timeline=looks))

    assert chart is not None
    first, second, third, last = heights(chart.line)
    assert second - first == pytest.approx(third - second, abs=0.02)
    assert last <= 100


def test_thin_estimates_are_drawn_as_such() -> None:
    """Hollow, and counted in the description."""
    chart = off_policy_chart(reports.drawn())

    assert chart is not None
    assert [mark.hollow for mark in chart.marks] == [False] * 14 + [True] * 3
    assert "3 values of λ2 out of 17 rest on too few units" in chart.description


@pytest.mark.parametrize("name", ["unknown", "empty"])
def test_what_is_not_known_is_not_drawn(name: str) -> None:
    """No figure is made of nothing."""
    report: Report = reports.STATES[name]()

    drawn = [
        *against_control(report, arrangement.cards(report)),
        *dose_charts(report),
        off_policy_chart(report),
        *timeline_charts(report),
    ]

    assert [each for each in drawn if each] == []
