"""Converted data: another project's files written as our data directory, with a count of what was left out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from causalrec.errors import ConfigError, DataError
from causalrec.files import new_directory

Precision = Literal["float16", "float32"]
HEADER = 128


@dataclass
class Converted:
    """What was written, and what was left out: reason → how many."""

    users: int = 0
    items: int = 0
    interactions: int = 0
    width: int = 0
    precision: Precision = "float16"
    dropped: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """One line of what there is, and one for each reason to leave something out."""
        sizes = f"{self.users:,} users, {self.items:,} items, {self.interactions:,} interactions"
        lines = [f"{sizes}, features [{self.items}, {self.width}] {self.precision}"]
        return "\n".join([*lines, *(f"left out {count:,}: {reason}" for reason, count in self.dropped.items())])


class FeatureFile:
    """
    features.npy, written a block at a time: no more than a block is ever in memory. Leaving it as a context ends it.

    float16 halves the file; a feature that a network computed keeps 11 of its bits, a relative error of 5e-4 at most
    (values beyond 65,504 are refused). Training reads either as float32.

    Args:
        dropped: gets a count of the rows left out, by reason.
    """

    def __init__(self, path: Path, precision: Precision, dropped: Counter[str]) -> None:
        self.ids: list[str] = []
        self.width = 0
        self._precision = precision
        self._dropped = dropped
        self._written: set[str] = set()
        self._file = path.open("wb")
        self._file.write(bytes(HEADER))

    def append(self, ids: Sequence[str], rows: NDArray[np.floating[Any]]) -> None:
        """
        Adds the feature of each of `ids`, [n, F]; an id that came before, or a row that is not finite, is left out.

        Raises: DataError where float16 cannot hold a value.
        """
        finite = np.isfinite(rows).all(axis=1)
        keep = []
        for place, item_id in enumerate(ids):
            if item_id in self._written:
                self._dropped["features of an item that has one already"] += 1
            elif not finite[place]:
                self._dropped["features with NaN or infinity"] += 1
            else:
                self._written.add(item_id)
                keep.append(place)
        kept = rows[keep]
        if self._precision == "float16" and (highest := np.abs(kept).max(initial=0.0)) > np.finfo(np.float16).max:
            raise DataError(f"a feature of {highest:g} is more than float16 holds; convert again with --float32")
        self.width = rows.shape[1]
        self.ids += [ids[place] for place in keep]
        self._file.write(np.ascontiguousarray(kept, dtype=np.dtype(self._precision).newbyteorder("<")).tobytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """How many rows there are is known now, and goes to the file's head."""
        with self._file:
            self._file.seek(0)
            self._file.write(self._head())

    def _head(self) -> bytes:
        kind = np.dtype(self._precision).newbyteorder("<").str
        said = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({len(self.ids)}, {self.width}), }}"
        room = HEADER - 10  # after the magic, the version and the length of the rest
        return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + said.ljust(room - 1).encode() + b"\n"


@contextmanager
def data_directory(out: Path) -> Iterator[Path]:
    """
    An empty directory to fill; it appears at `out` once all is written.

    Raises: ConfigError where something is at `out` already.
    """
    if out.exists():
        raise ConfigError(f"--out {out}: is there already; name another directory, or remove it")
    with new_directory(out) as folder:
        yield folder


def write_tables(folder: Path, log: pl.DataFrame, items: pl.DataFrame, features: FeatureFile, told: Converted) -> None:
    """
    Writes interactions.parquet and items.parquet beside the `features`, and fills in what `told` lacks.

    Args:
        log: user_id, item_id and what else is known of interactions; those with items without a feature are left out.
        items: item_id and attributes, in any order; a row for every feature, and no two for one.
    Raises: DataError where no item has a feature.
    """
    if not features.ids:
        count = log["item_id"].n_unique()
        raise DataError(f"none of the {count} items has a feature; are these files of one data set?")
    kept = log.filter(pl.col("item_id").is_in(features.ids))
    told.dropped["items without a feature"] += log["item_id"].n_unique() - len(features.ids)
    told.dropped["interactions with such items"] += len(log) - len(kept)
    told.dropped = +told.dropped
    told.users, told.items, told.interactions = kept["user_id"].n_unique(), len(features.ids), len(kept)
    told.width = features.width
    order = pl.DataFrame({"item_id": features.ids}, schema={"item_id": pl.String})
    order.join(items, on="item_id", how="left", maintain_order="left").write_parquet(folder / "items.parquet")
    kept.sort("user_id", "item_id").write_parquet(folder / "interactions.parquet")
