"""Bodies of POST /v1/events."""

import re
import time
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    StringConstraints,
    Tag,
    ValidationInfo,
    field_validator,
)

from causalrec.ids import MAX_ID_LENGTH, problem_with
from service.events import Event, EventType
from service.schemas import DESCRIBED, ONE, SEVERAL, Finite, UserId

MAX_EVENTS = 1000
MAX_OTHER_ID = 128
DAY = 86_400
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
FORMS = "seconds since 1970 or a time with its zone, as in 2026-01-31T12:00:00Z"


def _acceptable(outside_id: str) -> str:
    if reason := problem_with(outside_id):
        raise ValueError(f"the id {reason}")
    return outside_id


def _seconds(value: object) -> float:
    """Seconds since 1970 from what a caller wrote."""
    if isinstance(value, str):
        seconds = _parsed(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(min(max(value, -1.0), 1e300))  # a whole number may be too large for a float
    else:
        raise ValueError(f"should be {FORMS}")  # noqa: TRY004 - pydantic makes its errors of ValueErrors
    if not seconds >= 0:
        raise ValueError("lies before 1970; give the time at which it happened, or leave it out for now")
    if seconds > time.time() + DAY:
        raise ValueError("lies more than a day ahead; give seconds, not milliseconds, or leave it out for now")
    return seconds


def _parsed(text: str) -> float:
    if not RFC_3339.fullmatch(text):
        raise ValueError(f"should be {FORMS}")
    try:
        return datetime.fromisoformat(text.upper()).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"there is no such time ({error}); it should be {FORMS}") from error


Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH), AfterValidator(_acceptable)]
ShortId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_OTHER_ID), AfterValidator(_acceptable)]
Written = Annotated[str, Field(json_schema_extra={"format": "date-time"})] | float
Moment = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=Written)]
EXAMPLE: dict[str, Any] = {
    "event_id": "01JZ3X-7",
    "user_id": "ann",
    "item_id": "item-115",
    "type": "click",
    "timestamp": "2026-01-31T12:00:00Z",
    "request_id": "4f2a",
}
RATED: dict[str, Any] = {
    "event_id": "01JZ3X-8",
    "user_id": "ann",
    "item_id": "item-115",
    "type": "rating",
    "value": 4.5,
}


class PostedEvent(BaseModel):
    """What happened between a user and an item."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, strict=True, json_schema_extra={"examples": [EXAMPLE, RATED]}
    )

    event_id: ShortId
    """The caller's own. The same id is the same event, however often it is sent: repeats are found for at least 7 days
    at once, and always at export. Send an event again, under its id, until it is acknowledged."""
    user_id: UserId
    """Who did it; the bundle need not know them."""
    item_id: Id
    """With what; the bundle need not know it."""
    type: EventType
    """impression: it was shown; click, cart, purchase, rating: what the user did."""
    value: Finite | None = Field(None, validate_default=True)
    """A price, a quantity, a rating, as the caller means it; a rating must have one."""
    timestamp: Moment = Field(default_factory=time.time)
    """When it happened: seconds since 1970, or RFC 3339 with a zone; at most a day ahead. Left out: now."""
    request_id: ShortId | None = None
    """X-Request-ID of the answer that showed the item."""

    @field_validator("value")
    @classmethod
    def _rated(cls, value: float | None, others: ValidationInfo) -> float | None:
        if value is None and others.data.get("type") == "rating":
            raise ValueError("a rating needs its value; add it, or send another type")
        return value

    def event(self) -> Event:
        """The event."""
        return Event(self.event_id, self.user_id, self.item_id, self.type, self.value, self.timestamp, self.request_id)


class SeveralEvents(BaseModel):
    """Several events in one request."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, strict=True)

    events: list[PostedEvent] = Field(min_length=1, max_length=MAX_EVENTS, fail_fast=True)
    """All of them are stored, or none: an error names its index."""


def _which(body: object) -> str:
    return SEVERAL if isinstance(body, dict) and "events" in body else ONE


Either = Annotated[
    Annotated[PostedEvent, Tag(ONE)] | Annotated[SeveralEvents, Tag(SEVERAL)],
    Discriminator(_which),
]


class EventsBody(RootModel[Either]):
    """One event, or several as {"events": [...]}."""

    def events(self) -> list[Event]:
        """The events, in their order."""
        posted = self.root.events if isinstance(self.root, SeveralEvents) else [self.root]
        return [each.event() for each in posted]


class EventsAnswer(BaseModel):
    """What became of the events: each is on disk, or was before."""

    model_config = DESCRIBED

    accepted: int
    """Events that are new. While Redis is away all are counted here; repeats are dropped when it is back."""
    duplicates: int
    """Events whose id was accepted before, or stands twice in this request."""
