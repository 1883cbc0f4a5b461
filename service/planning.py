"""A request resolved against one catalogue: whose it is, at which λ2, from which items, how it is to be answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from causalrec.bundle import Bundle
from causalrec.errors import RequestError
from causalrec.foldin import FoldIn
from causalrec.topk import Query, Rows
from causalrec.weights import UserVectors
from service.dial import dial, refused
from service.events import NO_STATE, EventType, UserState
from service.experiments.model import Decision
from service.filters import Mask, check_filter, check_groups
from service.history import EXCLUDING, Did, evidence, seen
from service.rules import Boost, Cap, Rules
from service.stock import Stock

Source = Literal["personal", "history", "cold_user"]
Lambda2Source = Literal["request", "experiment", "default"]

NOTHING: Rows = np.empty(0, dtype=np.int64)


class Pin(NamedTuple):
    """An item that stands at `position`, from 1."""

    item_id: str
    position: int


class Wanted(NamedTuple):
    """
    One user's request, its shape checked by `service.schemas`, which says what the fields mean.

    user_id: None is somebody without an id. lambda2: every value to answer at; None is the experiment's, else the
    bundle's default. listed: they came as a list, as the answers will. state: what is remembered of the user.
    decision: what an experiment says.
    """

    user_id: str | None
    k: int
    lambda2: tuple[float, ...] | None = None
    exclude_seen: bool = True
    exclude_item_ids: Sequence[str] = ()
    candidates: int | None = None
    explain: bool = False
    candidate_item_ids: Sequence[str] | None = None
    listed: bool = False
    history: Sequence[Did] = ()
    filter: Mapping[str, object] | None = None
    pins: Sequence[Pin] | None = None
    boosts: Sequence[Boost] = ()
    cap: Cap | None = None
    state: UserState = NO_STATE
    decision: Decision | None = None


class WantedPath(NamedTuple):
    """A request for a user's λ2 path; maximum None is the end of the bundle's range."""

    user_id: str
    k: int
    maximum: float | None
    exclude_seen: bool
    exclude_item_ids: Sequence[str]
    history: Sequence[Did] = ()
    state: UserState = NO_STATE


@dataclass(frozen=True, slots=True)
class Plan:
    """
    How one request is answered: by a search of the catalogue for `query`, or (query None) by ranking the rows `pool`,
    None being all but the `excluded`; cold_user by the mean user and popularity. `excluded` and `pool` do not overlap.

    stock: the snapshot that all rows are of. pins_passed_over: None where none were asked for. decision: what the
    answer is counted as in an experiment; None where it is in none.
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
    stock: Stock
    rules: Rules | None
    pins_passed_over: tuple[str, ...] | None
    decision: Decision | None

    @property
    def interleaved(self) -> bool:
        """The lists of its two λ2 are to be mixed into one."""
        return self.decision is not None and len(self.decision.lambda2) == 2

    def eligible(self) -> Rows:
        """Every row that may be returned, sorted."""
        return np.flatnonzero(self.allowed()).astype(np.int64) if self.pool is None else self.pool

    def allowed(self) -> Mask:
        """Which rows [R] may be returned."""
        allowed = np.full(len(self.stock.catalogue.ids), self.pool is None)
        allowed[self.excluded] = False
        if self.pool is not None:
            allowed[self.pool] = True
        return allowed


