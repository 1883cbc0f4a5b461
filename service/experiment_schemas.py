"""Bodies of what is said of experiments."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.event_schemas import ShortId
from service.experiments.model import Guardrail, Kind, Tuning, Variant
from service.schemas import Finite, UserId

MOST_VARIANTS = 20
MOST_OVERRIDES = 1000
MOST_METRICS = 20
MOST_TEXT = 2000

Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$"), Field(examples=["dial-2026-01"])]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, StringConstraints(max_length=MOST_TEXT)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
MetricName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Ends = Annotated[list[Finite], Field(min_length=2, max_length=2)]

EXAMPLE: Final[dict[str, Any]] = {
    "key": "dial-2026-01",
    "description": "How much of the picture's pull should go?",
    "variants": [{"lambda2": 0.0}, {"lambda2": 0.4}, {"lambda2": 0.8}],
    "allocation": 0.1,
    "planned_units": 30_000,
    "guardrails": [{"metric": "latency", "most": 0.2}],
}
DRAWN: Final[dict[str, Any]] = {"key": "slice", "kind": "random", "between": [0.0, 1.6], "segment": [0.0, 0.05]}
VERSION_EXAMPLE: Final[dict[str, Any]] = {"allocation": 0.5}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, strict=True)


class ReadOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class VariantBody(Strict):
    """One λ2 that units may get."""

    lambda2: Finite
    """Within the bundle's range (at most 0 to 3 unless it says otherwise)."""
    weight: Share | None = None
    """Share of the experiment's units; all of them sum to 1. Left out everywhere: equal shares."""
    name: Name | None = None
    """Left out: made of λ2."""


class GuardrailBody(Strict):
    """A metric that must not become much worse: a variant for which it surely has stops the experiment."""

    metric: MetricName
    """latency, empty_lists, failures, coverage (distinct items served), or any metric."""
    most: float = Field(gt=0, le=10, allow_inf_nan=False)
    """How much worse than the control's, as a share of it: 0.1 is 10 %."""


class TuningBody(Strict):
    """How the weights of a tuned experiment move."""

    floor: float = Field(gt=0, le=0.5, allow_inf_nan=False)
    """Share that every variant keeps, so that what is logged can be analysed."""
    every: float = Field(ge=60, le=86_400 * 30, allow_inf_nan=False)
    """Seconds between changes of the weights."""


class VersionBody(Strict):
    """What an experiment does. What is left out of a new version is as in the newest one."""

    model_config = ConfigDict(json_schema_extra={"examples": [VERSION_EXAMPLE]})

    kind: Kind | None = None
    """split (default): variants are compared. interleaving: lists of two variants are mixed into one, and people's
    clicks say which they prefer. random: λ2 is drawn per unit, uniformly from `between`. tuned: weights move towards
    what sells."""
    description: Text | None = None
    """What it is for; reports show it."""
    variants: list[VariantBody] | None = Field(None, min_length=1, max_length=MOST_VARIANTS)
    """What units may get; none where kind is random."""
    between: Ends | None = None
    """Lowest and highest λ2 of kind random."""
    layer: Name | None = None
    """Experiments of one layer share its units out among themselves; those of different layers meet at random. Left
    out: default."""
    segment: Ends | None = None
    """Its part [from, to) of the layer; segments of one layer do not overlap. Left out: [0, 1]."""
    allocation: Share | None = None
    """Share of the segment's units that take part; who takes part goes on to when it grows. Left out: 1."""
    salt: ShortId | None = None
    """What splits units; another one splits them anew. Left out: one of the experiment's own."""
    control: Name | None = None
    """The variant that others are compared with. Left out: that of the smallest λ2."""
    overrides: dict[UserId, Name] | None = Field(None, max_length=MOST_OVERRIDES)
    """User → variant, to look at it; never counted."""
    primary: MetricName | None = None
    """What decides. Left out: purchases_per_user."""
    secondary: list[MetricName] | None = Field(None, max_length=MOST_METRICS)
    """What stands beside it. Left out: click_through, revenue_per_user, purchases_per_click."""
    guardrails: list[GuardrailBody] | None = Field(None, max_length=MOST_METRICS)
    """What stops the experiment by itself. Left out: nothing."""
    alpha: float | None = Field(None, gt=0, le=0.5, allow_inf_nan=False)
    """How often, at most, intervals may miss, however often they are looked at. Left out: 0.05."""
    window_seconds: float | None = Field(None, gt=0, le=86_400 * 365, allow_inf_nan=False)
    """For how long after a unit's exposure its events count. null or left out: as long as the experiment runs."""
    planned_units: int | None = Field(None, ge=1, le=10**10)
    """How many units it is for (POST /v1/experiments-plan says): intervals are narrowest about there."""
    tuning: TuningBody | None = None
    """Needed where kind is tuned."""

    def said(self) -> dict[str, Any]:
        """What was said, as fields of service.experiments.model.Config."""
        given = {name: getattr(self, name) for name in self.model_fields_set - {"key"}}
        nothing = {name for name, value in given.items() if value is None and name not in NULLABLE}
        return {
            RENAMED.get(name, name): MADE[name](value) if name in MADE and value is not None else value
            for name, value in given.items()
            if name not in nothing
        }


NULLABLE: Final = frozenset({"window_seconds", "planned_units"})
"""Where null says something: no window, no plan. Elsewhere it is as if left out."""
RENAMED: Final = {"window_seconds": "window"}


def _variants(bodies: list[VariantBody]) -> tuple[Variant, ...]:
    return tuple(Variant(each.name or "", each.lambda2, each.weight or 0.0) for each in bodies)


MADE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "variants": _variants,
    "between": tuple,
    "segment": tuple,
    "secondary": tuple,
    "guardrails": lambda bodies: tuple(Guardrail(each.metric, each.most) for each in bodies),
    "tuning": lambda body: Tuning(body.floor, body.every),
}


class ExperimentBody(VersionBody):
    """A new experiment: a draft, which starts when it is told to."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE, DRAWN]})

    key: Key
    """Its name, for ever."""


class StartBody(Strict):
    """Which version is in force."""

    version: int | None = Field(None, ge=1)
    """Left out: the newest."""


class StopBody(Strict):
    """Why it ends."""

    reason: Text = ""
    """For the audit log."""


class HoldoutBody(Strict):
    """The units that no experiment gets."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"share": 0.05}]})

    share: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Of all units; a larger share holds who was held before."""
    salt: ShortId | None = None
    """What chooses them; another one chooses anew. Left out: as it is."""
