"""Two catalogues with the same users searched as one: a bundle's items, and those that came after it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec import path as paths
from causalrec.equations import Terms
from causalrec.search import MAX_PIECES, Searcher
from causalrec.topk import Proof, Query, Rows, TopK, best_first
from causalrec.weights import UserVectors

Search = Callable[[Searcher, Sequence[Query]], Sequence[tuple[TopK, ...]]]


class Joint:
    """
    A `Searcher` over the items of two: rows of the second follow those of the first.

    What is best in both together is among what is best in either, so that exact lists merge into an exact list.

    Args:
        first, second: both over the same users.
        order: [I + C], the place of every row among all ids, by which equal scores stand.
    """

    def __init__(self, first: Searcher, second: Searcher, order: Rows) -> None:
        self.form = first.weights.form
        self._first = first
        self._second = second
        self._start = len(first.weights.gamma_i)
        self._order = order

    @property
    def few(self) -> int:
        """As `Searcher.few`."""
        return self._first.few

    def batch(self, queries: Sequence[Query]) -> list[tuple[TopK, ...]]:
        """As `Searcher.batch`. proof: "none" where either has none, "scan" where both were scanned."""
        return self._each(Searcher.batch, queries)

    def scans(self, queries: Sequence[Query]) -> list[tuple[TopK, ...]]:
        """As `Searcher.scans`."""
        return self._each(Searcher.scans, queries)

    def scores(self, user: UserVectors, lambda2: Sequence[float], rows: Rows) -> NDArray[np.float64]:
        """As `Searcher.scores`."""
        scores = np.empty((len(lambda2), len(rows)))
        later = rows >= self._start
        scores[:, ~later] = self._first.scores(user, lambda2, rows[~later])
        scores[:, later] = self._second.scores(user, lambda2, rows[later] - self._start)
        return scores

    def best_first(self, scores: NDArray[np.float64], rows: Rows, k: int) -> Rows:
        """As `topk.best_first`, ties in the order of ids."""
        return best_first(scores, self._order[rows], k)

    def terms(self, user: UserVectors, rows: Rows) -> Terms:
        """As `Searcher.terms`."""
        later = rows >= self._start
        both = self._first.terms(user, rows[~later]), self._second.terms(user, rows[later] - self._start)
        places = torch.from_numpy(np.argsort(np.concatenate([np.flatnonzero(~later), np.flatnonzero(later)])))
        return Terms(*(torch.cat(parts)[places] for parts in zip(*both, strict=True)))

    def path(
        self, user: UserVectors, maximum: float, k: int, excluded: Rows, limit: int = MAX_PIECES
    ) -> paths.Lambda2Path:
        """As `Searcher.path`: what can be in a list of both together reaches the floors of either."""
        return paths.whole(self, user, maximum, k, excluded, limit)

    def lines(self, user: UserVectors, rows: Rows) -> paths.Lines:
        """As `Searcher.lines`."""
        return paths.of_terms(self.form, self.terms(user, rows), user)

    def reaching(self, user: UserVectors, maximum: float, excluded: Rows, least: NDArray[np.float64]) -> Rows:
        """As `Searcher.reaching`, in the order of ids."""
        below, above = self._split(excluded)
        rows = np.concatenate(
            [
                self._first.reaching(user, maximum, below, least),
                self._second.reaching(user, maximum, above, least) + self._start,
            ]
        )
        return rows[np.argsort(self._order[rows])]

    def _each(self, search: Search, queries: Sequence[Query]) -> list[tuple[TopK, ...]]:
        parts = [self._split(query.excluded) for query in queries]
        asked = zip(queries, parts, strict=True)
        below, above = zip(*((replace(q, excluded=x), replace(q, excluded=y)) for q, (x, y) in asked), strict=True)
        both = zip(queries, search(self._first, below), search(self._second, above), strict=True)
        return [
            tuple(self._merged(query.k, *pair) for pair in zip(ours, theirs, strict=True))
            for query, ours, theirs in both
        ]

    def _split(self, excluded: Rows) -> tuple[Rows, Rows]:
        """Rising rows, as each of both counts them."""
        place = int(np.searchsorted(excluded, self._start))
        return excluded[:place], excluded[place:] - self._start

    def _merged(self, k: int, ours: TopK, theirs: TopK) -> TopK:
        rows = np.concatenate([ours.rows, theirs.rows + self._start])
        scores = np.concatenate([ours.scores, theirs.scores])
        order = self.best_first(scores, rows, k)
        return TopK(
            rows[order], scores[order], weakest([ours.proof, theirs.proof]), ours.candidates + theirs.candidates
        )


def weakest(proofs: Sequence[Proof]) -> Proof:
    """Why a list made of several is exact: "none" if one is not, "scan" if all items of all were scored."""
    if "none" in proofs:
        return "none"
    return "certificate" if "certificate" in proofs else "scan"


def places(later: Rows, items: int) -> Rows:
    """
    The place [I + C] of every row among the ids of both, in sorted order.

    Args:
        later: [C] rising, before which of the first I ids (sorted) each of the C later ones (sorted too) stands.
    """
    own = np.arange(items, dtype=np.int64)
    return np.concatenate([own + np.searchsorted(later, own, side="right"), later + np.arange(len(later))])
