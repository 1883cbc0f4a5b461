"""Reports made by hand, one of each kind: what page, text and command line are tested on."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from service.experiments.report import (
    Comparison,
    DosePoint,
    DoseResponse,
    Estimate,
    GuardrailResult,
    Look,
    OffPolicyPoint,
    Preference,
    Report,
    SampleRatio,
    VariantResult,
    Verdict,
)

NOW: Final = 1_767_621_600.0  # 2026-01-05 14:00 UTC
DAY: Final = 86_400.0
LAMBDA2: Final = (0.0, 0.4, 0.8, 1.2, 1.6)
NAMES: Final = tuple(f"lambda2-{value:g}" for value in LAMBDA2)
UNITS: Final = (4_012, 3_987, 4_051, 3_966, 4_020)
NOTHING: Final = Estimate(value=None, low=None, high=None)


def around(value: float, margin: float) -> Estimate:
    return Estimate(value=value, low=value - margin, high=value + margin)


def purchases(lambda2: float) -> float:
    return 0.2312 + 0.09 * lambda2 - 0.055 * lambda2**2


def clicks(lambda2: float) -> float:
    return 0.4125 - 0.031 * lambda2


def results(metric: str, of: Callable[[float], float], margin: float) -> list[VariantResult]:
    return [
        VariantResult(variant=name, lambda2=value, metric=metric, units=units, estimate=around(of(value), margin))
        for name, value, units in zip(NAMES, LAMBDA2, UNITS, strict=True)
    ]


def comparisons(
    metric: str, role: Literal["primary", "secondary"], of: Callable[[float], float], margin: float
) -> list[Comparison]:
    return [
        Comparison(
            metric=metric,
            variant=name,
            control=NAMES[0],
            role=role,
            difference=around(of(value) - of(0), margin),
            lift=around(of(value) / of(0) - 1, margin / of(0)),
            p_value=0.004 if abs(of(value) - of(0)) > margin else 0.31,
            adjusted_p_value=0.0004 if abs(of(value) - of(0)) > margin else 0.62,
            significant=abs(of(value) - of(0)) > margin,
            variance_reduction=0.237,
        )
        for name, value in zip(NAMES[1:], LAMBDA2[1:], strict=True)
    ]


def dose(metric: str, of: Callable[[float], float], margin: float, best: Estimate) -> DoseResponse:
    grid = [index / 20 for index in range(33)]
    spread = [margin * (0.5 + 0.6 * abs(value - 0.8)) for value in grid]
    curve = [
        DosePoint(lambda2=value, value=of(value), low=of(value) - wide, high=of(value) + wide)
        for value, wide in zip(grid, spread, strict=True)
    ]
    narrow = best.low is not None and best.high is not None and best.high - best.low < 0.5
    return DoseResponse(
        metric=metric, curve=curve, best=best, conclusive=narrow, units_needed=None if narrow else 48_000
    )


def timeline(looks: int) -> list[Look]:
    made = []
    for index in range(1, looks + 1):
        share = index / looks
        drift = 0.01 * math.sin(index * 1.7) / math.sqrt(index)
        margin = 0.012 / math.sqrt(share) * (1 + 0.1 * math.log(1 / share))
        made.append(
            Look(
                at=NOW - (looks - index) * DAY / 4,
                units={name: round(units * share) for name, units in zip(NAMES, UNITS, strict=True)},
                difference={
                    name: around(purchases(value) - purchases(0) + drift, margin)
                    for name, value in zip(NAMES[1:], LAMBDA2[1:], strict=True)
                },
                srm_p_value=max(0.05, 1 - 0.4 * share + 0.2 * math.sin(index)),
            )
        )
    return made


def guardrails(breached: bool = False) -> list[GuardrailResult]:
    return [
        GuardrailResult(metric=metric, variant=name, change=around(at, margin), most=most, breached=hit)
        for name in NAMES[1:3]
        for metric, at, margin, most, hit in (
            ("latency", 0.164 if breached else 0.021, 0.045, 0.1, breached and name == NAMES[2]),
            ("coverage", -0.034, 0.02, 0.05, False),
        )
    ]


def sample_ratio(observed: Sequence[int] = UNITS, *, failed: bool = False) -> SampleRatio:
    return SampleRatio(
        expected=dict.fromkeys(NAMES, 0.2),
        observed=dict(zip(NAMES, observed, strict=True)),
        p_value=3.1e-7 if failed else 0.83,
        chi_square_p_value=1.2e-9 if failed else 0.894,
        failed=failed,
    )


def split(**changed: Any) -> Report:
    """Five λ2, four weeks, a clear answer; clicks go down while purchases go up."""
    made = Report(
        key="home-lambda2",
        version=3,
        series=2,
        kind="split",
        state="running",
        description="How much of the picture's pull to take out of the home page's list",
        at=NOW,
        source="live",
        alpha=0.05,
        window=7 * DAY,
        control=NAMES[0],
        primary="purchases_per_user",
        units=sum(UNITS),
        planned_units=25_000,
        variants=[
            *results("purchases_per_user", purchases, 0.011),
            *results("click_through", clicks, 0.009),
            *results("revenue_per_user", lambda value: 41.37 * purchases(value), 1.4),
        ],
        comparisons=[
            *comparisons("purchases_per_user", "primary", purchases, 0.012),
            *comparisons("click_through", "secondary", clicks, 0.0085),
            *comparisons("revenue_per_user", "secondary", lambda value: 41.37 * purchases(value), 1.3),
        ],
        multiplicity="Holm over the four variants, by the primary metric; Benjamini-Hochberg over the secondary ones",
        sample_ratio=sample_ratio(),
        dose_response=[
            dose("purchases_per_user", purchases, 0.01, Estimate(value=0.82, low=0.63, high=1.02)),
            dose("click_through", clicks, 0.008, Estimate(value=0.0, low=0.0, high=0.24)),
        ],
        guardrails=guardrails(),
        preferences=[],
        off_policy=[],
        disagreement="Clicks fall with λ2 while purchases rise up to 0.8: people click less on what only looks good.",
        timeline=timeline(28),
        verdict=Verdict(
            decision="ship",
            lambda2=0.8,
            headline="Use λ2 = 0.8: people buy 15.9 % more than with λ2 = 0.",
            reasons=[
                "Purchases per user are higher by +15.92 % (+10.73 % to +21.11 %), after Holm's correction.",
                "The best λ2 lies between 0.63 and 1.02.",
                "No guardrail is near its limit.",
            ],
        ),
        notes=[
            "312 units had no known past and are not adjusted.",
            "Events of the last hour may still be on their way.",
        ],
    )
    return made.model_copy(update=changed)


def broken(**changed: Any) -> Report:
    """One variant's exposures are lost: the sample ratio has failed."""
    return split(
        sample_ratio=sample_ratio((4_012, 3_987, 4_051, 3_966, 3_402), failed=True),
        verdict=Verdict(
            decision="blocked",
            lambda2=None,
            headline="Do not use these figures: units are missing from lambda2-1.6.",
            reasons=["The sample ratio test fails (p < 0.001): 3 402 units came where 3 884 should have."],
        ),
        disagreement=None,
        **changed,
    )


