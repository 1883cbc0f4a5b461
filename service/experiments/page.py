"""
A report as one HTML document: for a product manager, the verdict first; for an engineer, every figure behind it.

Nothing is loaded and nothing runs: one style element and inline drawings. It works under
`Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'`.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from service.experiments import arrangement, tables, wording
from service.experiments.figures import interval_plots, over_lambda2, over_time
from service.experiments.glossary import TERMS
from service.experiments.report import Report

FILTERS = {
    "about": wording.about,
    "best": wording.best,
    "blocked": arrangement.blocked,
    "confidence": wording.confidence,
    "decision": wording.DECISIONS.__getitem__,
    "duration": wording.duration,
    "estimate": wording.estimate,
    "iso": lambda at: datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds"),
    "kind": wording.KINDS.__getitem__,
    "metric_words": wording.metric_words,
    "lift": wording.lift,
    "number": wording.number,
    "p": wording.p,
    "percent": wording.percent,
    "sentence": wording.sentence,
    "source": wording.SOURCES.__getitem__,
    "when": wording.when,
    "variants_table": tables.variants,
    "comparisons_table": tables.comparisons,
    "sample_ratio_table": tables.sample_ratio,
    "dose_table": tables.dose,
    "guardrails_table": tables.guardrails,
    "preferences_table": tables.preferences,
    "off_policy_table": tables.off_policy,
    "looks_table": tables.looks,
}


def render(report: Report) -> str:
    """The document. Everything that people wrote is escaped; what is not known is shown as –."""
    return _environment().get_template("report.html.j2").render(report=report, **_drawn(report))


def _drawn(report: Report) -> dict[str, Any]:
    """What the templates need beside the report: its figures."""
    cards = arrangement.cards(report)
    by_metric = dict.fromkeys(each.metric for each in report.guardrails)
    guardrails = [
        (metric, interval_plots.guardrail_plot(report, metric, [g for g in report.guardrails if g.metric == metric]))
        for metric in by_metric
    ]
    return {
        "breaches": [each for each in report.guardrails if each.breached],
        "cards": list(zip(cards, interval_plots.against_control(report, cards), strict=True)),
        "doses": list(zip(report.dose_response, over_lambda2.dose_charts(report), strict=True)),
        "preference": interval_plots.preference_plot(report.preferences) if report.preferences else None,
        "off_policy": over_lambda2.off_policy_chart(report),
        "guardrails": guardrails,
        "timeline": over_time.timeline_charts(report),
        "ratio_over_time": over_time.sample_ratio_chart(report),
        "terms": TERMS,
        "parts": _parts(report),
    }


def _parts(report: Report) -> list[tuple[str, str]]:
    """The anchors of the parts that are there, and what they are called."""
    ratio = report.sample_ratio
    there = (
        ("variants", "Variants", report.variants),
        ("control", "Against the control", report.comparisons),
        ("over-lambda2", "Over λ2", report.dose_response),
        ("interleaving", "Interleaving", report.preferences),
        ("off-policy", "What each λ2 would have done", report.off_policy),
        ("guardrails", "Guardrails", report.guardrails),
        ("sample-ratio", "Sample ratio", ratio is not None and not ratio.failed),
        ("over-time", "Over time", report.timeline),
        ("notes", "Notes", report.notes),
        ("method", "How it is computed", True),
        ("terms", "Terms", True),
    )
    return [(anchor, words) for anchor, words, found in there if found]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("service.experiments"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment
