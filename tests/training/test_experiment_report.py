"""A report in words, and beside the truth."""

from typing import Any

import numpy as np
import pytest

from service.experiments.report import (
    Comparison,
    DosePoint,
    DoseResponse,
    Estimate,
    GuardrailResult,
    OffPolicyPoint,
    Preference,
    Report,
    SampleRatio,
    VariantResult,
    Verdict,
)
from training.experiments.beside import beside_the_truth
from training.experiments.checks import checks
from training.experiments.traffic import OUTSIDE, Sums, Totals
from training.experiments.truth import Truth
from training.experiments.words import described
from training.shop import TrueBest

GRID = np.round(np.arange(41) * 0.05, 2)
TRUTH = Truth(TrueBest(1.2, GRID, 5 - GRID, 2 - (GRID - 1.2) ** 2 / 4, 90 - (GRID - 1.2) ** 2), "made for a test")
"""Purchases 1.64 at 0, 1.96 at 0.8, 2 at 1.2; clicks 5 at 0, 4.2 at 0.8."""
TOTALS = Totals(
    {"zero": Sums(400, 2000, 660, 0, 1990, 650, 0), "some": Sums(400, 1700, 770, 0, 1660, 780, 0), OUTSIDE: Sums(7)},
    {"zero": frozenset(range(40)), "some": frozenset(range(40, 80)), OUTSIDE: frozenset({99})},
)


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value=value, low=low, high=high)


def comparison(metric: str, lift: Estimate) -> Comparison:
    return Comparison(
        metric=metric,
        variant="some",
        control="zero",
        role="primary",
        difference=estimate(1.0),
        lift=lift,
        p_value=0.01,
        adjusted_p_value=0.02,
        significant=True,
        variance_reduction=0.25,
    )


def variant(name: str, lambda2: float, value: float) -> VariantResult:
    found = estimate(value, value - 1, value + 1)
    return VariantResult(variant=name, lambda2=lambda2, metric="purchases_per_user", units=40, estimate=found)


def dose(*, conclusive: bool) -> DoseResponse:
    ends = [DosePoint(lambda2=at, value=17, low=16, high=18) for at in (0.0, 1.6)]
    best = estimate(1.0, 0.85, 1.25) if conclusive else estimate(0.6, 0.1, 1.1)
    needed = None if conclusive else 12_000
    return DoseResponse(metric="purchases_per_user", curve=ends, best=best, conclusive=conclusive, units_needed=needed)


def report(**changed: Any) -> dict[str, Any]:
    """As the service sends it: the schema's own JSON."""
    fields: dict[str, Any] = {
        "key": "dial",
        "version": 1,
        "series": 1,
        "kind": "split",
        "state": "running",
        "description": "",
        "at": 1.0,
        "source": "live",
        "alpha": 0.05,
        "window": None,
        "control": "zero",
        "primary": "purchases_per_user",
        "units": 80,
        "planned_units": 80,
        "variants": [variant("zero", 0.0, 16.5), variant("some", 0.8, 19.3)],
        "comparisons": [comparison("purchases_per_user", estimate(0.17, 0.05, 0.3))],
        "multiplicity": "Holm over one",
        "sample_ratio": SampleRatio(
            expected={"zero": 0.5, "some": 0.5},
            observed={"zero": 40, "some": 40},
            p_value=1.0,
            chi_square_p_value=1.0,
            failed=False,
        ),
        "dose_response": [dose(conclusive=True)],
        "guardrails": [],
        "preferences": [],
        "off_policy": [],
        "disagreement": None,
        "timeline": [],
        "verdict": Verdict(decision="ship", lambda2=0.8, headline="Use λ2 = 0.8.", reasons=["it sells"]),
        "notes": ["a note"],
    }
    sent: dict[str, Any] = Report.model_validate(fields | changed).model_dump(mode="json")
    return sent


def test_a_report_is_told_verdict_first() -> None:
    """The verdict, then variants, comparisons, sample ratio, the best λ2 and notes, each with its interval."""
    told = described(report())

    assert told.startswith("dial (version 1, split, running): Use λ2 = 0.8.\n  - it sells")
    assert "| zero    | 0   | 40    | 16.5 [15.5, 17.5]" in told
    assert "| purchases per user | some    | +17.0 % [+5.0, +30.0] | 0.02 | yes         | 25%" in told
    assert "sample ratio: passes, p = 1: zero 40 (50% expected)" in told
    assert "best λ2 by purchases per user: 1 [0.85, 1.25]; the interval is 0.40 wide, narrower than 0.5" in told
    assert told.endswith("note: a note")


