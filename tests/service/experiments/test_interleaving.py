"""Team-draft interleaving: one list of two, fair to both, and credit by unit."""

from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from service.experiments.interleaving import preferences, team_draft
from service.experiments.metrics import UNITS
from service.experiments.report import Estimate

ranking = st.lists(st.integers(0, 12), unique=True, max_size=12)


def seed(unit: int, salt: str = "salt") -> bytes:
    return f"{salt}\0{unit}".encode()


def frame(**columns: list[float]) -> pl.DataFrame:
    """Units of an interleaving with these columns; all others are null."""
    rows = len(next(iter(columns.values())))
    given = {name: columns.get(name, [None] * rows) for name in UNITS}
    return pl.DataFrame(given, schema=UNITS)


def acts(clicks_a: list[float], clicks_b: list[float]) -> pl.DataFrame:
    """Units with these clicks and without purchases."""
    nothing = [0.0] * len(clicks_a)
    return frame(clicks_a=clicks_a, clicks_b=clicks_b, purchases_a=nothing, purchases_b=nothing)


@given(ranking, ranking, st.integers(0, 30), st.binary(max_size=8))
def test_a_draft_is_full_and_takes_every_item_once(first: list[int], second: list[int], k: int, seed: bytes) -> None:
    """Items of both lists, each at most once, as many as asked for or as there are, and a team for each."""
    rows, teams = team_draft(first, second, k, seed)

    assert len(rows) == len(teams) == len(set(rows)) == min(k, len({*first, *second}))
    assert set(rows) <= {*first, *second}
    assert set(teams) <= {"a", "b", "="}


@given(ranking, ranking, st.integers(0, 30), st.binary(max_size=8))
def test_every_pick_is_the_best_that_its_team_has_left(
    first: list[int], second: list[int], k: int, seed: bytes
) -> None:
    """Replayed by the definition: each team takes the best of its own list that nobody took, so both keep order."""
    rows, teams = team_draft(first, second, k, seed)

    for place, (row, team) in enumerate(zip(rows, teams, strict=True)):
        mine = second if team == "b" else first
        assert row == next(item for item in mine if item not in rows[:place])


@given(st.permutations(range(12)), st.permutations(range(12)), st.integers(0, 12), st.binary(max_size=8))
def test_both_teams_pick_once_in_every_round(first: list[int], second: list[int], k: int, seed: bytes) -> None:
    """Of full lists, the places 2r and 2r + 1 are of different teams, or in the shared head."""
    _, teams = team_draft(first, second, k, seed)

    rounds = (teams[place : place + 2] for place in range(0, len(teams) - 1, 2))
    assert all(pair in {"ab", "ba", "==", "=a", "=b"} for pair in rounds)


@given(ranking, ranking, ranking, st.binary(max_size=8))
def test_the_head_that_both_lists_share_is_nobodys(
    head: list[int], first: list[int], second: list[int], seed: bytes
) -> None:
    """As long as both would put the same item there, and no longer; of identical lists that is everything."""
    first, second = ([*head, *(item for item in rest if item not in head)] for rest in (first, second))

    rows, teams = team_draft(first, second, 30, seed)

    shared = next(
        (i for i, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), min(map(len, (first, second)))
    )
    assert rows[:shared] == tuple(first[:shared])
    assert teams.count("=") == shared == len(teams) - len(teams.lstrip("="))
    assert team_draft(first, first, 30, seed) == (tuple(first), "=" * len(first))


def test_when_a_list_runs_out_the_other_fills_what_is_left() -> None:
    """A filter may leave one λ2's list shorter; the answer is full all the same."""
    rows, teams = team_draft([7], [1, 2, 3, 4], 5, seed(0))

    assert sorted(rows) == [1, 2, 3, 4, 7]
    assert Counter(teams) == {"a": 1, "b": 4}
    assert [row for row in rows if row != 7] == [1, 2, 3, 4]


