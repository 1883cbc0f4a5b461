"""The answers of one bundle: a batch of requests planned, searched for at once, and finished one by one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from causalrec.bundle import Bundle
from causalrec.errors import RequestError
from causalrec.joint import weakest
from causalrec.path import Lambda2Path
from causalrec.search import Searcher
from causalrec.topk import Query, TopK
from causalrec.weights import UserVectors
from service.catalogue import Catalogue
from service.dial import dial, refused
from service.events import EventType
from service.experiments.interleaving import team_draft
from service.explain import Terms, explain
from service.history import EXCLUDING
from service.listing import Listed, Lists, known_scores, rounds, run
from service.planning import NOTHING, Plan, Planner, Source, Wanted, WantedPath
from service.stock import Stock

P = ParamSpec("P")
T = TypeVar("T")

MOST_PIECES = 2000  # of one λ2 path


@dataclass(frozen=True, slots=True)
class Ranked:
    """
    One plan's list at one λ2, in its order; explanations, boosts and pinned are aligned with it where asked for.

    teams: "a" or "b" per item where the lists of two λ2 were mixed, by whose it is, "=" in the head that both share;
    lambda2 is then the first's.
    """

    plan: Plan
    lambda2: float
    best: TopK
    explanations: list[Terms] | None
    boosts: NDArray[np.float64] | None = None
    pinned: NDArray[np.bool_] | None = None
    teams: str = ""


@dataclass(frozen=True, slots=True)
class Traced:
    """A user's λ2 path of lists of k, from 0 to `maximum`; `item_ids` are of the rows in it."""

    k: int
    maximum: float
    path: Lambda2Path
    source: Source
    item_ids: Sequence[str]


