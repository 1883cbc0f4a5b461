"""comparison.json: everything the report says, as plain data; the report's tables and figures are made of it alone."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from causalrec.manifest import Interval
from training.compare.about import About, Fusion, Searched

CHOSEN = "chosen"  # the ranking at the λ2 that validation chose, which may differ between seeds

Family = Literal["improvement", "debiasing", "match_alone", "fusion", "peer"]
Verdict = Literal["higher", "lower", "mixed", "unclear", "same"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Figure(Part):
    """One metric of one ranking: each user's average over the seeds, averaged over users."""

    mean: float
    low: float
    """Lower end of the 95 % bootstrap interval over users."""
    high: float
    seeds: dict[int, float]
    """The mean of each seed alone."""
    change: Interval | None
    """Relative to the same model at λ2 = 0, paired; None where that is zero."""


class Fit(Part):
    """One training."""

    lambda2: float
    """Chosen on validation."""
    epochs: int
    best_epoch: int
    batch_size: int
    seconds: float
    """Wall-clock, evaluation left out."""
    coverage: dict[str, float]
    """By ranking, the share of the catalogue that is in anybody's list."""
    overlap: dict[str, float]
    """By λ2, the share of the average user's list that is also in the one at λ2 = 0."""
    diagnostics: dict[str, float | None]
    """Of the dial; None where it is not a number."""


class Model(Part):
    """One model, over its seeds."""

    label: str
    peer: bool
    baseline: bool
    fusion: Fusion | None
    multitask: bool | None
    undebiasable: str | None
    """Why λ2 means nothing to it; None where it does."""
    basis: str
    """What chose λ2."""
    settings: dict[str, Any]
    """Of the model and its fit, by dotted name."""
    fits: dict[int, Fit]
    """By seed."""
    test: dict[str, dict[str, Figure]]
    """By ranking ("0.0", …, "chosen", "match_alone", "popularity") and metric."""
    valid: dict[str, dict[str, float]]
    """The same, means only."""

    @property
    def dial(self) -> bool:
        """Whether it was judged at more than λ2 = 0."""
        return self.undebiasable is None and len(self.lambda2s) > 1

    @property
    def lambda2s(self) -> list[float]:
        """Those judged, rising."""
        return sorted(float(name) for name in self.test if name[0].isdigit())


class Side(Part):
    label: str
    ranking: str


class Pair(Part):
    """One difference, a − b, over the seeds both have."""

    family: Family
    """The comparisons over which `adjusted` holds together."""
    metric: str
    a: Side
    b: Side
    users: int
    mean_a: float
    mean_b: float
    difference: Interval
    relative: Interval | None
    seeds: dict[int, float]
    p: float
    """Of the paired randomisation test over users."""
    adjusted: float
    """By Holm, over the family."""
    verdict: Verdict
    """higher, lower: adjusted < .05, and so in every seed. mixed: adjusted < .05, but not in every seed. unclear: not
    even that. same: no user's value differs."""


class Missing(Part):
    label: str
    seed: int


class Comparison(Part):
    schema_version: Literal[1] = 1
    about: About
    k: int
    sets: tuple[str, ...]
    """Of held-out items: clicks first."""
    models: tuple[Model, ...]
    """Ours as planned, then peers; those of which there is at least one cell."""
    missing: tuple[Missing, ...]
    """Cells planned that are not there."""
    searched: tuple[Searched, ...]
    pairs: tuple[Pair, ...]
    conclusions: tuple[str, ...]

    def model(self, label: str) -> Model | None:
        """The model of that label, where it has a cell."""
        return next((model for model in self.models if model.label == label), None)

    def of(self, family: Family) -> list[Pair]:
        """The differences of one family."""
        return [pair for pair in self.pairs if pair.family == family]


def named(name: str, metric: str) -> str:
    """The metric's key in the set `name`: clicks have no prefix."""
    return metric if name == "clicks" else f"{name}:{metric}"
