"""The event log read for export: every event is delivered until it is settled, whoever is killed meanwhile."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from service.events import Event, unpacked
from service.state.connection import Connection

GROUP = "export"
FIELD = b"e"
BEGINNING = "0-0"
ABANDONED = 600_000  # milliseconds after which what another consumer was given and did not settle is taken from it
CHUNK = 1000  # entries per command that changes them
BUDGET = 30.0  # seconds for one call: nobody waits for an answer meanwhile


class Delivered(NamedTuple):
    """An event under its id in the stream; None where only the id is left: its settling was cut off half-way."""

    stream_id: str
    event: Event | None


class Deliveries:
    """
    One consumer of the log, in the one group that there is.

    Args:
        consumer: its name. Who comes again under the same name is first given what it did not settle.
    """

    def __init__(self, connection: Connection, consumer: str) -> None:
        self._connection = connection
        self._stream = connection.keys.events
        self._consumer = consumer
        self._after: str | None = BEGINNING  # the last one given of its own unsettled ones; None: new ones are next

    async def open(self) -> None:
        """Makes the group, and takes over what was given to consumers that are gone. Raises: StateUnavailable."""

        async def work(client: Any) -> None:
            try:
                await client.xgroup_create(self._stream, GROUP, id=BEGINNING, mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            start: bytes | str = BEGINNING
            while start not in (b"0-0", None):
                answer = await client.xautoclaim(self._stream, GROUP, self._consumer, ABANDONED, start, count=CHUNK)
                start = answer[0]

        self._after = BEGINNING
        await self._connection.run(work, budget=BUDGET)

    async def read(self, count: int) -> list[Delivered]:
        """
        The next events, oldest first, at most `count`; none where there are no more for now.

        Raises: StateUnavailable; `open` begins again with all that is not settled.
        """
        while True:
            after = self._after or ">"

            async def work(client: Any, after: str = after) -> list[tuple[bytes, dict[bytes, bytes]]]:
                found = await client.xreadgroup(GROUP, self._consumer, {self._stream: after}, count=count)
                return found[0][1] if found else []

            entries = await self._connection.run(work, budget=BUDGET)
            if entries or self._after is None:
                break
            self._after = None
        delivered = [_delivered(stream_id, fields) for stream_id, fields in entries]
        if self._after is not None:
            self._after = delivered[-1].stream_id
        return delivered

    async def settle(self, stream_ids: Sequence[str]) -> None:
        """
        Removes from the log what is safe elsewhere. Raises: StateUnavailable; what is left will be delivered again.

        Removed before it is acknowledged: cut off in between, the id is delivered again without its event. The other
        way round the event would stay in the stream for good.
        """
        for start in range(0, len(stream_ids), CHUNK):
            chunk = stream_ids[start : start + CHUNK]

            async def work(client: Any, chunk: Sequence[str] = chunk) -> None:
                await client.xdel(self._stream, *chunk)
                await client.xack(self._stream, GROUP, *chunk)

            await self._connection.run(work, budget=BUDGET)

    async def waiting(self) -> int:
        """How many events the log holds. Raises: StateUnavailable."""

        async def work(client: Any) -> int:
            return int(await client.xlen(self._stream))

        return await self._connection.run(work, budget=BUDGET)


def _delivered(stream_id: bytes, fields: dict[bytes, bytes]) -> Delivered:
    return Delivered(stream_id.decode(), unpacked(fields[FIELD]) if fields else None)
