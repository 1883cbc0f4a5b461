"""Replicas that follow one live catalogue, as far as tests of its store need them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from service.catalogue import ItemRecord
from service.state.catalogue import CatalogueStore, Changes, Written
from service.state.connection import Connection
from tests.service.state.servers import Server, connect, fresh_keys

FEATURE = b"\x00\x0a\xff\n" * 4


def record(item_id: str, title: str = "A coat", **changes: Any) -> ItemRecord:
    """Something said of an item, shown and there."""
    said = ItemRecord(item_id, {"title": title, "tags": ["a\nb", None]}, FEATURE, "lite:1", hidden=False, deleted=False)
    return said._replace(**changes)


class Replica:
    """One process' view: what it was told, as one process would keep it."""

    def __init__(self, store: CatalogueStore) -> None:
        self.store = store
        self.known: dict[str, ItemRecord] = {}
        self.version = -1
        self.whole = 0  # how often everything was told
        self.told = asyncio.Condition()

    async def apply(self, changes: Changes) -> None:
        self.known = {} if changes.whole else self.known
        self.known |= {each.item_id: each for each in changes.records}
        self.known = {item_id: each for item_id, each in self.known.items() if item_id not in changes.gone}
        self.version = changes.version
        self.whole += changes.whole
        async with self.told:
            self.told.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.told:
            await self.told.wait_for(condition)


@asynccontextmanager
async def replica(connection: Connection, **options: Any) -> AsyncIterator[Replica]:
    """A replica that follows, and has been told everything once."""
    found = Replica(CatalogueStore(connection, **options))
    following = asyncio.create_task(found.store.follow(found.apply))
    try:
        await found.until(lambda: found.whole > 0)
        yield found
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def settled(written: Written, *replicas: Replica) -> None:
    """Until all of them have come so far."""
    for each in replicas:
        await each.store.applied(written.version)


@asynccontextmanager
async def two_replicas(server: Server) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two of one catalogue, each with a connection of its own."""
    keys = fresh_keys()
    async with (
        connect(server, keys=keys) as one,
        connect(server, keys=keys) as other,
        replica(one) as a,
        replica(other) as b,
    ):
        yield a, b
