"""A user's exact top k: one interface over the exact scan of the catalogue and over an index with its certificate."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causalrec import equations
from causalrec.index import Index, Kind
from causalrec.retrieval import Retriever
from causalrec.topk import Query, Rows, TopK, best_first, exact_scores
from causalrec.weights import UserVectors, Weights

RANK_BLOCK = 65_536  # items scored at a time in float64


class Searcher:
    """
    Exact, explained-by-proof top-k over one model's catalogue, at any λ2.

    Args:
        weights: the model.
        index: bytes of `build_index`; built anew when None.
    Raises: BundleMismatch when the index holds other items than the weights; InstallationError (`check_flavour`).
    """

    def __init__(self, weights: Weights, kind: Kind = "flat", data: NDArray[np.uint8] | None = None) -> None:
        self.weights = weights
        self._retriever = Retriever(weights, Index(weights, kind, data))
        items = weights.items
        self._e_norm = float(items.e.norm(dim=1).max()) * (1 + 1e-6)
        self._gamma_norm = float(items.gamma.norm(dim=1).max()) * (1 + 1e-6)
        self._product_norm = float((items.gamma * items.e_match).norm(dim=1).max()) * (1 + 1e-6)
        self._bias = sum(float(bias.abs().max()) for bias in (items.beta, items.visual_bias) if bias is not None)

    def batch(self, queries: Sequence[Query]) -> list[tuple[TopK, ...]]:
        """For each query its top k at each of its λ2, the same as if it had been asked alone."""
        return [
            tuple(
                self.top_k(q.user, lambda2, q.k, q.excluded, candidates=q.candidates, full_scan=q.full_scan)
                for lambda2 in q.lambda2
            )
            for q in queries
        ]

    def top_k(
        self,
        user: UserVectors,
        lambda2: float,
        k: int,
        excluded: Rows,
        *,
        candidates: int = 500,
        full_scan: bool = True,
    ) -> TopK:
        """
        The user's k best items at λ2 outside `excluded`.

        Searches the index with the tangent at a guess of the top, scores what comes back, and stops when the
        certificate holds; a second and third search use the tangent at what was found. Then every item is scored, as
        it is at once where no more items are eligible than one search may return.

        Args:
            excluded: distinct rows that must not be returned.
            candidates: how many items one search may return (at least k is used).
            full_scan: False answers with proof "none" where the certificate fails, for measuring it alone.
        """
        eligible = len(self.weights.gamma_i) - len(excluded)
        k = min(k, eligible)
        if k == 0 or eligible <= max(candidates, k + 1):
            return self.scan(user, lambda2, k, excluded)
        best = self._retriever.top_k(user, lambda2, k, excluded, max(candidates, k + 1))
        return self.scan(user, lambda2, k, excluded) if full_scan and not best.exact else best

    def scan(self, user: UserVectors, lambda2: float, k: int, excluded: Rows) -> TopK:
        """
        The user's k best items by scoring every one outside `excluded`.

        Float32 scores, and a bound on their error, leave the few items that can be among the best; float64 ranks them.
        """
        rough, error = self._rough(user, lambda2)
        allowed = np.ones(len(rough), dtype=bool)
        allowed[excluded] = False
        rows = np.flatnonzero(allowed).astype(np.int64)
        close = rows
        if 0 < k < len(rows):
            scores = rough[rows]
            least = np.partition(scores, len(scores) - k)[len(scores) - k]
            close = rows[scores >= least - 2 * error]
        best = self.rank(user, lambda2, k, close)
        return TopK(best.rows, best.scores, "scan", len(rows))

    def rank(self, user: UserVectors, lambda2: float, k: int, rows: Rows) -> TopK:
        """The k best of `rows` (distinct), each scored in float64; proof "scan": all there is to score was."""
        scores = np.concatenate(
            [
                exact_scores(self.weights, user, lambda2, rows[i : i + RANK_BLOCK])
                for i in range(0, max(len(rows), 1), RANK_BLOCK)
            ]
        )
        order = best_first(scores, rows, k)
        return TopK(rows[order], scores[order], "scan", len(rows))

    def _rough(self, user: UserVectors, lambda2: float) -> tuple[NDArray[np.float32], float]:
        """
        Float32 scores of every item, and the most by which one may differ from its float64 score.

        Each logit is a sum of d + 1 rounded products, off by at most 2(d + 2)·2⁻²⁴ times the norms; no form's score
        moves by more than 1 + λ2 times what a logit does; sigmoids, null and their products add some units of 2⁻²⁴.
        """
        gamma, theta = user.gamma.float(), user.theta.float()
        terms = equations.pair_terms(gamma, theta, self.weights.items)
        scores: NDArray[np.float32] = equations.score(self.weights.form, terms, user.null.float(), lambda2).numpy()
        unit = 2.0**-24
        reach = float(gamma.norm()) * (self._gamma_norm + self._product_norm) + float(theta.norm()) * self._e_norm
        logits = 2 * (len(gamma) + 2) * unit * (reach + self._bias)
        values = 16 * unit * (1.0 + abs(float(user.null)) + float(np.abs(scores).max(initial=0.0)))
        return scores, (1.0 + lambda2) * (logits + values)
