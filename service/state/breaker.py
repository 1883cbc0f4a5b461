"""A server that does not answer is not asked by every request again: one probe asks for all of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


class Breaker:
    """
    Closed while calls get through; open after `limit` failures in a row, until a probe is answered.

    The first probe begins at once: where only a few calls were slow, it closes again within a round trip.

    Args:
        probe: asks the server something small; raises where it is not answered.
        limit: failures in a row that open it.
        every: seconds from one probe to the next.
        eager: probe after every failure, also while closed (a cluster's probe finds out which node is gone).
    """

    def __init__(
        self, probe: Callable[[], Awaitable[None]], *, limit: int = 5, every: float = 0.25, eager: bool = False
    ) -> None:
        self._probe = probe
        self._limit = limit
        self._every = every
        self._eager = eager
        self._failures = 0
        self._closed = asyncio.Event()
        self._closed.set()
        self._watching: asyncio.Task[None] | None = None

    @property
    def closed(self) -> bool:
        """Calls may be made."""
        return self._closed.is_set()

    async def until_closed(self) -> None:
        """Returns once calls may be made."""
        await self._closed.wait()

    def succeeded(self) -> None:
        """A call was answered. Only the probe closes an open breaker: this may be an answer from long ago."""
        if self.closed:
            self._failures = 0

    def failed(self) -> None:
        """A call was not answered."""
        self._failures += 1
        if self._failures >= self._limit:
            self._open()
        elif self._eager:
            self._watch()

    def open(self) -> None:
        """Opens now, whatever was before."""
        self._failures = self._limit
        self._open()

    async def close(self) -> None:
        """Ends the probing."""
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    def _open(self) -> None:
        if self.closed:
            log.warning("Redis does not answer: requests go on without it")
        self._closed.clear()
        self._watch()

    def _watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._until_answered())

    async def _until_answered(self) -> None:
        while self._failures:
            try:
                await self._probe()
            except Exception as error:  # noqa: BLE001 - whatever the client raises, it was no answer
                log.debug("Redis: %s", error)
            else:
                self._failures = 0
                if not self.closed:
                    log.warning("Redis answers again")
                self._closed.set()
            await asyncio.sleep(self._every)
