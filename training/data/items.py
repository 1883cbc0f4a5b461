"""Items: what is in the shop; read from items.parquet or .csv."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import polars as pl

from causalrec.errors import DataError
from training.data.formats import PLACE, find_file
from training.data.table import Skipped, Table

LEADING = ("item_id", "title", "category", "price", "image")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp")


def read_items(directory: Path, *, skip_bad: bool) -> tuple[pl.DataFrame, Path, int, Mapping[str, Skipped]]:
    """
    The checked rows of the items file of `directory`, sorted by item_id.

    `image` is the file name below images/: the file's own column, else ITEM_ID.jpg, .jpeg, .png or .webp where there
    is one, else null. title and category are null where the file has none.

    Returns: a frame of item_id, title, category (strings), price (Float64, if there), image, all other columns as
        they are, and formats.ROW; the file; its number of rows, bad ones included; what was dropped, by reason.
    Raises: DataError naming the file, its first bad rows and the way out.
    """
    path = find_file(directory, "items")
    if path is None:
        raise DataError(f"{directory}: has neither items.parquet nor items.csv; write one of them")
    table = Table(path, skip_bad=skip_bad)
    table.expect(("item_id",), known=None)
    table.ids("item_id")
    absent = [column for column in ("title", "category", "image") if column not in table.columns()]
    table.frame = table.frame.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    for column in ("title", "category", "image"):
        _as_text(table, column)
    if "price" in table.columns():
        table.numbers("price")
    outside = [name for name in table.frame["image"].unique() if name is not None and not _inside(name)]
    is_outside = pl.col("image").is_in(outside).fill_null(value=False)
    table.refuse(is_outside, "image", "leads out of images/; give a name below it")
    table.distinct("item_id")
    skipped = table.settle()

    leading = [name for name in LEADING if name in table.columns()]
    frame = table.frame.select(*leading, pl.exclude(*leading, PLACE))
    return _with_images(frame.sort("item_id"), directory / "images"), path, table.records, skipped


def _as_text(table: Table, column: str) -> None:
    kind = table.frame.schema[column]
    if kind.is_nested() or kind == pl.Binary:
        raise DataError(f"{table.path}: column {column!r} is {kind}; it should hold text")
    table.frame = table.frame.with_columns(pl.col(column).cast(pl.String))


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name and path.name != ""


def _with_images(frame: pl.DataFrame, folder: Path) -> pl.DataFrame:
    """`frame` with the empty cells of `image` filled from the files in `folder` that are named after items."""
    found: dict[str, str] = {}
    for extension in reversed(EXTENSIONS):
        found |= {path.stem: path.name for path in folder.glob("*") if path.suffix.lower() == extension}
    named = pl.Series([found.get(item_id) for item_id in frame["item_id"]], dtype=pl.String)
    return frame.with_columns(pl.col("image").fill_null(named))
