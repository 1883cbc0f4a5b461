"""The files of cornac's data set amazon_clothing, its own copy of one Amazon category, as our data directory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from causalrec.errors import DataError
from training.data.converted import Converted, FeatureFile, Precision, data_directory, write_tables
from training.data.features import FILE

RATINGS = "rating.txt"
ITEM_IDS = "item_ids.txt"
FEATURES = "image_features.npy"
TEXTS = "text.txt"
ROWS = 1024  # features converted at a time

LOG = {"user_id": pl.String, "item_id": pl.String, "rating": pl.Float64}
ITEMS = {"item_id": pl.String, "description": pl.String}


def convert_cornac(directory: Path, out: Path, *, precision: Precision = "float16", quiet: bool = False) -> Converted:
    """
    Writes the ratings, image features and texts in `directory` as the directory `out`.

    rating.txt: user, item and rating between tabs. image_features.npy: [n, F], whose rows item_ids.txt names, an id a
    line. text.txt, where it is there: item::description. Every rating is an interaction; a pair's last one counts.
    Items without a rating, or without a feature, are left out.

    Raises: DataError naming file and line; ConfigError where `out` is there already.
    """
    told = Converted(precision=precision)
    with data_directory(out) as folder:
        log = pl.DataFrame(list(_ratings(directory / RATINGS)), schema=LOG, orient="row")
        latest = log.unique(["user_id", "item_id"], keep="last", maintain_order=True)
        told.dropped["earlier ratings of one item by one user"] += len(log) - len(latest)
        with FeatureFile(folder / FILE, precision, told.dropped) as written:
            _copy_features(directory, set(latest["item_id"].unique()), written, quiet=quiet)
        items = pl.DataFrame(list(_texts(directory / TEXTS)), schema=ITEMS, orient="row")
        write_tables(folder, latest, items.unique("item_id", keep="first"), written, told)
    return told


def _ratings(path: Path) -> Iterator[tuple[str, str, float]]:
    for number, line in enumerate(_lines(path), 1):
        try:
            user_id, item_id, rating = line.split("\t")
            yield user_id, item_id, float(rating)
        except ValueError as error:
            raise DataError(f"{path}: line {number}: {line!r} is not user, item and rating between tabs") from error


def _texts(path: Path) -> Iterator[tuple[str, str]]:
    if not path.exists():
        return
    for number, line in enumerate(_lines(path), 1):
        item_id, between, text = line.partition("::")
        if not between:
            raise DataError(f"{path}: line {number}: {line[:60]!r} is not item::description")
        yield item_id, text


def _copy_features(directory: Path, wanted: set[str], written: FeatureFile, *, quiet: bool) -> None:
    path = directory / FEATURES
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: is not a readable .npy file ({error}); copy it again") from error
    ids = _lines(directory / ITEM_IDS)
    if matrix.ndim != 2 or len(matrix) != len(ids) or not np.issubdtype(matrix.dtype, np.floating):
        raise DataError(
            f"{path}: is {matrix.dtype} {list(matrix.shape)}, but {ITEM_IDS} names {len(ids)} items; "
            f"it should be floats [{len(ids)}, F]"
        )
    for start in tqdm(range(0, len(ids), ROWS), desc=FEATURES, delay=2, disable=quiet):
        block = ids[start : start + ROWS]
        keep = [row for row, item_id in enumerate(block) if item_id in wanted]
        written.append([block[row] for row in keep], matrix[start : start + ROWS][keep])


def _lines(path: Path) -> list[str]:
    """The lines of `path` without the space around them; blank ones at the end are none."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").rstrip().split("\n")]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); cornac keeps it in its cache") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 at byte {error.start}") from error
