"""What somebody unknown is shown: the mean user's debiased ranking fused with the most popular."""

from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from causalrec.search import Searcher
from causalrec.topk import DECIMALS, Rows, best_first

CONSTANT = 60  # of reciprocal rank fusion: how much the first places outweigh the later ones
KEPT = 8  # fused rankings kept, one per λ2


class ColdRanking:
    """
    Reciprocal rank fusion of two rankings of the bundle's items:

        score of i = 1 / (60 + rank of i for the mean user at λ2) + 1 / (60 + rank of i by popularity)

    Source: Cormack, Clarke and Büttcher 2009. Ranks start at 1; ties stand in the order of item ids. Exclusions and
    candidates restrict the fused ranking afterwards, so an item's score depends on the bundle and λ2 alone, which is
    what it is kept by.

    An item that came after training takes the rank it would have among the bundle's items: for the mean user one more
    than there are items that score higher, by popularity the first rank of those that nobody chose. So it neither
    moves another item's score nor depends on what else came.
    """

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        popularity = searcher.weights.popularity.double().numpy()
        rows = np.arange(len(popularity), dtype=np.int64)
        self._by_popularity = places(best_first(popularity, rows, len(rows)))
        self._unpopular = 1 + int(np.count_nonzero(popularity > 0))
        # of functions, not of methods: they would hold this object, and with it a bundle that is served no more
        self._fused = lru_cache(maxsize=KEPT)(partial(_fuse, searcher, self._by_popularity))
        self._levels = lru_cache(maxsize=KEPT)(partial(_rising, searcher, len(popularity)))

    def scores(self, lambda2: float, later: Searcher | None) -> NDArray[np.float64]:
        """The fused scores [I + C] at λ2 of the bundle's items, and of those of `later` behind them."""
        if later is None:
            return self._fused(lambda2)
        rows = np.arange(len(later.weights.gamma_i), dtype=np.int64)
        levels = self._levels(lambda2)
        own = later.scores(self._searcher.weights.mean_user(), (lambda2,), rows)[0]
        by_score = 1 + len(levels) - np.searchsorted(levels, own, side="right")
        return np.concatenate([self._fused(lambda2), fused(by_score, np.full(len(rows), self._unpopular))])


def _fuse(searcher: Searcher, by_popularity: Rows, lambda2: float) -> NDArray[np.float64]:
    nobody, nothing = searcher.weights.mean_user(), np.empty(0, dtype=np.int64)
    by_score = searcher.scan(nobody, lambda2, len(by_popularity), nothing)
    return fused(places(by_score.rows), by_popularity)


def _rising(searcher: Searcher, items: int, lambda2: float) -> NDArray[np.float64]:
    """The mean user's scores [I] of the bundle's items, the least first."""
    rows = np.arange(items, dtype=np.int64)
    return np.sort(searcher.scores(searcher.weights.mean_user(), (lambda2,), rows)[0])


def fused(by_score: Rows, by_popularity: Rows) -> NDArray[np.float64]:
    """Reciprocal rank fusion of aligned ranks, rounded so that ties are ties everywhere."""
    return np.round(1 / (CONSTANT + by_score) + 1 / (CONSTANT + by_popularity), DECIMALS)


def places(order: Rows) -> Rows:
    """The rank [I] of every row, from 1, where `order` [I] has all rows best first."""
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks
