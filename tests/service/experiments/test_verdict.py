"""The verdict in words: what to do, and why."""

from typing import Any

import pytest

from service.experiments.disagreement import disagreement
from service.experiments.model import State
from service.experiments.report import (
    Comparison,
    DoseResponse,
    Estimate,
    GuardrailResult,
    Preference,
    SampleRatio,
    Verdict,
)
from service.experiments.verdict import Known, verdict
from tests.service.experiments.unit_world import config

NOTHING = Estimate(value=None, low=None, high=None)
SOUND = SampleRatio(
    expected={"dial-0": 0.5, "dial-0.8": 0.5},
    observed={"dial-0": 5000, "dial-0.8": 5000},
    p_value=1.0,
    chi_square_p_value=1.0,
    failed=False,
)


def comparison(variant: str = "dial-0.8", metric: str = "purchases_per_user", **fields: Any) -> Comparison:
    """One whose lift is low … high; sure where that leaves 0 out."""
    low, high = fields.pop("lift", (-0.02, 0.08))
    lift = NOTHING if low is None else Estimate(value=(low + high) / 2, low=low, high=high)
    sure = low is not None and (low > 0 or high < 0)
    plain: dict[str, Any] = {"control": "dial-0", "role": "primary" if metric == "purchases_per_user" else "secondary"}
    plain |= {"p_value": 0.01, "adjusted_p_value": 0.01, "variance_reduction": 0.0, "significant": sure}
    return Comparison(metric=metric, variant=variant, difference=lift, lift=lift, **(plain | fields))


def curve(low: float, high: float, metric: str = "purchases_per_user", units_needed: int | None = None) -> DoseResponse:
    """One whose best λ2 is between low and high."""
    best = Estimate(value=(low + high) / 2, low=low, high=high)
    return DoseResponse(metric=metric, curve=[], best=best, conclusive=units_needed is None, units_needed=units_needed)


def judged(*comparisons: Comparison, state: State = "running", **fields: Any) -> Verdict:
    plain: dict[str, Any] = {"config": config(), "units": 10_000, "sample_ratio": SOUND, "doses": (), "guardrails": ()}
    plain |= {"preferences": (), "more": {"dial-0.8": 41_234.0}}
    return verdict(Known(state=state, comparisons=comparisons, **(plain | fields)))


def test_a_failed_sample_ratio_blocks_whatever_else_is_known() -> None:
    """And says what came instead of what, and what to do."""
    broken = SOUND.model_copy(
        update={"observed": {"dial-0": 5200, "dial-0.8": 4800}, "p_value": 0.0004, "failed": True}
    )

    found = judged(comparison(lift=(0.1, 0.2)), sample_ratio=broken)

    assert (found.decision, found.lambda2) == ("blocked", None)
    assert "Believe none" in found.headline
    text = " ".join(found.reasons)
    assert all(part in text for part in ("< 0.001", "52.00", "48.00", "new salt"))


def test_a_breached_guardrail_ends_it() -> None:
    """Even where the variant sells more: serve the control."""
    slow = GuardrailResult(
        metric="latency",
        variant="dial-0.8",
        change=Estimate(value=0.3, low=0.2, high=0.4),
        most=0.1,
        breached=True,
    )

    found = judged(comparison(lift=(0.1, 0.2)), guardrails=(slow, slow.model_copy(update={"breached": False})))

    assert (found.decision, found.lambda2) == ("stopped", 0.0)
    assert len(found.reasons) == 1
    assert "seconds per answer" in found.reasons[0]
    assert "10.00" in found.reasons[0]


def test_a_better_variant_is_shipped() -> None:
    found = judged(comparison(lift=(0.03, 0.11)))

    assert (found.decision, found.lambda2) == ("ship", 0.8)
    assert "Use λ2 = 0.8" in found.headline
    assert "+7.00" in found.headline


def test_the_best_of_several_better_ones_is_shipped_and_the_curve_refines_it() -> None:
    """Where the best λ2 is known to less than 0.5 it is that, and not the nearest that was tried."""
    several = config((0.0, 0.4, 0.8))
    both = (comparison("dial-0.4", lift=(0.01, 0.05)), comparison("dial-0.8", lift=(0.03, 0.11)))
    dose = curve(0.5, 0.8)

    plain = judged(*both, config=several)
    refined = judged(*both, config=several, doses=(dose,))
    vague = judged(*both, config=several, doses=(curve(0.2, 0.8, units_needed=30_000),))

    assert [each.lambda2 for each in (plain, refined, vague)] == [0.8, 0.65, 0.8]
    assert "0.50 to 0.80" in refined.headline
    assert "30\N{NARROW NO-BREAK SPACE}000 units in all" in vague.reasons[-1]


def test_a_curve_knows_more_than_its_points() -> None:
    """No variant alone is surely better, but the best λ2 surely is elsewhere: use it, unless it may be here."""
    several = config((0.0, 0.4, 0.8))
    both = (comparison("dial-0.4"), comparison("dial-0.8"))

    elsewhere = judged(*both, config=several, doses=(curve(0.5, 0.8),))
    perhaps_here = judged(*both, config=several, doses=(curve(0.0, 0.3),))

    assert (elsewhere.decision, elsewhere.lambda2) == ("ship", 0.65)
    assert perhaps_here.decision == "continue"


def test_less_is_better_for_some_metrics() -> None:
    """A variant that surely answers in less time is better, one in more time is worse."""
    of = config(primary="latency")

    better = judged(comparison(metric="latency", lift=(-0.2, -0.1)), config=of)
    worse = judged(comparison(metric="latency", lift=(0.1, 0.2)), config=of)

    assert (better.decision, worse.decision) == ("ship", "keep")


