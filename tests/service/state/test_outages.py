"""Redis frozen, killed, away: calls fail within their budget, soon at once, and succeed again when it is back."""

import asyncio
from collections.abc import Awaitable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.crc import key_slot

from causalrec.errors import ConfigError, StateUnavailable
from service.state.connection import Connection
from tests.service.state.conftest import Running
from tests.service.state.servers import STRICT, Program, Server, cluster_server, connect, free_port, sentinel_server

BUDGET = 0.1


def get(connection: Connection, user_id: str) -> Awaitable[bytes]:
    """The text that `put` left under a user's key."""
    key = connection.keys.user_acts(user_id)
    return connection.run(lambda redis: redis.get(key))


def put(connection: Connection, user_id: str, text: str) -> Awaitable[None]:
    """Writes with patience."""
    key = connection.keys.user_acts(user_id)
    return connection.run(lambda redis: redis.set(key, text), budget=5.0)


def at(program: Program, login: str = "") -> Server:
    """A program as a server to connect to."""
    return Server("named", f"redis://{login}127.0.0.1:{program.port}", program.folder, list)


async def until_open(connection: Connection) -> int:
    """Asks until the breaker is open: how many calls failed until then."""
    failed = 0
    while connection.available:
        with pytest.raises(StateUnavailable):
            await get(connection, "ann")
        failed += 1
    return failed


async def until_answered(connection: Connection, user_id: str) -> bytes:
    """Asks until Redis answers."""
    async with asyncio.timeout(60):
        while True:
            await connection.until_available()
            try:
                return await get(connection, user_id)
            except StateUnavailable:
                await asyncio.sleep(0)


def test_a_frozen_server_costs_a_handful_of_calls_their_budget(redis_server: Server) -> None:
    """After five calls in a row the others fail without asking; thawed, Redis is asked again without being told."""
    asked = 0

    async def count(redis: Any) -> None:
        nonlocal asked
        asked += 1

    async def scenario() -> tuple[int, bytes]:
        async with connect(redis_server, budget=BUDGET) as connection:
            await put(connection, "ann", "there")
            redis_server.freeze()
            failed = await until_open(connection)
            for _ in range(20):
                with pytest.raises(StateUnavailable, match="not asked"):
                    await connection.run(count)
            redis_server.thaw()
            return failed, await until_answered(connection, "ann")

    assert asyncio.run(scenario()) == (5, b"there")
    assert asked == 0


@pytest.mark.parametrize("piped", [False, True])
def test_a_late_answer_is_never_taken_for_another_calls(mortal_server: Server, piped: bool) -> None:
    """The connection of a call that ran out of time is not used again: its answer is still to come."""

    async def scenario() -> list[bytes]:
        async with connect(mortal_server, budget=BUDGET) as connection:

            async def read(user_id: str, budget: float | None = None) -> bytes:
                key = connection.keys.user_acts(user_id)
                if not piped:
                    return await connection.run(lambda redis: redis.get(key), budget=budget)

                async def work(redis: Any) -> bytes:
                    async with redis.pipeline(transaction=False) as pipeline:
                        found: list[bytes] = await pipeline.get(key).get(key).execute()
                        assert found[0] == found[1]
                        return found[0]

                return await connection.run(work, budget=budget)

            for user_id in ("ann", "bob"):
                await put(connection, user_id, user_id)
            for user_id in ("ann", "bob"):  # as many connections as will be used
                await asyncio.gather(*(read(user_id, 5.0) for _ in range(4)))
            mortal_server.freeze()
            late = await asyncio.gather(*(read("ann") for _ in range(4)), return_exceptions=True)
            assert all(isinstance(each, StateUnavailable) for each in late)
            mortal_server.thaw()
            return await asyncio.gather(*(read("bob", 5.0) for _ in range(8)))

    assert asyncio.run(scenario()) == [b"bob"] * 8


def test_a_call_given_up_by_its_caller_leaves_nothing_behind(redis_server: Server) -> None:
    """Cancelled while Redis works on it (a client went away): the same as one out of time, and no failure."""

    async def scenario() -> tuple[list[bytes], bool]:
        async with connect(redis_server) as connection:
            for user_id in ("ann", "bob"):
                await put(connection, user_id, user_id)
            for _ in range(10):
                redis_server.freeze()
                calls = [asyncio.ensure_future(get(connection, "ann")) for _ in range(8)]
                for _ in range(20):  # until all of them are waiting for the answer
                    await asyncio.sleep(0)
                for call in calls:
                    call.cancel()
                await asyncio.wait(calls)
                redis_server.thaw()
                assert await get(connection, "bob") == b"bob"
            return list(await asyncio.gather(*(get(connection, "bob") for _ in range(32)))), connection.available

    assert asyncio.run(scenario()) == ([b"bob"] * 32, True)


