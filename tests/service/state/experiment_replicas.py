"""Replicas that follow the experiments of one tenant, as far as tests of their store need them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from service.experiments.changes import created, started
from service.experiments.model import AuditEntry, Book, Experiment, Holdout
from service.experiments.report import Estimate, Look
from service.state.connection import Connection
from service.state.experiments import ExperimentStore
from tests.service.experiments.books import LIMITS, config
from tests.service.state.servers import Server, connect, fresh_keys


def entry(act: str, key: str = "dial", at: float = 1.0) -> AuditEntry:
    return AuditEntry(key, 1, act, "ann", at, 'said "so"')


class Replica:
    """One process' view: the book that it was told last."""

    def __init__(self, connection: Connection) -> None:
        self.store = ExperimentStore(connection)
        self.told: list[Book] = []
        self._heard = asyncio.Event()

    def apply(self, book: Book) -> None:
        self.told.append(book)
        self._heard.set()

    async def until(self, condition: Callable[[Book], bool]) -> Book:
        async with asyncio.timeout(20):
            while not self.told or not condition(self.told[-1]):
                self._heard.clear()
                await self._heard.wait()
        return self.told[-1]

    async def commit(self, change: Experiment | Holdout, act: str = "change", at: float = 1.0) -> int:
        """Written and followed."""
        key = change.key if isinstance(change, Experiment) else ""
        revision = await self.store.commit(self.store.book.revision, change, entry(act, key, at))
        await self.store.applied(revision)
        return revision

    async def run(self, *keys: str) -> None:
        """Experiments of these keys run, each in a layer of its own."""
        for key in keys:
            await self.commit(created(self.store.book, config(key, layer=key, allocation=0.5), LIMITS), "create")
            await self.commit(started(self.store.book, key, None, 2.0), "start")


@asynccontextmanager
async def replica(connection: Connection) -> AsyncIterator[Replica]:
    """A replica that follows, and has been told the book once."""
    found = Replica(connection)
    following = asyncio.create_task(found.store.follow(found.apply))
    try:
        await found.store.applied(0, within=20)
        yield found
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


@asynccontextmanager
async def two_replicas(server: Server) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two of one tenant, each with a connection of its own."""
    keys = fresh_keys()
    async with (
        connect(server, keys=keys) as one,
        connect(server, keys=keys) as other,
        replica(one) as a,
        replica(other) as b,
    ):
        yield a, b


def look(number: int) -> Look:
    nothing = Estimate(value=None, low=None, high=None)
    return Look(at=number, units={"0": 1, "0.8": 2}, difference={"0.8": nothing}, srm_p_value=0.1 + 0.2)
