"""
What λ2 is really worth, which only a simulated shop can know.

The truth is of lists as they are before the traffic: while it goes on, the service learns from what people do and no
longer shows what they have taken, so that later lists are worth something else.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from causalrec.bundle import read_bundle
from causalrec.errors import DataError
from causalrec.search import Searcher
from causalrec.topk import Query
from training.experiments.client import Client
from training.shop import GRID, Shop, TrueBest, true_best_lambda2
from training.shop.catalogue import Floats, Rows

AT_ONCE = 16  # λ2 that one request may ask for


Brings = Literal["clicks", "purchases", "revenue"]


class Truth(NamedTuple):
    """curve: what a list brings at each λ2, over everybody in the shop. source: where the lists are from, in words."""

    curve: TrueBest
    source: str

    def at(self, lambda2: float, of: Brings = "purchases") -> float:
        """Expected purchases (clicks, revenue) per list at λ2."""
        return float(np.interp(lambda2, self.curve.lambda2, getattr(self.curve, of)))

    def best(self, low: float, high: float, of: Brings = "purchases") -> float:
        """The λ2 of [low, high] that brings most."""
        inside = (self.curve.lambda2 >= low) & (self.curve.lambda2 <= high)
        return float(self.curve.lambda2[inside][getattr(self.curve, of)[inside].argmax()])


def of_bundle(shop: Shop, path: Path, served: str, k: int, also: Floats) -> Truth:
    """
    From the lists of the bundle at `path`, all λ2 of a user in one pass: a second per thousand users. λ2: GRID as far
    as the bundle goes, and `also`. Raises: BundleError; DataError when it is not `served`, or not of this shop.
    """
    bundle = read_bundle(path)
    if bundle.manifest.content_id != served:
        raise DataError(
            f"{path}: is bundle {bundle.manifest.content_id}, and the service answers from {served}; name that one"
        )
    people = [bundle.users.row(user_id) for user_id in shop.user_ids]
    rows = {item_id: row for row, item_id in enumerate(shop.item_ids)}
    if None in people or not rows.keys() >= set(bundle.items.ids):
        raise DataError(f"{path}: was trained on other users or items than this shop's; name the bundle made from it")
    to_shop = np.array([rows[item_id] for item_id in bundle.items.ids])
    allowed = bundle.manifest.lambda2
    grid = np.union1d(GRID[(allowed.minimum <= GRID) & (allowed.maximum >= GRID)], also)
    searcher = Searcher(bundle.weights, "scan")
    lists = np.empty((len(grid), len(people), k), dtype=np.int64)
    for place, row in enumerate(tqdm(people, desc="the truth: everybody's lists", unit="users", disable=None)):
        assert row is not None  # noqa: S101 - checked above
        query = Query(bundle.weights.user(row), tuple(grid.tolist()), k, bundle.seen.items(row))
        lists[:, place] = [to_shop[best.rows] for best in searcher.batch([query])[0]]
    return Truth(_curve(shop, grid, lists), f"every user's lists at {len(grid)} λ2, from the bundle")


def of_service(shop: Shop, client: Client, k: int, low: float, high: float, also: Floats, threads: int) -> Truth:
    """As `of_bundle`, from what the service answers now, on GRID from `low` to `high`: a request per user and 16 λ2."""
    grid = np.union1d(GRID[(low <= GRID) & (high >= GRID)], also)
    rows = {item_id: row for row, item_id in enumerate(shop.item_ids)}

    def asked(user_id: str) -> Iterator[list[int]]:
        for start in range(0, len(grid), AT_ONCE):
            for listed in client.lists(user_id, grid[start : start + AT_ONCE].tolist(), k):
                yield [rows[item_id] for item_id in listed]

    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda user_id: np.array(list(asked(user_id))), shop.user_ids)
        bar = tqdm(found, total=shop.config.users, desc="the truth: asking", unit="users", disable=None)
        lists = np.stack(list(bar), axis=1)
    return Truth(_curve(shop, grid, lists), f"every user's lists at {len(grid)} λ2, asked of the service")


def _curve(shop: Shop, grid: Floats, lists: Rows) -> TrueBest:
    """From `lists` [G, U, k]."""
    by_lambda2 = dict(zip(grid.tolist(), lists, strict=True))
    return true_best_lambda2(shop, by_lambda2.__getitem__, grid)
