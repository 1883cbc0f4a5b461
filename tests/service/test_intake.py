"""The intake: durable before acknowledged, in the log or in the spool, in order, and drained when the log is back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from causalrec.errors import EventLogFull, EventsRefused, StateUnavailable
from service.events import Event
from service.intake import Intake
from service.spool import Spool
from tests.service.events import Counts, MemoryLog, MemoryUsers, event, several

T = TypeVar("T")
AWAY = StateUnavailable("Redis is away")


class World:
    """An intake over a spool on the disk, and a log and users in memory that fail when told to."""

    def __init__(self, folder: Path, most: int = 1 << 20) -> None:
        self.log, self.users, self.told = MemoryLog(), MemoryUsers(), Counts()
        self.spool = Spool(folder, most=most, segment=200)
        self.intake = Intake(self.log, self.users, self.spool, self.told)

    def leave(self) -> None:
        """Redis goes."""
        self.log.failure = AWAY

    def come_back(self) -> None:
        """Redis is back."""
        self.log.failure = None

    async def emptied(self) -> None:
        """Returns when the spool is."""
        while self.spool.size:
            await asyncio.sleep(0.001)


def run(world: World, scenario: Callable[[], Awaitable[T]]) -> T:
    """What `scenario` returns, the intake open meanwhile."""

    async def whole() -> T:
        await world.intake.open()
        try:
            return await scenario()
        finally:
            await world.intake.close()

    return asyncio.run(whole())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_events_go_into_the_log_and_to_their_users(world: World) -> None:
    """And nothing to the disk while Redis takes them; outcomes are counted by type."""

    async def scenario() -> list[bool]:
        await world.intake.accept([event(1), event(2, "purchase")])
        assert world.spool.size == 0
        return await world.intake.accept([event(2, "purchase"), event(3)])

    assert run(world, scenario) == [False, True]
    assert world.log.events == [event(1), event(2, "purchase"), event(3)]
    assert world.users.events == [event(1), event(2, "purchase"), event(2, "purchase"), event(3)]
    assert world.told.counted == {("accepted", "click"): 2, ("accepted", "purchase"): 1, ("duplicate", "purchase"): 1}


def test_while_redis_is_away_events_are_spooled_and_come_in_order_when_it_is_back(world: World) -> None:
    """New ones queue up behind them, although Redis would take them again; users hear of all."""

    async def scenario() -> None:
        await world.intake.accept(several(0, 3))
        world.leave()
        for number in range(3, 30):
            assert await world.intake.accept([event(number)]) == [True]
        world.come_back()
        await world.intake.accept([event(30)])
        await world.emptied()
        await world.intake.accept([event(31)])

    run(world, scenario)

    assert world.log.events == several(0, 32)
    assert world.users.events == several(0, 32)
    assert world.told.counted == {("accepted", "click"): 4, ("spooled", "click"): 28, ("drained", ""): 28}


def test_an_event_that_may_be_in_the_log_is_there_once(world: World) -> None:
    """It was added, but the answer did not come in time: spooled all the same, and known when it is drained."""

    world.log.late = AWAY

    async def scenario() -> None:
        await world.intake.accept([event(1)])
        world.log.late = None
        await world.emptied()

    run(world, scenario)

    assert world.log.events == [event(1)]


def test_what_the_breaker_says_is_believed(world: World) -> None:
    """A log that is known not to answer is not asked: no caller waits for it."""
    world.log.available = False

    async def scenario() -> int:
        writing = asyncio.create_task(world.intake.accept([event(1)]))
        while not world.spool.size:
            await asyncio.sleep(0)
        asked = world.log.asked
        await writing
        return asked

    assert run(world, scenario) == 0


def test_the_next_process_drains_what_this_one_left(tmp_path: Path) -> None:
    """Redis and then the service go down: nothing that was acknowledged is lost."""
    first, second = World(tmp_path), World(tmp_path)
    first.leave()
    run(first, lambda: first.intake.accept(several(0, 20)))

    run(second, second.emptied)

    assert second.log.events == several(0, 20)
    assert list(tmp_path.rglob("*.log")) == []


def test_nobody_takes_what_neither_log_nor_spool_has_room_for(tmp_path: Path) -> None:
    """Refused and counted, not dropped; what was spooled before stays in order."""
    world = World(tmp_path, most=400)
    world.leave()
    kept: list[Event] = []

    async def scenario() -> None:
        while world.spool.size < 350:
            kept.append(event(len(kept)))
            await world.intake.accept(kept[-1:])
        with pytest.raises(EventsRefused, match="of at most 400 bytes"):
            await world.intake.accept([event(99)])
        world.come_back()
        await world.emptied()

    run(world, scenario)

    assert world.log.events == kept
    assert kept
    assert world.told.counted["refused", "click"] == 1


def test_a_full_log_refuses_and_does_not_fill_the_disk(world: World) -> None:
    """The caller learns how to empty it; what the spool holds waits until there is room."""

    async def scenario() -> None:
        world.log.failure = EventLogFull("the event log holds 5 events, 5 at most")
        with pytest.raises(EventLogFull):
            await world.intake.accept([event(1)])
        assert world.spool.size == 0
        world.leave()
        await world.intake.accept([event(2)])
        world.log.failure = EventLogFull("the event log holds 5 events, 5 at most")
        asked = world.log.asked
        while world.log.asked < asked + 2:
            await asyncio.sleep(0)
        assert world.spool.size > 0
        world.come_back()
        await world.emptied()

    run(world, scenario)

    assert world.log.events == [event(2)]


def test_users_who_are_not_told_are_counted(world: World) -> None:
    """The event is durable, so the caller is told so; that the next answer may not know it yet is a metric."""
    world.users.failure = AWAY

    answer = run(world, lambda: world.intake.accept(several(0, 3)))

    assert answer == [True] * 3
    assert world.told.counted == {("accepted", "click"): 3, ("unrecorded", ""): 3}


def test_a_caller_who_leaves_stops_nothing(world: World) -> None:
    """Cancelled while the disk is being written: the spool goes on for the others, and is drained."""
    world.leave()

    async def scenario() -> None:
        leaving = asyncio.create_task(world.intake.accept([event(1)]))
        staying = asyncio.create_task(world.intake.accept([event(2)]))
        while not world.spool.size:
            await asyncio.sleep(0)
        leaving.cancel()
        await staying
        world.come_back()
        await world.emptied()

    run(world, scenario)

    assert set(world.log.events) - {event(1)} == {event(2)}


def test_it_closes_while_it_drains(world: World) -> None:
    """At once, however long Redis stays away; what is left is on the disk."""
    world.leave()

    run(world, lambda: world.intake.accept(several(0, 5)))

    assert world.log.events == []
    assert world.spool.size > 0
