"""The report of an experiment: every figure that page, command line and JSON show, documented field by field."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from service.experiments.model import Kind, State


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Estimate(Part):
    """A value with its always-valid interval: looking often does not make it wrong more often."""

    value: float | None
    """None where there is not enough to say."""
    low: float | None
    high: float | None


class VariantResult(Part):
    """What one variant's units did, by one metric."""

    variant: str
    lambda2: float | None
    metric: str
    units: int
    estimate: Estimate
    """Of the metric itself, unadjusted."""


class Comparison(Part):
    """One variant against the control by one metric."""

    metric: str
    variant: str
    control: str
    role: Literal["primary", "secondary"]
    difference: Estimate
    """Variant minus control, adjusted by what was known of the units before (CUPED) where that is possible."""
    lift: Estimate
    """The same as a share of the control's value: 0.1 is 10 % more."""
    p_value: float | None
    """Always valid: the smallest level at which the interval would leave 0 out."""
    adjusted_p_value: float | None
    """After the correction for several comparisons."""
    significant: bool
    variance_reduction: float
    """Share of the difference's variance that CUPED took away."""


class SampleRatio(Part):
    """Whether units came to the variants as they should: a mismatch means that something is broken."""

    expected: dict[str, float]
    """Variant → share."""
    observed: dict[str, int]
    p_value: float
    """Sequential multinomial test: valid under continuous looking."""
    chi_square_p_value: float
    """For one look at the end only."""
    failed: bool


class DosePoint(Part):
    """The metric at one λ2, as fitted over all of them."""

    lambda2: float
    value: float
    low: float
    high: float


class DoseResponse(Part):
    """The metric as a function of λ2, and where it is best."""

    metric: str
    curve: list[DosePoint]
    """On a fine grid over the range of λ2 tried; pointwise band."""
    best: Estimate
    """The λ2 of the most, with its interval."""
    conclusive: bool
    """The interval is narrower than 0.5."""
    units_needed: int | None
    """About how many units in all would make it so; None where it is, or where more units alone would not."""


class GuardrailResult(Part):
    """One variant against the control by one guardrail."""

    metric: str
    variant: str
    change: Estimate
    """As a share of the control's value; positive is worse."""
    most: float
    """What is allowed."""
    breached: bool
    """The whole interval lies beyond what is allowed: the experiment is stopped."""


class Preference(Part):
    """Interleaving: which variant's items people chose where both stood in one list."""

    metric: Literal["clicks", "purchases"]
    first: str
    second: str
    units: int
    """With at least one such act."""
    preference: Estimate
    """Mean over these units of (of the first − of the second) / (of either): 1 everybody the first, −1 the second."""
    significant: bool


class OffPolicyPoint(Part):
    """What one λ2 would have done, estimated from units whose λ2 was drawn at random."""

    lambda2: float
    snips: Estimate
    """Self-normalised inverse propensity weighting with a kernel around `lambda2`."""
    doubly_robust: Estimate
    """The same corrected by a fitted outcome model."""
    effective_units: float
    """How many equally weighted units would say as much."""
    thin: bool
    """Too few for these figures to be relied on."""


class Look(Part):
    """One look of the timeline."""

    at: float
    """Seconds since 1970."""
    units: dict[str, int]
    """By variant."""
    difference: dict[str, Estimate]
    """Of the primary metric, by variant, against the control."""
    srm_p_value: float


class Verdict(Part):
    """What to do, in words."""

    decision: Literal["blocked", "ship", "keep", "continue", "stopped"]
    """blocked: something is broken, believe nothing. ship: use `lambda2`. keep: the control is at least as good.
    continue: not enough is known. stopped: a guardrail or a person ended it before anything was."""
    lambda2: float | None
    headline: str
    reasons: list[str]


class Report(Part):
    """What an experiment says so far. A mean per unit, a ratio of sums by the delta method; intervals at 1 − alpha."""

    key: str
    version: int
    series: int
    kind: Kind
    state: State
    description: str
    at: float
    """When it was made, in seconds since 1970."""
    source: Literal["live", "export"]
    """Tallies in Redis, or the exported events."""
    alpha: float
    window: float | None
    control: str
    primary: str
    units: int
    planned_units: int | None
    variants: list[VariantResult]
    comparisons: list[Comparison]
    multiplicity: str
    """How several comparisons were corrected for, in words."""
    sample_ratio: SampleRatio | None
    dose_response: list[DoseResponse]
    """Of the primary metric and of click_through, where at least three λ2 are compared or λ2 is random."""
    guardrails: list[GuardrailResult]
    preferences: list[Preference]
    off_policy: list[OffPolicyPoint]
    """Of the primary metric, on a grid of λ2, where λ2 is random."""
    disagreement: str | None
    """Where clicks and the primary metric point different ways: in words."""
    timeline: list[Look]
    """Oldest first."""
    verdict: Verdict
    notes: list[str]
    """What a reader should know of these figures: units without a known past, events of a stopped experiment, …"""
