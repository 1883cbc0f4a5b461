"""How many events wait in the log for an export, asked every few seconds: for a metric."""

import asyncio
import math
from typing import Protocol

from causalrec.errors import StateUnavailable

EVERY = 10.0  # seconds


class Log(Protocol):
    """What of service.state.events.EventLog is used."""

    async def length(self) -> int: ...


class Backlog:
    """
    The length of the event log, as last heard.

    Args:
        every: seconds from one question to the next.
    """

    def __init__(self, log: Log, every: float = EVERY) -> None:
        self._log = log
        self._every = every
        self.events = math.nan
        """Not a number while Redis does not say."""

    async def follow(self) -> None:
        """Asks as long as the process lives; never returns."""
        while True:
            try:
                self.events = await self._log.length()
            except StateUnavailable:
                self.events = math.nan
            await asyncio.sleep(self._every)
