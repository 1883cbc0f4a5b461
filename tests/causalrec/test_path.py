"""The λ2 path is exact: brute force over all crossings on small whole numbers, the float64 ranking on models."""

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from causalrec import path as paths
from causalrec.equations import Form
from causalrec.path import Lambda2Path, trace
from causalrec.search import Searcher
from causalrec.topk import Rows, best_first
from causalrec.weights import UserVectors, Weights
from tests.causalrec.conftest import FORMS, MakeWeights
from tests.causalrec.exact import exact_scores

MANY = 100_000
APART = 2e-12  # float64 scores that differ by more are in this order after rounding to 12 decimals, too
Whole = list[tuple[int, int]]


def brute_force(whole: Whole, maximum: int, k: int) -> list[tuple[Fraction, list[int]]]:
    """(start, list) of every piece, in rational arithmetic: the ranking between any two neighbouring crossings."""
    crossings = {
        Fraction(p - r, q - s) for (p, q), (r, s) in combinations(whole, 2) if q != s and (p - r) / (q - s) > 0
    }
    ends = [Fraction(0), *sorted(x for x in crossings if x < maximum), Fraction(maximum)]
    found: list[tuple[Fraction, list[int]]] = []
    for start, end in pairwise(ends):
        at = (start + end) / 2
        ranked = sorted(range(len(whole)), key=lambda i: (at * whole[i][1] - whole[i][0], i))[:k]
        if not found or found[-1][1] != ranked:
            found.append((start, ranked))
    return found


def traced(whole: Whole, maximum: float, k: int, limit: int = MANY) -> Lambda2Path:
    p, q = np.array(whole, dtype=np.float64).reshape(-1, 2).T
    return trace(p, q, np.arange(len(whole)), maximum, k, limit)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(1, 14),
)
def test_a_path_is_brute_force_over_all_crossings(whole: Whole, maximum: int, k: int) -> None:
    """Breakpoints and lists are those of rational arithmetic, with many lines through one point and equal lines."""
    found = traced(whole, maximum, k)

    expected = brute_force(whole, maximum, k)
    assert [piece.start for piece in found.pieces] == [float(start) for start, _ in expected]
    assert [piece.rows.tolist() for piece in found.pieces] == [rows for _, rows in expected]
    assert not found.truncated


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), max_size=20),
    st.floats(0, 9),
    st.integers(0, 25),
    st.integers(1, 6),
)
def test_pieces_tile_the_range(whole: list[tuple[float, float]], maximum: float, k: int, limit: int) -> None:
    """For any lines: from 0 to the maximum without gaps, no empty piece, neighbours differ, never above the limit."""
    p, q = np.array(whole, dtype=np.float64).reshape(-1, 2).T

    found = trace(p, q, np.arange(len(whole)), maximum, k, limit)

    assert found.pieces[0].start == 0
    assert found.truncated == (found.pieces[-1].end < maximum)
    assert len(found.pieces) == limit if found.truncated else len(found.pieces) <= limit
    assert all(len(piece.rows) == min(k, len(whole)) for piece in found.pieces)
    assert all(piece.start < piece.end for piece in found.pieces) or maximum == 0
    for one, next_one in pairwise(found.pieces):
        assert one.end == next_one.start
        assert one.rows.tolist() != next_one.rows.tolist()


def test_n_lines_through_one_point_turn_round_there() -> None:
    """All 40 lines meet at λ2 = 1: one breakpoint, the list reversed; the three best come from the other end."""
    whole = [(n, n) for n in range(40)]

    found = traced(whole, 2, 3)

    assert [(piece.start, piece.end, piece.rows.tolist()) for piece in found.pieces] == [
        (0.0, 1.0, [39, 38, 37]),
        (1.0, 2.0, [0, 1, 2]),
    ]


