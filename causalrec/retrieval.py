"""Candidates from an inner-product index by one λ2-aware query, widened until a certificate proves the top k exact."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from causalrec import equations, tangent
from causalrec.equations import Terms
from causalrec.index import Index
from causalrec.topk import DECIMALS, Rows, TopK, best_first, held, rounded_scores
from causalrec.vectors import query_vector
from causalrec.weights import UserVectors, Weights

SAMPLE = 8192  # rows of the fixed sample that guesses where a user's top lies
FEWEST = 5  # best items of the sample that a guess is the mean of
FIRST_WIDTH = 6  # candidates of the first search, per item asked for: nearly always enough
NARROWEST = 128  # and at least this many: fewer cost the same
TOUCHED = 2  # the plane touches at the mean of this many times k best items, where fewest are left above it


class Guess(NamedTuple):
    """Where a user's top lies: the sample's terms, the plane's point, and about what the k-th best scores."""

    cloud: Terms
    point: tangent.Point
    tau: float


class Retriever:
    """
    Top-k lists of one model through one index.

    Args:
        weights, index: the model, and the index over its items.
    """

    def __init__(self, weights: Weights, index: Index) -> None:
        self.weights = weights
        self._index = index
        items = weights.items
        self._e_norm = float(items.e.norm(dim=1).max()) * (1 + 1e-6)
        self._bias = sum(float(bias.abs().max()) for bias in (items.beta, items.visual_bias) if bias is not None)
        chosen = np.random.default_rng(0).permutation(len(items.gamma))[:SAMPLE]
        self._sample: Rows = np.sort(chosen).astype(np.int64)
        self._sample_items = weights.items.take(torch.from_numpy(self._sample))

    def top_k(self, user: UserVectors, lambda2: float, k: int, excluded: Rows, candidates: int) -> TopK:
        """
        The k best of what a few widening searches find, with proof "certificate", or "none" where it did not hold.

        Searches with the tangent at a guess of the top, scores what comes back, and stops when the certificate holds;
        further searches use the tangent at what was found. An index that proves nothing is searched once.

        Args:
            k: at most as many as are eligible.
            candidates: how many items one search may return, above k.
        """
        form, null, n_range = self.weights.form, float(user.null), self._n_range(user)
        cloud, point, tau = self._guess(user, lambda2, k, excluded)
        pool = _Pool(self.weights, user, lambda2)
        best = TopK(pool.rows, pool.scores, "none", 0)
        for width, touched in self._searches(k, candidates):
            if len(pool.rows):
                point = _mean_point(pool.terms, pool.best(touched))
            plane = tangent.bound(form, point, tau, null, lambda2, n_range, cloud)
            query = query_vector(self.weights, user, plane.weights)
            found = self._index.search(query, width, excluded)
            pool.add(found.rows)
            order = pool.best(k)
            tau = float(pool.scores[order[-1]])
            held = found.floor < plane.threshold(tau - 10.0**-DECIMALS) - self._index.slack(query)
            best = TopK(pool.rows[order], pool.scores[order], "certificate" if held else "none", len(pool.rows))
            if held:
                break
        return best

    def _searches(self, k: int, candidates: int) -> Iterator[tuple[int, int]]:
        """How many items each search returns, and how many of the best found so far its plane touches the mean of."""
        if self._index.exhaustive:
            yield min(candidates, max(NARROWEST, FIRST_WIDTH * k)), TOUCHED * k
            yield candidates, TOUCHED * k
        yield candidates, k

    def _guess(self, user: UserVectors, lambda2: float, k: int, excluded: Rows) -> Guess:
        """From the sample: its best, as many as TOUCHED·k are of the catalogue."""
        grid = equations.grid_terms(user.gamma.float()[None], user.theta.float()[None], self._sample_items)
        cloud = Terms(*(part[0] for part in grid))
        scores = equations.score(self.weights.form, cloud, user.null.float(), lambda2)
        scores[torch.from_numpy(held(self._sample, excluded, len(self.weights.gamma_i)))] = -torch.inf
        share = TOUCHED * k * len(scores) / len(self.weights.gamma_i)
        best = scores.topk(min(max(FEWEST, round(share)), len(scores)))
        tau = float(best.values[(len(best.values) - 1) // TOUCHED])
        return Guess(cloud, _mean_point(cloud, best.indices.numpy()), tau)

    def _n_range(self, user: UserVectors) -> tuple[float, float]:
        """Limits of the user's notice over the catalogue, float32 with its error: only the authors' form reads them."""
        if self.weights.form != "authors":
            return 0.0, 0.0
        theta, bias = user.theta.float(), self.weights.visual_bias
        notice = self.weights.e @ theta if bias is None else self.weights.e @ theta + bias
        error = 2 * (len(theta) + 1) * 2.0**-24 * (float(theta.norm()) * self._e_norm + self._bias)
        return float(notice.min()) - error, float(notice.max()) + error


class _Pool:
    """All that one request's searches have found: rows [C], each once, their float64 terms and their scores [C]."""

    def __init__(self, weights: Weights, user: UserVectors, lambda2: float) -> None:
        self._weights, self._user, self._lambda2 = weights, user, lambda2
        self.rows: Rows = np.empty(0, dtype=np.int64)
        self.scores = np.empty(0)
        nothing = torch.empty(0, dtype=torch.float64)
        self.terms = Terms(nothing, nothing, nothing)

    def add(self, rows: Rows) -> None:
        """Scores those of `rows` that are new."""
        new = np.setdiff1d(rows, self.rows) if len(self.rows) else rows
        terms = self._weights.terms(self._user, torch.from_numpy(new))
        scores = rounded_scores(self._weights.form, terms, self._user, self._lambda2)
        self.rows = np.concatenate([self.rows, new])
        self.scores = np.concatenate([self.scores, scores])
        self.terms = Terms(*(torch.cat(parts) for parts in zip(self.terms, terms, strict=True)))

    def best(self, k: int) -> Rows:
        """Positions of the k best."""
        return best_first(self.scores, self.rows, k)


def _mean_point(terms: Terms, positions: Rows) -> tangent.Point:
    chosen = torch.from_numpy(positions)
    return tangent.Point(*(float(part[chosen].double().mean()) for part in terms))
