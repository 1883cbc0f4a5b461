"""A report in the order in which it is read: the primary metric first, click-through beside it, the control first."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from service.experiments.report import Comparison, Report, VariantResult
from service.experiments.wording import number

BESIDE: Final = "click_through"
COMPARING: Final = ("split", "tuned")
LABEL: Final = 18  # characters of a variant's name in a figure


class MetricCard(NamedTuple):
    """Every variant against the control by one metric."""

    metric: str
    role: str
    comparisons: tuple[Comparison, ...]


def metrics(report: Report) -> list[str]:
    """Every metric of which something is known of a variant."""
    return _ordered(report, (result.metric for result in report.variants))


def cards(report: Report) -> list[MetricCard]:
    """The comparisons, by metric."""
    return [
        MetricCard(metric, rows[0].role, tuple(rows))
        for metric in _ordered(report, (each.metric for each in report.comparisons))
        if (rows := [each for each in report.comparisons if each.metric == metric])
    ]


def variants(report: Report) -> list[str]:
    """Every variant, by λ2 where it has one, also those that no unit came to."""
    known = {result.variant: result.lambda2 for result in report.variants}
    expected = report.sample_ratio.expected if report.sample_ratio and report.kind in COMPARING else {}
    names = list(dict.fromkeys([*known, *expected]))
    return sorted(names, key=lambda name: (name != report.control, _lambda2_or_last(known.get(name))))


def result(report: Report, variant: str, metric: str) -> VariantResult | None:
    """What a variant's units did by a metric."""
    return next((each for each in report.variants if (each.variant, each.metric) == (variant, metric)), None)


def units(report: Report, variant: str) -> int:
    """How many units a variant has."""
    return next((each.units for each in report.variants if each.variant == variant), 0)


def lambda2(report: Report, variant: str) -> float | None:
    """A variant's λ2, where it has one that is known."""
    return next((each.lambda2 for each in report.variants if each.variant == variant), None)


def label(report: Report, variant: str) -> str:
    """A variant in a figure: its name, cut where it is long, and its λ2 where the name does not say it."""
    value = lambda2(report, variant)
    told = "" if value is None or number(value) in variant else f" (λ2 {number(value)})"
    return cut(variant, LABEL - len(told)) + told


def cut(name: str, most: int) -> str:
    """A name of at most so many characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def blocked(report: Report) -> bool:
    """Nothing in the report is to be believed."""
    return report.verdict.decision == "blocked" or bool(report.sample_ratio and report.sample_ratio.failed)


def _ordered(report: Report, names: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(names))
    first = [name for name in (report.primary, BESIDE) if name in found]
    return list(dict.fromkeys([*first, *found]))


def _lambda2_or_last(value: float | None) -> float:
    return float("inf") if value is None else value
