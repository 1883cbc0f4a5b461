"""Following the live catalogue through whatever happens to Redis: nothing said is lost, nothing hidden shows."""

import asyncio
from typing import Any

import pytest

from causalrec.errors import StateUnavailable
from service.state import catalogue
from service.state.catalogue import CatalogueStore, Changes
from service.state.keys import Keys
from tests.service.state.replicas import record, replica, settled
from tests.service.state.servers import Server, connect


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is slow, not broken."""
    monkeypatch.setattr(catalogue, "WRITE_BUDGET", 20.0)
    monkeypatch.setattr(catalogue, "APPLIED_WITHIN", 20.0)


def test_what_was_said_survives_a_killed_server(redis_server: Server) -> None:
    """The replica keeps what it knew while the server is away, then hears what is new."""

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            await settled(await a.store.put(record("x", hidden=True)), a)
            await settled(await a.store.patch("x", hidden=True), a)
            redis_server.kill()
            with pytest.raises(StateUnavailable):
                await a.store.patch("x", hidden=False)
            kept = dict(a.known)
            redis_server.restart()
            await a.until(lambda: a.whole > 1)
            await settled(await a.store.put(record("y")), a)

            assert kept == {"x": record("x", hidden=True)}
            assert a.known == {**kept, "y": record("y")}

    asyncio.run(scenario())


def test_a_frozen_server_leaves_what_was_known(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers are told; who follows goes on with what it has, and catches up afterwards."""
    monkeypatch.setattr(catalogue, "FOLLOW_BUDGET", 0.5)
    monkeypatch.setattr(catalogue, "WRITE_BUDGET", 1.0)

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            await settled(await a.store.put(record("x")), a)
            redis_server.freeze()
            with pytest.raises(StateUnavailable):
                await a.store.put(record("y"))
            kept = dict(a.known)
            redis_server.thaw()
            await a.until(lambda: a.whole > 1)
            await settled(await a.store.put(record("z")), a)

            assert kept == {"x": record("x")}
            assert {"x", "z"} <= set(a.known)

    asyncio.run(scenario())


def test_who_starts_can_wait_for_what_was_said_before(redis_server: Server) -> None:
    """Before it is read, a hidden item could still show: whoever serves can wait, for a while."""

    async def scenario() -> None:
        async with connect(redis_server) as connection:
            store = CatalogueStore(connection)
            with pytest.raises(StateUnavailable, match="could not be read yet"):
                await store.applied(0, within=0.05)
            async with replica(connection) as a:
                await a.store.applied(0, within=20)

    asyncio.run(scenario())


def test_a_change_that_does_not_come_back_is_told(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer never says that the next one has what it may not have."""
    monkeypatch.setattr(catalogue, "APPLIED_WITHIN", 0.05)

    async def scenario() -> None:
        async with connect(redis_server) as connection:
            store = CatalogueStore(connection)  # follows nothing
            written = await store.put(record("x"))
            with pytest.raises(StateUnavailable, match="did not come back"):
                await store.applied(written.version)

    asyncio.run(scenario())


async def lose_version(client: Any, keys: Keys) -> None:
    await client.decrby(keys.item_version, 2)


async def lose_everything(client: Any, keys: Keys) -> None:
    await client.delete(keys.items, keys.item_version, keys.item_changes)


async def lose_changes(client: Any, keys: Keys) -> None:
    await client.delete(keys.item_changes)
    await client.incrby(keys.item_version, 3)
    await client.hset(keys.items, "x", b"1")


async def skip_versions(client: Any, keys: Keys) -> None:
    await client.hset(keys.items, "x", b"1")
    await client.incrby(keys.item_version, 5)
    await client.xadd(keys.item_changes, {"item": "y", "version": 8})


@pytest.mark.parametrize("damage", [lose_version, lose_everything, lose_changes, skip_versions])
def test_whatever_may_have_been_missed_is_read_again(redis_server: Server, damage: Any) -> None:
    """A version that went back, a stream that was trimmed or lost, a gap: everything is told anew."""

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            for item_id in "xyz":
                await settled(await a.store.put(record(item_id)), a)
            await connection.run(lambda client: damage(client, connection.keys))
            await a.until(lambda: a.whole > 1)

            items = await connection.run(lambda client: client.hgetall(connection.keys.items))
            assert set(a.known) == {item_id.decode() for item_id in items if item_id != catalogue.COUNT}
            assert [item_id for item_id, said in a.known.items() if said.hidden] == (
                ["x"] if damage in (lose_changes, skip_versions) else []
            )

    asyncio.run(scenario())


def test_a_damaged_record_is_a_hidden_item(redis_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """What it was told to be is not known, so no answer may hold it; the others are not concerned."""

    async def scenario() -> None:
        async with connect(redis_server) as connection:
            store = CatalogueStore(connection)
            await store.put(record("good"))
            await connection.run(lambda client: client.hset(connection.keys.items, "bad", b'0{"attributes": 7}\n'))
            async with replica(connection) as a:
                assert a.known["good"] == record("good")
                assert (a.known["bad"].hidden, a.known["bad"].attributes) == (True, {})

    asyncio.run(scenario())
    assert "what Redis holds of item 'bad' is damaged" in caplog.text


def test_an_error_while_a_change_is_applied_does_not_end_the_following(
    redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and everything is told again."""

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            apply, failures = a.apply, [ValueError("once")]

            async def failing(changes: Changes) -> None:
                if failures:
                    raise failures.pop()
                await apply(changes)

            store = CatalogueStore(connection)
            following = asyncio.create_task(store.follow(failing))
            await a.store.put(record("x"))
            await a.until(lambda: a.whole > 1)
            following.cancel()

    asyncio.run(scenario())
    assert "the live catalogue's changes were not applied" in caplog.text
