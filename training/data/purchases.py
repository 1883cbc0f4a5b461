"""Purchases: what people wanted in the end; read from purchases.parquet or .csv, judged on, never trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from causalrec.errors import DataError, ShapeError
from causalrec.ids import Vocabulary
from training.data.formats import find_file
from training.data.table import Skipped, Table

COLUMNS = ("user_id", "item_id", "timestamp", "split")
_STREAM = 1  # keeps this draw apart from the split's, which starts from the same seed


@dataclass(frozen=True)
class Purchases:
    """n purchases as columns of equal length, sorted by user row, then item row. Raises: ShapeError."""

    user: NDArray[np.int64]
    """User rows, [n]."""
    item: NDArray[np.int64]
    """Item rows, [n]."""
    valid: NDArray[np.bool_]
    """True for validation (choosing λ2), false for test, [n]."""

    def __post_init__(self) -> None:
        if not self.user.shape == self.item.shape == self.valid.shape:
            raise ShapeError(f"purchases: user is {self.user.shape}, item {self.item.shape}, valid {self.valid.shape}")

    def __len__(self) -> int:
        return len(self.user)


def read_purchases(
    path: Path, users: Vocabulary, items: Vocabulary, ignored: tuple[str, ...], *, seed: int, skip_bad: bool
) -> tuple[Purchases, Mapping[str, Skipped]]:
    """
    The purchases in the file `path` by users and of items that are known, others counted as skipped.

    Without a column split, half of them (drawn with `seed`) are for validation.

    Returns: the purchases; what was dropped, by reason.
    Raises: DataError naming the file, its first bad rows and the way out; or where no purchase is left.
    """
    table = Table(path, skip_bad=skip_bad)
    table.expect(("user_id", "item_id"), COLUMNS, ignored)
    table.ids("user_id", "item_id")
    if "split" in table.columns():
        table.one_of("split", ("valid", "test"))
    table.distinct("user_id", "item_id")
    skipped = dict(table.settle())

    known = pl.col("user_id").is_in(users.ids) & pl.col("item_id").is_in(items.ids)
    frame = table.frame.filter(known).sort("user_id", "item_id")
    if frame.is_empty():
        raise DataError(f"{path}: none of its {len(table.frame)} purchases is of a user and an item in the data")
    if unknown := len(table.frame) - len(frame):
        skipped[f"{path.name}: user or item is not in the data"] = Skipped(unknown, ())
    if "split" in frame.columns:
        valid = (frame["split"] == "valid").to_numpy()
    else:
        valid = np.arange(len(frame)) < len(frame) / 2
        np.random.default_rng((seed, _STREAM)).shuffle(valid)
    return Purchases(users.rows(frame["user_id"]), items.rows(frame["item_id"]), valid), skipped


def find_purchases(directory: Path) -> Path | None:
    """The purchases file of `directory`, None without one. Raises: DataError where there are two."""
    return find_file(directory, "purchases")
