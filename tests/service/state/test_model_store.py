"""Which bundle is wanted, in real Redis servers of every kind."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from causalrec.errors import StateUnavailable
from service.state import models
from service.state.models import NEVER, ModelStore, Said, Wish
from tests.service.state.servers import Server, connect, fresh_keys

WISH = Wish("a" * 64, "b" * 64, "c" * 64, 0.25)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is slow, not broken."""
    monkeypatch.setattr(models, "WRITE_BUDGET", 20.0)
    monkeypatch.setattr(models, "FOLLOW_BUDGET", 20.0)


class Follower:
    """Reads what is wanted whenever it is told to."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self.heard: list[Wish] = []
        self._told = asyncio.Event()

    async def changed(self) -> None:
        self.heard.append((await self._store.newest()).wish)
        self._told.set()

    async def until(self, wish: Wish) -> None:
        async with asyncio.timeout(20):
            while not self.heard or self.heard[-1] != wish:
                self._told.clear()
                await self._told.wait()


async def following(store: ModelStore, act: Callable[[Follower], Awaitable[None]]) -> None:
    """Acts while somebody follows."""
    follower = Follower(store)
    task = asyncio.create_task(store.follow(follower.changed))
    try:
        await act(follower)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def said(store: ModelStore, wish: Wish) -> Said:
    found = await store.commit(await store.newest(), wish, "ann")
    assert found is not None
    return found


async def insisted(store: ModelStore, wish: Wish) -> None:
    """Said as soon as Redis is back."""
    async with asyncio.timeout(30):
        while True:
            with suppress(StateUnavailable):
                await said(store, wish)
                return
            await asyncio.sleep(0.01)


def test_what_one_says_others_read(any_server: Server) -> None:
    """The newest holds; before anything was said nothing is wanted."""

    async def scenario() -> None:
        keys = fresh_keys()
        async with connect(any_server, keys=keys) as one, connect(any_server, keys=keys) as other:
            assert await ModelStore(other).newest() == Said(NEVER, Wish())
            await said(ModelStore(one), WISH)
            last = await said(ModelStore(one), WISH._replace(canary=None, share=0.0))

            assert await ModelStore(other).newest() == last

    asyncio.run(scenario())


def test_who_was_beaten_is_told(any_server: Server) -> None:
    """So that it decides again; nothing is written."""

    async def scenario() -> None:
        async with connect(any_server) as connection:
            store = ModelStore(connection)
            before = await store.newest()
            first = await said(store, WISH)

            assert await store.commit(before, Wish("z"), "bob") is None
            assert await store.newest() == first

    asyncio.run(scenario())


def test_a_follower_hears_of_every_wish_and_after_an_outage_too(redis_server: Server) -> None:
    """Told by another connection, before and after the server was killed."""

    async def scenario() -> None:
        keys = fresh_keys()
        async with connect(redis_server, keys=keys) as one, connect(redis_server, keys=keys) as other:
            teller = ModelStore(other)

            async def act(follower: Follower) -> None:
                await follower.until(Wish())
                await said(teller, WISH)
                await follower.until(WISH)
                redis_server.kill()
                with pytest.raises(StateUnavailable):
                    await teller.newest()
                redis_server.restart()
                await insisted(teller, Wish("again"))
                await follower.until(Wish("again"))

            await following(ModelStore(one), act)

    asyncio.run(scenario())


def test_a_follower_that_fails_is_told_again(redis_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """It never stops following."""

    async def scenario() -> None:
        async with connect(redis_server) as connection:
            store = ModelStore(connection)
            done = asyncio.Event()
            calls = 0

            async def changed() -> None:
                nonlocal calls
                calls += 1
                if calls == 1:
                    raise ZeroDivisionError
                done.set()

            task = asyncio.create_task(store.follow(changed))
            async with asyncio.timeout(20):
                await done.wait()
            task.cancel()
            await asyncio.wait({task})

    asyncio.run(scenario())

    assert "was not served" in caplog.text


def test_what_is_damaged_is_nothing_wanted(redis_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Each replica goes by its own path, and the log says so."""

    async def scenario() -> Said:
        async with connect(redis_server) as connection:
            await connection.run(lambda client: client.xadd(connection.keys.models, {"wish": "{"}))
            return await ModelStore(connection).newest()

    assert asyncio.run(scenario()).wish == Wish()
    assert "damaged" in caplog.text
