"""Events for tests, and an event log, users and telemetry that live in memory and fail when told to."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from causalrec.errors import CausalRecError
from service.events import Event, EventType, RecordType


def event(number: int, type_: EventType = "click", **changed: Any) -> Event:
    """The event e<number> of user-<number % 7>, a second after the one before it."""
    made = Event(f"e{number}", f"user-{number % 7}", f"item-{number % 5}", type_, None, 1_700_000_000.0 + number, None)
    return made._replace(**changed)


def several(start: int, stop: int) -> list[Event]:
    """The events from `start` to `stop` - 1."""
    return [event(number) for number in range(start, stop)]


class MemoryLog:
    """
    An event log. Where they are set, `failure` is raised instead of adding events, and `late` after it; it answers
    while `open` is set. sizes: how many events the calls had; budget: of the last one.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.available = True
        self.failure: CausalRecError | None = None
        self.late: CausalRecError | None = None
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.sizes: list[int] = []
        self.budget: float | None = None

    async def append(self, events: Sequence[Event], budget: float | None = None) -> list[bool]:
        self.asked += 1
        self.sizes.append(len(events))
        self.budget = budget
        await self.open.wait()
        if self.failure:
            raise self.failure
        known = {each.event_id for each in self.events}
        new = [each.event_id not in known for each in events]
        self.events += [each for each, fresh in zip(events, new, strict=True) if fresh]
        if self.late:
            raise self.late
        return new


class MemoryUsers:
    """What was recorded; `failure` is raised instead, where there is one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failure: CausalRecError | None = None

    async def record(self, events: Sequence[Event]) -> None:
        if self.failure:
            raise self.failure
        self.events += events


class Counts:
    """What the intake told: how many by outcome and type."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str]] = Counter()

    def events(self, outcome: str, types: Iterable[RecordType]) -> None:
        self.counted.update((outcome, type_) for type_ in types)

    def drained(self, events: int) -> None:
        self.counted["drained", ""] += events

    def unrecorded(self, events: int) -> None:
        self.counted["unrecorded", ""] += events