class Planner:
    """
    Plans requests over one bundle.

    Args:
        candidates: how many items one search may return where a request does not say.
        full_scan: score every item where no proof was found.
        excluding: the acts after which an item counts as seen.
    """

    def __init__(
        self, bundle: Bundle, *, candidates: int, full_scan: bool, excluding: frozenset[EventType] = EXCLUDING
    ) -> None:
        self._bundle = bundle
        self._dial = dial(bundle.manifest)
        self._mean_user = bundle.weights.mean_user()
        self._fold_in = FoldIn(bundle.weights, bundle.manifest.model.folded)
        self._columns = bundle.catalogue.schema  # of live catalogues too
        self._candidates = candidates
        self._full_scan = full_scan
        self._excluding = excluding

    def plan(self, wanted: Wanted, stock: Stock) -> Plan:
        """How `wanted` is answered from `stock`. Raises: RequestError (`check`)."""
        self.check(wanted)
        decision = self.decided(wanted)
        asked, lambda2_source = self._lambda2(wanted, decision)
        lambda2 = tuple(value + 0.0 for value in asked)  # −0.0 and 0.0 are one answer
        user, source = self.who(wanted, stock)
        excluded = self.excluded(wanted, stock)
        pool, unknown = _pool(wanted.candidate_item_ids, excluded, stock)
        if wanted.filter is not None:
            most = None if source == "cold_user" else stock.search.few
            excluded, pool = _filtered(stock.filters.mask(wanted.filter), excluded, pool, most)
        query = None
        if source != "cold_user" and pool is None:
            candidates = wanted.candidates or self._candidates
            query = Query(user, lambda2, wanted.k, excluded, candidates, self._full_scan)
        pinned, passed_over = _pinned(wanted.pins, excluded, pool, stock)
        return Plan(
            user=user,
            source=source,
            lambda2=lambda2,
            lambda2_source=lambda2_source,
            k=wanted.k,
            excluded=excluded,
            pool=pool,
            unknown_item_ids=unknown,
            query=query,
            explain=wanted.explain,
            stock=stock,
            rules=Rules.of(pinned, wanted.boosts, wanted.cap, stock.filters),
            pins_passed_over=passed_over,
            decision=decision,
        )

    def decided(self, wanted: Wanted) -> Decision | None:
        """
        The experiment that the answer is a part of. None where the request names λ2 itself; where this bundle cannot
        rank at every λ2 of it; and where two lists would have to be mixed by rules that each keeps for itself.
        """
        decision = wanted.decision
        if decision is None or wanted.lambda2 is not None:
            return None
        if not all(map(self._dial.holds, (*decision.lambda2, *decision.ends))):
            return None
        ruled = wanted.pins is not None or wanted.boosts or wanted.cap is not None
        return None if ruled and len(decision.lambda2) > 1 else decision

    def _lambda2(self, wanted: Wanted, decision: Decision | None) -> tuple[tuple[float, ...], Lambda2Source]:
        if wanted.lambda2 is not None:
            return wanted.lambda2, "request"
        if decision is not None:
            return decision.lambda2, "experiment"
        return (self._bundle.manifest.lambda2.default,), "default"

    def check(self, wanted: Wanted) -> None:
        """Raises: RequestError naming the first λ2 beyond the bundle's range, or what asks for no column of items."""
        for place, asked in enumerate(wanted.lambda2 or ()):
            if not self._dial.holds(asked):
                default = self._bundle.manifest.lambda2.default
                detail = (
                    f"must lie between {self._dial.low:g} and {self._dial.high:g}; leave it out for this bundle's "
                    f"default, {default:g}"
                )
                field = f"lambda2.{place}" if wanted.listed else "lambda2"
                raise RequestError(field, asked, refused(self._dial, detail))
        if wanted.filter is not None:
            check_filter(wanted.filter, self._columns, "filter")
        for place, boost in enumerate(wanted.boosts):
            check_filter(boost.filter, self._columns, f"boost.{place}.filter")
        if wanted.cap is not None:
            check_groups(wanted.cap.field, self._columns, "max_per_category.field")

    def who(self, wanted: Wanted | WantedPath, stock: Stock) -> tuple[UserVectors, Source]:
        """
        Whom to rank for: the stored user, moved by what they did since; somebody known by what they did alone; or,
        with nothing known, the mean user.
        """
        row = self._row(wanted)
        start = None if row is None else self._bundle.weights.user(row)
        if did := _did(wanted):
            known = NOTHING if row is None else self._bundle.seen.items(row)
            rows, strengths = evidence(did, stock.catalogue, known)
            if len(rows):
                return self._fold_in.user(rows, strengths, start), "history" if start is None else "personal"
        return (self._mean_user, "cold_user") if start is None else (start, "personal")

    def excluded(self, wanted: Wanted | WantedPath, stock: Stock) -> Rows:
        """Distinct rising rows that must not be returned: hidden, named, and what the user has seen."""
        stored, told = NOTHING, []
        if wanted.exclude_item_ids:
            told.append(stock.catalogue.rows(wanted.exclude_item_ids))
        if wanted.exclude_seen:
            row = self._row(wanted)
            if row is not None:
                stored = self._bundle.seen.items(row)
            if did := _did(wanted):
                told.append(seen(did, stock.catalogue, self._excluding))
        own = np.unique(np.concatenate([stored, *told])) if told else stored
        hidden = stock.catalogue.hidden
        return _united(hidden, own) if len(hidden) else own

    def _row(self, wanted: Wanted | WantedPath) -> int | None:
        return None if wanted.user_id is None else self._bundle.users.row(wanted.user_id)


def _did(wanted: Wanted | WantedPath) -> Sequence[Did]:
    """All that is known of what the user did, newest first: what the request tells comes after what is remembered."""
    acts = wanted.state.acts
    return [*wanted.history, *((act.item_id, act.type) for act in acts)] if acts else wanted.history


def _united(many: Rows, few: Rows) -> Rows:
    """The union of two rising arrays, without sorting the longer one."""
    places = np.searchsorted(many, few)
    new = many[np.minimum(places, len(many) - 1)] != few
    return np.insert(many, places[new], few[new])


def _pool(item_ids: Sequence[str] | None, excluded: Rows, stock: Stock) -> tuple[Rows | None, tuple[str, ...] | None]:
    """Rows of the request's own candidates less the excluded, and the ids among them that are no items."""
    if item_ids is None:
        return None, None
    catalogue = stock.catalogue
    unknown = tuple(dict.fromkeys(item_id for item_id in item_ids if catalogue.row(item_id) is None))
    return np.setdiff1d(catalogue.rows(item_ids), excluded), unknown


def _filtered(mask: Mask, excluded: Rows, pool: Rows | None, most: int | None) -> tuple[Rows, Rows | None]:
    """
    `excluded` and `pool` with what does not match excluded.

    Args:
        most: as many matching rows become the pool; None: however many there are.
    """
    if pool is not None:
        return excluded, pool[mask[pool]]
    allowed = mask.copy()
    allowed[excluded] = False
    if most is None or np.count_nonzero(allowed) <= most:
        return excluded, np.flatnonzero(allowed).astype(np.int64)
    return np.flatnonzero(~allowed).astype(np.int64), None


def _pinned(
    pins: Sequence[Pin] | None, excluded: Rows, pool: Rows | None, stock: Stock
) -> tuple[dict[int, int], tuple[str, ...] | None]:
    """Rows by position of the pinned items that may be returned, and the ids of those that may not."""
    if pins is None:
        return {}, None
    known = [(pin.position, row) for pin in pins if (row := stock.catalogue.row(pin.item_id)) is not None]
    rows = np.array([row for _, row in known], dtype=np.int64)
    may = ~np.isin(rows, excluded) if pool is None else np.isin(rows, pool)
    pinned = {position: row for (position, row), allowed in zip(known, may.tolist(), strict=True) if allowed}
    return pinned, tuple(pin.item_id for pin in pins if pin.position not in pinned)
