"""Interleaving, off-policy estimates and tuning in the simulated shop: benchmarks.experiments.beyond, reduced."""

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.experiments.claims import Claim, at_most, limits
from benchmarks.experiments.drawn import off_policy_holds
from benchmarks.experiments.interleaved import fair, powerful, sensitive
from benchmarks.experiments.tuned import returning_hold, tuning_holds
from benchmarks.experiments.world import World
from training.shop import ShopConfig


@pytest.fixture(scope="module")
def world() -> World:
    return World(ShopConfig(items=300, users=500), np.random.default_rng(0))


def failed(claims: Iterator[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.failed]


def test_equally_good_rankings_are_rarely_told_apart(world: World) -> None:
    """However often one looks: A/A with a look after every 50 units; and the coin is fair."""
    assert failed(fair(world, 60, 600, np.random.default_rng(1))) == []


def test_interleaving_needs_a_fraction_of_a_splits_units(world: World) -> None:
    """It prefers what is clicked, and what is sold, more, and decides where a split of as many units does not."""
    rng = np.random.default_rng(2)

    assert failed(sensitive(world, 20_000, rng)) == []
    assert failed(powerful(world, 5, 3000, rng)) == []


def test_what_a_drawn_lambda2_says_of_others_is_true(world: World) -> None:
    """Coverage at every look, and bias, against the shop's expectation without sampling."""
    assert failed(off_policy_holds(world, 25, 2000, np.random.default_rng(3))) == []


def test_tuning_sells_more_meanwhile_and_its_log_can_be_analysed(world: World) -> None:
    """Regret against equal shares; weighted means unbiased and covered though shares moved with the weekends."""
    rng = np.random.default_rng(4)

    assert failed(tuning_holds(world, 8, 400, rng)) == []
    assert failed(returning_hold(10, 400, rng)) == []


def test_a_rate_above_what_is_allowed_fails() -> None:
    """9 % of 500 is more than chance makes of 5 %; 6 % is not. Limits are those of Clopper and Pearson."""
    assert at_most(0.05, "", 45, 500).failed
    assert not at_most(0.05, "", 30, 500).failed
    assert Claim(np.bool_(False), "", "", "").failed  # type: ignore[arg-type] # a comparison of arrays is numpy's
    assert limits(0, 10) == pytest.approx((0, 1 - 0.05**0.1))
    assert limits(10, 10) == pytest.approx((0.05**0.1, 1))
