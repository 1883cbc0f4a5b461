"""The steward's loop: one replica at a time, again and again, at rest most of the time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from causalrec.errors import StateUnavailable
from service import steward
from service.state.keys import Keys
from tests.service.served import START
from tests.service.state.experimenting.world import Clock, Replica, begun, replica
from tests.service.state.servers import Server


def test_one_replica_at_a_time_looks_after_them(server: Server, keys: Keys) -> None:
    """The other waits for its turn, and takes over when the first one ends or has not come back in time."""

    async def scenario() -> list[bool]:
        async with replica(server, keys) as one, replica(server, keys) as other:
            await begun(one)
            await other.store.applied(one.experiments.book.revision)
            led = [await each.steward.attend() for each in (one, other, one)]
            await one.store.lead(steward.NAME, 0.001)
            async with asyncio.timeout(20):
                while not await other.steward.attend():
                    pass
            return [*led, await one.steward.attend()]

    assert asyncio.run(scenario()) == [True, False, True, False]


@asynccontextmanager
async def looping(one: Replica) -> AsyncIterator[None]:
    """While its steward runs."""
    task = asyncio.create_task(one.steward.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def looked(one: Replica, count: int) -> None:
    """Until there were so many looks."""
    async with asyncio.timeout(30):
        while len(await one.store.looks("dial", 1)) < count:
            pass


def test_the_loop_goes_on_by_itself_and_hands_over_at_its_end(
    server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pass after pass, also after one that failed as a whole; who ends it leaves the lead to others."""
    monkeypatch.setattr(steward, "EVERY", 0.0)
    monkeypatch.setattr(steward, "REST", 0)

    async def scenario() -> bool:
        async with replica(server, keys) as one, replica(server, keys, clock=Clock(START + 1000)) as other:
            await begun(one)
            await one.visited(20)
            known = one.experiments.known
            failures = iter([StateUnavailable("away"), ZeroDivisionError("what nobody foresaw")])

            async def spoilt() -> Any:
                for failure in failures:
                    raise failure
                return await known()

            one.experiments.known = spoilt  # type: ignore[method-assign] # a pass that fails as a whole
            async with looping(one):
                await looked(one, 1)
                one.clock.now += 100
                await looked(one, 2)
            async with asyncio.timeout(20):
                while not await other.steward.attend():
                    pass
            return True

    assert asyncio.run(scenario())


def test_a_pass_is_followed_by_a_rest_nine_times_as_long(
    server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that at most a tenth of the time goes into it; at least some seconds. The lead is kept meanwhile."""
    leads: list[float] = []

    now = iter([100.0, 103.0, 200.0, 200.5])
    monkeypatch.setattr(steward, "time", SimpleNamespace(monotonic=lambda: next(now)))

    async def scenario() -> list[float]:
        async with replica(server, keys) as one:
            await begun(one)
            lead = one.store.lead

            async def noted(name: str, seconds: float) -> bool:
                leads.append(seconds)
                return await lead(name, seconds)

            monkeypatch.setattr(one.store, "lead", noted)
            return [await one.steward._pass(), await one.steward._pass()]

    assert asyncio.run(scenario()) == [27.0, 10.0]
    assert leads == [60.0, 87.0, 60.0, 70.0]
