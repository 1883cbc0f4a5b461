"""Delivery for export: every event until it is settled, to one consumer at a time."""

import asyncio

import pytest

from causalrec.errors import StateUnavailable
from service.state import deliveries as module
from service.state.connection import Connection
from service.state.deliveries import GROUP, Delivered, Deliveries
from service.state.events import EventLog
from tests.service.events import several
from tests.service.state.servers import Server
from tests.service.state.test_event_log import on


async def opened(connection: Connection, consumer: str = "one") -> Deliveries:
    deliveries = Deliveries(connection, consumer)
    await deliveries.open()
    return deliveries


def numbers(delivered: list[Delivered]) -> list[int]:
    return [int(each.event.event_id[1:]) for each in delivered if each.event]


def ids(delivered: list[Delivered]) -> list[str]:
    return [each.stream_id for each in delivered]


def test_events_are_delivered_in_order_until_there_are_no_more(redis_server: Server) -> None:
    """In pages; an empty log is no error, nor one that was never written."""

    async def scenario(connection: Connection) -> list[list[int]]:
        reader = await opened(connection)
        before = await reader.read(10)
        await EventLog(connection).append(several(0, 25))
        return [numbers(before), *[numbers(await reader.read(10)) for _ in range(4)]]

    assert on(redis_server, scenario) == [[], [*range(10)], [*range(10, 20)], [*range(20, 25)], []]


def test_what_is_settled_is_gone_and_what_is_not_comes_again(redis_server: Server) -> None:
    """To the next one of the same name, before anything new; memory holds what is not settled only."""

    async def scenario(connection: Connection) -> tuple[list[int], list[int], int]:
        log, reader = EventLog(connection), await opened(connection)
        await log.append(several(0, 20))
        await reader.settle(ids(await reader.read(5)))
        await reader.read(7)  # and crash
        again = await opened(connection)
        first, second = await again.read(5), await again.read(5)
        await again.settle(ids(first + second))
        return numbers(first + second), numbers(await again.read(100)), await again.waiting()

    assert on(redis_server, scenario) == ([*range(5, 12)], [*range(12, 20)], 8)


def test_a_settling_cut_off_half_way_is_finished(redis_server: Server) -> None:
    """Removed but not acknowledged: delivered as an id alone, and settled with the next ones."""

    async def scenario(connection: Connection) -> tuple[list[int], int, int]:
        reader = await opened(connection)
        await EventLog(connection).append(several(0, 4))
        first = ids(await reader.read(2))
        await connection.run(lambda redis: redis.xdel(connection.keys.events, *first))
        again = await opened(connection)
        delivered = await again.read(10)
        await again.settle(ids(delivered))
        left = await connection.run(lambda redis: redis.xpending(connection.keys.events, GROUP))
        return numbers(await again.read(10)), len(delivered), left["pending"]

    assert on(redis_server, scenario) == ([2, 3], 2, 0)


def test_what_a_consumer_left_for_good_is_taken_over(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once nobody has touched it for long; until then it is another's."""

    async def scenario(connection: Connection) -> tuple[list[int], list[int]]:
        await EventLog(connection).append(several(0, 2500))
        await (await opened(connection, "gone")).read(2500)
        soon = numbers(await (await opened(connection, "other")).read(3000))
        monkeypatch.setattr(module, "ABANDONED", 0)
        return soon, numbers(await (await opened(connection, "other")).read(3000))

    assert on(redis_server, scenario) == ([], [*range(2500)])


def test_a_log_that_was_lost_is_begun_anew(redis_server: Server) -> None:
    """The group goes with the stream: reading fails, and opening makes both."""

    async def scenario(connection: Connection) -> list[int]:
        reader = await opened(connection)
        await connection.run(lambda redis: redis.delete(connection.keys.events))
        await EventLog(connection).append(several(0, 3))
        with pytest.raises(StateUnavailable, match="NOGROUP"):
            await reader.read(10)
        await reader.open()
        return numbers(await reader.read(10))

    assert on(redis_server, scenario) == [0, 1, 2]


def test_several_consumers_share_the_log(redis_server: Server) -> None:
    """Two folders exported into at the same time: each event is in one of them."""

    async def scenario(connection: Connection) -> list[int]:
        readers = [await opened(connection, "one"), await opened(connection, "two")]
        await EventLog(connection).append(several(0, 100))
        parts = [part for _ in range(6) for part in await asyncio.gather(*(reader.read(10) for reader in readers))]
        return sorted(number for part in parts for number in numbers(part))

    assert on(redis_server, scenario) == [*range(100)]
