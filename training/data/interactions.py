"""Interactions: who chose what; read from interactions.parquet or .csv, and thinned to their k-core."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from causalrec.errors import DataError, ShapeError
from training.data.formats import find_file
from training.data.table import Skipped, Table

COLUMNS = ("user_id", "item_id", "timestamp", "rating", "source_split")


@dataclass(frozen=True)
class Interactions:
    """
    n interactions as columns of equal length, sorted by user row, then item row; no pair is there twice.

    Raises: ShapeError naming both lengths.
    """

    user: NDArray[np.int64]
    """User rows, [n]."""
    item: NDArray[np.int64]
    """Item rows, [n]."""
    timestamp: NDArray[np.float64] | None
    """As in the source (often seconds), [n], NaN where it says nothing; None where it nowhere does."""
    rating: NDArray[np.float64] | None
    """As in the source, [n], NaN where it says nothing; None where it nowhere does."""
    source_train: NDArray[np.bool_] | None
    """Whether the source put the interaction into its training part, [n]."""

    def __post_init__(self) -> None:
        for name in ("item", "timestamp", "rating", "source_train"):
            column = getattr(self, name)
            if column is not None and column.shape != self.user.shape:
                raise ShapeError(f"interactions: user is {self.user.shape}, {name} is {column.shape}")

    def __len__(self) -> int:
        return len(self.user)


def read_interactions(
    directory: Path, known_items: pl.Series, ignored: tuple[str, ...], *, skip_bad: bool
) -> tuple[pl.DataFrame, Path, Mapping[str, Skipped]]:
    """
    The checked rows of the interactions file of `directory`.

    Args:
        known_items: the ids in the items file; an interaction with another item is a bad row.
        ignored: columns to pass over.
        skip_bad: drop and count bad rows instead of raising.
    Returns: a frame of user_id, item_id (strings), and those of timestamp, rating (Float64) and source_train
        (Boolean) that hold anything; the file; what was dropped, by reason.
    Raises: DataError naming the file, its first bad rows and the way out.
    """
    path = find_file(directory, "interactions")
    if path is None:
        raise DataError(f"{directory}: has neither interactions.parquet nor interactions.csv; write one of them")
    table = Table(path, skip_bad=skip_bad)
    table.expect(("user_id", "item_id"), COLUMNS, ignored)
    table.ids("user_id", "item_id")
    for column in {"timestamp", "rating"} & set(table.columns()):
        table.numbers(column)
    if "source_split" in table.columns() and table.frame["source_split"].is_not_null().any():
        table.one_of("source_split", ("train", "test"))
        table.frame = table.frame.with_columns(source_train=pl.col("source_split") == "train")
    table.refuse(~pl.col("item_id").is_in(known_items.implode()), "item_id", "is not in the items file")
    table.distinct("user_id", "item_id")
    skipped = table.settle()

    wanted = ("user_id", "item_id", "timestamp", "rating", "source_train")
    held = [name for name in wanted if name in table.columns() and table.frame[name].is_not_null().any()]
    return table.frame.select(held), path, skipped


def k_core(user: NDArray[np.int64], item: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """
    Which interactions remain when users and items with fewer than `k` are dropped until none is left, [n].

    The result is the largest set in which every user and every item has at least k; it does not depend on the order
    of dropping.

    Args:
        user, item: dense rows, [n], no pair twice.
    """
    keep = np.arange(len(user))
    while len(keep):
        enough = (np.bincount(user[keep]) >= k)[user[keep]] & (np.bincount(item[keep]) >= k)[item[keep]]
        if enough.all():
            break
        keep = keep[enough]
    mask = np.zeros(len(user), dtype=np.bool_)
    mask[keep] = True
    return mask
