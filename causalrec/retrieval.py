"""Candidates from an inner-product index by one λ2-aware query, widened until a certificate proves the top k exact."""

import numpy as np
import torch
from torch import Tensor

from causalrec import equations, tangent
from causalrec.equations import Terms
from causalrec.index import Index, query_vector
from causalrec.topk import DECIMALS, Rows, TopK, best_first, rounded_scores
from causalrec.weights import UserVectors, Weights

SAMPLE = 1024  # rows of the fixed sample that guesses where a user's top lies


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
        The k best of what three widening searches find, with proof "certificate", or "none" where it did not hold.

        Searches with the tangent at a guess of the top, scores what comes back, and stops when the certificate holds; a
        second and third search use the tangent at what was found.

        Args:
            k: at most as many as are eligible.
            candidates: how many items one search may return, above k.
        """
        null, n_range = float(user.null), self._n_range(user)
        cloud, point, tau = self._guess(user, lambda2, k, excluded)
        pool = np.empty(0, dtype=np.int64)
        best = TopK(pool, np.empty(0), "none", 0)
        for width in (min(candidates, max(100, 4 * k)), candidates, candidates):
            plane = tangent.bound(self.weights.form, point, tau, null, lambda2, n_range, cloud)
            query = query_vector(self.weights, user, plane.weights)
            products, found = self._index.search(query, width, excluded)
            pool = np.union1d(pool, found)
            terms = self.weights.terms(user, torch.from_numpy(pool))
            scores = rounded_scores(self.weights.form, terms, user, lambda2)
            order = best_first(scores, pool, k)
            tau = float(scores[order[-1]])
            threshold = plane.threshold(tau - 10.0**-DECIMALS)
            held = float(products[-1]) < threshold - self._index.slack(query)
            best = TopK(pool[order], scores[order], "certificate" if held else "none", len(pool))
            if held:
                break
            point = _mean_point(terms, torch.from_numpy(order))
        return best

    def _guess(self, user: UserVectors, lambda2: float, k: int, excluded: Rows) -> tuple[Terms, tangent.Point, float]:
        """
        Where the user's top lies, from the sample: its terms, the mean logits of its best and the last one's score,
        taken to the quantile that k is of the catalogue.
        """
        terms = equations.pair_terms(user.gamma.float(), user.theta.float(), self._sample_items)
        free = torch.from_numpy(~np.isin(self._sample, excluded))
        cloud = Terms(*(part[free] for part in terms)) if bool(free.any()) else terms
        scores = equations.score(self.weights.form, cloud, user.null.float(), lambda2)
        share = k * len(scores) / len(self.weights.gamma_i)
        best = scores.topk(min(max(5, round(share)), len(scores)))
        return cloud, _mean_point(cloud, best.indices), float(best.values[-1])

    def _n_range(self, user: UserVectors) -> tuple[float, float]:
        """Limits of the user's notice over the catalogue, float32 with its error: only the authors' form reads them."""
        if self.weights.form != "authors":
            return 0.0, 0.0
        theta, bias = user.theta.float(), self.weights.visual_bias
        notice = self.weights.e @ theta if bias is None else self.weights.e @ theta + bias
        error = 2 * (len(theta) + 1) * 2.0**-24 * (float(theta.norm()) * self._e_norm + self._bias)
        return float(notice.min()) - error, float(notice.max()) + error


def _mean_point(terms: Terms, positions: Tensor) -> tangent.Point:
    return tangent.Point(*(float(part[positions].double().mean()) for part in terms))