def test_lines_that_all_but_meet_in_one_point_are_put_in_order_there() -> None:
    """Where rounding spreads one meeting over neighbouring numbers, pieces still follow one another, to the end."""
    q = np.random.default_rng(0).normal(size=60)

    found = trace(0.7 * q, q, np.arange(60), 2.0, 60, MANY)

    assert all(one.start < one.end == next_one.start for one, next_one in pairwise(found.pieces))
    assert all(abs(piece.start - 0.7) < 1e-12 for piece in found.pieces[1:])
    assert found.pieces[0].rows.tolist() == np.argsort(-q).tolist()
    assert found.pieces[-1].rows.tolist() == np.argsort(q).tolist()


def test_equal_lines_never_change_places() -> None:
    """Items with one and the same line stand in the order of their ids wherever the path takes them."""
    found = traced([(3, 3), (1, 0), (3, 3), (1, 0), (2, 1)], 4, 4)

    for piece in found.pieces:
        order = piece.rows.tolist()
        for one, other in ((0, 2), (1, 3)):
            assert other not in order or order.index(one) < order.index(other)
    assert found.pieces[-1].rows.tolist() == [1, 3, 4, 0]


def test_the_ends_of_what_can_be_asked() -> None:
    """Maximum 0 is the list at 0, ties by id; k = 0 and no items are one empty list; the limit cuts and says so."""
    whole = [(1, 2), (1, 1), (0, 0)]

    assert [(p.start, p.end, p.rows.tolist()) for p in traced(whole, 0, 2).pieces] == [(0.0, 0.0, [0, 1])]
    assert [(p.start, p.end, p.rows.tolist()) for p in traced(whole, 3, 0).pieces] == [(0.0, 3.0, [])]
    assert [(p.start, p.end, p.rows.tolist()) for p in traced([], 3, 5).pieces] == [(0.0, 3.0, [])]
    cut = traced([(n, n * n) for n in range(9)], 10, 3, limit=4)
    assert (len(cut.pieces), cut.truncated) == (4, True)
    assert cut.pieces[-1].end == traced([(n, n * n) for n in range(9)], 10, 3).pieces[4].start


def ranking(weights: Weights, user: UserVectors, at: float, k: int, eligible: Rows) -> Rows:
    return eligible[best_first(exact_scores(weights, user, at, eligible), eligible, k)]


def clear(p: NDArray[np.float64], q: NDArray[np.float64], at: float, k: int) -> bool:
    """Whether the best k + 1 scores at λ2 are so far apart that rounding cannot change their order."""
    best = np.sort(p - at * q)[::-1][: k + 1]
    return bool((best[:-1] - best[1:] > APART).all())


def reaching(weights: Weights, user: UserVectors, maximum: float, least: NDArray[np.float64], eligible: Rows) -> Rows:
    """The eligible items that reach `least` at one edge or more."""
    p, q = paths.lines(weights, user, eligible)
    reached = [p - at * q >= floor - 1e-12 for at, floor in zip(paths.edges(maximum), least, strict=True)]
    return eligible[np.any(reached, axis=0)]


def whole_path(weights: Weights, user: UserVectors, maximum: float, k: int, excluded: Rows) -> Lambda2Path:
    return Searcher(weights, "scan").path(user, maximum, k, excluded, MANY)


