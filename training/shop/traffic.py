"""
What a served list brings in the simulated shop: exactly, as an expectation, or drawn, as the events of a visit.

    a list is examined from the top; position j (1-based) is seen with v_j = 0.85^(j−1)
    P(click | seen) = σ(t + p·κ − 1)
    P(purchase | click) = σ(2·t − 1), revenue = price

`lists` are item rows [n, k], best first, and `user_rows` [n] says whose; a user may come more than once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from tqdm import tqdm

from causalrec.errors import ShapeError
from training.shop.catalogue import Floats, Rows
from training.shop.world import Shop

PATIENCE = 0.85
"""Share of those who saw a position that go on to the next."""
GRID: Floats = np.round(np.arange(61) * 0.05, 2)
"""The λ2 tried by `true_best_lambda2`: 0 to 3 in steps of .05."""


def expected_clicks_per_list(shop: Shop, user_rows: Rows, lists: Rows) -> Floats:
    """Σⱼ vⱼ·P(click), [n]: the expected clicks of one visit. Raises: ShapeError if the arrays do not fit the shop."""
    click, _ = _chances(shop, user_rows, lists)
    return _summed(_seen(lists) * click)


def expected_purchases_per_list(shop: Shop, user_rows: Rows, lists: Rows) -> Floats:
    """Σⱼ vⱼ·P(click)·P(purchase | click), [n]: the expected purchases of one visit. Raises: ShapeError."""
    click, purchase = _chances(shop, user_rows, lists)
    return _summed(_seen(lists) * click * purchase)


def expected_revenue_per_list(shop: Shop, user_rows: Rows, lists: Rows) -> Floats:
    """Σⱼ vⱼ·P(click)·P(purchase | click)·price, [n]: the expected revenue of one visit. Raises: ShapeError."""
    click, purchase = _chances(shop, user_rows, lists)
    return _summed(_seen(lists) * click * purchase * shop.items.price[lists])


@dataclass(frozen=True, eq=False)
class Visits:
    """One visit per list; every array [n, k], as the lists."""

    seen: NDArray[np.bool_]
    """Examined: a run of positions from the top."""
    clicked: NDArray[np.bool_]
    """Clicked: only what was seen."""
    purchased: NDArray[np.bool_]
    """Bought: only what was clicked."""
    revenue: Floats
    """Price of what was bought, else 0."""


def simulate_visits(shop: Shop, user_rows: Rows, lists: Rows, rng: Generator) -> Visits:
    """Draw one visit to each list; the means of its sums are the expected_*_per_list. Raises: ShapeError."""
    click, purchase = _chances(shop, user_rows, lists)
    seen = rng.random((len(lists), 1)) < _seen(lists)  # one draw a visit: nobody sees position 3 but not 2
    clicked = seen & (rng.random(lists.shape) < click)
    purchased = clicked & (rng.random(lists.shape) < purchase)
    return Visits(seen, clicked, purchased, revenue=purchased * shop.items.price[lists])


@dataclass(frozen=True, eq=False)
class TrueBest:
    """The truth about a dial: what each λ2 brings per list, averaged over the users, and the best one."""

    best: float
    """The λ2 of most expected purchases; of equals the smallest."""
    lambda2: Floats
    """The values tried, [G]."""
    clicks: Floats
    """Expected clicks per list, [G]."""
    purchases: Floats
    """Expected purchases per list, [G]."""
    revenue: Floats
    """Expected revenue per list, [G]."""


def true_best_lambda2(shop: Shop, rank: Callable[[float], Rows], grid: Floats = GRID) -> TrueBest:
    """
    The λ2 that really sells most, computed without sampling from the lists that are served at each.

    Args:
        rank: λ2 → the lists served to every user, item rows [U, k].
        grid: the λ2 to try, rising.
    Raises: ShapeError when a list does not fit the shop.
    """
    users = np.arange(shop.config.users)
    curve = np.empty((3, len(grid)))
    for column, lambda2 in enumerate(tqdm(grid, desc="true best λ2", unit="λ2", disable=None)):
        lists = rank(float(lambda2))
        curve[0, column] = expected_clicks_per_list(shop, users, lists).mean()
        curve[1, column] = expected_purchases_per_list(shop, users, lists).mean()
        curve[2, column] = expected_revenue_per_list(shop, users, lists).mean()
    clicks, purchases, revenue = curve
    return TrueBest(float(grid[purchases.argmax()]), grid, clicks, purchases, revenue)


def oracle_scores(shop: Shop) -> dict[str, Floats]:
    """
    Scores [U, I] that no trainer has; each is the ranking to compare a model with at one end.

    taste: t, the ceiling of purchase-NDCG. kappa: what the pull alone would give. popularity: clicks per item, the
    same for all. sale: P(click)·P(purchase | click), the ceiling of expected purchases per list; it is not t, because
    nobody buys what nobody clicks.
    """
    click, purchase = _laws(shop, shop.taste, shop.kappa)
    popularity = np.bincount(shop.clicks.ravel(), minlength=len(shop.items)).astype(np.float64)
    return {
        "taste": shop.taste,
        "kappa": shop.kappa,
        "popularity": np.broadcast_to(popularity, shop.taste.shape),
        "sale": click * purchase,
    }


def top_lists(scores: Floats, k: int, masked: Rows | None = None) -> Rows:
    """
    The `k` best columns of each row of `scores` [U, I], best first, equals by row number: item rows [U, k].

    Args:
        masked: item rows [U, m] left out, as training clicks are.
    Raises: ShapeError when fewer than `k` items are left.
    """
    left = scores.shape[1] - (0 if masked is None else masked.shape[1])
    if k > left:
        raise ShapeError(f"a list of {k} from scores {scores.shape} with {left} items left: ask for at most {left}")
    costs = -scores
    if masked is not None:
        np.put_along_axis(costs, masked, np.inf, axis=1)
    return np.argsort(costs, axis=1, kind="stable")[:, :k]


def _seen(lists: Rows) -> Floats:
    return np.power(PATIENCE, np.arange(lists.shape[1], dtype=np.float64))


def _summed(per_position: Floats) -> Floats:
    per_list: Floats = per_position.sum(axis=1)
    return per_list


def _chances(shop: Shop, user_rows: Rows, lists: Rows) -> tuple[Floats, Floats]:
    """P(click | seen) and P(purchase | click) of every place in `lists`, [n, k] each."""
    if lists.ndim != 2 or user_rows.shape != lists.shape[:1]:
        raise ShapeError(f"lists {lists.shape} for users {user_rows.shape}: give one list [n, k] per user [n]")
    for name, rows, count in (("user", user_rows, shop.config.users), ("item", lists, shop.config.items)):
        if rows.size and not 0 <= rows.min() <= rows.max() < count:
            raise ShapeError(f"{name} rows {rows.min()}..{rows.max()} in a shop of rows 0..{count - 1}")
    users = user_rows[:, None]
    return _laws(shop, shop.taste[users, lists], shop.kappa[users, lists])


def _laws(shop: Shop, t: Floats, kappa: Floats) -> tuple[Floats, Floats]:
    return _sigmoid(t + shop.config.pull * kappa - 1), _sigmoid(2 * t - 1)


def _sigmoid(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits))
