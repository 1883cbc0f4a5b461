"""
Who visits when, and what each visit brings.

A visit is a pure function of the seed, its number and the list that was served: however the visits are spread over
requests and threads, and however often one is repeated, the same list brings the same events under the same ids.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from causalrec.errors import ConfigError, DataError
from training.shop import (
    Shop,
    expected_clicks_per_list,
    expected_purchases_per_list,
    expected_revenue_per_list,
    simulate_visits,
)
from training.shop.catalogue import Rows

Event = dict[str, Any]
CROWD, BEFORE, DURING, VISIT = range(1, 5)  # random streams: default_rng((seed, stream, …))
OUTSIDE: Final = ""
"""Stands for the variant of a visit that is not in the experiment."""


class Answer(NamedTuple):
    """
    One list, best first. variant: OUTSIDE where another experiment or none chose λ2; lambda2: None where the lists of
    two are mixed. source: "personal" where the bundle knows the user.
    """

    item_ids: Sequence[str]
    lambda2: float | None
    experiment: str
    variant: str
    source: str
    request_id: str
    bundle_id: str


class Service(Protocol):
    """What visits need of a service."""

    def ask(self, user_ids: Sequence[str], k: int) -> list[Answer]:
        """A list for each user, at the λ2 that the service chooses."""

    def tell(self, events: Sequence[Event]) -> None:
        """Returns when the events are stored."""


class Sums(NamedTuple):
    """What visits brought, and what the lists they saw were worth: exactly, as expectations."""

    visits: float = 0.0
    clicks: float = 0.0
    purchases: float = 0.0
    revenue: float = 0.0
    expected_clicks: float = 0.0
    expected_purchases: float = 0.0
    expected_revenue: float = 0.0


class Totals(NamedTuple):
    """Of visits: sums and users (rows) by variant."""

    sums: Mapping[str, Sums] = {}
    users: Mapping[str, frozenset[int]] = {}

    def __add__(self, other: "Totals") -> "Totals":  # type: ignore[override] # not the tuple's
        sums, users = dict(self.sums), dict(self.users)
        for variant, added in other.sums.items():
            sums[variant] = Sums(*map(sum, zip(sums.get(variant, Sums()), added, strict=True)))
            users[variant] = users.get(variant, frozenset()) | other.users[variant]
        return Totals(sums, users)

    @property
    def visits(self) -> int:
        """All of them."""
        return int(sum(each.visits for each in self.sums.values()))

    @property
    def inside(self) -> int:
        """Those in the experiment."""
        return self.visits - int(self.sums.get(OUTSIDE, Sums()).visits)


def visitors(shop: Shop, visits: int, per_user: int | None, before: int, seed: int) -> Rows:
    """
    Whose visit each is: user rows [before + visits]. Both parts are in rounds, each in another order: nobody comes for
    the n-th time before everybody has come n − 1 times.

    Args:
        per_user: visits of each user of those that count (not of those before); None: everybody in the shop comes.
    Raises: ConfigError when the shop has too few users.
    """
    people = shop.config.users if per_user is None else -(-visits // per_user)
    if people > shop.config.users:
        raise ConfigError(
            f"{visits:,} visits, {per_user} per user, need {people:,} users, and the shop has {shop.config.users:,}; "
            f"choose at most {shop.config.users * (per_user or 1):,} visits, or more per user"
        )
    chosen = np.random.default_rng((seed, CROWD)).permutation(shop.config.users)[:people]
    return np.concatenate([_rounds(chosen, before, (seed, BEFORE)), _rounds(chosen, visits, (seed, DURING))])


def _rounds(people: Rows, visits: int, seed: tuple[int, int]) -> Rows:
    count = -(-visits // len(people))
    order = [np.random.default_rng((*seed, number)).permutation(people) for number in range(count)]
    return np.concatenate([np.empty(0, dtype=np.int64), *order])[:visits].astype(np.int64)


class Crowd:
    """
    The shop's people as visitors.

    Args:
        name: begins the ids of their events; together with the seed it keeps them apart from other simulations'.
        key: of the experiment; answers of any other are OUTSIDE.
        k: how long lists are.
    """

    def __init__(self, shop: Shop, order: Rows, *, name: str, key: str, seed: int, k: int) -> None:
        self.shop = shop
        self.order = order
        self._name, self._key, self._seed, self._k = name, key, seed, k
        self._user_ids, self._item_ids = shop.user_ids, shop.item_ids  # made anew at every call
        self._rows = {item_id: row for row, item_id in enumerate(self._item_ids)}

    def visit(self, service: Service, numbers: Sequence[int]) -> Totals:
        """The visits of these numbers: lists are asked for, looked at, and what is done is told. Raises: DataError."""
        users = [int(self.order[number]) for number in numbers]
        answers = service.ask([self._user_ids[user] for user in users], self._k)
        lists = [self._known(user, answer) for user, answer in zip(users, answers, strict=True)]
        worth = _worth(self.shop, users, lists)
        events: list[Event] = []
        totals = Totals()
        for place, (number, answer) in enumerate(zip(numbers, answers, strict=True)):
            brought, happened = self._one(number, users[place], lists[place], answer.request_id)
            variant = answer.variant if answer.experiment == self._key else OUTSIDE
            totals += Totals({variant: Sums(1.0, *brought, *worth[place])}, {variant: frozenset((users[place],))})
            events += happened
        if events:
            service.tell(events)
        return totals

    def _known(self, user: int, answer: Answer) -> Rows:
        """The list as item rows. Raises: DataError when it is not of this shop."""
        if answer.source != "personal":
            raise DataError(
                f"the service's bundle does not know {self._user_ids[user]!r} (its answer is {answer.source!r}); "
                "serve the bundle that was trained on this shop, or name the shop it was trained on"
            )
        try:
            return np.array([self._rows[item_id] for item_id in answer.item_ids], dtype=np.int64)
        except KeyError as error:
            raise DataError(
                f"the service recommends {error.args[0]!r}, which is no item of this shop of {len(self._rows):,}; "
                "serve the bundle that was trained on this shop, or name the shop it was trained on"
            ) from error

    def _one(self, number: int, user: int, rows: Rows, request_id: str) -> tuple[list[float], list[Event]]:
        """Clicks, purchases and revenue of one visit to the list `rows`, and the events that say so."""
        rng = np.random.default_rng((self._seed, VISIT, number))
        drawn = simulate_visits(self.shop, np.array([user]), rows[None, :], rng)
        happened = (("click", drawn.clicked[0], None), ("purchase", drawn.purchased[0], drawn.revenue[0]))
        events: list[Event] = [
            {
                "event_id": f"{self._name}-{self._seed}-{number}-{place + 1}-{type_}",
                "user_id": self._user_ids[user],
                "item_id": self._item_ids[rows[place]],
                "type": type_,
                "value": None if prices is None else float(prices[place]),
                "request_id": request_id,  # and no time: what counts is the clock that the exposures go by
            }
            for type_, did, prices in happened
            for place in np.flatnonzero(did).tolist()
        ]
        return [float(each.sum()) for each in (drawn.clicked, drawn.purchased, drawn.revenue)], events


def _worth(shop: Shop, users: Sequence[int], lists: Sequence[Rows]) -> list[list[float]]:
    """Expected clicks, purchases and revenue of each list, [n, 3]. Lists of one length are looked at together."""
    found = np.empty((len(lists), 3))
    for length in {len(rows) for rows in lists}:
        chosen = [place for place, rows in enumerate(lists) if len(rows) == length]
        theirs, rows = np.array(users)[chosen], np.stack([lists[place] for place in chosen])
        for column, expected in enumerate(
            (expected_clicks_per_list, expected_purchases_per_list, expected_revenue_per_list)
        ):
            found[chosen, column] = expected(shop, theirs, rows)
    worth: list[list[float]] = found.tolist()
    return worth
