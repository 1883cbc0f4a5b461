"""The tables of a report as words: the page draws them, the text aligns them."""

from collections.abc import Sequence
from typing import NamedTuple

from service.experiments import arrangement, wording
from service.experiments.arrangement import MetricCard
from service.experiments.report import DoseResponse, Estimate, Report, SampleRatio
from service.experiments.wording import fixed, metric_words, number, percent, places, probability, sentence

LOOKS = 24  # in the table
POINTS = 12  # of a curve in its table


class Cell(NamedTuple):
    """What stands in a table; interval: below it, or in brackets."""

    text: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.interval})" if self.interval else self.text


class Table(NamedTuple):
    """A row per thing, named in its first column. words: how many columns from the left hold words."""

    caption: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    words: int = 1


def variants(report: Report) -> Table:
    """Every variant by every metric."""
    metrics = arrangement.metrics(report)
    rows = []
    for name in arrangement.variants(report):
        results = [arrangement.result(report, name, metric) for metric in metrics]
        rows.append(
            (
                Cell(f"{name} (control)" if name == report.control else name),
                Cell(number(arrangement.lambda2(report, name))),
                Cell(number(arrangement.units(report, name))),
                *(_cell(found.estimate) if found else Cell(wording.NONE) for found in results),
            )
        )
    level = wording.confidence(report.alpha)
    heads = ("Variant", "λ2", "Units", *(sentence(metric_words(metric)) for metric in metrics))
    return Table(f"Each value with its {level} interval, not adjusted", heads, rows)


def comparisons(card: MetricCard) -> Table:
    """One metric's differences from the control."""
    rows = [
        (
            Cell(each.variant),
            _cell(each.difference, signed=True),
            _share(each.lift),
            Cell(probability(each.p_value)),
            Cell(probability(each.adjusted_p_value)),
            Cell("yes" if each.significant else "no"),
            Cell(wording.effect(each)),
            Cell(percent(each.variance_reduction, signed=False, decimals=1)),
        )
        for each in card.comparisons
    ]
    heads = ("Variant", "Difference", "Lift", "p", "p corrected", "Significant", "Effect", "Variance removed")
    return Table(f"{sentence(metric_words(card.metric))} against {card.comparisons[0].control}", heads, rows)


def sample_ratio(report: Report, found: SampleRatio) -> Table:
    """How many units came, and how many should have; where λ2 is drawn, to each part of its range."""
    came, weight = sum(found.observed.values()), sum(found.expected.values()) or 1.0
    rows = [
        (
            Cell(name),
            Cell(number(found.observed.get(name, 0))),
            Cell(number(round(came * share / weight))),
            Cell(percent(found.observed.get(name, 0) / came if came else None, signed=False)),
            Cell(percent(share / weight, signed=False)),
        )
        for name, share in found.expected.items()
    ]
    to = "part of the range of λ2" if report.kind == "random" else "variant"
    heads = ("λ2" if report.kind == "random" else "Variant", "Came", "Expected", "Share", "Expected share")
    return Table(f"Units that came to each {to}", heads, rows)


def dose(found: DoseResponse) -> Table:
    """Points of the fitted curve."""
    last = len(found.curve) - 1
    chosen = dict.fromkeys(round(last * at / (POINTS - 1)) for at in range(POINTS)) if found.curve else {}
    decimals = places(*(point.value for point in found.curve))
    rows = [
        (Cell(number(point.lambda2)), *(Cell(fixed(v, decimals)) for v in (point.value, point.low, point.high)))
        for point in (found.curve[at] for at in chosen)
    ]
    return Table(f"{sentence(metric_words(found.metric))} as fitted", ("λ2", "Value", "Low", "High"), rows)


def guardrails(report: Report) -> Table:
    """What may become worse only so far."""
    rows = [
        (
            Cell(sentence(metric_words(each.metric))),
            Cell(each.variant),
            _share(each.change),
            Cell(percent(each.most)),
            Cell(wording.guardrail_state(each)),
        )
        for each in report.guardrails
    ]
    heads = ("Guardrail", "Variant", "Change for the worse", "Allowed", "State")
    return Table(f"Change as a share of {report.control}'s value; + is worse", heads, rows, words=2)


def preferences(report: Report) -> Table:
    """Whose items people chose."""
    rows = [
        (
            Cell(sentence(each.metric)),
            Cell(each.first),
            Cell(each.second),
            Cell(number(each.units)),
            _cell(each.preference, signed=True),
            Cell("yes" if each.significant else "no"),
        )
        for each in report.preferences
    ]
    heads = ("By", "First", "Second", "Units that chose", "Preference", "Significant")
    return Table("From −1, everybody the second's items, to 1, everybody the first's", heads, rows, words=3)


def off_policy(report: Report) -> Table:
    """What each λ2 would have done."""
    rows = [
        (
            Cell(number(point.lambda2)),
            _cell(point.doubly_robust),
            _cell(point.snips),
            Cell(fixed(point.effective_units, 0)),
            Cell("too few" if point.thin else "yes"),
        )
        for point in report.off_policy
    ]
    heads = ("λ2", "Doubly robust", "SNIPS", "Effective units", "Enough units")
    return Table(f"{sentence(metric_words(report.primary))}, had everybody got this λ2", heads, rows)


def looks(report: Report) -> Table:
    """The last looks, newest first."""
    names = list(dict.fromkeys(name for look in report.timeline for name in look.difference))
    rows = [
        (
            Cell(wording.when(look.at)),
            Cell(", ".join(number(count) for count in look.units.values())),
            *(
                _cell(look.difference[name], signed=True) if name in look.difference else Cell(wording.NONE)
                for name in names
            ),
            Cell(probability(look.srm_p_value)),
        )
        for look in report.timeline[: -LOOKS - 1 : -1]
    ]
    caption = f"The last {len(rows)} of {wording.counted(len(report.timeline), 'look')}, newest first"
    order = ", ".join(report.timeline[-1].units) if report.timeline else ""
    return Table(caption, ("Time", f"Units of {order}", *names, "Sample ratio p"), rows)


def _cell(found: Estimate, *, signed: bool = False) -> Cell:
    return Cell(*wording.parts(wording.estimate(found, signed=signed)))


def _share(found: Estimate) -> Cell:
    return Cell(*wording.parts(wording.lift(found)))
