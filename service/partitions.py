"""Exported events on disk: a folder of Parquet files by day in which every event id stands once."""

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from uuid import uuid4

import polars as pl
from polars.datatypes import DataTypeClass

from causalrec.errors import ConfigError, DataError
from causalrec.files import remove_leftovers, sync, try_lock, write_atomically
from service.events import Event
from service.state.deliveries import Delivered
from service.state.keys import Keys

RECORD = "export.json"
LOCK = ".lock"
SCHEMA: Final[Mapping[str, pl.DataType | DataTypeClass]] = {
    "event_id": pl.String,
    "user_id": pl.String,
    "item_id": pl.String,
    "type": pl.String,
    "value": pl.Float64,
    "timestamp": pl.Float64,
    "request_id": pl.String,
    "stream_id": pl.String,
    "experiment": pl.String,
    "version": pl.Int64,
    "series": pl.Int64,
    "variant": pl.String,
    "lambda2": pl.List(pl.Float64),
    "propensity": pl.Float64,
    "bundle_id": pl.String,
    "item_ids": pl.List(pl.String),
    "teams": pl.String,
    "seconds": pl.Float64,
    "before_clicks": pl.Int64,
    "before_carts": pl.Int64,
    "before_purchases": pl.Int64,
    "before_ratings": pl.Int64,
}
TOLD = 8  # columns of an event that somebody told; the others are those of answers in experiments, and null of it
NOTHING = (None,) * (len(SCHEMA) - TOLD)
UNKNOWN = (None,) * 4  # acts before an answer, where nothing was known of them


class Partitions:
    """
    DIR/date=YYYY-MM-DD/part-<first stream id>-<last>.parquet, by the day (UTC) on which the events happened.

    Columns: event_id, user_id, item_id, type, value, timestamp (microseconds, UTC), request_id, stream_id (the event's
    id in the log). DIR/export.json says whose events they are, and as which consumer they are read: it goes where the
    folder goes.

    Use `opened`.
    """

    def __init__(self, folder: Path, consumer: str) -> None:
        self._folder = folder
        self.consumer = consumer
        """The consumer's name in the log's group: this folder's own."""

    def add(self, delivered: Sequence[Delivered]) -> int:
        """
        Writes those events whose id is not in the folder; all of it is on the disk on return.

        Memory: that of `delivered`; the ids on disk are streamed past it.

        Returns: how many there were.
        Raises: DataError when a file of the folder cannot be read, OSError when none can be written.
        """
        rows = [_row(each.event, each.stream_id) for each in delivered if each.event is not None]
        fresh = self._unknown(
            pl.DataFrame(rows, dict(SCHEMA), orient="row").unique("event_id", keep="first", maintain_order=True)
        )
        moment = (pl.col("timestamp") * 1e6).round().cast(pl.Int64).cast(pl.Datetime("us", "UTC"))
        fresh = fresh.with_columns(timestamp=moment).with_columns(date=pl.col("timestamp").dt.date())
        for (date,), part in fresh.partition_by("date", as_dict=True, include_key=False, maintain_order=True).items():
            self._write(self._folder / f"date={date}", part)
        return len(fresh)

    def _unknown(self, frame: pl.DataFrame) -> pl.DataFrame:
        files = sorted(self._folder.glob("date=*/part-*.parquet"))
        if not files:
            return frame
        ids = frame.lazy().select("event_id")
        ids_only = {"event_id": pl.String}  # files of an earlier release have fewer columns
        there = pl.scan_parquet(files, schema=ids_only, hive_partitioning=False, extra_columns="ignore")
        try:
            known = there.join(ids, on="event_id", how="semi").collect(engine="streaming")
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{self._folder}: a file there cannot be read ({str(error).splitlines()[0]}); put it right or take it "
                "away: without it nobody knows which events were exported"
            ) from error
        return frame.join(known, on="event_id", how="anti")

    def _write(self, day: Path, part: pl.DataFrame) -> None:
        if not day.exists():
            day.mkdir()
            sync(self._folder)
        name = f"part-{part['stream_id'][0]}-{part['stream_id'][-1]}"
        path, number = day / f"{name}.parquet", 1
        while path.exists():  # of a log before this one that counted alike
            number += 1
            path = day / f"{name}-{number}.parquet"
        content = io.BytesIO()
        part.write_parquet(content)
        write_atomically(path, content.getvalue())


def _row(event: Event, stream_id: str) -> tuple[object, ...]:
    told = (*event[:-1], stream_id)
    if event.served is None:
        return told + NOTHING
    *answer, before = event.served
    return (*told, *answer, *(before or UNKNOWN))


@contextlib.contextmanager
def opened(folder: Path, keys: Keys) -> Iterator[Partitions]:
    """
    The partitions in `folder`, made where it is not there, for this process alone.

    Raises: ConfigError when another process exports into it, or it holds the events of another tenant.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = try_lock(folder / LOCK)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written ({error.strerror}); name another folder with --to") from error
    if lock is None:
        raise ConfigError(f"{folder}: another process is exporting into this folder; wait for it, or end it")
    try:
        for day in folder.glob("date=*"):
            remove_leftovers(day)
        yield Partitions(folder, _consumer(folder / RECORD, keys))
    finally:
        os.close(lock)


def _consumer(record: Path, keys: Keys) -> str:
    """The folder's consumer, named on its first use."""
    owner = {"prefix": keys.prefix, "tenant": keys.tenant}
    if not record.exists():
        consumer = f"export-{uuid4().hex}"
        write_atomically(record, json.dumps({**owner, "consumer": consumer}, indent=2).encode() + b"\n")
        return consumer
    try:
        found = json.loads(record.read_bytes())
        there, consumer = {name: found[name] for name in owner}, str(found["consumer"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{record}: is not the record of an export ({error}); name another folder with --to"
        ) from error
    if there != owner:
        raise ConfigError(
            f"{record.parent}: holds the events of {there}, not of {owner}; name another folder with --to"
        )
    return consumer
