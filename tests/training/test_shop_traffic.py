"""The traffic model and the truth: exact expectations, draws that converge to them, oracles."""

import math

import numpy as np
import pytest

from causalrec.errors import ShapeError
from tests.training.conftest import of_rows
from training.shop import (
    Shop,
    expected_clicks_per_list,
    expected_purchases_per_list,
    expected_revenue_per_list,
    oracle_scores,
    simulate_visits,
    top_lists,
    true_best_lambda2,
)
from training.shop.catalogue import Rows


def test_expectations_equal_plain_loops(shop: Shop) -> None:
    """Expected clicks, purchases and revenue per list are the sums of the specification, term by term."""
    users = np.array([3, 399, 3])
    lists = np.random.default_rng(2).permuted(np.tile(np.arange(300), (3, 1)), axis=1)[:, :7]
    wanted = np.zeros((3, 3))
    for row, user in enumerate(users):
        for place, item in enumerate(lists[row], start=1):
            click = 0.85 ** (place - 1) / (1 + math.exp(-(shop.taste[user, item] + shop.kappa[user, item] - 1)))
            purchase = click / (1 + math.exp(-(2 * shop.taste[user, item] - 1)))
            wanted[row] += click, purchase, purchase * shop.items.price[item]

    assert expected_clicks_per_list(shop, users, lists) == pytest.approx(wanted[:, 0])
    assert expected_purchases_per_list(shop, users, lists) == pytest.approx(wanted[:, 1])
    assert expected_revenue_per_list(shop, users, lists) == pytest.approx(wanted[:, 2])


def test_simulated_visits_converge_to_the_expectations(shop: Shop) -> None:
    """The mean of many visits of one user to one list is the expectation, within 4 standard errors."""
    one, one_list = np.zeros(1, dtype=np.int64), top_lists(shop.taste[:1], 8)
    users, lists = np.zeros(40_000, dtype=np.int64), np.tile(one_list, (40_000, 1))

    visits = simulate_visits(shop, users, lists, np.random.default_rng(9))

    for drawn, exact in (
        (visits.clicked, expected_clicks_per_list(shop, one, one_list)),
        (visits.purchased, expected_purchases_per_list(shop, one, one_list)),
        (visits.revenue, expected_revenue_per_list(shop, one, one_list)),
    ):
        per_visit = drawn.sum(axis=1)
        assert per_visit.mean() == pytest.approx(exact[0], abs=4 * per_visit.std() / 200)
    assert visits.seen.mean(axis=0) == pytest.approx(0.85 ** np.arange(8), abs=0.01)


def test_a_visit_goes_down_the_list(shop: Shop) -> None:
    """Nobody sees a position without those above it, clicks the unseen or buys the unclicked."""
    lists = top_lists(shop.kappa, 10)

    visits = simulate_visits(shop, np.arange(400), lists, np.random.default_rng(0))

    assert not (visits.seen[:, 1:] & ~visits.seen[:, :-1]).any()
    assert not (visits.clicked & ~visits.seen).any()
    assert not (visits.purchased & ~visits.clicked).any()
    assert ((visits.revenue > 0) == visits.purchased).all()


@pytest.mark.parametrize(
    ("users", "lists"),
    [([0], [[0, 300]]), ([0], [[-1, 2]]), ([400], [[0, 1]]), ([0, 1], [[0, 1]]), ([0], [0, 1])],
)
def test_lists_that_do_not_fit_the_shop_are_refused(shop: Shop, users: list[int], lists: list[object]) -> None:
    """A padded, foreign or misaligned list raises ShapeError instead of counting another item."""
    with pytest.raises(ShapeError, match=r"rows|lists"):
        expected_purchases_per_list(shop, np.array(users), np.array(lists))


def test_the_true_best_lambda2_is_found(shop: Shop) -> None:
    """In a dial whose answer is known, the best λ2 is the answer, and the curve is the expectation at each λ2."""
    worth = oracle_scores(shop)["sale"]

    def rank(lambda2: float) -> Rows:
        return top_lists(worth if lambda2 == 1.15 else -worth, 10)

    truth = true_best_lambda2(shop, rank)

    assert truth.best == 1.15
    assert (truth.lambda2[0], truth.lambda2[-1], len(truth.lambda2)) == (0.0, 3.0, 61)
    users = np.arange(400)
    assert truth.purchases[23] == expected_purchases_per_list(shop, users, rank(1.15)).mean()
    assert truth.clicks[0] == expected_clicks_per_list(shop, users, rank(0.0)).mean()
    assert truth.revenue[0] == expected_revenue_per_list(shop, users, rank(0.0)).mean()


def test_every_oracle_is_best_at_its_own(shop: Shop) -> None:
    """Taste ranks what is really wanted first, κ what pulls, sale what sells, popularity what everybody clicks."""
    lists = {name: top_lists(scores, 10, masked=shop.clicks) for name, scores in oracle_scores(shop).items()}
    users = np.arange(400)

    by_taste = {name: of_rows(shop.taste, rows).mean() for name, rows in lists.items()}
    by_kappa = {name: of_rows(shop.kappa, rows).mean() for name, rows in lists.items()}
    by_sales = {name: expected_purchases_per_list(shop, users, rows).mean() for name, rows in lists.items()}

    assert max(by_taste, key=by_taste.__getitem__) == "taste"
    assert max(by_kappa, key=by_kappa.__getitem__) == "kappa"
    assert max(by_sales, key=by_sales.__getitem__) == "sale"
    assert oracle_scores(shop)["popularity"][5].sum() == shop.clicks.size


def test_top_lists_mask_and_break_ties_by_row() -> None:
    """Masked items never come up, equals come in row order, and too long a list is refused."""
    scores = np.array([[1.0, 3.0, 3.0, 2.0]])

    assert top_lists(scores, 3).tolist() == [[1, 2, 3]]
    assert top_lists(np.tile([0.0, 1.0], (1, 250)), 9).tolist() == [list(range(1, 19, 2))]
    assert top_lists(scores, 2, masked=np.array([[1]])).tolist() == [[2, 3]]
    with pytest.raises(ShapeError, match="at most 3"):
        top_lists(scores, 4, masked=np.array([[1]]))