class Ranker:
    """
    Ranks one bundle's catalogue. Nothing it keeps changes an answer: it is a pure function of bundle, catalogue and
    request.

    Args:
        searcher: over the bundle's weights.
        candidates, full_scan, excluding: as `Planner` takes them.
    """

    def __init__(
        self,
        bundle: Bundle,
        searcher: Searcher,
        *,
        candidates: int,
        full_scan: bool,
        excluding: frozenset[EventType] = EXCLUDING,
    ) -> None:
        self.bundle = bundle
        self.planner = Planner(bundle, candidates=candidates, full_scan=full_scan, excluding=excluding)
        self._searcher = searcher
        self._stock = Stock.of(Catalogue.of(bundle), searcher)

    @property
    def catalogue(self) -> Catalogue:
        """What answers are made from."""
        return self._stock.catalogue

    def use(self, catalogue: Catalogue) -> None:
        """
        Every batch begun from now on is answered from `catalogue`, those under way from what they began with.

        To be called by one thread at a time, not the one that scores: making new items ready takes a while.

        Raises: BundleMismatch when it is the catalogue of another bundle.
        """
        self._stock = self._stock.after(catalogue, self._searcher)

    def rank(self, wanted: Wanted) -> tuple[Ranked, ...]:
        """
        The k best items for the request's user, one list per λ2 asked for: what is hidden, what they have seen, what
        the request excludes and what does not match its filter is never among them, and a list is only shorter than k
        when nothing eligible is left (or max_per_category lets nothing more in).

        Raises: RequestError (`Planner.plan`).
        """
        outcome = self.rank_many([wanted])[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def rank_many(self, requests: Sequence[Wanted]) -> list[tuple[Ranked, ...] | Exception]:
        """What `rank` says to each request alone, or raises, from one search for all of them."""
        stock = self._stock
        plans = [attempt(self.planner.plan, wanted, stock) for wanted in requests]
        jobs = [[] if isinstance(plan, Exception) else rounds(plan) for plan in plans]
        found = iter(run([each for job in jobs for each in job], lambda queries: _search(stock, queries)))
        return [
            plan if isinstance(plan, Exception) else _finished(plan, list(islice(found, len(job))))
            for plan, job in zip(plans, jobs, strict=True)
        ]

    def check_path(self, wanted: WantedPath) -> None:
        """
        Raises: RequestError for an end beyond the bundle's range, and for somebody of whom nothing is known: the cold
            ranking is made of ranks, which do not change along straight lines as scores do, so its path cannot be
            traced.
        """
        self._traceable(wanted, self._stock)

    def path(self, wanted: WantedPath) -> Traced:
        """The user's exact λ2 path. Raises: RequestError (`check_path`)."""
        stock = self._stock
        user, source = self._traceable(wanted, stock)
        maximum = self.bundle.manifest.lambda2.maximum if wanted.maximum is None else wanted.maximum
        excluded = self.planner.excluded(wanted, stock)
        path = stock.search.path(user, maximum, wanted.k, excluded, limit=MOST_PIECES)
        return Traced(wanted.k, maximum, path, source, stock.catalogue.ids)

    def _traceable(self, wanted: WantedPath, stock: Stock) -> tuple[UserVectors, Source]:
        limits = dial(self.bundle.manifest)
        user, source = self.planner.who(wanted, stock)
        if source == "cold_user":
            detail = "is unknown, and the cold ranking has no exact path; ask for recommendations at single λ2 values"
            raise RequestError("user_id", wanted.user_id, detail)
        if wanted.maximum is not None and wanted.maximum > limits.high:
            detail = f"must be at most {limits.high:g}, this bundle's largest λ2"
            raise RequestError("max", wanted.maximum, refused(limits, detail))
        return user, source

    def scan(self, ranked: Ranked) -> TopK:
        """The list that a search of the catalogue must have found, by scoring every item."""
        plan, at = ranked.plan, (ranked.lambda2,)
        query = None if plan.query is None else replace(plan.query, lambda2=at)
        (outcome,) = run(rounds(replace(plan, lambda2=at, query=query)), plan.stock.search.scans)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome[0].best

    def mean_user_ranking(self, lambda2: float, k: int) -> TopK:
        """The mean user's k best, nothing excluded: what a golden answer for somebody unknown holds."""
        return self._searcher.scan(self.bundle.weights.mean_user(), lambda2, k, NOTHING)


def _search(stock: Stock, queries: Sequence[Query]) -> Sequence[tuple[TopK, ...] | Exception]:
    """One batch; where it fails, one by one, so that only who made it fail is told."""
    found = attempt(stock.search.batch, queries)
    if not isinstance(found, Exception):
        return found
    return [found] if len(queries) == 1 else [_search(stock, [query])[0] for query in queries]


def _finished(plan: Plan, found: Sequence[Lists | Exception]) -> tuple[Ranked, ...] | Exception:
    """The plan's lists, explained where that was asked for; or why there are none."""
    lists: list[Listed] = []
    for each in found:
        if isinstance(each, Exception):
            return each
        lists += each
    explained = attempt(_explained, plan, lists) if plan.explain else [None] * len(lists)
    if isinstance(explained, Exception):
        return explained
    ranked = tuple(
        Ranked(plan, lambda2, each.best, terms, each.boosts, each.pinned)
        for lambda2, each, terms in zip(plan.lambda2, lists, explained, strict=True)
    )
    return (mixed(*ranked),) if plan.interleaved else ranked


def mixed(first: Ranked, second: Ranked) -> Ranked:
    """
    Two lists of one plan as one, by team draft; every item with its score, and its terms, in the list it is of.

    What chance decides follows from experiment, user and lists: the same question has the same answer.
    """
    plan, (a, b) = first.plan, (first.best, second.best)
    assert plan.decision is not None  # noqa: S101 - there are two lists because it says so
    seed = f"{plan.decision.key}\0{plan.decision.series}\0{plan.decision.unit}".encode()
    drafted, teams = team_draft(a.rows.tolist(), b.rows.tolist(), plan.k, seed)
    places = [{row: place for place, row in enumerate(best.rows.tolist())} for best in (a, b)]
    of = [(team == "b", places[team == "b"][row]) for row, team in zip(drafted, teams, strict=True)]
    best = TopK(
        rows=np.array(drafted, dtype=np.int64),
        scores=np.array([(a, b)[second_].scores[place] for second_, place in of], dtype=np.float64),
        proof=weakest([a.proof, b.proof]),
        candidates=max(a.candidates, b.candidates),
    )
    terms = None
    if first.explanations is not None and second.explanations is not None:
        explanations = first.explanations, second.explanations
        terms = [explanations[second_][place] for second_, place in of]
    return replace(first, best=best, explanations=terms, teams=teams)


def _explained(plan: Plan, lists: Sequence[Listed]) -> list[list[Terms]]:
    """Every list's terms. An item's rank at zero is its rank by score among all that may be returned."""
    search, eligible = plan.stock.search, plan.eligible()
    ranks = np.zeros(len(plan.stock.catalogue.ids), dtype=np.int64)
    at_zero = eligible[search.best_first(known_scores(plan, eligible, (0.0,))[0], eligible, len(eligible))]
    ranks[at_zero] = np.arange(1, len(at_zero) + 1)
    return [
        explain(search.form, search.terms(plan.user, each.best.rows), plan.user, lambda2, ranks[each.best.rows])
        for lambda2, each in zip(plan.lambda2, lists, strict=True)
    ]


def attempt(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | Exception:
    """What the function returns or raises: one request's error must not be the whole batch's."""
    try:
        return function(*arguments, **named)
    except Exception as error:  # noqa: BLE001 - whoever it belongs to gets it
        return error