NO_PARTS: Final[dict[str, Any]] = {
    **{"variants": [], "comparisons": [], "sample_ratio": None, "dose_response": [], "guardrails": [], "timeline": []},
    **{"disagreement": None, "planned_units": None},
}


def interleaved(**changed: Any) -> Report:
    """Two λ2 in one list."""
    said = "People buy from λ2 = 0.8's items more often."
    kind = {
        "kind": "interleaving",
        "key": "home-interleaved",
        "disagreement": "Clicks prefer lambda2-0, purchases not.",
    }
    preferences = [
        Preference(
            metric=metric, first=NAMES[0], second=NAMES[2], units=units, preference=around(at, 0.04), significant=True
        )
        for metric, at, units in (("clicks", 0.082, 2_871), ("purchases", -0.143, 1_064))
    ]
    verdict = Verdict(decision="ship", lambda2=0.8, headline=said, reasons=[])
    return split(**{**NO_PARTS, **kind, "preferences": preferences, "verdict": verdict, **changed})


def drawn(**changed: Any) -> Report:
    """λ2 is drawn for each unit."""
    points = [
        OffPolicyPoint(
            lambda2=value,
            snips=around(purchases(value) + 0.004 * math.sin(9 * value), 0.03),
            doubly_robust=around(purchases(value), 0.018 + 0.01 * abs(value - 0.8)),
            effective_units=100 * (1.62 - value) + 40,
            thin=value > 1.3,
        )
        for value in (index / 10 for index in range(17))
    ]
    kind = {"kind": "random", "key": "home-random", "control": "", "dose_response": split().dose_response}
    return split(**{**NO_PARTS, **kind, "off_policy": points, **changed})


def empty(**changed: Any) -> Report:
    """A draft that nobody came to."""
    draft = {"state": "draft", "version": 1, "series": 1, "description": "", "window": None, "units": 0, "notes": []}
    verdict = Verdict(decision="continue", lambda2=None, headline="Nobody has come yet.", reasons=[])
    return split(**{**NO_PARTS, **draft, "verdict": verdict, **changed})


def unknown(**changed: Any) -> Report:
    """One variant without a unit, and no figure that could be computed."""
    lost = {"difference": NOTHING, "lift": NOTHING, "p_value": None, "adjusted_p_value": None, "significant": False}
    full = split()
    made = full.model_copy(
        update={
            "variants": [each.model_copy(update={"estimate": NOTHING, "units": 0}) for each in full.variants],
            "comparisons": [each.model_copy(update=lost) for each in full.comparisons],
            "dose_response": [
                each.model_copy(update={"best": NOTHING, "curve": [], "conclusive": False, "units_needed": None})
                for each in full.dose_response
            ],
            "guardrails": [each.model_copy(update={"change": NOTHING}) for each in full.guardrails],
            "timeline": [
                look.model_copy(update={"difference": dict.fromkeys(look.difference, NOTHING)})
                for look in full.timeline
            ],
            "preferences": [
                each.model_copy(update={"preference": NOTHING, "significant": False})
                for each in interleaved().preferences
            ],
            "off_policy": [
                each.model_copy(update={"snips": NOTHING, "doubly_robust": NOTHING}) for each in drawn().off_policy
            ],
        }
    )
    return made.model_copy(update=changed)


def everything(**changed: Any) -> Report:
    """All parts of a report at once, which no single kind has."""
    update = {"preferences": interleaved().preferences, "off_policy": drawn().off_policy, **changed}
    return split(guardrails=guardrails(breached=True), **update)


STATES: Final[dict[str, Callable[[], Report]]] = {
    "split": split,
    "broken": broken,
    "interleaved": interleaved,
    "drawn": drawn,
    "empty": empty,
    "unknown": unknown,
    "everything": everything,
}
