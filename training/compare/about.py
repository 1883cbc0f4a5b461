"""What a report says of a comparison besides its figures: who was compared, on what, where and by which command."""

from dataclasses import dataclass, field
from typing import Any, Literal

Fusion = Literal["addition", "multiplication"]


@dataclass(frozen=True)
class Planned:
    """One of our models as the comparison was asked for it, whether its cells are there or not."""

    label: str
    baseline: bool = True
    """Whether it is what CausalRec is measured against, as in the paper's Table 2."""
    fusion: Fusion | None = None
    """Where the paper's Fig. 6 has it: how match and notice become one score."""
    multitask: bool | None = None
    """The same: whether the branches have losses of their own."""


@dataclass(frozen=True)
class Searched:
    """What the search over one model's settings did."""

    label: str
    trials: int
    """Finished ones."""
    unfinished: int = 0
    """Pruned, or failed."""
    seconds: float = 0.0
    best: float | None = None
    """Validation NDCG@k of clicks at λ2 = 0 under the settings found."""
    default: float | None = None
    """The same under the model's defaults, the first trial."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Those found, by dotted name."""
    space: dict[str, str] = field(default_factory=dict)
    """What was searched, by dotted name, in words: "0.0005 to 0.02, log"."""
    source: str = ""
    """Where the settings were taken from instead, if not searched for here."""


@dataclass(frozen=True)
class About:
    """
    What holds for the whole comparison.

    Paths in `command` are written as the reader should type them; nothing here names the machine's own folders.
    """

    name: str
    command: str
    code: str
    """Version and commit: `training.export.code_version`."""
    machine: str
    """Hardware in words."""
    models: tuple[Planned, ...]
    """In the order of the tables."""
    seeds: tuple[int, ...]
    statistics: dict[str, float] = field(default_factory=dict)
    """Of the data: `training.data.statistics.Statistics.as_dict`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What all models share, by dotted name: split, features, epochs …"""
    budget: str = ""
    """The search's, per model, in words."""
    resamples: int = 1000
    """Of the users, behind each interval."""
    seconds: float | None = None
    """Wall-clock of the whole comparison, where it was made in one go."""
    counterparts: dict[str, str] = field(default_factory=lambda: {"cornac CausalRec": "CausalRec authors"})
    """Which of our models a peer is set beside, where that is not its label less the first word."""
    notes: tuple[str, ...] = ()
    """Further sentences that the reader should know."""