@pytest.mark.parametrize(
    ("lift", "fields", "said"),
    [
        ((-0.2, -0.1), {}, "worse"),
        ((-0.004, 0.006), {}, "no variant gains more than 0.60"),
        ((-0.02, 0.03), {"config": config(planned_units=10_000)}, "planned units came"),
    ],
)
def test_the_control_is_kept_where_it_is_at_least_as_good(
    lift: tuple[float, float], fields: dict[str, Any], said: str
) -> None:
    """All others are surely worse, or gain next to nothing, or the plan has run out."""
    found = judged(comparison(lift=lift), **fields)

    assert (found.decision, found.lambda2) == ("keep", 0.0)
    assert said in found.headline


def test_it_goes_on_while_nothing_is_known_and_says_for_how_long() -> None:
    """About so many more units, rounded up to two digits; the present difference is a forecast, no more."""
    found = judged(comparison())

    assert (found.decision, found.lambda2) == ("continue", None)
    assert "42\N{NARROW NO-BREAK SPACE}000 more units" in found.headline


def test_it_does_not_promise_what_no_number_of_units_would_bring() -> None:
    found = judged(comparison(), more={"dial-0.8": None})

    assert found.decision == "continue"
    assert "hardly differ" in found.headline


def test_too_few_units_say_nothing() -> None:
    found = judged(comparison(lift=(None, None)), units=40, more={"dial-0.8": None})

    assert found.decision == "continue"
    assert "40 units are too few" in found.headline
    assert judged().decision == "continue"


def test_what_ends_before_anything_is_known_is_stopped_and_what_is_known_stays() -> None:
    ended = judged(comparison(), state="stopped")
    known = judged(comparison(lift=(0.03, 0.11)), state="stopped")

    assert (ended.decision, known.decision) == ("stopped", "ship")
    assert "10\N{NARROW NO-BREAK SPACE}000 units" in ended.headline


def preference(metric: str, low: float, high: float) -> Preference:
    return Preference(
        metric=metric,
        first="dial-0",
        second="dial-0.8",
        units=500,
        preference=Estimate(value=(low + high) / 2, low=low, high=high),
        significant=low > 0 or high < 0,
    )


def test_an_interleaving_ships_what_people_buy_and_not_what_they_click() -> None:
    """Clicks surely prefer the control, purchases the other: purchases decide; clicks alone decide nothing."""
    of = config(kind="interleaving")
    clicks, bought = preference("clicks", 0.1, 0.3), preference("purchases", -0.4, -0.1)

    both = judged(config=of, preferences=(clicks, bought))
    only_clicks = judged(config=of, preferences=(clicks, preference("purchases", -0.4, 0.1)))
    control = judged(config=of, preferences=(clicks, preference("purchases", 0.1, 0.4)))

    assert [(each.decision, each.lambda2) for each in (both, only_clicks, control)] == [
        ("ship", 0.8),
        ("continue", None),
        ("keep", 0.0),
    ]
    assert "62.50" in both.reasons[1]


def test_a_drawn_dial_goes_on_until_its_best_is_known() -> None:
    """And says about how many more units that takes."""
    dose = curve(0.3, 1.3, units_needed=35_000)
    known = curve(0.75, 1.05)

    vague, sure, nobody = (judged(config=config(kind="random"), doses=doses) for doses in ((dose,), (known,), ()))

    assert (vague.decision, sure.decision, nobody.decision) == ("continue", "ship", "continue")
    assert "25\N{NARROW NO-BREAK SPACE}000 more" in vague.headline
    assert sure.lambda2 == 0.9


def test_clicks_and_purchases_that_part_are_told() -> None:
    """Clicks surely fell while purchases rose, surely or so far."""
    clicks = comparison(metric="click_through", lift=(-0.12, -0.08))

    sure = disagreement("purchases_per_user", [comparison(lift=(0.02, 0.06)), clicks])
    so_far = disagreement("purchases_per_user", [comparison(lift=(-0.02, 0.06)), clicks])

    assert sure is not None
    assert so_far is not None
    assert "−10.00" in sure
    assert "+4.00" in sure
    assert "not surely" not in sure
    assert "not surely" in so_far


def test_curves_and_lists_that_part_are_told_too() -> None:
    """No λ2 can be best by both; people click the one's items and buy the other's."""
    clicks, bought = curve(0.0, 0.3, metric="click_through"), curve(0.6, 0.9)
    preferred = preference("clicks", 0.1, 0.3), preference("purchases", -0.4, -0.1)

    of_curves = disagreement("purchases_per_user", doses=[clicks, bought])
    of_lists = disagreement("purchases_per_user", preferences=preferred)

    assert "0.15 (0 to 0.3)" in (of_curves or "")
    assert "click on the items of dial-0, and buy those of dial-0.8" in (of_lists or "")
    assert disagreement("purchases_per_user", doses=[clicks, curve(0.3, 0.9)]) is None
    assert disagreement("purchases_per_user", preferences=(preferred[0], preference("purchases", -0.4, 0.1))) is None


def test_no_disagreement_is_told_where_there_is_none() -> None:
    """The same way, or clicks that moved by chance, or clicks themselves being what decides."""
    fell, moved = (comparison(metric="click_through", lift=lift) for lift in ((-0.12, -0.08), (-0.12, 0.08)))

    assert disagreement("purchases_per_user", [comparison(lift=(-0.1, -0.02)), fell]) is None
    assert disagreement("purchases_per_user", [comparison(lift=(0.02, 0.06)), moved]) is None
    assert disagreement("click_through", [comparison(lift=(0.02, 0.06)), fell]) is None
    assert (
        disagreement("click_through", preferences=(preference("clicks", 0.1, 0.3), preference("purchases", -0.4, -0.1)))
        is None
    )