def test_what_is_not_known_is_said() -> None:
    """No figure is made up: an interval that is missing, users that are still needed, a broken split, a breach."""
    broken = {"expected": {"zero": 0.5}, "observed": {"zero": 9}, "p_value": 0.0001, "chi_square_p_value": 0.1}
    breach = GuardrailResult(metric="latency", variant="some", change=estimate(0.5, 0.3, 0.7), most=0.2, breached=True)
    told = described(
        report(
            comparisons=[comparison("click_through", estimate(None))],
            dose_response=[dose(conclusive=False)],
            sample_ratio=SampleRatio(**broken, failed=True),
            guardrails=[breach],
            disagreement="they differ",
        )
    )

    assert "| click through | some    | not known yet" in told
    assert "the interval is 1.00 wide: more traffic is needed for one narrower than 0.5 (about 12,000 users" in told
    assert "sample ratio: FAILED, p = 0.0001: zero 9" in told
    assert "guardrail latency of some: BREACHED, +50.0 % [+30.0, +70.0] worse, 20% allowed" in told
    assert "they differ" in told


def test_other_kinds_have_their_tables() -> None:
    """Preferences of an interleaving, and what drawn λ2 would do, marked where too few were near."""
    preference = Preference(
        metric="clicks", first="zero", second="some", units=30, preference=estimate(0.1, -0.1, 0.3), significant=False
    )
    point = OffPolicyPoint(
        lambda2=0.7, snips=estimate(19, 18, 20), doubly_robust=estimate(18.5, 18, 19), effective_units=12.4, thin=True
    )

    told = described(report(preferences=[preference], off_policy=[point], comparisons=[], dose_response=[]))

    assert "| clicks | zero  | some   | 30    | 0.1 [-0.1, 0.3]" in told
    assert "| 0.7 | 19 [18, 20] | 18.5 [18, 19] | 12 (too few)" in told


def test_intervals_stand_beside_the_truth() -> None:
    """A lift beside the ratio of the truths and of what was served; the best λ2 of the range; a point per user."""
    point = OffPolicyPoint(
        lambda2=0.8, snips=estimate(19, 18, 20), doubly_robust=estimate(30, 29, 31), effective_units=99, thin=False
    )
    lifts = [comparison(name, estimate(0.1, 0.0, 0.2)) for name in ("purchases_per_user", "purchases_per_click")]

    found = checks(
        report(comparisons=[*lifts, comparison("mean_rating", estimate(0, 0, 0))], off_policy=[point]), TRUTH, TOTALS
    )

    lift, per_click, best, snips, robust = found
    assert (lift.truth, lift.served) == pytest.approx((1.96 / 1.64 - 1, 780 / 650 - 1))
    assert (per_click.truth, per_click.served) == pytest.approx(
        (1.96 / 4.2 / (1.64 / 5) - 1, 780 / 1660 / (650 / 1990) - 1)
    )
    assert (best.what, best.truth, best.served) == ("best λ2", 1.2, None)
    assert best.holds(best.truth)
    assert not per_click.holds(per_click.truth)
    assert (snips.truth, robust.truth) == pytest.approx((19.6, 19.6))  # ten visits of each user
    assert (snips.holds(snips.truth), robust.holds(robust.truth)) == (True, False)


def test_the_gain_that_was_found_is_told() -> None:
    """The true best within what was tried, what the verdict's λ2 is worth, and as a share of what there is to gain."""
    told = beside_the_truth(report(), TRUTH, TOTALS, 0.0, 1.6)

    assert "of those tried, from 0 to 1.6, it is 1.2: +22.0% purchases, -24.0% clicks against 0" in told
    assert "The verdict names λ2 = 0.8, which is truly worth +19.5%, 89% of what there is to gain." in told
    assert "The fitted curve is highest at λ2 = 1, which is truly worth +21.3%, 97% of" in told
    assert "| some    | 0.8 | 1.9600                    | 1.9500    | 1.9250" in told
    assert "2 of 2 intervals hold the truth; 1 of the 1 lifts hold what was served." in told


def test_a_miss_is_shown_in_full() -> None:
    """An interval that leaves the truth out stands in a table, with both ends and the truth."""
    missed = report(comparisons=[comparison("purchases_per_user", estimate(0.4, 0.3, 0.5))], dose_response=[])

    told = beside_the_truth(missed, TRUTH, TOTALS, 0.0, 1.6)

    assert "0 of 1 intervals hold the truth; 0 of the 1 lifts" in told
    assert "| lift of some | purchases per user | [0.3, 0.5] | 0.1951 | 0.2    |" in told


def test_the_best_is_of_the_range_that_was_tried() -> None:
    """Beyond what was tried there may be better; clicks have a best λ2 of their own."""
    assert TRUTH.best(0.0, 2.0) == 1.2
    assert TRUTH.best(0.0, 0.8) == 0.8
    assert TRUTH.best(0.4, 1.6, "clicks") == 0.4
    assert TRUTH.at(0.125) == pytest.approx((TRUTH.at(0.1) + TRUTH.at(0.15)) / 2)
