"""A second bundle that answers nobody: its lists for a share of what is asked, compared with those that were served."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from scipy.stats import kendalltau

from causalrec.errors import RequestError
from service.planning import Wanted
from service.ranking import Ranked, Ranker

log = logging.getLogger(__name__)

Outcome = Literal["compared", "refused", "failed", "dropped"]

WARN_EVERY: Final = 60.0  # seconds


class Compared(NamedTuple):
    """
    Two lists. overlap: the share of the longer one's items that both have. correlation: Kendall's τ of the order of
    those, None for less than two. slower: the second bundle's time over the first one's, each asked alone.
    """

    overlap: float
    correlation: float | None
    slower: float


class ShadowModel:
    """
    Compares, in idle time.

    Args:
        rate: the share of requests, 0 to 1.
        beside: the second bundle; None while there is none.
        later: has work done in idle time; False where too much is left over already.
        observe: told what became of each request taken, and of each of its lists that was compared.
        rng: chooses.
    """

    def __init__(
        self,
        rate: float,
        beside: Callable[[], Ranker | None],
        later: Callable[[Callable[[], None]], bool],
        observe: Callable[[Outcome, Sequence[Compared]], None],
        rng: random.Random,
    ) -> None:
        self._rate = rate
        self._beside = beside
        self._later = later
        self._observe = observe
        self._rng = rng
        self._warned = -WARN_EVERY

    def offer(self, wanted: object, served: Ranker, ranked: Sequence[Ranked]) -> None:
        """Takes the request into the sample, or not: lists, but for those that mix two λ2."""
        if not self._rate or not isinstance(wanted, Wanted) or self._rng.random() >= self._rate:
            return
        beside = self._beside()
        if beside is None or beside is served or any(each.teams for each in ranked):
            return
        if not self._later(lambda: self._compare(wanted, served, beside, ranked)):
            self._observe("dropped", ())

    def _compare(self, wanted: Wanted, served: Ranker, beside: Ranker, ranked: Sequence[Ranked]) -> None:
        """At the λ2 that was served, whatever chose it. Both are asked alone, so that their times can be compared."""
        alike = wanted._replace(lambda2=tuple(each.lambda2 for each in ranked), decision=None)
        begun = time.perf_counter()
        served.rank_many([alike])
        between = time.perf_counter()
        (found,) = beside.rank_many([alike])
        slower = (time.perf_counter() - between) / (between - begun)
        if isinstance(found, RequestError):
            self._observe("refused", ())
        elif isinstance(found, Exception):
            self._observe("failed", ())
            self._warn(found)
        else:
            pairs = zip(ranked, found, strict=True)
            self._observe("compared", [compared(_ids(one), _ids(other), slower) for one, other in pairs])

    def _warn(self, error: Exception) -> None:
        if time.monotonic() - self._warned >= WARN_EVERY:
            self._warned = time.monotonic()
            log.warning("the shadow model failed at a request that was answered: %s", error, exc_info=error)


def compared(one: Sequence[str], other: Sequence[str], slower: float) -> Compared:
    """How alike two lists of distinct ids are; two empty ones are."""
    places = {item_id: place for place, item_id in enumerate(other)}
    common = [places[item_id] for item_id in one if item_id in places]
    overlap = len(common) / max(len(one), len(other), 1) if one or other else 1.0
    correlation = float(kendalltau(range(len(common)), common).statistic) if len(common) > 1 else None
    return Compared(overlap, correlation, slower)


def _ids(ranked: Ranked) -> list[str]:
    ids = ranked.plan.stock.catalogue.ids
    return [ids[row] for row in ranked.best.rows.tolist()]
