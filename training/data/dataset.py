"""Dataset: a data directory read, checked, thinned to its k-core and numbered."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from causalrec.errors import DataError
from causalrec.ids import Vocabulary
from training.config import DataConfig, ImagesConfig
from training.data.events import read_log
from training.data.features import in_words, item_features
from training.data.formats import ROW
from training.data.interactions import Interactions, k_core
from training.data.items import read_items
from training.data.pictures import item_pictures
from training.data.purchases import Purchases, find_purchases, read_purchases
from training.data.table import EXAMPLES, Skipped

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """What a run learns from and is judged on. Rows of users and items are those of the vocabularies."""

    users: Vocabulary
    items: Vocabulary
    interactions: Interactions
    catalogue: pl.DataFrame
    """Row-aligned to items: item_id, title, category (text or null), price (if the file has one), image (file name
    below images/ or null), then the items file's other columns."""
    features: NDArray[np.float32]
    """Image features V, [I, F], finite."""
    backbone: str | None
    """Identity of the network that made the features; None where they came as features.npy."""
    purchases: Purchases | None
    fingerprint: str
    """sha256, hexadecimal, over the contents of every input file used: interactions, events, items, purchases, and
    features.npy or the items' pictures."""
    skipped: Mapping[str, Skipped]
    """What was dropped, by reason; what the k-core drops is not counted here."""
    pictures: tuple[Path, ...] | None = None
    """Each item's picture file, which may not be there; None without images/."""


def load_dataset(
    directory: Path,
    config: DataConfig,
    images: ImagesConfig | None = None,
    *,
    seed: int,
    device: str = "cpu",
    skip_bad: bool = False,
) -> Dataset:
    """
    The data in `directory`, checked, as its k-core.

    Users and items with fewer than config.k_core interactions are dropped, again and again until none is left; an
    item without any interaction is dropped from the catalogue too, whatever k_core is. Only items that remain need a
    picture or a feature.

    Args:
        directory: holds interactions, items (each .parquet or .csv), images/ or features.npy, and maybe purchases.
        config: names the folder of exported events, if there is one.
        images: where features come from; by default features.npy if there is one, else the pictures.
        seed: of the purchases' split, where their file has none.
        device: where the backbone runs.
        skip_bad: drop and count what is bad instead of raising: rows of files, and items without a usable picture
            with their interactions.
    Raises: DataError naming the file, the first bad rows and the way out; ConfigError for a backbone or cache that
        cannot be used.
    """
    if not directory.is_dir():
        raise DataError(f"{directory}: is not a folder; give the data directory")
    items, items_file, records, skipped_items = read_items(directory, skip_bad=skip_bad)
    log, log_files, skipped_log = read_log(directory, items["item_id"], config, skip_bad=skip_bad)
    skipped = {**skipped_items, **skipped_log}

    log = _core(log, config.k_core, directory)
    items = items.filter(pl.col("item_id").is_in(log["item_id"].unique().implode()))
    features = item_features(directory, items, records, images or ImagesConfig(), device=device, skip_bad=skip_bad)
    if features.broken:
        usable = items.filter(~pl.int_range(pl.len()).is_in(list(features.broken)))
        seen = log.filter(pl.col("item_id").is_in(usable["item_id"].implode()))
        named = in_words(items, features.broken)
        skipped["items without a usable picture or feature"] = Skipped(len(named), tuple(named[:EXAMPLES]))
        skipped["interactions with such items"] = Skipped(len(log) - len(seen), ())
        log = _core(seen, config.k_core, directory)
    remains = items["item_id"].is_in(log["item_id"].unique().implode())

    users = Vocabulary.of(log["user_id"].unique())
    vocabulary = Vocabulary.of(log["item_id"].unique())
    files = {items_file.name: items_file, **log_files}
    sources = {name: _sha256(file) for name, file in files.items()} | dict(features.sources)
    purchases = None
    if file := find_purchases(directory):
        purchases, skipped_purchases = read_purchases(
            file, users, vocabulary, config.ignore_columns, seed=seed, skip_bad=skip_bad
        )
        skipped |= skipped_purchases
        sources[file.name] = _sha256(file)
    for reason, dropped in skipped.items():
        logger.warning("skipped %d: %s", dropped.count, reason)
    catalogue = items.filter(remains).drop(ROW)
    return Dataset(
        users=users,
        items=vocabulary,
        interactions=_numbered(log, users, vocabulary),
        catalogue=catalogue,
        features=features.matrix[remains.to_numpy()],
        backbone=features.backbone,
        purchases=purchases,
        fingerprint=_fingerprint(sources),
        skipped=skipped,
        pictures=item_pictures(directory, catalogue),
    )


def _core(log: pl.DataFrame, k: int, directory: Path) -> pl.DataFrame:
    user, item = (log[column].rank("dense").cast(pl.Int64).to_numpy() - 1 for column in ("user_id", "item_id"))
    core = log.filter(k_core(user, item, k))
    if core.is_empty():
        raise DataError(f"{directory}: nothing is left of its {len(log)} interactions with data.k_core = {k}; lower it")
    return core


def _numbered(log: pl.DataFrame, users: Vocabulary, items: Vocabulary) -> Interactions:
    log = log.with_columns(
        pl.col("user_id").cast(pl.Enum(users.ids)).to_physical().cast(pl.Int64),
        pl.col("item_id").cast(pl.Enum(items.ids)).to_physical().cast(pl.Int64),
    ).sort("user_id", "item_id")

    def held(column: str) -> NDArray[np.float64] | None:
        return log[column].fill_null(float("nan")).to_numpy(writable=True) if column in log.columns else None

    return Interactions(
        user=log["user_id"].to_numpy(writable=True),
        item=log["item_id"].to_numpy(writable=True),
        timestamp=held("timestamp"),
        rating=held("rating"),
        source_train=log["source_train"].to_numpy(writable=True) if "source_train" in log.columns else None,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _fingerprint(sources: Mapping[str, str]) -> str:
    whole = hashlib.sha256()
    for name, digest in sorted(sources.items()):
        whole.update(f"{len(name)}:{name}={digest}\n".encode())
    return whole.hexdigest()
