"""Events: what the service was told and exported, read as interactions beside those of the interactions file."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from causalrec.errors import DataError
from training.config import DataConfig
from training.data.formats import find_file
from training.data.interactions import read_interactions
from training.data.table import Skipped

logger = logging.getLogger(__name__)

COLUMNS = {"user_id": pl.String, "item_id": pl.String, "type": pl.String, "value": pl.Float64, "timestamp": pl.Datetime}
PAIR = ("user_id", "item_id")


def read_log(
    directory: Path, known_items: pl.Series, config: DataConfig, *, skip_bad: bool
) -> tuple[pl.DataFrame, Mapping[str, Path], Mapping[str, Skipped]]:
    """
    All interactions: those of the interactions file of `directory` and, with config.events, those that events are.

    A pair that is in both has the later timestamp, and the events' rating where they have one; what only events tell
    counts as training data of the source. Only with events may the interactions file be absent.

    Args:
        known_items, skip_bad: as of `read_interactions`. Events with other items are dropped and counted either way:
            the service is told of items before the trainer is.
    Returns: a frame as `read_interactions` gives; every file read, by name; what was dropped, by reason.
    Raises: DataError.
    """
    if config.events is None:
        base, path, skipped = read_interactions(directory, known_items, config.ignore_columns, skip_bad=skip_bad)
        return base, {path.name: path}, skipped
    events, files, dropped = read_events(config.events, known_items, config.events_types)
    if find_file(directory, "interactions") is None:
        return events, files, dropped
    base, path, skipped = read_interactions(directory, known_items, config.ignore_columns, skip_bad=skip_bad)
    merged = _merged(base, events)
    logger.info("%d interactions, and %d that only events tell", len(base), len(merged) - len(base))
    return merged, {path.name: path, **files}, {**skipped, **dropped}


def read_events(
    folder: Path, known_items: pl.Series, types: Sequence[str]
) -> tuple[pl.DataFrame, Mapping[str, Path], Mapping[str, Skipped]]:
    """
    The events in the Parquet files below `folder`, as the service exports them, each pair once.

    Args:
        types: the events that count.
    Returns: a frame of user_id, item_id, timestamp (seconds since 1970, the pair's latest) and, where there is any,
        rating (the latest); the files by their names below `folder`; what was dropped.
    Raises: DataError where there are no files or events, or a file cannot be used.
    """
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.parquet"))}
    if not files:
        raise DataError(f"{folder}: has no exported events; `python -m service events export --to DIR` writes some")
    rating = pl.when(pl.col("type") == "rating").then("value")
    counted = (
        pl.concat([_scan(path) for path in files.values()])
        .filter(pl.col("type").is_in(types))
        .with_columns(pl.col("timestamp").dt.epoch("us") / 1e6, rating=rating)
        .group_by(PAIR)
        .agg(
            pl.col("timestamp").max(),
            rating=pl.col("rating").sort_by("timestamp").drop_nulls().last(),
            events=pl.len(),
        )
    )
    try:
        pairs = counted.collect(engine="streaming").sort(PAIR)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{folder}: cannot be read ({str(error).splitlines()[0]}); export it again") from error
    if pairs.is_empty():
        raise DataError(f"{folder}: holds no event of data.events_types = {list(types)}; name others, or export more")
    known = pairs.filter(pl.col("item_id").is_in(known_items.implode()))
    unknown = int(pairs["events"].sum()) - int(known["events"].sum())
    skipped = {f"{folder.name}: events with items that are not in the items file": Skipped(unknown, ())}
    wanted = [*PAIR, "timestamp", *(["rating"] if known["rating"].is_not_null().any() else [])]
    return (
        known.select(wanted),
        {f"{folder.name}/{name}": path for name, path in files.items()},
        skipped if unknown else {},
    )


def _scan(path: Path) -> pl.LazyFrame:
    """The columns needed. Raises: DataError where the file lacks one, or has it of another type."""
    try:
        frame = pl.scan_parquet(path, hive_partitioning=False)
        schema = frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: is no whole Parquet file ({str(error).splitlines()[0]}); export it again") from error
    for name, kind in COLUMNS.items():
        if schema.get(name) != kind:
            raise DataError(f"{path}: column {name} is {schema.get(name)}, not {kind}; these are no exported events")
    return frame.select(list(COLUMNS))


def _merged(base: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    both = base.join(events, on=PAIR, how="full", coalesce=True, suffix="\0", maintain_order="left_right")
    for column, merge in (("timestamp", pl.max_horizontal), ("rating", _second_first)):
        if f"{column}\0" in both.columns:
            both = both.with_columns(merge(column, f"{column}\0").alias(column)).drop(f"{column}\0")
    if "source_train" in both.columns:
        both = both.with_columns(pl.col("source_train").fill_null(value=True))
    return both


def _second_first(first: str, second: str) -> pl.Expr:
    return pl.coalesce(second, first)
