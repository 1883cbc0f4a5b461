"""The report as a whole, of every kind of experiment."""

import numpy as np
import polars as pl
import pytest
from numpy.random import Generator

from service.experiments.analysis import analyse, look
from service.experiments.assignment import DRAWN, MIXED
from service.experiments.metrics import BESIDE, UNITS
from service.experiments.model import Config, Guardrail, State, Tuning, Variant
from service.experiments.report import Look, Report
from tests.service.experiments.unit_world import config, frame, shoppers

DIALS = (0.0, 0.4, 0.8, 1.2, 1.6)
CURVE = {"dial-0.4": 0.3, "dial-0.8": 0.4, "dial-1.2": 0.3, "dial-1.6": 0.0}


@pytest.fixture
def rng() -> Generator:
    return np.random.default_rng(0)


def report(of: Config, units: pl.DataFrame, state: State = "running", looks: list[Look] | None = None) -> Report:
    return analyse(of, state, units, {}, looks or [], at=100.0, source="live")


def test_a_split_of_five_is_reported_in_full(rng: Generator) -> None:
    """Every variant by every metric, every other one against the control, and both curves over λ2."""
    of = config(DIALS, secondary=BESIDE, guardrails=(Guardrail("latency", 0.2),))
    units = shoppers(rng, 20_000, of=of, lifts=CURVE, rate=1.0)

    found = report(of, units)

    assert len(found.variants) == 5 * 4
    assert [each.role for each in found.comparisons] == ["primary"] * 4 + ["secondary"] * 12
    assert [dose.metric for dose in found.dose_response] == ["purchases_per_user", "click_through"]
    assert [rule.variant for rule in found.guardrails] == ["dial-0.4", "dial-0.8", "dial-1.2", "dial-1.6"]
    assert "Holm over 16" in found.multiplicity
    assert found.units == 20_000
    assert found.verdict.decision == "ship"
    assert found.verdict.lambda2 == pytest.approx(0.8, abs=0.3)


def test_clicks_stand_beside_whatever_is_asked_for(rng: Generator) -> None:
    """A shop that asks for one metric sees what its clicks did, once."""
    alone = report(config(), shoppers(rng, 1000))
    asked = report(config(primary="click_through"), shoppers(rng, 1000))

    assert [each.metric for each in alone.comparisons] == ["purchases_per_user", "click_through"]
    assert [each.metric for each in asked.comparisons] == ["click_through"]


def test_every_true_figure_is_in_its_interval(rng: Generator) -> None:
    """One experiment whose truth is known: means, ratio, difference, lift; and all differences are called."""
    units = shoppers(rng, 40_000, lifts={"dial-0.8": 0.3}, click_lifts={"dial-0.8": -0.3}, rate=0.5)

    found = report(config(), units)
    means = {(each.variant, each.metric): each.estimate for each in found.variants}
    truths = {("dial-0", "purchases_per_user"): 0.5, ("dial-0.8", "purchases_per_user"): 0.65}
    truths |= {("dial-0", "click_through"): 0.2, ("dial-0.8", "click_through"): 0.14}

    for key, truth in truths.items():
        assert (means[key].low or np.nan) < truth < (means[key].high or np.nan)
    for comparison, truth, lift in zip(found.comparisons, (0.15, -0.06), (0.3, -0.3), strict=True):
        assert (comparison.difference.low or np.nan) < truth < (comparison.difference.high or np.nan)
        assert (comparison.lift.low or np.nan) < lift < (comparison.lift.high or np.nan)
        assert comparison.significant
    assert found.disagreement is not None


def test_what_is_significant_is_so_among_all_comparisons(rng: Generator) -> None:
    """An interval that just leaves 0 out is no difference yet where seven others were looked at as well."""
    of = config(DIALS, secondary=())
    units = shoppers(rng, 20_000, of=of, lifts={"dial-0.8": 0.12}, rate=0.5)

    found = {each.variant: each for each in report(of, units).comparisons if each.role == "primary"}["dial-0.8"]

    assert found.p_value is not None
    assert found.adjusted_p_value is not None
    assert found.p_value < 0.05 < found.adjusted_p_value
    assert (found.difference.low or 0) > 0
    assert not found.significant