@pytest.mark.parametrize("form", FORMS)
def test_a_path_is_the_float64_ranking_inside_every_piece(make_weights: MakeWeights, form: Form) -> None:
    """
    At every midpoint and just beside every breakpoint the list is what ranking every item gives.

    Beside means the nearest λ2 at which scores part by more than the served rounding; that pieces are too short to
    hold one must be rare.
    """
    weights = make_weights(form, users=4, items=300, dim=8)
    points = hidden = 0

    for row in range(4):
        user, excluded = weights.user(row), np.arange(row, 300, 7)
        eligible = np.setdiff1d(np.arange(300), excluded)
        p, q = paths.lines(weights, user, eligible)
        found = whole_path(weights, user, 3.0, 12, excluded)
        assert len(found.pieces) > 3
        for piece in found.pieces:
            half = (piece.end - piece.start) / 2
            sides = [step for step in np.geomspace(1e-11, 1e-4, 15) if step < half]
            left = [piece.start + step for step in [*sides, half]]
            right = [piece.end - step for step in [*sides, half]]
            for candidates in ([piece.start + half], left, right):
                points += 1
                seen = next((at for at in candidates if clear(p, q, at, 12)), None)
                hidden += seen is None
                if seen is not None:
                    assert ranking(weights, user, seen, 12, eligible).tolist() == piece.rows.tolist()

    assert hidden <= points / 200


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", [1, 10, 480])
def test_what_reaches_the_floors_holds_every_list(make_weights: MakeWeights, form: Form, k: int) -> None:
    """No λ2 has an item in its top k that stays below them; any eligible lists will do, the best leave fewer."""
    weights = make_weights(form, items=500, dim=8)
    user, excluded = weights.user(2), np.arange(0, 40, 2)
    eligible = np.setdiff1d(np.arange(500), excluded)
    best = [ranking(weights, user, float(at), k, eligible) for at in paths.middles(2.0)]
    any_others = [eligible[-k:]] * paths.CELLS

    found, more = (
        reaching(weights, user, 2.0, paths.floors([paths.lines(weights, user, rows) for rows in lists], 2.0), eligible)
        for lists in (best, any_others)
    )

    for at in np.linspace(0, 2, 101):
        assert set(ranking(weights, user, float(at), k, eligible)) <= set(found)
    assert set(found) <= set(more) <= set(eligible)
    assert len(found) < 60 or k > 10


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_an_item_below_the_floors_is_beaten_by_k_everywhere(data: st.DataObject) -> None:
    """The concavity that floors rest on, for any lines: at no λ2 is such an item among the k best."""
    number = st.floats(-3, 3)
    best = np.array(data.draw(st.lists(st.tuples(number, number), min_size=1, max_size=6)))
    p, q = data.draw(number), data.draw(number)
    ends = [_least(best, at) for at in (0.5, 1.5)]
    share = data.draw(st.floats(0, 1))

    if p - 0.5 * q < ends[0] and p - 1.5 * q < ends[1]:
        at = 0.5 + share
        assert p - at * q < _least(best, at) + 1e-12


def _least(best: NDArray[np.float64], at: float) -> float:
    return float((best[:, 0] - at * best[:, 1]).min())


def test_a_path_where_every_score_is_negative(make_weights: MakeWeights) -> None:
    """λ2·c_u above every match turns the list towards what attracts least; the path follows it there."""
    weights = make_weights("paper", items=300, dim=8)
    assert weights.M_null is not None
    assert weights.MV_null is not None
    weights.M_null.fill_(0.999)
    weights.MV_null.fill_(0.999)

    found = whole_path(weights, weights.user(0), 3.0, 10, np.empty(0, dtype=np.int64))

    assert (exact_scores(weights, weights.user(0), 3.0, found.pieces[-1].rows) < 0).all()
    at = (found.pieces[-1].start + 3.0) / 2
    assert found.pieces[-1].rows.tolist() == ranking(weights, weights.user(0), at, 10, np.arange(300)).tolist()


@pytest.mark.parametrize(("excluded", "k", "length"), [(300, 10, 0), (293, 10, 7), (0, 400, 300), (0, 0, 0)])
def test_fewer_eligible_items_than_asked_for(make_weights: MakeWeights, excluded: int, k: int, length: int) -> None:
    """All there is comes back, in the order of the scores at both ends; nothing at all is one empty list."""
    weights = make_weights("authors", items=300, dim=8)

    found = whole_path(weights, weights.user(1), 0.01, k, np.arange(excluded))

    p, q = paths.lines(weights, weights.user(1), np.arange(300))
    for piece in (found.pieces[0], found.pieces[-1]):
        scores = (p - (piece.start + piece.end) / 2 * q)[piece.rows]
        assert (np.diff(scores) < 0).all()
        assert len(piece.rows) == length
        assert not set(piece.rows) & set(range(excluded))
    assert length > 1 or len(found.pieces) == 1
