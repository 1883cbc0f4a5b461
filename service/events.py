"""What happened between a user and an item, as plain data: an event as it was told, and what is kept of a user's."""

from typing import Literal, NamedTuple

import orjson

EventType = Literal["impression", "click", "cart", "purchase", "rating"]


class Event(NamedTuple):
    """
    One event. The same event_id is the same event, however often it is sent.

    value: a price, a rating, a quantity; the caller's meaning. timestamp: seconds since 1970, when it happened.
    request_id: X-Request-ID of the answer that showed the item.
    """

    event_id: str
    user_id: str
    item_id: str
    type: EventType
    value: float | None
    timestamp: float
    request_id: str | None


def packed(event: Event) -> bytes:
    """The event as it is kept in the log and in the spool: a JSON array of its fields in their order."""
    return orjson.dumps(tuple(event))


def unpacked(content: bytes) -> Event:
    """The event of which `packed` made `content`."""
    return Event(*orjson.loads(content))


class Act(NamedTuple):
    """The last time that a user did one thing with one item."""

    item_id: str
    type: EventType
    timestamp: float


class UserState(NamedTuple):
    """What is remembered of a user: acts, newest first, bounded."""

    acts: tuple[Act, ...]


NO_STATE = UserState(())
