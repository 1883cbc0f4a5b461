"""A request resolved against one bundle: whose it is, at which λ2, from which items, and how it is to be answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from causalrec.bundle import Bundle
from causalrec.errors import RequestError
from causalrec.topk import Query, Rows
from causalrec.weights import UserVectors

Source = Literal["personal", "cold_user"]
Lambda2Source = Literal["request", "default"]

NOTHING: Rows = np.empty(0, dtype=np.int64)


class Wanted(NamedTuple):
    """
    One user's request, its shape checked by `service.schemas`, which says what the fields mean.

    lambda2: every value to answer at; None is the bundle's default. listed: they came as a list, as the answers will.
    """

    user_id: str
    k: int
    lambda2: tuple[float, ...] | None = None
    exclude_seen: bool = True
    exclude_item_ids: Sequence[str] = ()
    candidates: int | None = None
    explain: bool = False
    candidate_item_ids: Sequence[str] | None = None
    listed: bool = False


class WantedPath(NamedTuple):
    """A request for a user's λ2 path; maximum None is the end of the bundle's range."""

    user_id: str
    k: int
    maximum: float | None
    exclude_seen: bool
    exclude_item_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """
    How one request is answered: personal by a search of the catalogue for `query`, or by ranking the rows `pool`;
    cold_user (no query) by the mean user and popularity. `excluded` and `pool` do not overlap.
    """

    user: UserVectors
    source: Source
    lambda2: tuple[float, ...]
    lambda2_source: Lambda2Source
    k: int
    excluded: Rows
    pool: Rows | None
    unknown_item_ids: tuple[str, ...] | None
    query: Query | None
    explain: bool


class Planner:
    """
    Plans requests over one bundle.

    Args:
        candidates: how many items one search may return where a request does not say.
        full_scan: score every item where no proof was found.
    """

    def __init__(self, bundle: Bundle, *, candidates: int, full_scan: bool) -> None:
        self._bundle = bundle
        self._mean_user = bundle.weights.mean_user()
        self._candidates = candidates
        self._full_scan = full_scan

    def plan(self, wanted: Wanted) -> Plan:
        """How `wanted` is answered. Raises: RequestError (`check`)."""
        self.check(wanted)
        bundle = self._bundle
        row = bundle.users.row(wanted.user_id)
        asked = (bundle.manifest.lambda2.default,) if wanted.lambda2 is None else wanted.lambda2
        lambda2 = tuple(value + 0.0 for value in asked)  # −0.0 and 0.0 are one answer
        excluded = self.excluded(wanted)
        pool, unknown = self._pool(wanted.candidate_item_ids, excluded)
        user = self._mean_user if row is None else bundle.weights.user(row)
        query = None
        if row is not None and pool is None:
            candidates = wanted.candidates or self._candidates
            query = Query(user, lambda2, wanted.k, excluded, candidates, self._full_scan)
        return Plan(
            user=user,
            source="cold_user" if row is None else "personal",
            lambda2=lambda2,
            lambda2_source="default" if wanted.lambda2 is None else "request",
            k=wanted.k,
            excluded=excluded,
            pool=pool,
            unknown_item_ids=unknown,
            query=query,
            explain=wanted.explain,
        )

    def check(self, wanted: Wanted) -> None:
        """Raises: RequestError naming the first λ2 that lies outside the bundle's range."""
        allowed = self._bundle.manifest.lambda2
        for place, asked in enumerate(wanted.lambda2 or ()):
            if not allowed.minimum <= asked <= allowed.maximum:
                raise RequestError(
                    f"lambda2.{place}" if wanted.listed else "lambda2",
                    asked,
                    f"must lie between {allowed.minimum:g} and {allowed.maximum:g}; leave it out for this bundle's "
                    f"default, {allowed.default:g}",
                )

    def excluded(self, wanted: Wanted | WantedPath) -> Rows:
        """Distinct rows of the items that must not be returned: those named, and what the user has seen."""
        row = self._bundle.users.row(wanted.user_id) if wanted.exclude_seen else None
        seen = NOTHING if row is None else self._bundle.seen.items(row)
        named = wanted.exclude_item_ids
        return np.union1d(seen, self._bundle.items.rows(named)) if named else seen

    def eligible(self, plan: Plan) -> Rows:
        """Every row that may be returned, sorted."""
        if plan.pool is not None:
            return plan.pool
        allowed = np.ones(len(self._bundle.items), dtype=bool)
        allowed[plan.excluded] = False
        return np.flatnonzero(allowed).astype(np.int64)

    def _pool(self, item_ids: Sequence[str] | None, excluded: Rows) -> tuple[Rows | None, tuple[str, ...] | None]:
        """Rows of the request's own candidates less the excluded, and the ids among them that are no items."""
        if item_ids is None:
            return None, None
        items = self._bundle.items
        unknown = tuple(dict.fromkeys(item_id for item_id in item_ids if item_id not in items))
        return np.setdiff1d(items.rows(item_ids), excluded), unknown