def test_what_was_accepted_survives_a_killed_server(mortal_server: Server) -> None:
    """durability=strict: kill -9 loses nothing; the same connection goes on when the server is back."""

    async def scenario() -> list[bytes]:
        async with connect(mortal_server, budget=BUDGET) as connection:
            for number in range(50):
                await put(connection, str(number), f"v{number}")
            mortal_server.kill()
            await until_open(connection)
            mortal_server.restart()
            return [await until_answered(connection, str(number)) for number in range(50)]

    assert asyncio.run(scenario()) == [f"v{number}".encode() for number in range(50)]


def test_one_frozen_node_of_a_cluster_takes_only_its_users_along(running: Running) -> None:
    """Users of other nodes are still answered, and the breaker stays closed."""
    server = running("cluster")

    async def scenario() -> tuple[set[bytes], bool]:
        async with connect(server, budget=BUDGET) as connection:
            for number in range(12):
                await put(connection, str(number), "there")
            server.freeze(first=True)
            found: set[Any] = set()
            for number in range(12):
                found |= set(await asyncio.gather(get(connection, str(number)), return_exceptions=True))
            server.thaw()
            await until_answered(connection, "0")
            return {each for each in found if isinstance(each, bytes)}, connection.available

    try:
        assert asyncio.run(scenario()) == ({b"there"}, True)
    finally:
        server.thaw()


def test_a_clusters_new_primary_is_found(short_path: Path) -> None:
    """A primary freezes; its replica takes its place, and is found though the other nodes answered all the time."""

    async def scenario(server: Server) -> tuple[bytes, bool]:
        async with connect(server, budget=BUDGET) as connection:
            users = [str(number) for number in range(100)]
            slots = [key_slot(connection.keys.user_acts(user).encode()) for user in users]
            lost, other = users[slots.index(min(slots))], users[slots.index(max(slots))]
            await put(connection, lost, "there")
            server.freeze(first=True)
            async with asyncio.timeout(60):
                while True:
                    await get(connection, other)
                    with suppress(StateUnavailable):
                        return await get(connection, lost), connection.available

    with ExitStack() as closing:
        assert asyncio.run(scenario(cluster_server(short_path, closing, replicas=1))) == (b"there", True)


def test_a_server_may_be_away_when_the_service_starts(short_path: Path) -> None:
    """The connection opens, knows that nobody is there, and finds the server when it comes."""
    port = free_port()

    async def scenario() -> bytes:
        async with connect(Server("named", f"redis://127.0.0.1:{port}", short_path, list)) as connection:
            assert not connection.available
            with Program(short_path, *STRICT, port=port):
                await connection.until_available()
                await put(connection, "ann", "there")
                return await get(connection, "ann")

    assert asyncio.run(scenario()) == b"there"


def test_a_sentinels_new_master_is_found(short_path: Path) -> None:
    """The master is killed; its replica becomes the master, and the same connection writes there."""

    async def scenario(server: Server) -> bytes:
        async with connect(server, budget=BUDGET) as connection:
            await put(connection, "ann", "there")
            await connection.run(lambda redis: redis.wait(1, 10_000), budget=10)
            server.kill()
            await until_open(connection)
            return await until_answered(connection, "ann")

    with ExitStack() as closing:
        assert asyncio.run(scenario(sentinel_server(short_path, closing))) == b"there"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("--appendonly", "no"), "appendonly=no"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "appendfsync=everysec"),
        ((*STRICT, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "maxmemory-policy=allkeys-lru"),
    ],
)
def test_strict_is_refused_where_the_server_does_not_keep_it(
    short_path: Path, settings: tuple[str, ...], reason: str
) -> None:
    """The service does not start on a promise that the server breaks; with durability=everysec it does."""

    async def scenario(server: Server) -> bool:
        with pytest.raises(ConfigError, match=rf"{reason}.*durability=everysec"):
            async with connect(server):
                pass
        async with connect(server, durability="everysec") as connection:
            return connection.available

    with Program(short_path, *settings) as program:
        assert asyncio.run(scenario(at(program)))


def test_a_server_that_hides_its_settings_is_taken_at_its_word(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Managed servers forbid CONFIG: that is logged, and the service starts. The password comes with the URL."""

    async def scenario(server: Server) -> bool:
        async with connect(server) as connection:
            return connection.available

    with Program(short_path, "--rename-command", "CONFIG", "", login="p@ss") as program:
        assert asyncio.run(scenario(at(program, ":p%40ss@")))

    assert "does not show its settings" in caplog.text


def test_a_wrong_password_stops_the_start(short_path: Path) -> None:
    """It would never come right by itself. The message does not hold it."""

    async def scenario(server: Server) -> None:
        async with connect(server):
            pass

    with (
        Program(short_path, login="right") as program,
        pytest.raises(ConfigError, match="refuses the user or the password") as caught,
    ):
        asyncio.run(scenario(at(program, ":false@")))

    assert "false" not in str(caught.value)
