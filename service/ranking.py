"""The answers of one bundle: retrieval, exact ranking, exclusions, explanation; a pure function of the request."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from causalrec.bundle import Bundle
from causalrec.errors import RequestError
from causalrec.search import Searcher
from causalrec.topk import Rows, TopK
from causalrec.weights import UserVectors
from service.cold import ColdRanking
from service.explain import Terms, explain
from service.schemas import RecommendationRequest

Source = Literal["personal", "cold_user"]
Lambda2Source = Literal["request", "default"]


@dataclass(frozen=True)
class Ranked:
    """One request ranked: the items best first, and where they come from. explanations is aligned with best.rows."""

    best: TopK
    source: Source
    lambda2: float
    lambda2_source: Lambda2Source
    unknown_item_ids: tuple[str, ...] | None
    explanations: list[Terms] | None


class Ranker:
    """
    Ranks one bundle's catalogue. Nothing it keeps changes an answer.

    Args:
        candidates: how many items one search may return where a request does not say.
        full_scan: score every item where the certificate fails.
    Raises: BundleMismatch when index and weights do not fit.
    """

    def __init__(self, bundle: Bundle, *, candidates: int, full_scan: bool) -> None:
        self.bundle = bundle
        self._searcher = Searcher(bundle.weights, data=bundle.index)
        self._cold = ColdRanking(self._searcher)
        self._mean_user = bundle.weights.mean_user()
        self._candidates = candidates
        self._full_scan = full_scan

    def lambda2(self, asked: float | None) -> tuple[float, Lambda2Source]:
        """The λ2 to rank at, and who chose it. Raises: RequestError outside the bundle's range."""
        allowed = self.bundle.manifest.lambda2
        if asked is None:
            return allowed.default, "default"
        if not allowed.minimum <= asked <= allowed.maximum:
            raise RequestError(
                "lambda2",
                asked,
                f"must lie between {allowed.minimum:g} and {allowed.maximum:g}; leave it out for this bundle's "
                f"default, {allowed.default:g}",
            )
        return asked + 0.0, "request"  # −0.0 and 0.0 are one answer

    def rank(self, wanted: RecommendationRequest) -> Ranked:
        """
        The k best items for the request's user: what they have seen and what the request excludes is never among
        them, and the list is only shorter than k when nothing eligible is left.

        Raises: RequestError (`lambda2`).
        """
        lambda2, lambda2_source = self.lambda2(wanted.lambda2)
        row = self.bundle.users.row(wanted.user_id)
        excluded = self._excluded(row, wanted)
        pool, unknown = self._pool(wanted, excluded)
        user = self._mean_user if row is None else self.bundle.weights.user(row)
        if row is None:
            best = self._cold.top_k(lambda2, wanted.k, self._eligible(pool, excluded))
        elif pool is None:
            count = wanted.candidates or self._candidates
            best = self._searcher.top_k(user, lambda2, wanted.k, excluded, candidates=count, full_scan=self._full_scan)
        else:
            best = self._searcher.rank(user, lambda2, wanted.k, pool)
        explanations = None
        if wanted.explain:
            at_zero = self._ranks_at_zero(None if row is None else user, best.rows, self._eligible(pool, excluded))
            explanations = explain(self.bundle.weights, user, lambda2, best.rows, at_zero)
        source: Source = "cold_user" if row is None else "personal"
        return Ranked(best, source, lambda2, lambda2_source, unknown, explanations)

    def mean_user_ranking(self, lambda2: float, k: int) -> TopK:
        """The mean user's k best, nothing excluded: what a golden answer for somebody unknown holds."""
        return self._searcher.scan(self._mean_user, lambda2, k, np.empty(0, dtype=np.int64))

    def _excluded(self, row: int | None, wanted: RecommendationRequest) -> Rows:
        named = np.unique(self.bundle.items.rows(wanted.exclude_item_ids))
        if row is None or not wanted.exclude_seen:
            return named
        seen = self.bundle.seen.items(row)
        return np.union1d(seen, named) if len(named) else seen

    def _pool(self, wanted: RecommendationRequest, excluded: Rows) -> tuple[Rows | None, tuple[str, ...] | None]:
        """Rows of the request's own candidates less the excluded, and the ids among them that are no items."""
        if wanted.candidate_item_ids is None:
            return None, None
        items = self.bundle.items
        unknown = tuple(dict.fromkeys(item_id for item_id in wanted.candidate_item_ids if item_id not in items))
        return np.setdiff1d(items.rows(wanted.candidate_item_ids), excluded), unknown

    def _eligible(self, pool: Rows | None, excluded: Rows) -> Rows:
        if pool is not None:
            return pool
        allowed = np.ones(len(self.bundle.items), dtype=bool)
        allowed[excluded] = False
        return np.flatnonzero(allowed).astype(np.int64)

    def _ranks_at_zero(self, user: UserVectors | None, rows: Rows, eligible: Rows) -> Rows:
        if user is None:
            whole = self._cold.top_k(0.0, len(eligible), eligible)
        else:
            whole = self._searcher.rank(user, 0.0, len(eligible), eligible)
        places = np.zeros(len(self.bundle.items), dtype=np.int64)
        places[whole.rows] = np.arange(1, len(whole.rows) + 1)
        return places[rows]
