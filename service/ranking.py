"""The answers of one bundle: a batch of requests planned, searched for at once, and finished one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from causalrec.bundle import Bundle
from causalrec.errors import RequestError
from causalrec.path import Lambda2Path
from causalrec.search import Searcher
from causalrec.topk import Query, Rows, TopK
from service.cold import ColdRanking
from service.explain import Terms, explain
from service.planning import NOTHING, Plan, Planner, Wanted, WantedPath

P = ParamSpec("P")
T = TypeVar("T")

MOST_PIECES = 2000  # of one λ2 path


@dataclass(frozen=True, slots=True)
class Ranked:
    """One plan's list at one λ2, best first; explanations, where asked for, are aligned with it."""

    plan: Plan
    lambda2: float
    best: TopK
    explanations: list[Terms] | None


@dataclass(frozen=True, slots=True)
class Traced:
    """A user's λ2 path of lists of k, from 0 to `maximum`."""

    k: int
    maximum: float
    path: Lambda2Path


class Ranker:
    """
    Ranks one bundle's catalogue. Nothing it keeps changes an answer: it is a pure function of bundle and request.

    Args:
        searcher: over the bundle's weights.
        candidates, full_scan: as `Planner` takes them.
    """

    def __init__(self, bundle: Bundle, searcher: Searcher, *, candidates: int, full_scan: bool) -> None:
        self.bundle = bundle
        self.planner = Planner(bundle, candidates=candidates, full_scan=full_scan)
        self._searcher = searcher
        self._cold = ColdRanking(searcher)

    def rank(self, wanted: Wanted) -> tuple[Ranked, ...]:
        """
        The k best items for the request's user, one list per λ2 asked for: what they have seen and what the request
        excludes is never among them, and a list is only shorter than k when nothing eligible is left.

        Raises: RequestError (`Planner.plan`).
        """
        outcome = self.rank_many([wanted])[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def rank_many(self, requests: Sequence[Wanted]) -> list[tuple[Ranked, ...] | Exception]:
        """What `rank` says to each request alone, or raises, from one search for all of them."""
        plans = [attempt(self.planner.plan, wanted) for wanted in requests]
        found = iter(self._search([plan.query for plan in plans if isinstance(plan, Plan) and plan.query]))
        outcomes: list[tuple[Ranked, ...] | Exception] = []
        for plan in plans:
            if isinstance(plan, Exception):
                outcomes.append(plan)
                continue
            best = next(found) if plan.query else None
            outcomes.append(best if isinstance(best, Exception) else attempt(self._finish, plan, best))
        return outcomes

    def check_path(self, wanted: WantedPath) -> None:
        """
        Raises: RequestError for an end beyond the bundle's range, and for somebody unknown: the cold ranking is made of
            ranks, which do not change along straight lines as scores do, so its path cannot be traced.
        """
        limit = self.bundle.manifest.lambda2.maximum
        if wanted.user_id not in self.bundle.users:
            detail = "is unknown, and the cold ranking has no exact path; ask for recommendations at single λ2 values"
            raise RequestError("user_id", wanted.user_id, detail)
        if wanted.maximum is not None and wanted.maximum > limit:
            raise RequestError("max", wanted.maximum, f"must be at most {limit:g}, this bundle's largest λ2")

    def path(self, wanted: WantedPath) -> Traced:
        """The user's exact λ2 path. Raises: RequestError (`check_path`)."""
        self.check_path(wanted)
        bundle, excluded = self.bundle, self.planner.excluded(wanted)
        user = bundle.weights.user(bundle.users.rows([wanted.user_id])[0])
        maximum = bundle.manifest.lambda2.maximum if wanted.maximum is None else wanted.maximum
        path = self._searcher.path(user, maximum, wanted.k, excluded, limit=MOST_PIECES)
        return Traced(wanted.k, maximum, path)

    def scan(self, ranked: Ranked) -> TopK:
        """The list that a search of the catalogue must have found, by scoring every item."""
        plan = ranked.plan
        return self._searcher.scan(plan.user, ranked.lambda2, plan.k, plan.excluded)

    def mean_user_ranking(self, lambda2: float, k: int) -> TopK:
        """The mean user's k best, nothing excluded: what a golden answer for somebody unknown holds."""
        return self._searcher.scan(self.bundle.weights.mean_user(), lambda2, k, NOTHING)

    def _search(self, queries: Sequence[Query]) -> Sequence[tuple[TopK, ...] | Exception]:
        """One batch; where it fails, one by one, so that only who made it fail is told."""
        found = attempt(self._searcher.batch, queries) if queries else []
        if not isinstance(found, Exception):
            return found
        return [found] if len(queries) == 1 else [self._search([query])[0] for query in queries]

    def _finish(self, plan: Plan, found: tuple[TopK, ...] | None) -> tuple[Ranked, ...]:
        """The plan's lists: what the search found, where it was searched for."""
        eligible = NOTHING if found and not plan.explain else self.planner.eligible(plan)
        lists = found or tuple(self._among(plan, lambda2, plan.k, eligible) for lambda2 in plan.lambda2)
        ranked = zip(plan.lambda2, lists, strict=True)
        if not plan.explain:
            return tuple(Ranked(plan, lambda2, best, None) for lambda2, best in ranked)
        places = np.zeros(len(self.bundle.items), dtype=np.int64)
        at_zero = self._among(plan, 0.0, len(eligible), eligible).rows
        places[at_zero] = np.arange(1, len(at_zero) + 1)
        weights = self.bundle.weights
        return tuple(
            Ranked(plan, lambda2, best, explain(weights, plan.user, lambda2, best.rows, places[best.rows]))
            for lambda2, best in ranked
        )

    def _among(self, plan: Plan, lambda2: float, k: int, eligible: Rows) -> TopK:
        """The k best of the rows `eligible`."""
        if plan.source == "cold_user":
            return self._cold.top_k(lambda2, k, eligible)
        return self._searcher.rank(plan.user, lambda2, k, eligible)


def attempt(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | Exception:
    """What the function returns or raises: one request's error must not be the whole batch's."""
    try:
        return function(*arguments, **named)
    except Exception as error:  # noqa: BLE001 - whoever it belongs to gets it
        return error
