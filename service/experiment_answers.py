"""What is answered of experiments, documented field by field."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from service.experiments.model import AuditEntry, Book, Decision, Kind, State


class Shown(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, from_attributes=True)


class VariantShown(Shown):
    """One λ2 and the share of the experiment's units that get it."""

    name: str
    """As given, or made of λ2."""
    lambda2: float
    """How much of the picture's pull it takes out."""
    weight: float
    """Its share of the units."""


class GuardrailShown(Shown):
    """What stops the experiment."""

    metric: str
    """What must not become worse."""
    most: float
    """How much worse than the control's, as a share of it."""


class TuningShown(Shown):
    """How weights move."""

    floor: float
    """Share that every variant keeps."""
    every: float
    """Seconds between changes."""


class VersionShown(Shown):
    """One immutable version of an experiment: what it was made with, completed."""

    key: str
    """The experiment's."""
    version: int
    """From 1."""
    series: int
    """The first version that splits units as this one does: all of one series are analysed together."""
    kind: Kind
    """split, interleaving, random or tuned."""
    description: str
    """What it is for."""
    layer: str
    """Experiments of one layer share its units out."""
    segment: tuple[float, float]
    """Its part [from, to) of the layer."""
    allocation: float
    """Share of the segment's units that take part."""
    salt: str
    """What splits units."""
    variants: list[VariantShown]
    """What units may get; none of kind random."""
    control: str
    """The variant that others are compared with."""
    between: tuple[float, float] | None
    """Lowest and highest λ2 of kind random."""
    overrides: dict[str, str]
    """User → variant; never counted."""
    primary: str
    """The metric that decides."""
    secondary: list[str]
    """Metrics beside it."""
    guardrails: list[GuardrailShown]
    """What stops it by itself."""
    alpha: float
    """How often, at most, intervals may miss."""
    window_seconds: float | None = Field(validation_alias=AliasChoices("window_seconds", "window"))
    """For how long after a unit's exposure its events count; null: all do."""
    planned_units: int | None
    """How many units it is for."""
    tuning: TuningShown | None
    """How weights move, of kind tuned."""
    created: float
    """When, in seconds since 1970."""
    actor: str
    """Who made it."""


class ExperimentShown(Shown):
    """An experiment as this process knows it."""

    key: str
    """Its name."""
    state: State
    """draft, running, paused (nobody gets it for now) or stopped (nor ever)."""
    running: int | None
    """The version in force, or that was when it ended; null before the first start."""
    changed: float
    """When the state last did, in seconds since 1970."""
    config: VersionShown
    """The version in force; the newest one of a draft."""


class ExperimentAnswer(ExperimentShown):
    """An experiment with all its versions."""

    versions: list[VersionShown]
    """Oldest first."""


class HoldoutAnswer(Shown):
    """The units that no experiment gets."""

    share: float
    """Of all units."""
    salt: str
    """What chooses them."""


class ExperimentsAnswer(Shown):
    """Every experiment, in the order of their keys."""

    revision: int
    """Goes up by one with every change of any of them; equal on all replicas that are up to date."""
    holdout: HoldoutAnswer
    """The units that none of them gets."""
    experiments: list[ExperimentShown]
    """Each with the version in force."""

    @classmethod
    def of(cls, book: Book) -> "ExperimentsAnswer":
        """What there is."""
        ordered = [book.experiments[key] for key in sorted(book.experiments)]
        return cls.model_validate({**book._asdict(), "experiments": ordered})


class AssignmentAnswer(Shown):
    """What an experiment gives a user, or why nothing. Asking is no exposure."""

    user_id: str
    """Whose."""
    experiment: str
    """Its key."""
    version: int | None
    """In force; null, as all the rest, where the user gets nothing of this experiment."""
    variant: str | None
    """Its name."""
    lambda2: list[float] | None
    """One, or the two of an interleaving."""
    propensity: float | None
    """How likely that was (kind random: density over λ2); null for an override, which is never counted."""
    reason: str
    """In words."""

    @classmethod
    def of(cls, key: str, user_id: str, decision: Decision | None, reason: str) -> "AssignmentAnswer":
        """What `decision` says, or why there is none."""
        given = {} if decision is None else decision._asdict()
        named = {name: given.get(name) for name in ("version", "variant", "lambda2", "propensity")}
        return cls(user_id=user_id, experiment=key, reason=reason, **named)


class AuditEntryShown(Shown):
    """One change."""

    key: str
    """Of the experiment; empty for the holdout."""
    version: int | None
    """Made, or in force; null where there is none."""
    act: str
    """create, version, start, pause, stop, tune, breach, holdout."""
    actor: str
    """Header X-Actor of who asked for it; tuning and guardrail are the service itself."""
    at: float
    """Seconds since 1970."""
    detail: str
    """What changed, in words."""


class AuditAnswer(Shown):
    """The last changes, newest first."""

    entries: list[AuditEntryShown]
    """One each."""

    @classmethod
    def of(cls, entries: Sequence[AuditEntry]) -> "AuditAnswer":
        """These."""
        return cls.model_validate({"entries": entries})


VERSION: Final[dict[str, Any]] = {
    "key": "dial-2026-01",
    "version": 1,
    "series": 1,
    "kind": "split",
    "description": "How much of the picture's pull should go?",
    "layer": "default",
    "segment": [0.0, 1.0],
    "allocation": 0.1,
    "salt": "dial-2026-01",
    "variants": [
        {"name": "lambda2-0", "lambda2": 0.0, "weight": 0.5},
        {"name": "lambda2-0.8", "lambda2": 0.8, "weight": 0.5},
    ],
    "control": "lambda2-0",
    "between": None,
    "overrides": {},
    "primary": "purchases_per_user",
    "secondary": ["click_through", "revenue_per_user", "purchases_per_click"],
    "guardrails": [{"metric": "latency", "most": 0.2}],
    "alpha": 0.05,
    "window_seconds": None,
    "planned_units": 30_000,
    "tuning": None,
    "created": 1_767_225_600.0,
    "actor": "ann@shop",
}
SHOWN: Final[dict[str, Any]] = {
    "key": "dial-2026-01",
    "state": "running",
    "running": 1,
    "changed": 1_767_229_200.0,
    "config": VERSION,
}
EXPERIMENT: Final[dict[str, Any]] = {**SHOWN, "versions": [VERSION]}
EXPERIMENTS: Final[dict[str, Any]] = {
    "revision": 2,
    "holdout": {"share": 0.0, "salt": "holdout"},
    "experiments": [SHOWN],
}
ASSIGNMENT: Final[dict[str, Any]] = {
    "user_id": "ann",
    "experiment": "dial-2026-01",
    "version": 1,
    "variant": "lambda2-0.8",
    "lambda2": [0.8],
    "propensity": 0.5,
    "reason": "assigned",
}
AUDIT: Final[dict[str, Any]] = {
    "entries": [
        {
            "key": "dial-2026-01",
            "version": 1,
            "act": "start",
            "actor": "ann@shop",
            "at": 1_767_229_200.0,
            "detail": "version 1 in force: split of 10 % of segment [0, 1) of layer default",
        }
    ]
}
