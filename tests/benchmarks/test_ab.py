"""The study of A/B experiments on the simulated shop, reduced: a stand-in ranks, nothing is trained."""

import numpy as np
import pytest
from numpy.random import default_rng

from benchmarks.experiments.best import best_claims
from benchmarks.experiments.compared import compared_claims
from benchmarks.experiments.shop import Traffic
from benchmarks.experiments.trials import LAMBDA2, Study, config, experiments
from benchmarks.experiments.world import HIGH, LOW, STEP, World
from service.experiments.metrics import UNITS
from service.experiments.model import Book, Experiment
from training.shop import ShopConfig, expected_clicks_per_list, expected_purchases_per_list, simulate_visits

GRID = 2 * np.arange(LOW, HIGH + STEP / 2, STEP)
"""The stand-in's dial turns half as fast here: then its best λ2, 1.28, is inside the range that is tried."""


@pytest.fixture(scope="module")
def world() -> World:
    return World(ShopConfig(users=150, items=200, pull=2.0), default_rng(0))


@pytest.fixture(scope="module")
def traffic(world: World) -> Traffic:
    return Traffic(world.shop, np.arange(world.users), world.lists, GRID)


def test_the_truth_is_the_shops_own_expectation(world: World, traffic: Traffic) -> None:
    """Expected clicks and purchases per list at a λ2, over all users."""
    users, lists = np.arange(world.users), world.lists[traffic.row(0.8)]

    assert traffic.clicks[traffic.row(0.8)] == pytest.approx(expected_clicks_per_list(world.shop, users, lists).mean())
    assert traffic.purchases[traffic.row(0.8)] == pytest.approx(
        expected_purchases_per_list(world.shop, users, lists).mean()
    )


def test_visits_are_those_of_the_shop(world: World, traffic: Traffic) -> None:
    """Summed over visits: clicks, purchases and revenue have the mean and the spread of as many simulated visits."""
    count, visits, row = 20_000, 5, traffic.row(0.4)
    users = default_rng(1).integers(world.users, size=count)
    lists = world.lists[row, users]

    acts = traffic.visited(np.full(count, row), users, visits, default_rng(2))
    one_by_one = [simulate_visits(world.shop, users, lists, default_rng([3, visit])) for visit in range(visits)]

    for name, mine in (("clicked", acts.clicks), ("purchased", acts.purchases), ("revenue", acts.revenue)):
        theirs = np.sum([getattr(visit, name).sum(axis=1) for visit in one_by_one], axis=0)
        assert mine.mean() == pytest.approx(theirs.mean(), abs=5 * theirs.std() / np.sqrt(count))
        assert mine.std() == pytest.approx(theirs.std(), rel=0.05)
    assert (acts.purchases <= acts.clicks).all()


def test_units_are_split_as_the_service_splits_them(traffic: Traffic) -> None:
    """The unit frame of the analysis, a row per unit that the book takes, five variants about alike."""
    mine = config("split", "salt", 1000)._replace(allocation=0.5)
    book = Book(1, experiments={mine.key: Experiment(mine.key, "running", (mine,), 1, 0.0)})

    units = traffic.units(book, [f"unit-{unit}" for unit in range(1000)], 3, default_rng(4))

    assert units.schema == UNITS
    assert 400 < len(units) < 600
    assert sorted(units["lambda2"].unique()) == list(LAMBDA2)
    assert units["lists"].to_list() == [3.0] * len(units)


def test_reduced_study_holds_its_claims(traffic: Traffic) -> None:
    """Intervals contain the truth at every look, clicks and purchases disagree, λ2 is found: no claim fails."""
    study = Study(traffic, looks=(1000, 3000, 8000), visits=30)
    runs = experiments(study, "split", 15, default_rng(5))

    claims = [*best_claims(study, runs, (0.0, 1.6), "five λ2"), *compared_claims(study, runs)]

    assert [(claim.claim, claim.measured) for claim in claims if claim.holds is False] == []
