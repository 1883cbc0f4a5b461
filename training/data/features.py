"""Features: one vector per item, from features.npy or from the items' pictures; items without one are named."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from causalrec.backbone import load_backbone
from causalrec.errors import DataError
from training.config import ImagesConfig
from training.data.formats import ROW
from training.data.images import FeatureCache, see
from training.data.items import EXTENSIONS
from training.data.table import EXAMPLES, SKIP

FILE = "features.npy"
FOLDER = "images"


@dataclass(frozen=True)
class ItemFeatures:
    """The features of items, row-aligned to the frame they were asked for."""

    matrix: NDArray[np.float32]
    """[I, F]; finite; zeros for the items in `broken`."""
    backbone: str | None
    """Identity of the network that made them; None where they were given as a file."""
    sources: Mapping[str, str]
    """sha256 of each input, by its name: features.npy, or images/ITEM_ID."""
    broken: Mapping[int, str]
    """Row of each item that has no usable picture or feature: why."""


def item_features(
    directory: Path,
    items: pl.DataFrame,
    records: int,
    config: ImagesConfig,
    *,
    device: str,
    skip_bad: bool,
) -> ItemFeatures:
    """
    The features of `items`, from where config.source says.

    Args:
        items: rows of `read_items`.
        records: number of rows in the items file, bad ones included: the rows of features.npy.
        device: where the backbone runs.
        skip_bad: return items without a usable picture or feature in `broken` instead of raising. Absent pictures
            are found before the backbone looks at any; undecodable ones when it has looked at all.
    Raises: DataError where features.npy is absent, unreadable or of another size or type, and naming the items
        without a usable picture; ConfigError for an unknown backbone or a cache that cannot be written.
    """
    path = directory / FILE
    if config.source == "features" or (config.source == "auto" and path.exists()):
        features = _from_file(path, items, records)
    else:
        features = _from_pictures(directory / FOLDER, items, config, device, skip_bad=skip_bad)
    _check(features.broken, items, skip_bad=skip_bad)
    return features


def in_words(items: pl.DataFrame, broken: Mapping[int, str]) -> list[str]:
    """Each of the `broken` rows of `items`: which item, and why."""
    return [f"item {items['item_id'][row]!r}: {what}" for row, what in broken.items()]


def _check(broken: Mapping[int, str], items: pl.DataFrame, *, skip_bad: bool) -> None:
    if not broken or skip_bad:
        return
    named = in_words(items, broken)
    more = [f"and {len(named) - EXAMPLES} more"] if len(named) > EXAMPLES else []
    head = f"{len(named)} of {len(items)} items have no usable picture or feature (mend them, or {SKIP}):"
    raise DataError("\n  ".join([head, *named[:EXAMPLES], *more]))


def _from_file(path: Path, items: pl.DataFrame, records: int) -> ItemFeatures:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f'{path}: is not there; put it there, or set images.source = "images"') from error
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"{path}: is not a readable .npy file ({error}); save it again with numpy.save") from error
    if not isinstance(matrix, np.ndarray) or matrix.dtype not in (np.float16, np.float32):
        kind = getattr(matrix, "dtype", "an archive")
        raise DataError(f"{path}: holds {kind}; save one array of float16 or float32")
    if matrix.ndim != 2 or len(matrix) != records or not matrix.shape[1]:
        raise DataError(f"{path}: is {list(matrix.shape)}, the items file asks for [{records}, F]; one row per item")
    own = np.asarray(matrix[items[ROW].to_numpy()], dtype=np.float32)
    finite = np.isfinite(own).all(axis=1)
    own[~finite] = 0.0
    broken = {int(row): f"{path}: row {items[ROW][int(row)]} holds NaN or infinity" for row in np.flatnonzero(~finite)}
    with path.open("rb") as file:
        return ItemFeatures(own, None, {FILE: hashlib.file_digest(file, "sha256").hexdigest()}, broken)


def _from_pictures(
    folder: Path, items: pl.DataFrame, config: ImagesConfig, device: str, *, skip_bad: bool
) -> ItemFeatures:
    if not folder.is_dir():
        raise DataError(f"{folder}: is not a folder; put one picture per item there, or {FILE} beside it")
    names = items["image"].to_list()
    there = [row for row, name in enumerate(names) if name is not None and (folder / name).is_file()]
    broken = {row: _absent(folder, items, row) for row in sorted(set(range(len(names))) - set(there))}
    _check(broken, items, skip_bad=skip_bad)

    backbone = load_backbone(config.backbone, device)
    cache = FeatureCache(config.cache, backbone)
    seen = see([folder / names[row] for row in there], backbone, cache, config.batch_size)
    matrix = np.zeros((len(names), backbone.width), dtype=np.float32)
    matrix[there] = seen.features
    broken |= {there[place]: what for place, what in seen.broken.items()}
    sources = {f"{FOLDER}/{items['item_id'][row]}": digest for row, digest in zip(there, seen.digests, strict=True)}
    return ItemFeatures(matrix, backbone.identity, sources, dict(sorted(broken.items())))


def _absent(folder: Path, items: pl.DataFrame, row: int) -> str:
    name, item_id = items["image"][row], items["item_id"][row]
    return f"{folder / name}: is not there" if name else f"{folder}: has no {item_id}{', '.join(EXTENSIONS)}"
