"""A/A and A/B experiments with a look after every batch: benchmarks/experiments/aa.py in small."""

import numpy as np
import pytest

from benchmarks.experiments.aa import EFFECTS, NOTHINGS, Effect, Nothing, called, missed, of_broken_splits
from benchmarks.experiments.claims import limits
from benchmarks.experiments.health import several
from benchmarks.experiments.looks import ALPHA, Design, grams, looked, shoppers
from service.experiments.analysis import analyse
from service.experiments.metrics import METRICS
from service.experiments.moments import Moments, moments
from tests.service.experiments import unit_world

FEW = 300


def quiet(_: int) -> None:
    """No progress bar."""


@pytest.mark.parametrize("kind", NOTHINGS, ids=lambda kind: kind.words)
def test_nothing_is_called_where_nothing_is(kind: Nothing) -> None:
    """The lower 95 % limit of how often any of all looks calls a difference is at most α."""
    found = called(kind, FEW, np.random.default_rng(11), quiet)

    assert limits(found["sequence"], FEW)[0] <= ALPHA


def test_the_test_for_one_look_calls_far_too_much() -> None:
    """What always-valid intervals prevent: without them these very looks call a quarter."""
    found = called(NOTHINGS[0], FEW, np.random.default_rng(11), quiet)

    assert limits(found["one"], FEW)[0] > 2 * ALPHA


@pytest.mark.parametrize("kind", EFFECTS, ids=lambda kind: kind.words)
def test_intervals_hold_the_truth_at_all_looks(kind: Effect) -> None:
    """Of means, adjusted means and ratios that truly differ; the one-look interval at the end misses its 5 %."""
    wrong, wrong_at_end = missed(kind, FEW, np.random.default_rng(12), quiet)

    assert limits(wrong, FEW)[0] <= ALPHA
    assert limits(wrong_at_end, FEW)[0] <= ALPHA <= limits(wrong_at_end, FEW)[1]


def test_a_true_difference_is_found() -> None:
    """A fifth more clicks, 6,000 units: most of 200 experiments call it at some look."""
    design = Design(shoppers, METRICS["click_through"], lift=0.2)

    looks = looked(design, grams(design, 200, np.random.default_rng(13)))

    assert looks.called().mean() > 0.9


def test_several_comparisons_together_call_nothing_either() -> None:
    """Five variants by three metrics, Holm's correction: no more than α in all."""
    rng = np.random.default_rng(14)

    assert limits(sum(several(rng, 20, 50) for _ in range(100)), 100)[0] <= ALPHA


def test_a_broken_split_raises_the_alarm_and_blocks_the_verdict() -> None:
    """One variant's exposures dropped at 5 %, over many splits and by whole reports (acceptance 3)."""
    claims = list(of_broken_splits(200, np.random.default_rng(15), quiet, seeds=3))

    assert [claim.claim for claim in claims if not claim.holds] == []


def test_the_looks_are_those_of_the_report() -> None:
    """What is measured here is what a report says: the same p-value from the same units."""
    units = unit_world.shoppers(np.random.default_rng(16), 3000, lifts={"dial-0.8": 0.3})
    of = unit_world.config(planned_units=6000)
    design = Design(shoppers, METRICS["purchases_per_user"], planned=6000)
    whole = moments(units, ("dial-0", "dial-0.8"))
    places = [whole.columns.index(name) for name in design.columns]
    plain = Moments(("a", "b"), design.columns, whole.gram[:, places][:, :, places])

    looks = looked(design, plain.gram[None, None])
    unknown = units.with_columns(before_clicks=None, before_carts=None, before_purchases=None, before_ratings=None)
    report = analyse(of, "running", unknown, {}, [], at=0.0, source="live")

    assert report.comparisons[0].p_value == pytest.approx(looks.p[0, 0])
    assert report.comparisons[0].difference.value == pytest.approx(looks.difference[0, 0])
