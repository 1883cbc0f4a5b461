"""POST /v1/experiments-plan: how many units an experiment takes, or what so many units show."""

import math
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from causalrec.errors import RequestError
from service.experiment_schemas import MOST_VARIANTS, MetricName, Strict
from service.experiments.metrics import METRICS, PRIMARY
from service.experiments.planning import POWER, Baseline, Plan, of_rate, plan

PLAN_EXAMPLE: Final[dict[str, Any]] = {"baseline_rate": 0.04, "mde": 0.05, "variants": 3, "traffic_per_day": 8000}


PLAN_ANSWER: Final[dict[str, Any]] = {
    "metric": "purchases per user",
    "fixed": {"units_per_variant": 182_497, "units": 547_491, "mde": 0.05, "days": 69},
    "always_valid": {"units_per_variant": 326_375, "units": 979_124, "mde": 0.05, "days": 123},
}


class PlanBody(Strict):
    """What is known before the start, and one of: the effect to be seen, the units there are."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [PLAN_EXAMPLE, {"baseline_mean": 1.9, "baseline_sd": 4.2, "units": 20_000}],
        }
    )

    metric: MetricName = PRIMARY
    """Which it is of; the answer says it in words."""
    baseline_mean: float | None = Field(None, gt=0, allow_inf_nan=False)
    """The metric's mean per unit today; with baseline_sd."""
    baseline_sd: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Standard deviation of one unit's value."""
    baseline_rate: float | None = Field(None, gt=0, lt=1, allow_inf_nan=False)
    """Instead, where it is 1 for some units and 0 for the others: the share of the former."""
    mde: float | None = Field(None, gt=0, le=100, allow_inf_nan=False)
    """The effect to be seen, as a share of the mean: 0.05 is 5 %."""
    units: int | None = Field(None, ge=1, le=10**12)
    """Instead: how many units there will be, in all; the answer says which effect they show."""
    variants: int = Field(2, ge=2, le=MOST_VARIANTS)
    """How many, the control included; equal shares, every one compared with the control."""
    alpha: float = Field(0.05, gt=0, le=0.5, allow_inf_nan=False)
    """How often an effect may be seen where there is none."""
    power: float = Field(POWER, ge=0.5, lt=1, allow_inf_nan=False)
    """How often the effect is to be seen where there is one."""
    traffic_per_day: float | None = Field(None, gt=0, allow_inf_nan=False)
    """New units a day that take part."""


class PlanPart(BaseModel):
    """One kind of interval."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    units_per_variant: int
    """Of each."""
    units: int
    """In all."""
    mde: float
    """The effect seen with the wanted power, as a share of the mean."""
    days: int | None
    """Until there are so many units; null where traffic_per_day is left out."""


class PlanAnswer(BaseModel):
    """The same question for both kinds of intervals."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    metric: str
    """In words."""
    fixed: PlanPart
    """For one look at the end."""
    always_valid: PlanPart
    """For the intervals of the reports, which may be looked at any time: give its `units` as planned_units."""


def planned(body: PlanBody) -> PlanAnswer:
    """The plan. Raises: RequestError naming the field."""
    if body.metric not in METRICS:
        raise RequestError("metric", body.metric, f"is no metric; one of {', '.join(METRICS)}")
    if (body.mde is None) == (body.units is None):
        raise RequestError("mde", body.mde, "give either the effect to be seen, mde, or the number of units, not both")
    names = [f"variant-{number}" for number in range(body.variants)]
    plans = plan(
        _baseline(body),
        dict.fromkeys(names, 1 / body.variants),
        names[0],
        lift=body.mde,
        units=body.units,
        alpha=body.alpha,
        power=body.power,
        comparisons=body.variants - 1,
    )
    return PlanAnswer(
        metric=METRICS[body.metric].words,
        fixed=_part(plans.fixed, body),
        always_valid=_part(plans.always_valid, body),
    )


def _baseline(body: PlanBody) -> Baseline:
    if body.baseline_rate is not None:
        if body.baseline_mean is not None or body.baseline_sd is not None:
            raise RequestError("baseline_rate", body.baseline_rate, "give it, or baseline_mean and baseline_sd")
        return of_rate(body.baseline_rate)
    if body.baseline_mean is None or body.baseline_sd is None:
        detail = "is needed with the other: give baseline_mean and baseline_sd, or baseline_rate"
        raise RequestError("baseline_mean" if body.baseline_mean is None else "baseline_sd", None, detail)
    return Baseline(body.baseline_mean, body.baseline_sd)


def _part(found: Plan, body: PlanBody) -> PlanPart:
    days = None if body.traffic_per_day is None else math.ceil(found.units / body.traffic_per_day)
    per_variant = max(found.by_variant.values())
    return PlanPart(units_per_variant=per_variant, units=found.units, mde=found.lift, days=days)
