"""What somebody unknown is shown: the mean user's debiased ranking fused with the most popular."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from causalrec.search import Searcher
from causalrec.topk import DECIMALS, Rows, TopK, best_first

CONSTANT = 60  # of reciprocal rank fusion: how much the first places outweigh the later ones
KEPT = 8  # fused rankings kept, one per λ2


class ColdRanking:
    """
    Reciprocal rank fusion of two rankings of the whole catalogue:

        score of i = 1 / (60 + rank of i for the mean user at λ2) + 1 / (60 + rank of i by popularity)

    Source: Cormack, Clarke and Büttcher 2009. Ranks start at 1; ties stand in the order of item ids. Exclusions and
    candidates restrict the fused ranking afterwards, so an item's score depends on the bundle and λ2 alone, which is
    what it is kept by.
    """

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        popularity = searcher.weights.popularity.double().numpy()
        rows = np.arange(len(popularity), dtype=np.int64)
        self._by_popularity = places(best_first(popularity, rows, len(rows)))
        self._fused = lru_cache(maxsize=KEPT)(self._fuse)

    def top_k(self, lambda2: float, k: int, eligible: Rows) -> TopK:
        """The k best of the rows `eligible` at λ2."""
        scores = self._fused(lambda2)[eligible]
        order = best_first(scores, eligible, k)
        return TopK(eligible[order], scores[order], "scan", len(eligible))

    def _fuse(self, lambda2: float) -> NDArray[np.float64]:
        nobody, nothing = self._searcher.weights.mean_user(), np.empty(0, dtype=np.int64)
        by_score = self._searcher.scan(nobody, lambda2, len(self._by_popularity), nothing)
        fused = 1 / (CONSTANT + places(by_score.rows)) + 1 / (CONSTANT + self._by_popularity)
        return np.round(fused, DECIMALS)


def places(order: Rows) -> Rows:
    """The rank [I] of every row, from 1, where `order` [I] has all rows best first."""
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(1, len(order) + 1)
    return ranks
