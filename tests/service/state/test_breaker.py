"""The breaker by itself: when it opens, who closes it, how often it asks."""

import asyncio

from service.state.breaker import Breaker


class Probe:
    """A server that answers when told to. asked: how often it was."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = False
        self.was_asked = asyncio.Event()

    async def __call__(self) -> None:
        self.asked += 1
        self.was_asked.set()
        if not self.answers:
            raise ConnectionError


def test_failures_between_successes_do_not_open_it() -> None:
    """Only those in a row count."""

    async def scenario() -> bool:
        breaker = Breaker(Probe(), limit=3)
        for _ in range(10):
            breaker.failed()
            breaker.failed()
            breaker.succeeded()
        return breaker.closed

    assert asyncio.run(scenario())


def test_only_the_probe_closes_it() -> None:
    """A success that comes late is of a time before; many failures start one probing, not many."""

    async def scenario() -> tuple[list[bool], int]:
        probe = Probe()
        breaker, closed = Breaker(probe, limit=3, every=0.001), []
        for _ in range(30):
            breaker.failed()
        breaker.succeeded()
        closed.append(breaker.closed)
        await probe.was_asked.wait()
        closed.append(breaker.closed)
        asked = probe.asked
        probe.answers = True
        await breaker.until_closed()
        closed.append(breaker.closed)
        await breaker.close()
        return closed, asked

    assert asyncio.run(scenario()) == ([False, False, True], 1)


def test_an_eager_one_asks_after_every_failure() -> None:
    """While it stays closed: a cluster finds out which node serves what now."""

    async def scenario() -> bool:
        probe = Probe()
        breaker = Breaker(probe, limit=3, eager=True)
        breaker.failed()
        await probe.was_asked.wait()
        closed = breaker.closed
        await breaker.close()
        return closed

    assert asyncio.run(scenario())


def test_it_opens_again_after_it_closed() -> None:
    """Every outage anew."""

    async def scenario() -> list[bool]:
        probe = Probe()
        probe.answers = True
        breaker, closed = Breaker(probe, limit=2, every=0.001), []
        for _ in range(3):
            breaker.failed()
            breaker.failed()
            closed.append(breaker.closed)
            await breaker.until_closed()
        await breaker.close()
        return closed

    assert asyncio.run(scenario()) == [False] * 3
