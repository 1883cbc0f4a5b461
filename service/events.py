"""What happened between a user and an item, as plain data: an event as it was told, and what is kept of a user's."""

from typing import Literal, NamedTuple

import orjson

EventType = Literal["impression", "click", "cart", "purchase", "rating"]
RecordType = Literal["impression", "click", "cart", "purchase", "rating", "exposure", "list", "failure"]
"""What the log holds: what callers told, and what the service itself records of answers in experiments."""


class Served(NamedTuple):
    """
    What an answer in an experiment was: the first one of a unit (exposure), each (list), one that failed (failure).

    lambda2: one, or the two of an interleaving; teams: then "a" or "b" per item, by whose it is, "=" in the head that
    both lists share. propensity: None for an override. seconds: from the request to the answer. before: how many
    clicks, carts, purchases and ratings were known of the user; None where Redis could not be asked. item_ids are
    those of the list; an exposure has none.
    """

    experiment: str
    version: int
    series: int
    variant: str
    lambda2: tuple[float, ...]
    propensity: float | None
    bundle_id: str
    item_ids: tuple[str, ...] = ()
    teams: str = ""
    seconds: float | None = None
    before: tuple[int, int, int, int] | None = None


class Event(NamedTuple):
    """
    One event. The same event_id is the same event, however often it is sent.

    value: a price, a rating, a quantity; the caller's meaning. timestamp: seconds since 1970, when it happened.
    request_id: X-Request-ID of the answer that showed the item. served: of exposures, lists and failures, which have
    no item_id; None otherwise.
    """

    event_id: str
    user_id: str
    item_id: str
    type: RecordType
    value: float | None
    timestamp: float
    request_id: str | None
    served: Served | None = None


def packed(event: Event) -> bytes:
    """The event as it is kept in the log and in the spool: a JSON array of its fields in their order."""
    if event.served is None:
        return orjson.dumps(tuple(event[:-1]))
    return orjson.dumps((*event[:-1], tuple(event.served)))


def unpacked(content: bytes) -> Event:
    """The event of which `packed` made `content`."""
    return from_fields(orjson.loads(content))


def from_fields(fields: list[object]) -> Event:
    """The event of which `packed` made the array `fields`."""
    event = Event(*fields)  # type: ignore[arg-type] # written by `packed`
    if event.served is None:
        return event
    served = Served(*event.served)
    known = served.before
    before = None if known is None else (known[0], known[1], known[2], known[3])
    lambda2, item_ids = tuple(served.lambda2), tuple(served.item_ids)
    return event._replace(served=served._replace(lambda2=lambda2, item_ids=item_ids, before=before))


class Act(NamedTuple):
    """The last time that a user did one thing with one item."""

    item_id: str
    type: EventType
    timestamp: float


class UserState(NamedTuple):
    """What is remembered of a user: acts, newest first, bounded."""

    acts: tuple[Act, ...]


NO_STATE = UserState(())
