"""Numbers as people read them."""

import math

import pytest

from service.experiments import wording
from service.experiments.metrics import COVERAGE, METRICS
from service.experiments.report import Estimate
from tests.service.experiments.reports import NOTHING, around, guardrails, split


def spaced(text: str) -> str:
    """With plain spaces, which are easier to read here."""
    return text.replace(wording.NARROW, " ")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (0.8, "0.8"),
        (-0.5, "−0.5"),
        (0.123456, "0.1235"),
        (12.3456, "12.35"),
        (1234.6, "1 235"),
        (12_345_678, "12 345 678"),
        (999_999.9, "1 000 000"),
        (0.000123456, "0.0001235"),
        (1e-12, "0"),
        (None, "–"),
        (math.nan, "–"),
        (-math.inf, "–"),
    ],
)
def test_a_number_has_four_significant_digits(value: float | None, said: str) -> None:
    """Thousands apart, a true minus sign, no zeros at the end, and – for what is not known."""
    assert spaced(wording.number(value)) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Estimate(value=0.2312, low=0.22, high=0.2424), "0.2312 (0.2200 to 0.2424)"),
        (Estimate(value=-0.00003, low=-1.5, high=1.25), "0.000 (−1.500 to +1.250)"),
        (Estimate(value=1234.5, low=1000, high=1469), "+1 234 (+1 000 to +1 469)"),
        (Estimate(value=0.5, low=None, high=math.inf), "+0.5000 (no interval yet)"),
        (Estimate(value=0.5, low=0.25, high=None), "+0.5000 (+0.2500 to –)"),
        (NOTHING, "–"),
    ],
)
def test_a_value_and_its_interval_have_the_same_decimals(found: Estimate, said: str) -> None:
    """As many as the largest needs; what rounds to 0 has no sign."""
    signed = said.startswith("+") or "+" in said

    assert spaced(wording.estimate(found, signed=signed)) == said


def test_lifts_are_percentages() -> None:
    """With two decimals, one from 100 % on and none from 1,000 % on."""
    lifts = [around(0.0421, 0.01), around(1.5, 1.0), around(25.0, 10.0), NOTHING]

    assert [spaced(wording.lift(each)) for each in lifts] == [
        "+4.21 % (+3.21 % to +5.21 %)",
        "+150.0 % (+50.0 % to +250.0 %)",
        "+2 500 % (+1 500 % to +3 500 %)",
        "–",
    ]


def test_p_values_times_and_windows_read_as_words() -> None:
    """What is very small as such; a window in its largest whole unit; times in UTC."""
    assert [spaced(wording.p(value)) for value in (0.0004, 0.0412, None)] == ["p < 0.001", "p = 0.041", "p = –"]
    assert [wording.duration(value) for value in (None, 7 * 86_400, 86_400, 5400, 90, 1)] == [
        *("no end", "7 days", "1 day", "1.5 hours", "1.5 minutes", "1 second"),
    ]
    assert wording.when(1_767_621_600.0) == "2026-01-05 14:00 UTC"
    assert [spaced(wording.confidence(alpha)) for alpha in (0.05, 0.001)] == ["95 %", "99.9 %"]
    assert [spaced(wording.about(count)) for count in (7, 9_345, 538_174)] == ["7", "9 300", "540 000"]


def test_every_metric_has_words() -> None:
    """One that is not in the list is called by its name."""
    assert {wording.metric_words(name) for name in METRICS} == {metric.words for metric in METRICS.values()}
    assert wording.metric_words(COVERAGE) == "distinct items in lists"
    assert wording.metric_words("returns_per_user") == "returns per user"


def test_better_and_worse_are_said_of_what_is_significant_only() -> None:
    """By the direction in which the metric is better; where that is unknown it is different."""
    up = split().comparisons[0]

    def said(**changes: object) -> str:
        return wording.effect(up.model_copy(update=changes))

    assert (said(), said(difference=around(-1, 0.5)), said(metric="latency")) == ("better", "worse", "worse")
    assert (said(significant=False), said(difference=NOTHING), said(metric="returns")) == (
        *("not clear", "not clear", "different"),
    )


def test_a_guardrail_is_within_only_where_all_of_its_interval_is() -> None:
    """Otherwise nothing is clear until it is breached."""
    rail = guardrails()[0].model_copy(update={"most": 0.1})
    changes = [around(0.05, 0.04), around(0.05, 0.06), NOTHING]

    found = [wording.guardrail_state(rail.model_copy(update={"change": change})) for change in changes]

    assert found == ["within", "not clear", "not clear"]
    assert wording.guardrail_state(rail.model_copy(update={"breached": True})) == "breached"
