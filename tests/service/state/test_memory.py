"""What docs/operations.md says that a user needs, measured."""

import asyncio

import pytest

from service.events import Event
from service.state.connection import Connection
from service.state.keys import Keys
from service.state.users import UserStore
from tests.service.state.conftest import Running
from tests.service.state.servers import connect


def bytes_of_a_user(acts: int, item_id: int, key: int) -> int:
    """The formula, of the number of acts, the bytes of an item id and of the user's key."""
    return 125 + key + acts * (13 + item_id)


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
