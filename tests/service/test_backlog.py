"""How many events wait for an export, as last heard."""

import asyncio
import math

from causalrec.errors import StateUnavailable
from service.backlog import Backlog


class Lengths:
    """A log that says these lengths, one after the other, and then nothing more; None: Redis is away."""

    def __init__(self, *lengths: int | None) -> None:
        self._left = list(lengths)
        self.heard: list[float] = []
        self.backlog = Backlog(self, every=0)

    async def length(self) -> int:
        self.heard.append(self.backlog.events)
        if not self._left:
            raise asyncio.CancelledError
        if (said := self._left.pop(0)) is None:
            raise StateUnavailable("away")
        return said


def test_it_is_asked_again_and_again_also_after_an_outage() -> None:
    """Unknown before the first answer, and while there is none."""
    log = Lengths(3, None, 5)

    asyncio.run(_until_cancelled(log))

    assert str(log.heard) == str([math.nan, 3, math.nan, 5])


async def _until_cancelled(log: Lengths) -> None:
    await asyncio.gather(log.backlog.follow(), return_exceptions=True)