def test_what_was_known_before_narrows_the_difference(rng: Generator) -> None:
    """The same units with and without a past: the latter's interval is wider by what CUPED says it took away."""
    units = shoppers(rng, 10_000, rate=2.0)
    forgotten = units.with_columns(pl.lit(None, pl.Float64).alias(name) for name in units.columns if "before" in name)

    (with_past, _), (without, _) = (report(config(), each).comparisons for each in (units, forgotten))
    widths = [(each.difference.high or 0) - (each.difference.low or 0) for each in (with_past, without)]

    assert with_past.variance_reduction > 0.25
    assert without.variance_reduction == 0
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(1 - with_past.variance_reduction), rel=0.02)


def test_planning_narrows_the_interval_where_it_was_planned(rng: Generator) -> None:
    """2,000 units: an experiment planned for them knows more than one planned for a million."""
    units = shoppers(rng, 2000)

    planned, unplanned = (report(config(planned_units=number), units).comparisons[0] for number in (2000, 10**6))

    assert (planned.difference.high or 0) - (planned.difference.low or 0) < 0.6 * (
        (unplanned.difference.high or 0) - (unplanned.difference.low or 0)
    )


def test_units_without_an_exposure_are_noted_and_not_counted(rng: Generator) -> None:
    units = shoppers(rng, 1000).with_columns(
        pl.when(pl.int_range(pl.len()) < 30).then(None).otherwise(pl.col("exposed")).alias("exposed")
    )

    found = report(config(), units)

    assert found.units == 970
    assert any("30 units without an exposure" in note for note in found.notes)


def test_an_experiment_without_units_says_so(rng: Generator) -> None:
    """Of every kind: an empty report and no error."""
    tuned = config(DIALS, kind="tuned", tuning=Tuning(0.1, 60.0))
    for of in (config(), config(kind="interleaving"), config(kind="random"), tuned):
        found = report(of._replace(guardrails=(Guardrail("coverage", 0.1),)), pl.DataFrame(schema=UNITS))

        assert found.units == 0
        assert found.verdict.decision == "continue"
        assert found.sample_ratio is None


def test_too_few_units_have_values_and_no_intervals(rng: Generator) -> None:
    found = report(config(), shoppers(rng, 150))

    assert found.comparisons[0].difference.value is not None
    assert found.comparisons[0].difference.low is None
    assert found.comparisons[0].p_value is None
    assert not found.comparisons[0].significant
    assert "too few" in found.verdict.headline


def test_a_metric_that_never_happened_is_unknown(rng: Generator) -> None:
    """Ratings that nobody gave: no mean of them, and no difference."""
    found = report(config(secondary=("mean_rating", "rating_sum_per_user")), shoppers(rng, 1000))

    by_metric = {each.metric: each for each in found.comparisons}
    assert by_metric["mean_rating"].difference.value is None
    assert by_metric["rating_sum_per_user"].difference.model_dump() == {"value": 0.0, "low": None, "high": None}


def test_looks_make_the_timeline_and_keep_an_alarm(rng: Generator) -> None:
    """What a report leaves behind is what the next one's timeline shows; an alarm that was raised once stays."""
    units = shoppers(rng, 2000)
    first = look(report(config(), units[:1000]))

    second = report(config(), units, looks=[first])
    after_alarm = report(config(), units, looks=[first.model_copy(update={"srm_p_value": 1e-6})])

    assert first.units == dict(units[:1000]["variant"].value_counts().iter_rows())
    assert set(first.difference) == {"dial-0.8"}
    assert second.timeline == [first]
    assert after_alarm.verdict.decision == "blocked"


