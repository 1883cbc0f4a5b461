"""`python -m service events export`: the event log into Parquet files, every event exactly once."""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from causalrec.errors import StateUnavailable
from service.command import ended
from service.partitions import Partitions, opened
from service.redis_options import add_redis_options, connected
from service.state.deliveries import Delivered, Deliveries

log = logging.getLogger(__name__)

BATCH = 50_000  # events held in memory and written at once
READ = 2000  # events per call to Redis
EVERY = 60.0
AGAIN = 1.0  # seconds until Redis is tried again
SHARE = 9  # following, it rests so many times as long as looking for repeats took: that grows with the folder

EPILOG = """\
Writes DIR/date=YYYY-MM-DD/part-<first>-<last>.parquet, by the day (UTC) on which the events happened. An event leaves
Redis after its file is on the disk, and an id that the folder holds already is never written again: killed at any
moment, the same command goes on with neither gap nor repeat. One process per folder. `python -m training` reads the
folder: events = "DIR" under [data].
"""


class Exporter:
    """Moves events from the log to the folder."""

    def __init__(self, deliveries: Deliveries, partitions: Partitions, progress: "tqdm[None]") -> None:
        self._deliveries = deliveries
        self._partitions = partitions
        self._progress = progress
        self.written = 0
        """Events written so far; the repeats among those read are not."""

    async def once(self) -> None:
        """All that is in the log. Raises: StateUnavailable, DataError, OSError; nothing is lost or doubled then."""
        await self._deliveries.open()
        while len(batch := await self._gather()) >= BATCH:
            await self._move(batch)
        await self._move(batch)

    async def follow(self, every: float) -> None:
        """As `once`, again and again, also when Redis was away. Raises: DataError, OSError."""
        while True:
            begun = time.monotonic()
            try:
                await self.once()
            except StateUnavailable as error:
                log.warning("%s; trying again", error)
                await asyncio.sleep(AGAIN)
                continue
            await asyncio.sleep(max(every, SHARE * (time.monotonic() - begun)))

    async def _gather(self) -> list[Delivered]:
        batch: list[Delivered] = []
        while len(batch) < BATCH and (read := await self._deliveries.read(READ)):
            batch += read
        return batch

    async def _move(self, batch: Sequence[Delivered]) -> None:
        if not batch:
            return
        self.written += self._partitions.add(batch)
        await self._deliveries.settle([each.stream_id for each in batch])
        self._progress.update(len(batch))


async def export(options: argparse.Namespace) -> int:
    """Runs the export that the command line asks for; how many events it wrote. Raises: CausalRecError, OSError."""
    async with connected(options) as connection:
        with opened(options.to, connection.keys) as partitions:
            deliveries = Deliveries(connection, partitions.consumer)
            total = None if options.follow else await deliveries.waiting()
            with tqdm(total=total, desc="exporting", unit="event", disable=None) as progress:
                exporter = Exporter(deliveries, partitions, progress)
                await (exporter.follow(options.every) if options.follow else exporter.once())
                return exporter.written


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m service events`."""
    command = argparse.ArgumentParser(prog="python -m service events", description="What is done with accepted events.")
    commands = command.add_subparsers(dest="command", required=True, metavar="COMMAND")
    export_ = commands.add_parser(
        "export",
        help="move accepted events from Redis into Parquet files",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export_.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder of the Parquet files")
    how = export_.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="export what is there, then end (the default)")
    how.add_argument("--follow", action="store_true", help="go on until stopped")
    export_.add_argument(
        "--every", type=float, default=EVERY, metavar="SECONDS", help=f"between files with --follow [default {EVERY:g}]"
    )
    add_redis_options(export_)
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command; 0 done, 2 a clear error, 130 interrupted (the same command goes on)."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))

    def work() -> None:
        written = asyncio.run(export(options))
        print(f"{written} events written to {options.to}")  # noqa: T201 - a command's output

    status = ended(work, place=str(options.to), interrupted="the same command goes on where it stopped")
    return 0 if status == 130 and options.follow else status
