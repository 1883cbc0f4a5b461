"""Intake: events become durable before anybody is told that they were accepted: in Redis, or else in the spool."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import orjson

from causalrec.errors import EventLogFull, EventsRefused, StateUnavailable
from service.events import Event, EventType, packed
from service.spool import Spool

logger = logging.getLogger(__name__)

Outcome = Literal["accepted", "duplicate", "spooled", "refused"]
CHUNK = 1000  # events that are drained at once
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds between attempts to drain


class Log(Protocol):
    """What of service.state.events.EventLog is used."""

    @property
    def available(self) -> bool: ...
    async def append(self, events: Sequence[Event]) -> list[bool]: ...


class Users(Protocol):
    """What of service.state.users.UserStore is used."""

    async def record(self, events: Sequence[Event]) -> None: ...


class Told(Protocol):
    """What is counted: events by what became of them and their type; events drained; events that users lack."""

    def events(self, outcome: Outcome, types: Iterable[EventType]) -> None: ...
    def drained(self, events: int) -> None: ...
    def unrecorded(self, events: int) -> None: ...


class Intake:
    """
    Accepts events. While the spool holds anything, new ones join it, so that the log has them in their order.

    An event whose way into the log timed out may be there; it is spooled all the same, since the log knows its id.
    """

    def __init__(self, log: Log, users: Users, spool: Spool, told: Told) -> None:
        self._log = log
        self._users = users
        self._spool = spool
        self._told = told
        self._spooled = asyncio.Event()
        self._draining: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Opens the spool and begins to drain it. Raises: OSError when its folder cannot be made."""
        await self._spool.open()
        if self._spool.size:
            self._spooled.set()
        self._draining = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """Ends draining where it is; what is left waits on the disk for the next process."""
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.wait([self._draining])
        await self._spool.close()

    async def accept(self, events: Sequence[Event]) -> list[bool]:
        """
        Stores the events, all of them or none.

        Returns: once they are durable, for each whether it is new; False for a repeat. What is spooled counts as new:
            only the log knows the ids, and drops repeats when the spool is drained.
        Raises: EventsRefused when neither log nor spool takes them. Who is cancelled meanwhile is not told.
        """
        types = [event.type for event in events]
        try:
            new = await self._append(events)
            if new is None:
                await self._write(events)
        except EventsRefused:
            self._told.events("refused", types)
            raise
        if new is None:
            self._told.events("spooled", types)
            return [True] * len(events)
        self._told.events("accepted", [type_ for type_, fresh in zip(types, new, strict=True) if fresh])
        self._told.events("duplicate", [type_ for type_, fresh in zip(types, new, strict=True) if not fresh])
        await self._record(events)
        return new

    async def _append(self, events: Sequence[Event]) -> list[bool] | None:
        """None where the spool has to take them."""
        if self._spool.size or not self._log.available:
            return None
        try:
            return await self._log.append(events)
        except StateUnavailable as error:
            logger.warning("events go to the spool: %s", error)
            return None

    async def _write(self, events: Sequence[Event]) -> None:
        try:
            await self._spool.write(b"[" + b",".join(map(packed, events)) + b"]")
        finally:
            self._spooled.set()

    async def _record(self, events: Sequence[Event]) -> None:
        """Repeats too: the first time, Redis may have been lost between both."""
        try:
            await self._users.record(events)
        except StateUnavailable as error:
            logger.warning(
                "%d events are stored but not yet in what is remembered of their users: %s", len(events), error
            )
            self._told.unrecorded(len(events))

    async def _drain(self) -> None:
        while True:
            await self._spooled.wait()
            self._spooled.clear()  # before looking: what is written from here on sets it again
            try:
                records = await self._spool.oldest()
                if records is not None:
                    await self._drain_records(records)
                    await self._spool.remove()
                    self._spooled.set()
            except OSError:
                logger.exception("the spool cannot be read; tried again")
                self._spooled.set()
                await asyncio.sleep(LONGEST_PAUSE)

    async def _drain_records(self, records: Sequence[bytes]) -> None:
        events = [Event(*fields) for record in records for fields in orjson.loads(record)]
        for start in range(0, len(events), CHUNK):
            chunk = events[start : start + CHUNK]
            await self._insist(chunk)
            await self._record(chunk)
            self._told.drained(len(chunk))

    async def _insist(self, events: Sequence[Event]) -> None:
        """Into the log, however long that takes."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._log.append(events)
            except (StateUnavailable, EventLogFull) as error:
                logger.debug("the spool waits: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return