def test_a_tuned_experiment_weighs_units_by_their_propensity(rng: Generator) -> None:
    """
    Two versions, and a world that sold twice as much in the second, in which the better variant got most units: plain
    means would double its lift; weighted ones say what is true, and the sample ratio is judged version by version.
    """
    versions = []
    for version, share, rate in ((1, 0.5, 0.5), (2, 0.9, 1.0)):
        variants = (Variant("dial-0", 0.0, 1 - share), Variant("dial-0.8", 0.8, share))
        of = config(kind="tuned", tuning=Tuning(0.1, 60.0), variants=variants)
        units = shoppers(rng, 20_000, of=of, lifts={"dial-0.8": 0.1}, rate=rate)
        versions.append(units.with_columns(version=pl.lit(version, pl.Int64), unit=pl.col("unit") + f"-{version}"))

    found = report(of, pl.concat(versions))
    plain = [pl.concat(versions).filter(variant=name)["purchases"].to_numpy().mean() for name in ("dial-0", "dial-0.8")]

    assert plain[1] / plain[0] > 1.25
    assert found.comparisons[0].lift.value == pytest.approx(0.1, abs=0.05)
    assert found.sample_ratio is not None
    assert not found.sample_ratio.failed
    assert found.sample_ratio.expected == pytest.approx({"dial-0": 0.3, "dial-0.8": 0.7})


def test_a_unit_of_several_versions_is_one_unit(rng: Generator) -> None:
    of = config(kind="tuned", tuning=Tuning(0.1, 60.0))
    units = shoppers(rng, 400, of=of)

    found = report(of, pl.concat([units, units.with_columns(version=pl.lit(2, pl.Int64))]))

    assert found.units == 400
    assert sum(each.units for each in found.variants if each.metric == found.primary) == 400


def test_an_interleaving_is_judged_by_what_people_chose(rng: Generator) -> None:
    """No variant against another, but the preference; and the λ2 that people bought from."""
    mine = rng.binomial(1, 0.4, 2000).astype(float)
    columns = {"variant": [MIXED] * 2000, "propensity": np.ones(2000), "lambda2": np.full(2000, np.nan)}
    units = frame(columns | {"purchases_b": mine, "purchases_a": (1 - mine) * rng.binomial(1, 0.3, 2000)})

    found = report(config(kind="interleaving", guardrails=(Guardrail("latency", 0.1),)), units)

    assert [each.metric for each in found.preferences] == ["clicks", "purchases"]
    assert (found.comparisons, found.guardrails, found.sample_ratio) == ([], [], None)
    assert (found.verdict.decision, found.verdict.lambda2) == ("ship", 0.8)
    assert any("no control" in note for note in found.notes)


def drawn(rng: Generator, size: int) -> pl.DataFrame:
    """Units whose λ2 was drawn; most is sold at 1.0."""
    lambda2 = rng.uniform(0, 1.6, size)
    bought = rng.poisson(2.0 - 1.5 * (lambda2 - 1.0) ** 2).astype(float)
    columns = {"variant": [DRAWN] * size, "lambda2": lambda2, "propensity": np.full(size, 1 / 1.6)}
    return frame(columns | {"purchases": bought, "clicks": np.ones(size), "lists": np.full(size, 4.0)})


def test_a_drawn_dial_is_judged_by_its_curve(rng: Generator) -> None:
    """The best λ2 with its interval, what any of them would have done, and whether the draws were uniform."""
    found = report(config(kind="random"), drawn(rng, 20_000))

    best = found.dose_response[0].best
    assert (best.low or np.nan) <= 1.0 <= (best.high or np.nan)
    assert found.verdict.decision == "ship"
    assert len(found.off_policy) == 11
    assert found.off_policy[5].doubly_robust.value == pytest.approx(2.0 - 1.5 * 0.2**2, abs=0.15)
    assert found.sample_ratio is not None
    assert not found.sample_ratio.failed
    assert len(found.sample_ratio.expected) == 10


def test_draws_that_are_not_uniform_block_the_verdict(rng: Generator) -> None:
    """A tenth of the range gets lost."""
    units = drawn(rng, 20_000).filter(~pl.col("lambda2").is_between(0.2, 0.3))

    assert report(config(kind="random"), units).verdict.decision == "blocked"


def test_a_report_survives_being_stored(rng: Generator) -> None:
    """As JSON: no NaN, nothing that cannot be read back."""
    found = report(config(DIALS), shoppers(rng, 300, of=config(DIALS)))

    assert Report.model_validate_json(found.model_dump_json()) == found
