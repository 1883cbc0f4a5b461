"""Plots of intervals below each other, as places on a drawing in percent of its width."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.experiments import arrangement, wording
from service.experiments.arrangement import MetricCard, cut
from service.experiments.figures.axes import Axis, Tick, axis, in_percent, plain
from service.experiments.figures.charts import TICKS, three
from service.experiments.report import Estimate, GuardrailResult, Preference, Report

ROW: Final = 46  # pixels: a line of text, and the interval
SIDE: Final = 12  # characters of a name that stands for a side


class Interval(NamedTuple):
    """
    One interval of a plot. value, low, high, limit: percent of the width, None where unknown. cut: it goes on beyond
    the left or right edge. tone: better, worse or open, which is also said in words.
    """

    label: str
    said: str
    tone: str
    value: float | None
    low: float | None
    high: float | None
    cut: tuple[bool, bool]
    limit: float | None
    title: str


class IntervalPlot(NamedTuple):
    """
    Intervals below each other on one axis. zero: where no difference lies, in percent of the width; ends: what its two
    sides mean.
    """

    title: str
    description: str
    intervals: list[Interval]
    ticks: list[Tick]
    zero: float | None
    ends: tuple[str, str] | None

    @property
    def row(self) -> int:
        """Pixels per interval."""
        return ROW

    @property
    def height(self) -> int:
        """Pixels of all of them, without what is written below."""
        return ROW * len(self.intervals)


def against_control(report: Report, cards: Sequence[MetricCard]) -> list[IntervalPlot | None]:
    """
    Per metric the lift of each variant with its interval, all on the same axis, which the primary metric and
    click-through determine: what goes beyond it of another metric is drawn as cut off.
    """
    leading = [card for card in cards if card.metric in {report.primary, arrangement.BESIDE}]
    shared = _over(leading) or _over(cards)
    return [_lifts(report, card, shared) for card in cards]


def _over(cards: Sequence[MetricCard]) -> Axis | None:
    return axis((v for card in cards for each in card.comparisons for v in three(each.lift)), through=0.0)


def _lifts(report: Report, card: MetricCard, shared: Axis | None) -> IntervalPlot | None:
    if shared is None:
        return None
    words = wording.metric_words(card.metric)
    intervals = [
        _interval(
            arrangement.label(report, each.variant),
            wording.effect(each),
            each.lift,
            shared,
            tone=_tone(wording.effect(each)),
        )
        for each in card.comparisons
    ]
    return IntervalPlot(
        f"{wording.sentence(words)}: each variant against {report.control}",
        _said(intervals),
        intervals,
        shared.ticks(TICKS, in_percent),
        shared.at(0.0),
        None,
    )


def guardrail_plot(report: Report, metric: str, rows: Sequence[GuardrailResult]) -> IntervalPlot | None:
    """By how much a metric is worse than the control's, with the limit."""
    scale = axis((v for each in rows for v in (*three(each.change), each.most)), through=0.0)
    if scale is None:
        return None
    intervals = [
        _interval(
            arrangement.label(report, each.variant),
            wording.guardrail_state(each),
            each.change,
            scale,
            tone="worse" if each.breached else "open",
            limit=each.most,
        )
        for each in rows
    ]
    title = f"{wording.sentence(wording.metric_words(metric))}: how much worse than {report.control}"
    return IntervalPlot(
        title, _said(intervals), intervals, scale.ticks(TICKS, in_percent), scale.at(0.0), ("better", "worse")
    )


def preference_plot(preferences: Sequence[Preference]) -> IntervalPlot:
    """Whose items people chose, from −1 (always the second's) to 1 (always the first's)."""
    reach = max((abs(v) for each in preferences for v in three(each.preference) if wording.known(v) and v), default=1.0)
    reach = min(1.05, 1.15 * reach)
    scale = Axis(-reach, reach)
    first, second = preferences[0].first, preferences[0].second
    intervals = [
        _interval(
            wording.sentence(each.metric),
            _chosen(each),
            each.preference,
            scale,
            tone="better" if each.significant else "open",
            as_share=False,
        )
        for each in preferences
    ]
    title = f"Preference between {first} and {second}"
    ends = (f"← {cut(second, SIDE)} chosen", f"{cut(first, SIDE)} chosen →")
    return IntervalPlot(title, _said(intervals), intervals, scale.ticks(TICKS, plain), scale.at(0.0), ends)


def _chosen(preference: Preference) -> str:
    if not preference.significant or not preference.preference.value:
        return "not clear"
    return cut(preference.first if preference.preference.value > 0 else preference.second, SIDE)


def _tone(effect: str) -> str:
    return effect if effect in {"better", "worse"} else "open"


def _interval(
    label: str,
    said: str,
    found: Estimate,
    scale: Axis,
    *,
    tone: str,
    limit: float | None = None,
    as_share: bool = True,
) -> Interval:
    at = [scale.at(value) if wording.known(value) else None for value in three(found)]
    off = [place for place in at if place is not None and not 0 <= place <= 100]
    ends = [None if place is None else round(min(max(place, 0.0), 100.0), 2) for place in at]
    figures = wording.lift(found) if as_share else wording.estimate(found, signed=True)
    value = None if at[0] in off else ends[0]  # the arrow says where it is
    title = f"{label}: {figures}, {said}"
    short = f"{wording.parts(figures)[0]} {said}" if wording.known(found.value) else said
    cut_off = (any(place < 0 for place in off), any(place > 100 for place in off))
    return Interval(
        label, short, tone, value, ends[1], ends[2], cut_off, None if limit is None else scale.at(limit), title
    )


def _said(intervals: Sequence[Interval]) -> str:
    return "; ".join(each.title for each in intervals) + "."
