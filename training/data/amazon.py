"""
The Amazon review data of McAuley and others (releases of 2014 and 2018) as our data directory: reviews, metadata and
the image features that VBPR, CausalRec and many others are trained on.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import polars as pl
from numpy.typing import NDArray
from tqdm import tqdm

from causalrec.errors import DataError
from training.data.converted import Converted, FeatureFile, Precision, data_directory, write_tables
from training.data.features import FILE
from training.data.json_lines import read_json_lines
from training.data.table import SKIP

ASIN = 10
WIDTH = 4096
RECORD = np.dtype([("asin", f"S{ASIN}"), ("feature", "<f4", WIDTH)])
RECORDS = 256  # read at a time: 4 MB
ROWS = 200_000  # reviews kept as Python objects at a time

LOG = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float64, "timestamp": pl.Int64}
ITEMS = {"item_id": pl.String, "title": pl.String, "category": pl.String, "price": pl.Float64, "image_url": pl.String}


def convert_amazon(
    reviews: Path,
    features: Path,
    metadata: Path | None,
    out: Path,
    *,
    precision: Precision = "float16",
    skip_bad: bool = False,
    quiet: bool = False,
) -> Converted:
    """
    Writes the reviews of one category, the features of their items and what is known of these as the directory `out`.

    Every review is an interaction, whatever its rating; of several by one user of one item the latest counts. Items
    without a feature are left out with their reviews. The k-core is the trainer's business.

    Args:
        reviews, metadata: JSON lines, gzipped or not. features: binary, as `read_features` says.
        skip_bad: leave out lines that cannot be used instead of raising.
    Raises: DataError naming file and line or byte; ConfigError where `out` is there already.
    """
    told = Converted(precision=precision)
    with data_directory(out) as folder:
        log = read_reviews(reviews, told.dropped, skip_bad=skip_bad, quiet=quiet)
        with FeatureFile(folder / FILE, precision, told.dropped) as written:
            for asins, rows in read_features(features, set(log["item_id"].unique()), quiet=quiet):
                written.append(asins, rows)
        items = pl.DataFrame(schema=ITEMS)
        if metadata is not None:
            items = read_metadata(metadata, set(written.ids), told.dropped, skip_bad=skip_bad, quiet=quiet)
        write_tables(folder, log, items, written, told)
    return told


def read_reviews(path: Path, dropped: Counter[str], *, skip_bad: bool = False, quiet: bool = False) -> pl.DataFrame:
    """
    user_id, item_id, rating (1-5) and timestamp (seconds since 1970) of every review in `path`, no pair twice.

    Args:
        dropped: gets a count of the lines left out, by reason.
    Raises: DataError naming the first line that is no review.
    """
    blocks, rows = [pl.DataFrame(schema=LOG)], []
    for line in _objects(path, _review, dropped, skip_bad=skip_bad, quiet=quiet):
        rows.append(line)
        if len(rows) == ROWS:
            blocks.append(pl.DataFrame(rows, schema=LOG, orient="row"))
            rows = []
    log = pl.concat([*blocks, pl.DataFrame(rows, schema=LOG, orient="row")])
    if log.is_empty():
        raise DataError(f"{path}: holds no review")
    latest = log.sort("timestamp", nulls_last=False, maintain_order=True).unique(["user_id", "item_id"], keep="last")
    dropped["earlier reviews of one item by one user"] += len(log) - len(latest)
    return latest


def read_metadata(
    path: Path, wanted: set[str], dropped: Counter[str], *, skip_bad: bool = False, quiet: bool = False
) -> pl.DataFrame:
    """
    item_id, title, category, price and image_url of the items in `wanted`, each once, null where nothing is said.

    category is the last, most particular name of the first path of categories.

    Raises: DataError naming the first line without an asin.
    """
    rows: dict[str, tuple[Any, ...]] = {}
    for row in _objects(path, _item, dropped, skip_bad=skip_bad, quiet=quiet):
        if row[0] in wanted:
            rows.setdefault(row[0], row)
    return pl.DataFrame(list(rows.values()), schema=ITEMS, orient="row")


def read_features(
    path: Path, wanted: set[str], *, quiet: bool = False
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """
    The ids and features [n, 4096] of the items in `wanted`, block by block: the whole file may be tens of gigabytes.

    A record is an asin of 10 letters and digits and 4,096 float32, the lowest byte first; nothing lies between them.

    Raises: DataError naming the byte where a record is cut off or begins otherwise.
    """
    try:
        size = path.stat().st_size
        if rest := size % RECORD.itemsize or not size:
            raise DataError(
                f"{path}: is cut off: the record at byte {size - rest} has {rest} of its {RECORD.itemsize:,} bytes; "
                "copy it again"
                if size
                else f"{path}: is empty; copy it again"
            )
        with (
            path.open("rb") as file,
            tqdm(total=size, desc=path.name, unit="B", unit_scale=True, delay=2, disable=quiet) as bar,
        ):
            while content := file.read(RECORDS * RECORD.itemsize):
                block = np.frombuffer(content, dtype=RECORD)
                places = range(file.tell() - len(content), file.tell(), RECORD.itemsize)
                asins = [_asin(path, asin, place) for asin, place in zip(block["asin"].tolist(), places, strict=True)]
                keep = [row for row, asin in enumerate(asins) if asin in wanted]
                if keep:
                    yield [asins[row] for row in keep], block["feature"][keep]
                bar.update(len(content))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name the file of image features") from error


def _asin(path: Path, found: bytes, place: int) -> str:
    if len(found) != ASIN or not found.isalnum():
        raise DataError(
            f"{path}: the record at byte {place} begins with {found!r}, which is no asin of {ASIN} letters and digits; "
            f"is this the binary file of {WIDTH:,} float32 per item?"
        )
    return found.decode()


def _objects(path: Path, read: Any, dropped: Counter[str], *, skip_bad: bool, quiet: bool) -> Iterator[tuple[Any, ...]]:
    """What `read` makes of each line; lines it refuses are counted or raised."""
    for number, found in read_json_lines(path, quiet=quiet):
        row = found if isinstance(found, str) else read(found)
        if not isinstance(row, str):
            yield row
        elif skip_bad:
            dropped[f"lines of {path.name} that cannot be used"] += 1
        else:
            raise DataError(f"{path}: line {number}: {row} (mend it, or {SKIP})")


def _review(line: dict[str, Any]) -> tuple[Any, ...] | str:
    for name in ("reviewerID", "asin"):
        if not isinstance(line.get(name), str) or not line[name]:
            return f"{name} is {line.get(name)!r}; a review has reviewerID, asin, overall and unixReviewTime"
    for name in ("overall", "unixReviewTime"):
        if name in line and not _finite(line[name]):
            return f"{name} is {line[name]!r}, not a number"
    moment = line.get("unixReviewTime")
    return line["reviewerID"], line["asin"], line.get("overall"), None if moment is None else int(moment)


def _item(line: dict[str, Any]) -> tuple[Any, ...] | str:
    asin = line.get("asin")
    if not isinstance(asin, str) or not asin:
        return f"asin is {asin!r}; a line of metadata has one"
    return asin, _text(line.get("title")), _category(line), _price(line.get("price")), _text(line.get("imUrl"))


def _category(line: dict[str, Any]) -> str | None:
    """Of `categories`, a list of paths (2014), or `category`, one path (2018)."""
    paths = line.get("categories", [line.get("category")])
    path = paths[0] if isinstance(paths, list) and paths else None
    return _text(path[-1]) if isinstance(path, list) and path else None


def _price(found: object) -> float | None:
    """A number (2014), or text such as "$1,299.00" (2018); ranges and the like are no price."""
    if isinstance(found, str):
        try:
            found = float(found.strip().removeprefix("$").replace(",", ""))
        except ValueError:
            return None
    return float(found) if _finite(found) and found >= 0 else None


def _text(found: object) -> str | None:
    return found.strip() or None if isinstance(found, str) else None


def _finite(found: object) -> TypeGuard[float]:
    return isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
