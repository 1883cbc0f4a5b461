"""A sample of live answers, found again by scoring every item: the recall of what is really served."""

import logging
import random
import time
from collections.abc import Callable
from typing import Literal

import numpy as np

from service.ranking import Ranked, Ranker

log = logging.getLogger(__name__)

Outcome = Literal["equal", "different", "dropped"]

WARN_EVERY = 60.0  # seconds


class Shadow:
    """
    Compares a share of the answers that a search found with the list that scoring every item gives.

    Args:
        rate: the share, 0 to 1.
        later: has work done in idle time; False where too much is left over already.
        observe: told the outcome, and the share of the exact list that the answer had (not for "dropped").
        rng: chooses.
    """

    def __init__(
        self,
        rate: float,
        later: Callable[[Callable[[], None]], bool],
        observe: Callable[[Outcome, float | None], None],
        rng: random.Random,
    ) -> None:
        self._rate = rate
        self._later = later
        self._observe = observe
        self._rng = rng
        self._warned = -WARN_EVERY

    def offer(self, ranker: Ranker, ranked: Ranked) -> None:
        """Takes the answer into the sample, or not. Only what a search found is: everything else is scored whole."""
        if ranked.plan.query is None or ranked.teams or self._rng.random() >= self._rate:
            return
        if not self._later(lambda: self._compare(ranker, ranked)):
            self._observe("dropped", None)

    def _compare(self, ranker: Ranker, ranked: Ranked) -> None:
        served, exact = ranked.best, ranker.scan(ranked)
        equal = np.array_equal(served.rows, exact.rows)
        found = len(np.intersect1d(served.rows, exact.rows))
        self._observe("equal" if equal else "different", found / len(exact.rows) if len(exact.rows) else 1.0)
        if served.exact and not equal and time.monotonic() - self._warned >= WARN_EVERY:
            self._warned = time.monotonic()
            log.warning(
                "an answer that said exact (%s) is not the list that scoring every item gives: bundle %s, "
                "lambda2=%g, k=%d; this is a fault of the search, please report it",
                served.proof,
                ranker.bundle.manifest.content_id[:12],
                ranked.lambda2,
                ranked.plan.k,
            )
