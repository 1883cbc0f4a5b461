"""Intake: events become durable before anybody is told that they were accepted: in Redis, or else in the spool."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Literal, Protocol

import orjson

from causalrec.errors import EventLogFull, EventsRefused, StateUnavailable
from service.events import Event, RecordType, from_fields, packed
from service.spool import Spool

logger = logging.getLogger(__name__)

Outcome = Literal["accepted", "duplicate", "spooled", "refused"]
CHUNK = 1000  # events that are drained at once
RECORD_BUDGET = 0.05  # seconds that an answer which has to be recorded waits for the log, before it is the spool's turn
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds between attempts to drain


class Log(Protocol):
    """What of service.state.events.EventLog is used."""

    @property
    def available(self) -> bool: ...
    async def append(self, events: Sequence[Event], budget: float | None = None) -> list[bool]: ...


class Users(Protocol):
    """What of service.state.users.UserStore is used."""

    async def record(self, events: Sequence[Event]) -> None: ...


class Told(Protocol):
    """What is counted: events by what became of them and their type; events drained; events that users lack."""

    def events(self, outcome: Outcome, types: Iterable[RecordType]) -> None: ...
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
        self._waiting: list[tuple[Sequence[Event], asyncio.Future[None]]] = []
        self._recording: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Opens the spool and begins to drain it. Raises: OSError when its folder cannot be made."""
        await self._spool.open()
        if self._spool.size:
            self._spooled.set()
        self._draining = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """Ends draining where it is; what is left waits on the disk for the next process."""
        if self._recording is not None:
            await self._recording
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
        new = await self._store(events)
        if new is None:
            return [True] * len(events)
        await self._remember(events)
        return new

    async def record(self, events: Sequence[Event]) -> None:
        """
        Stores what the service itself says of an answer, all of it or nothing; it is durable on return.

        While the log takes some events in, those that come meanwhile wait and then go together.

        Raises: EventsRefused when neither log nor spool takes them. Who is cancelled meanwhile is not told.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, done))
        if self._recording is None or self._recording.done():
            self._recording = asyncio.create_task(self._record())
        await done

    async def _record(self) -> None:
        while self._waiting:
            group = self._next_group()
            refusal: Exception | None = None
            try:
                await self._store([event for events, _ in group for event in events], RECORD_BUDGET)
            except Exception as error:  # noqa: BLE001 - whoever waits gets it
                refusal = error
            for _, done in group:
                if done.done():  # cancelled: who waited has gone
                    continue
                if refusal is None:
                    done.set_result(None)
                else:
                    done.set_exception(refusal)

    def _next_group(self) -> list[tuple[Sequence[Event], "asyncio.Future[None]"]]:
        """The first ones that wait, as many as the log takes in at once, but at least one."""
        sizes = accumulate(len(events) for events, _ in self._waiting)
        count = max(1, sum(size <= CHUNK for size in sizes))
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _store(self, events: Sequence[Event], budget: float | None = None) -> list[bool] | None:
        """For each event whether it is new; None where the spool took them. All are counted. Raises: EventsRefused."""
        types = [event.type for event in events]
        try:
            new = await self._append(events, budget)
            if new is None:
                await self._write(events)
        except EventsRefused:
            self._told.events("refused", types)
            raise
        if new is None:
            self._told.events("spooled", types)
        else:
            self._told.events("accepted", [type_ for type_, fresh in zip(types, new, strict=True) if fresh])
            self._told.events("duplicate", [type_ for type_, fresh in zip(types, new, strict=True) if not fresh])
        return new

    async def _append(self, events: Sequence[Event], budget: float | None) -> list[bool] | None:
        """None where the spool has to take them."""
        if self._spool.size or not self._log.available:
            return None
        try:
            return await self._log.append(events, budget)
        except StateUnavailable as error:
            logger.warning("events go to the spool: %s", error)
            return None

    async def _write(self, events: Sequence[Event]) -> None:
        try:
            await self._spool.write(b"[" + b",".join(map(packed, events)) + b"]")
        finally:
            self._spooled.set()

    async def _remember(self, events: Sequence[Event]) -> None:
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
        events = [from_fields(fields) for record in records for fields in orjson.loads(record)]
        for start in range(0, len(events), CHUNK):
            chunk = events[start : start + CHUNK]
            await self._insist(chunk)
            if acts := [event for event in chunk if event.served is None]:
                await self._remember(acts)
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
