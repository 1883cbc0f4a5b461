"""The event log on real servers: each event once, all of a batch or nothing, never more than there may be."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import pytest

from causalrec.errors import EventLogFull, StateUnavailable
from service.events import Event
from service.state.connection import Connection
from service.state.deliveries import Deliveries
from service.state.events import DAY, EventLog
from tests.service.events import event, several
from tests.service.served import MIXED, a_list, exposure, failure
from tests.service.state.servers import Server, connect, fresh_keys

T = TypeVar("T")
NOON = 20_000.5 * DAY


def on(server: Server, scenario: Callable[[Connection], Awaitable[T]], **options: Any) -> T:
    """What `scenario` returns on a connection with keys of its own."""

    async def whole() -> T:
        async with connect(server, **options) as connection:
            return await scenario(connection)

    return asyncio.run(whole())


async def stored(connection: Connection) -> list[Event]:
    """Every event in the stream, in order."""
    deliveries = Deliveries(connection, "reader")
    await deliveries.open()
    return [each.event for each in await deliveries.read(100_000) if each.event]


async def spoil(redis: Any, key: str) -> None:
    await redis.set(key, "spoiled")


async def mend(redis: Any, key: str) -> None:
    await redis.delete(key)


async def ids_kept(connection: Connection, day: int) -> int:
    return await connection.run(lambda redis: redis.scard(connection.keys.event_ids(day)))


def test_events_come_out_as_they_went_in(redis_server: Server) -> None:
    """Every field, in order, also what is no ASCII and what is absent."""
    events = [event(1), event(2, "rating", value=4.5, user_id="zoë", request_id="4f2a", timestamp=1.000001)]

    async def scenario(connection: Connection) -> tuple[list[bool], list[Event]]:
        return await EventLog(connection).append(events), await stored(connection)

    assert on(redis_server, scenario) == ([True, True], events)


def test_what_the_service_recorded_comes_out_as_it_went_in(redis_server: Server) -> None:
    """Also what is not known, and the two λ2 of an interleaving."""
    unknown, mixed = exposure("ann", 0, None, propensity=None), a_list("ann", 0, "hüt bag", teams="ba", **MIXED)

    async def scenario(connection: Connection) -> list[Event]:
        await EventLog(connection).append([unknown, exposure("bob", 0, (1, 2, 3, 4)), mixed, failure("ann", 1)])
        return await stored(connection)

    assert on(redis_server, scenario) == [unknown, exposure("bob", 0, (1, 2, 3, 4)), mixed, failure("ann", 1)]


def test_the_same_id_is_the_same_event(redis_server: Server) -> None:
    """Within a batch, in a later one, and whatever else differs."""

    async def scenario(connection: Connection) -> tuple[list[list[bool]], list[Event]]:
        log = EventLog(connection)
        answers = [
            await log.append([event(1), event(2), event(1, "cart")]),
            await log.append([event(2, "purchase"), event(3)]),
            await log.append([]),
        ]
        return answers, await stored(connection)

    answers, events = on(redis_server, scenario)

    assert answers == [[True, True, False], [False, True], []]
    assert events == several(1, 4)


@pytest.mark.parametrize(("days", "new"), [(0.6, False), (7, False), (-1, False), (8, True)])
def test_an_id_is_known_for_seven_days(redis_server: Server, days: float, new: bool) -> None:
    """And by a process whose clock is a day behind."""

    async def scenario(connection: Connection) -> list[bool]:
        await EventLog(connection, clock=lambda: NOON).append([event(1)])
        return await EventLog(connection, clock=lambda: NOON + days * DAY).append([event(1)])

    assert on(redis_server, scenario) == [new]


def test_ids_expire(redis_server: Server) -> None:
    """After nine days, when no day looks at them any more: the ids of a busy year do not pile up."""

    async def scenario(connection: Connection) -> int:
        await EventLog(connection, clock=lambda: NOON).append([event(1)])
        return await connection.run(lambda redis: redis.ttl(connection.keys.event_ids(20_000)))

    assert 9 * DAY - 60 < on(redis_server, scenario) <= 9 * DAY


def test_a_full_log_takes_nothing_and_drops_nothing(redis_server: Server) -> None:
    """A batch that does not fit whole is refused whole; repeats are answered; after an export there is room again."""

    async def scenario(connection: Connection) -> tuple[list[bool], int, list[Event], list[bool]]:
        log = EventLog(connection, most=5, clock=lambda: NOON)
        await log.append(several(0, 4))
        with pytest.raises(EventLogFull, match=r"holds 4 events, 5 at most; `python -m service events export`") as full:
            await log.append(several(3, 6))
        assert full.value.retry_after > 1
        repeats, kept = await log.append(several(0, 4)), await ids_kept(connection, 20_000)
        deliveries = Deliveries(connection, "reader")
        await deliveries.open()
        delivered = await deliveries.read(100)
        await deliveries.settle([each.stream_id for each in delivered])
        return repeats, kept, [each.event for each in delivered if each.event], await log.append(several(3, 6))

    repeats, kept, events, after = on(redis_server, scenario)

    assert repeats == [False] * 4
    assert (kept, events) == (4, several(0, 4))
    assert after == [False, True, True]


def test_an_id_is_kept_exactly_where_its_event_is(redis_server: Server) -> None:
    """Where the script fails it fails before it writes: a stream or a set spoiled by somebody else changes neither."""

    async def scenario(connection: Connection) -> list[int]:
        log, keys = EventLog(connection, clock=lambda: NOON), connection.keys
        found = []
        for spoiled in (keys.events, keys.event_ids(20_000), keys.event_ids(19_999)):
            await connection.run(partial(spoil, key=spoiled))
            with pytest.raises(StateUnavailable, match="WRONGTYPE"):
                await log.append(several(0, 3))
            await connection.run(partial(mend, key=spoiled))
            found += [
                await connection.run(lambda redis: redis.xlen(keys.events)),
                await ids_kept(connection, 20_000),
            ]
        return found

    assert on(redis_server, scenario) == [0] * 6


def test_two_processes_that_send_the_same_at_once(redis_server: Server) -> None:
    """Exactly one of them is told that it is new, event by event."""

    async def scenario(connection: Connection) -> tuple[list[list[bool]], int]:
        async with connect(redis_server, keys=connection.keys) as other:
            logs = [EventLog(connection), EventLog(other)]
            answers = await asyncio.gather(*(logs[n % 2].append(several(0, 500)) for n in range(8)))
        return answers, len(await stored(connection))

    answers, length = on(redis_server, scenario)

    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * 500
    assert length == 500


def test_it_goes_on_after_a_restart(redis_server: Server) -> None:
    """Killed and started again, the server knows neither the script nor less than it had acknowledged."""
    keys = fresh_keys()

    async def scenario(connection: Connection) -> list[bool]:
        log = EventLog(connection)
        await log.append(several(0, 1000))
        redis_server.kill()
        redis_server.restart()
        while True:
            try:
                return await log.append(several(990, 1010))
            except StateUnavailable:
                await asyncio.sleep(0.01)

    assert on(redis_server, scenario, keys=keys) == [False] * 10 + [True] * 10
    assert on(redis_server, stored, keys=keys) == several(0, 1010)


def test_a_frozen_server_is_not_waited_for(redis_server: Server) -> None:
    """Within its budget the call ends; sent again after all, the events are there once."""

    async def scenario(connection: Connection) -> list[Event]:
        log = EventLog(connection, budget=0.05)
        redis_server.freeze()
        with pytest.raises(StateUnavailable):
            await log.append(several(0, 3))
        redis_server.thaw()
        while True:
            try:
                await EventLog(connection).append(several(0, 3))
            except StateUnavailable:
                await asyncio.sleep(0.01)
            else:
                return await stored(connection)

    assert on(redis_server, scenario) == several(0, 3)
