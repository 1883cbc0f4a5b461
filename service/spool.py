"""Spool: events that Redis cannot take now, on this machine's disk before anybody is told that they are stored."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from causalrec.errors import EventsRefused
from service.segments import Segments, framed

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_BYTES = 1 << 30
SEGMENT_BYTES = 8 << 20


class Spool:
    """
    Records in the order in which they were written, each on the disk when `write` returns.

    Writers that come together share one fsync. All work on files is done by one thread of the spool's own, so that the
    event loop never waits for a disk. What the spools of dead processes in the same folder hold comes first.

    Args:
        folder: has a folder of its own for every process.
        most: bytes that it may hold.
        segment: bytes after which a file is followed by the next one; a file is removed as a whole.
    """

    def __init__(self, folder: Path, most: int = MOST_BYTES, segment: int = SEGMENT_BYTES) -> None:
        self._segments = Segments(folder, segment)
        self._folder = folder
        self._most = most
        self._thread = ThreadPoolExecutor(1, "spool")
        self._queue: list[tuple[bytes, asyncio.Future[None]]] = []
        self._queued = 0
        self._flushing: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes that it holds, those on their way to the disk included; 0: empty."""
        return self._segments.size + self._queued

    async def open(self) -> None:
        """Makes the folder and takes over what dead processes left. Raises: OSError when the disk refuses."""
        await self._in_thread(self._segments.open)

    async def write(self, record: bytes) -> None:
        """
        Adds one record (not empty); it is on the disk on return.

        Raises: EventsRefused when the spool is full or the disk refuses; then it is not. Who is cancelled is not told.
        """
        content = framed(record)
        if self.size + len(content) > self._most:
            raise EventsRefused(
                f"Redis is away and the spool holds {self.size:,} of at most {self._most:,} bytes; send the events "
                "again when Redis is back"
            )
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((content, done))
        self._queued += len(content)
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await done

    async def oldest(self) -> list[bytes] | None:
        """The records of the oldest file, None where there is none. What is written from now on goes to another."""
        found = await self._in_thread(self._segments.oldest)
        return None if found is None else found[1]

    async def remove(self) -> None:
        """Removes the oldest file, once its records are safe elsewhere."""
        await self._in_thread(self._segments.remove)

    async def close(self) -> None:
        """Ends writing; what it holds stays on the disk for the next process."""
        if self._flushing is not None:
            await self._flushing
        await self._in_thread(self._segments.close)
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _flush(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            refusal: EventsRefused | None = None
            try:
                await self._in_thread(self._segments.append, b"".join([content for content, _ in batch]))
            except OSError as error:
                log.exception("%s: %d writes refused", self._folder, len(batch))
                refusal = EventsRefused(
                    f"Redis is away and the spool cannot be written ({error.strerror}); send the events again"
                )
            for content, done in batch:
                self._queued -= len(content)
                if done.done():  # cancelled: its writer has gone
                    continue
                if refusal is None:
                    done.set_result(None)
                else:
                    done.set_exception(refusal)
