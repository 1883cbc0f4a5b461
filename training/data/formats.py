"""The formats of input files, Parquet and CSV, read into frames whose rows know where they stood."""

import csv
import io
from pathlib import Path

import polars as pl

from causalrec.errors import DataError

SUFFIXES = (".parquet", ".csv")
PLACE = "\0place"
"""Column of every frame read here: the line (CSV) or the row counted from 1 (Parquet), for messages."""
ROW = "\0row"
"""Column of every frame read here: the row in the file counted from 0, bad ones included."""

Unreadable = list[tuple[int, str]]
_PARQUET_MAGIC = b"PAR1"


def find_file(directory: Path, name: str) -> Path | None:
    """`name`.parquet or `name`.csv in `directory`, None without either. Raises: DataError where both are there."""
    found = [path for suffix in SUFFIXES if (path := directory / (name + suffix)).exists()]
    if len(found) > 1:
        raise DataError(f"{directory}: there is {found[0].name} as well as {found[1].name}; take one of them away")
    return found[0] if found else None


def read_rows(path: Path) -> tuple[pl.DataFrame, Unreadable]:
    """
    All rows of the Parquet or CSV file `path`, and the lines that hold no row.

    CSV columns are strings, null where the field is empty; Parquet columns keep their type. The frame has the
    columns PLACE and ROW besides the file's.

    Returns: the frame; (line, what is wrong with it) of every CSV line that cannot be split into its fields.
    Raises: DataError naming the file where it is empty, cut off, of another format or encoding, or has no rows.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if not data.strip():
        raise DataError(f"{path}: is empty; write its columns and rows again")
    frame, unreadable = _csv(path, data) if path.suffix == ".csv" else (_parquet(path, data), [])
    if not len(frame) and not unreadable:
        raise DataError(f"{path}: has columns {', '.join(_named(frame))} and no rows")
    return frame, unreadable


def _named(frame: pl.DataFrame) -> list[str]:
    return [column for column in frame.columns if column not in (PLACE, ROW)]


def _parquet(path: Path, data: bytes) -> pl.DataFrame:
    if not data.startswith(_PARQUET_MAGIC):
        raise DataError(f"{path}: is not a Parquet file (begins with {data[:8]!r}); a CSV file is named .csv")
    if not data.endswith(_PARQUET_MAGIC):
        raise DataError(f"{path}: is a Parquet file cut off at {len(data)} bytes; copy it again")
    try:
        frame = pl.read_parquet(data)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(f"{path}: is a damaged Parquet file ({reason}); copy it again") from error
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    return frame.with_columns((row + 1).alias(PLACE), row.alias(ROW))


def _csv(path: Path, data: bytes) -> tuple[pl.DataFrame, Unreadable]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise DataError(f"{path}: line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader)
    except (csv.Error, StopIteration) as error:
        raise DataError(f"{path}: line 1: is not a header of comma-separated names ({error})") from error
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{path}: line 1: the header names {twice[0]!r} twice; give each column its own name")

    columns: list[list[str]] = [[] for _ in header]
    places: list[int] = []
    rows: list[int] = []
    unreadable: Unreadable = []
    while True:
        place = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            unreadable.append((place, f"is not CSV ({error})"))
            continue
        if not fields:
            continue
        if len(fields) != len(header):
            unreadable.append((place, f"has {len(fields)} fields, the header {len(header)}"))
            continue
        rows.append(len(rows) + len(unreadable))
        places.append(place)
        for column, field in zip(columns, fields, strict=True):
            column.append(field)

    frame = pl.DataFrame(dict(zip(header, columns, strict=True)), schema=dict.fromkeys(header, pl.String))
    frame = frame.with_columns(pl.all().replace("", None))
    return frame.with_columns(
        pl.Series(PLACE, places, dtype=pl.Int64), pl.Series(ROW, rows, dtype=pl.Int64)
    ), unreadable
