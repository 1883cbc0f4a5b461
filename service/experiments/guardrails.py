"""What must not become worse while people look at something else."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from service.experiments.arms import Arms
from service.experiments.estimates import estimates
from service.experiments.intervals import factor, ratio
from service.experiments.metrics import COVERAGE, METRICS
from service.experiments.model import Guardrail
from service.experiments.moments import Moments
from service.experiments.report import Estimate, GuardrailResult

LEAST_LISTS: Final = 1_000
"""Lists of either variant, below which the coverage of the catalogue is not compared."""
COUNT_ERROR: Final = 0.035
"""How far the ratio of two distinct counts may be off: HyperLogLog's standard error is 0.81 %, three of them, twice."""


def guardrail(
    moments: Moments, variant: str, control: str, rule: Guardrail, alpha: float, planned: float
) -> GuardrailResult:
    """
    One variant against the control by one metric; coverage has its own function.

    The change is a share of the control's value and positive where it is worse. It is breached where its whole
    always-valid interval lies beyond `most`: intervals of one guardrail, not corrected for several, since one missed
    is worse than one too many.
    """
    metric = METRICS[rule.metric]
    found = estimates(moments.of(control, variant), metric, ())
    if not found.enough():
        value = found.values[1, 0] / found.values[0, 0] - 1 if found.values[0, 0] > 0 else np.nan
        change = Estimate(value=float(value) if np.isfinite(value) else None, low=None, high=None)
    else:
        means, variances = found.values[:, 0], found.covariance[:, 0, 0]
        reach = float(factor(found.units.sum(), alpha, planned))
        change = ratio((means[1], means[0]), (variances[1], variances[0]), 0.0, reach)
    if metric.better == "higher":
        change = _negated(change)
    return _judged(rule, variant, change)


def coverage(
    distinct: Mapping[str, int], lists: Mapping[str, float], variant: str, control: str, rule: Guardrail
) -> GuardrailResult:
    """
    Distinct items in a variant's lists against those in the control's.

    More lists show more items, so the counts compare as they are only after equally many lists. How many different
    items m lists show on average is a concave function of m: after a share s of its lists a variant had shown between
    s times and all of what it has shown. The interval is what follows from that, and from the error of counting.
    """
    shown, control_shown = distinct.get(variant, 0), distinct.get(control, 0)
    length, control_length = lists.get(variant, 0.0), lists.get(control, 0.0)
    if min(length, control_length) < LEAST_LISTS or not control_shown:
        return _judged(rule, variant, Estimate(value=None, low=None, high=None))
    ratios = (shown / control_shown, shown / control_shown * control_length / length)
    change = Estimate(
        value=1 - ratios[0], low=1 - max(ratios) * (1 + COUNT_ERROR), high=1 - min(ratios) * (1 - COUNT_ERROR)
    )
    return _judged(rule, variant, change)


def guardrails(rules: Sequence[Guardrail], arms: Arms, distinct: Mapping[str, int]) -> list[GuardrailResult]:
    """Every variant but the control by every rule. distinct: by variant, items in its lists."""
    moments, control, alpha = arms.moments, arms.config.control, arms.config.alpha
    lists = dict(zip(moments.variants, moments.total("lists").tolist(), strict=True))
    return [
        coverage(distinct, lists, variant, control, rule)
        if rule.metric == COVERAGE
        else guardrail(moments, variant, control, rule, alpha, arms.planned(control, variant))
        for rule in rules
        for variant in arms.others()
    ]


def _judged(rule: Guardrail, variant: str, change: Estimate) -> GuardrailResult:
    breached = change.low is not None and change.low > rule.most
    return GuardrailResult(metric=rule.metric, variant=variant, change=change, most=rule.most, breached=breached)


def _negated(change: Estimate) -> Estimate:
    value, low, high = (None if part is None else -part for part in (change.value, change.low, change.high))
    return Estimate(value=value, low=high, high=low)
