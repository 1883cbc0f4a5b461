"""What docs/operations.md says that a user needs, measured."""

import asyncio

import pytest

from service.events import Event
from service.state.connection import Connection
from service.state.events import EventLog
from service.state.keys import Keys
from service.state.users import UserStore
from tests.service.served import MIXED, a_list
from tests.service.state.conftest import Running
from tests.service.state.servers import connect


def bytes_of_a_user(acts: int, item_id: int, key: int) -> int:
    """The formula, of the number of acts, the bytes of an item id and of the user's key."""
    return 125 + key + acts * (13 + item_id)


def bytes_of_a_unit(unit: int, variant: int, items: int = 0) -> int:
    """The same of a unit in an experiment: bytes of its id, of the variant's name, and, where lists are interleaved, of
    the ids in the newest one and one for each."""
    return 172 + unit + variant + (20 + items if items else 0)


async def used(connection: Connection) -> int:
    """Bytes that the server holds."""
    info = await connection.run(lambda redis: redis.info("memory"))
    return int(info["used_memory"])


@pytest.mark.parametrize(("acts", "item_id"), [(1, 8), (5, 36), (50, 8), (200, 36)])
def test_a_user_needs_what_the_formula_says(running: Running, acts: int, item_id: int) -> None:
    """
    By the server's own account of its memory: within a tenth, or within 40 bytes, which is how much a hash table's
    growing in doubles makes of a difference.
    """
    users = min(2048, 25_600 // acts)
    server = running("embedded")
    events = [Event("", "", f"{n:0{item_id}d}", "click", None, 1.7e9 + n + 0.123, None) for n in range(acts)]

    async def scenario() -> tuple[float, Keys]:
        async with connect(server, budget=60.0) as connection:
            store = UserStore(connection)
            before = await used(connection)
            for user in range(0, users, 16):
                await store.record([each._replace(user_id=f"{user + n:08d}") for n in range(16) for each in events])
            after = await used(connection)
            keys = [connection.keys.user_acts(f"{user:08d}") for user in range(users)]
            await connection.run(lambda redis: redis.delete(*keys))
            return (after - before) / users, connection.keys

    measured, keys = asyncio.run(scenario())

    expected = bytes_of_a_user(acts, item_id, len(keys.user_acts("00000000")))
    assert measured == pytest.approx(expected, rel=0.1, abs=40)


@pytest.mark.parametrize(
    ("unit", "variant", "mixed"),
    [(8, "0.4", False), (36, "0.4", False), (8, "a-variant-of-26-characters", False), (8, "0-0.8", True)],
)
def test_a_unit_of_an_experiment_needs_what_the_formula_says(
    running: Running, unit: int, variant: str, mixed: bool
) -> None:
    """By the server's own account of the hash, within a tenth."""
    units, items = 20_000, " ".join(f"item-{number:03d}" for number in range(10))
    changed = {**(MIXED if mixed else {}), "variant": variant, "teams": "ab" * 5 if mixed else ""}
    lists = [a_list(f"{number:0{unit}d}", 0, items, **changed) for number in range(units)]

    async def scenario() -> int:
        async with connect(running("embedded"), budget=60.0) as connection:
            keys = connection.keys
            await EventLog(connection, budget=60.0).append(lists)
            measured = await connection.run(lambda redis: redis.memory_usage(keys.units("dial", 1), samples=0))
            await connection.run(lambda redis: redis.delete(keys.units("dial", 1), keys.events))
            return int(measured)

    expected = bytes_of_a_unit(unit, len(variant), 90 if mixed else 0)
    assert asyncio.run(scenario()) / units == pytest.approx(expected, rel=0.1)
