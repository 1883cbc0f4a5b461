"""Where the commands beside the service find an experiment: in a file, or with the service; and what a folder has."""

import argparse
import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import orjson
import polars as pl
from polars.datatypes import DataTypeClass
from pydantic import TypeAdapter, ValidationError

from causalrec.errors import CausalRecError, ConfigError, DataError
from service.experiments.checks import check
from service.experiments.model import Book, Config, Experiment, State
from service.experiments.report import Look
from service.redis_options import connected
from service.state.experiment_records import ANY
from service.state.experiments import ExperimentStore

WITHIN: Final = 10.0  # seconds for all experiments to be read once
CONFIGS: Final = TypeAdapter(tuple[Config, ...])
MOMENT: Final = pl.Datetime("us", "UTC")
COLUMNS: Final[Mapping[str, pl.DataType | DataTypeClass]] = {
    "user_id": pl.String,
    "timestamp": MOMENT,
    "experiment": pl.String,
    "version": pl.Int64,
    "series": pl.Int64,
}
T = TypeVar("T")


class _Head(NamedTuple):
    key: str
    state: State
    running: int | None
    changed: float


HEADS: Final = TypeAdapter(_Head)


def from_file(path: Path) -> Experiment:
    """
    The experiment as GET /v1/experiments/{key} answered it.

    Raises: ConfigError naming the field that is wrong, OSError where the file cannot be read.
    """
    try:
        said: dict[str, Any] = orjson.loads(path.read_bytes())
        versions = [
            {"window" if name == "window_seconds" else name: value for name, value in each.items()}
            for each in said["versions"]
        ]
        head = HEADS.validate_json(orjson.dumps({name: said.get(name) for name in _Head._fields}))
        experiment = Experiment(head.key, head.state, CONFIGS.validate_json(orjson.dumps(versions)), *head[2:])
        for config in experiment.versions:
            check(config, ANY)
    except ValidationError as error:
        first = error.errors()[0]
        raise _wrong(path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, KeyError, TypeError, AttributeError, CausalRecError) as error:
        raise _wrong(path, repr(error) if isinstance(error, KeyError) else str(error)) from error
    numbers = [config.version for config in experiment.versions]
    if numbers != [*range(1, len(numbers) + 1)] or {each.key for each in experiment.versions} != {experiment.key}:
        raise _wrong(path, f"versions are {numbers}, not every one of {experiment.key!r} from 1 on")
    return experiment


def from_service(options: argparse.Namespace, key: str) -> tuple[Experiment, list[Look]]:
    """
    The experiment as the service knows it, and the looks at the series in force.

    Raises: ConfigError where it does not, naming those that it does; StateUnavailable.
    """

    async def read(store: ExperimentStore) -> tuple[Experiment, list[Look]]:
        experiment = store.book.experiments.get(key)
        if experiment is None:
            there = ", ".join(sorted(store.book.experiments)) or "none"
            raise ConfigError(f"the service has no experiment {key!r}, but: {there}; --config FILE takes another's")
        return experiment, await store.looks(key, experiment.config.series)

    return asyncio.run(_asked(options, read))


def book_of(options: argparse.Namespace) -> Book:
    """Every experiment that the service knows. Raises: ConfigError, StateUnavailable."""

    async def read(store: ExperimentStore) -> Book:
        return store.book

    return asyncio.run(_asked(options, read))


def in_folder(folder: Path) -> pl.DataFrame:
    """
    What a folder of exported events has of experiments: experiment, series, versions, units, first, last.

    Raises: DataError where there is no folder, nothing in it, or a file that cannot be read.
    """
    files = parquet_files(folder)
    try:
        scanned = pl.scan_parquet(
            files, schema=COLUMNS, hive_partitioning=False, missing_columns="insert", extra_columns="ignore"
        )
        answers = scanned.filter(pl.col("experiment").is_not_null())
        found = answers.group_by("experiment", "series").agg(
            versions=pl.col("version").unique().sort(),
            units=pl.col("user_id").n_unique(),
            first=pl.col("timestamp").min().dt.epoch("us") / 1e6,
            last=pl.col("timestamp").max().dt.epoch("us") / 1e6,
        )
        return found.collect(engine="streaming").sort("experiment", "series")
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{folder}: cannot be read ({str(error).splitlines()[0]}); export it again") from error


def parquet_files(folder: Path) -> list[Path]:
    """The files of a folder of exported events. Raises: DataError where there is none."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; `python -m service events export --to {folder}` makes it")
    if not (files := sorted(folder.rglob("*.parquet"))):
        raise DataError(
            f"{folder}: has no exported events; `python -m service events export --to {folder}` writes some"
        )
    return files


async def _asked(options: argparse.Namespace, read: Callable[[ExperimentStore], Awaitable[T]]) -> T:
    async with connected(options) as connection:
        store = ExperimentStore(connection)
        following = asyncio.create_task(store.follow(lambda _: None))
        try:
            await store.applied(0, within=WITHIN)
            return await read(store)
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following


def _wrong(path: Path, what: str) -> ConfigError:
    return ConfigError(f"{path}: is not an experiment as GET /v1/experiments/{{key}} answers it ({what})")
