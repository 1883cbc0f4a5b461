"""Experiments as plain data: configurations, states, and the book of all of them that every replica decides by."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from causalrec.errors import CausalRecError

Kind = Literal["split", "interleaving", "random", "tuned"]
State = Literal["draft", "running", "paused", "stopped"]


class NoSuchExperiment(CausalRecError):
    """Nobody has made an experiment of this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no experiment {key!r}; POST /v1/experiments makes one")


class ExperimentConflict(CausalRecError):
    """What is asked does not go with what is there: the message says what would."""


class Variant(NamedTuple):
    """One λ2 and the share of the experiment's units that get it."""

    name: str
    lambda2: float
    weight: float


class Guardrail(NamedTuple):
    """How much worse than the control a metric may become, as a share of the control's value: 0.1 is 10 %."""

    metric: str
    most: float


class Tuning(NamedTuple):
    """A tuned experiment: every variant keeps at least the share `floor`; weights move every `every` seconds."""

    floor: float
    every: float


class Config(NamedTuple):
    """
    One immutable version of an experiment.

    kind: split compares variants; interleaving mixes the lists of two in one; random draws λ2 per unit, uniformly from
    `between`; tuned moves the weights towards what sells (Thompson sampling).
    segment: its part [from, to) of the layer; allocation: the share of that part which takes part, from its start.
    control: the variant that the others are compared with ("" for random). overrides: unit → variant, never counted.
    window: seconds after a unit's exposure in which its events count; None: all.
    series: the first version whose units are analysed together with this one's: they split alike.
    created: seconds since 1970.
    """

    key: str
    version: int
    series: int
    kind: Kind
    description: str
    layer: str
    segment: tuple[float, float]
    allocation: float
    salt: str
    variants: tuple[Variant, ...]
    control: str
    between: tuple[float, float] | None
    overrides: Mapping[str, str]
    primary: str
    secondary: tuple[str, ...]
    guardrails: tuple[Guardrail, ...]
    alpha: float
    window: float | None
    planned_units: int | None
    tuning: Tuning | None
    created: float
    actor: str


EMPTY: Final = Config(
    key="",
    version=0,
    series=0,
    kind="split",
    description="",
    layer="default",
    segment=(0.0, 1.0),
    allocation=1.0,
    salt="",
    variants=(),
    control="",
    between=None,
    overrides={},
    primary="",
    secondary=(),
    guardrails=(),
    alpha=0.05,
    window=None,
    planned_units=None,
    tuning=None,
    created=0.0,
    actor="",
)
"""Nothing was said: `changes` completes what is empty."""


class Experiment(NamedTuple):
    """
    All versions of an experiment, from 1, and what is in force. running: the version that is, or was when it ended;
    None before the first start. changed: when the state last did, in seconds since 1970.
    """

    key: str
    state: State
    versions: tuple[Config, ...]
    running: int | None
    changed: float

    @property
    def config(self) -> Config:
        """The version in force, or the newest of a draft."""
        return self.versions[(self.running or len(self.versions)) - 1]


class Holdout(NamedTuple):
    """The share of all units that no experiment ever gets, chosen by `salt`."""

    share: float = 0.0
    salt: str = "holdout"


class Book(NamedTuple):
    """Everything a decision depends on. revision: goes up by one with every change; 0 where nothing was ever said."""

    revision: int = 0
    holdout: Holdout = Holdout()
    experiments: Mapping[str, Experiment] = {}


NO_EXPERIMENTS = Book()


class Decision(NamedTuple):
    """
    What a unit gets. lambda2: one value, or the two of an interleaving. propensity: how likely that was, as a
    probability (random: as a density over λ2); None for an override, which no analysis counts. unit: whose it is.
    ends: the lowest and the highest λ2 that any unit gets of the version: served is all of an experiment or nothing,
    for with one variant's units left out the others would be compared with nobody.
    """

    key: str
    version: int
    series: int
    variant: str
    lambda2: tuple[float, ...]
    propensity: float | None
    unit: str = ""
    ends: tuple[float, ...] = ()


class AuditEntry(NamedTuple):
    """One change: what (create, version, start, pause, stop, tune, breach, holdout …), by whom, when, and in words."""

    key: str
    version: int | None
    act: str
    actor: str
    at: float
    detail: str