def test_the_same_question_has_the_same_draft_and_another_seed_another() -> None:
    """Nothing is drawn: replicas agree; units differ."""
    first, second = list(range(20)), list(range(20, 40))

    drafts = {team_draft(first, second, 20, seed(unit)) for unit in range(50)}

    assert team_draft(first, second, 20, seed(3)) == team_draft(tuple(first), np.array(second).tolist(), 20, seed(3))
    assert len(drafts) > 40  # of 2**10


def test_every_round_is_begun_by_either_team_half_of_the_time() -> None:
    """Chi-square over 4,000 units for each of 10 rounds, and for the pairs of neighbouring rounds."""
    first, second = list(range(20)), list(range(20, 40))

    begun = np.array([[t == "a" for t in team_draft(first, second, 20, seed(u))[1][::2]] for u in range(4000)])

    each = [stats.chisquare(np.bincount(column, minlength=2)).pvalue for column in begun.T]
    pairs = [stats.chisquare(np.bincount(2 * x + y, minlength=4)).pvalue for x, y in pairwise(begun.T)]
    assert min(each) > 0.05 / 10 / 5
    assert min(pairs) > 0.05 / 9 / 5


def test_coins_do_not_depend_on_which_lists_are_drafted_or_on_the_salt() -> None:
    """Who begins with one pair of lists says nothing of who begins with another, or in another experiment."""
    one, two = list(range(10)), list(range(10, 20))

    def begins(first: list[int], second: list[int], salt: str) -> list[bool]:
        return [team_draft(first, second, 10, seed(unit, salt))[1][0] == "a" for unit in range(4000)]

    base = begins(one, two, "salt")
    for other in (begins(one, two[::-1], "salt"), begins(two, one, "salt"), begins(one, two, "salt 2")):
        assert stats.chi2_contingency(np.histogram2d(base, other, bins=2)[0]).pvalue > 0.001


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=60))
def test_preference_is_the_mean_over_units_that_chose(chosen: list[tuple[int, int]]) -> None:
    """Against a plain loop: a unit counts once; whoever chose nothing is not counted."""
    scores = [(a - b) / (a + b) for a, b in chosen if a + b]

    clicks, purchases = preferences(acts([a for a, _ in chosen], [b for _, b in chosen]), "0.2", "0.8", 0.05)

    assert clicks.units == len(scores)
    assert purchases.units == 0
    assert purchases.preference.value is None
    if scores:
        assert clicks.preference.value == pytest.approx(sum(scores) / len(scores))


def test_exchanging_the_variants_turns_the_preference_round() -> None:
    """The first is preferred by as much as the second would be in its place."""
    rng = np.random.default_rng(0)
    a, b = (rng.poisson(rate, 500).astype(float).tolist() for rate in (0.9, 0.5))

    straight, turned = (preferences(units, "x", "y", 0.05)[0] for units in (acts(a, b), acts(b, a)))

    assert straight.significant
    assert turned.significant
    assert straight.preference.value == pytest.approx(-turned.preference.value)  # type: ignore[operator]
    assert straight.preference.low == pytest.approx(-turned.preference.high)  # type: ignore[operator]


def test_clicks_and_purchases_may_prefer_different_variants() -> None:
    """Each is said by itself: what draws clicks need not be what people want."""
    units = frame(
        clicks_a=[1.0] * 300, clicks_b=[0.0] * 300, purchases_a=[0.0, 0.0] * 150, purchases_b=[1.0, 0.0] * 150
    )

    clicks, purchases = preferences(units, "x", "y", 0.05)

    assert (clicks.metric, clicks.preference.value, clicks.units) == ("clicks", 1.0, 300)
    assert (purchases.metric, purchases.preference.value, purchases.units) == ("purchases", -1.0, 150)


def test_few_units_prove_nothing() -> None:
    """Below LEAST_UNITS units that chose there is a value without an interval; from there on there is one."""
    few, enough = (acts([1.0] * count + [0.0] * 500, [0.0] * (count + 500)) for count in (99, 100))

    clicks, _ = preferences(few, "x", "y", 0.05)

    assert clicks.preference == Estimate(value=1.0, low=None, high=None)
    assert not clicks.significant
    assert preferences(enough, "x", "y", 0.05)[0].significant
