"""
A shop on disk, in the layout that training reads, with the truth beside the log.

    interactions.parquet   user_id, item_id, timestamp: the clicks
    items.parquet          item_id, title, category, price, image, brand, material, colour, pattern, cut
    images/<item_id>.jpg   the product pictures
    purchases.parquet      user_id, item_id, split (valid or test): the truth, never trained on
    shop.json              schema version, configuration, fingerprint of the world, sha256 of the files above
"""

import errno
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl
from pydantic import ValidationError
from tqdm import tqdm

from causalrec.errors import DataError
from causalrec.files import sync
from training.shop.catalogue import BRANDS, MATERIALS, SHOWN
from training.shop.pictures import draw_picture
from training.shop.world import Shop, ShopConfig, make_shop, picture_rng

SCHEMA_VERSION = 1
"""Raised when the same configuration would give other files: another formula, another pencil."""
OPENING_DAY = 1_704_067_200
"""2024-01-01 00:00 UTC in seconds: everybody's first click; the others follow a day apart."""
DAY = 86_400
RECORD = "shop.json"
CONTENTS = ("interactions.parquet", "items.parquet", "purchases.parquet", "images")


def write_shop(shop: Shop, directory: Path) -> Path:
    """
    Write `shop` to `directory`, whole or not at all; a whole shop of the same configuration there is kept as it is.

    Returns: `directory`.
    Raises: DataError when `directory` holds anything else.
    """
    directory = directory.absolute()
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
        return _reused(shop, directory)
    unfinished = directory.with_name(f".{directory.name}.{uuid4().hex}.tmp")
    try:
        (unfinished / "images").mkdir(parents=True)
        _write_tables(shop, unfinished)
        _write_pictures(shop, unfinished / "images")
        (unfinished / RECORD).write_text(json.dumps(_record(shop, unfinished), indent=2) + "\n", encoding="utf-8")
        _sync(unfinished)
        try:
            unfinished.rename(directory)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return _reused(shop, directory)  # another process finished first
        sync(directory.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return directory


def read_shop(directory: Path) -> Shop:
    """
    Remake the world that `directory` was written from, and check that it is still the same one.

    Raises: DataError naming the file that is missing, unreadable, edited or from another version of the code.
    """
    record = directory / RECORD
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{record}: not a shop's record ({error}); write the shop to an empty directory") from error
    if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
        version = found.get("schema_version") if isinstance(found, dict) else None
        raise DataError(f"{record}: schema_version {version!r}, this code reads {SCHEMA_VERSION}; write the shop anew")
    try:
        shop = make_shop(ShopConfig.model_validate(found.get("config")))
    except ValidationError as error:
        raise DataError(f"{record}: config cannot be used; write the shop anew: {error}") from error
    if found.get("fingerprint") != fingerprint(shop):
        raise DataError(
            f"{record}: its config makes another world than the one written, {found.get('fingerprint')!r}: "
            "the record was edited, or numpy draws other numbers; write the shop anew"
        )
    sums = found.get("sha256")
    for name in CONTENTS:
        if not (directory / name).exists():
            raise DataError(f"{directory / name}: is missing; delete the directory and write the shop anew")
        if not isinstance(sums, dict) or sums.get(name) != _sha256(directory / name):
            raise DataError(
                f"{directory / name}: is not what {RECORD} recorded; delete the directory and write it anew"
            )
    return shop


def fingerprint(shop: Shop) -> str:
    """sha256 of the world's configuration, items, clicks and purchases: integers and cents, so every machine agrees."""
    digest = hashlib.sha256(shop.config.model_dump_json().encode())
    cents = np.rint(shop.items.price * 100).astype(np.int64)
    for rows in (*shop.items.classes.values(), cents, shop.clicks, shop.valid, shop.test):
        digest.update(np.ascontiguousarray(rows, dtype="<i8").tobytes())
    return digest.hexdigest()


def _reused(shop: Shop, directory: Path) -> Path:
    """`directory`, if the shop there is whole and has the configuration of `shop`."""
    there = read_shop(directory).config
    if there != shop.config:
        raise DataError(
            f"{directory / RECORD}: another shop is here ({there!r}); choose another directory or delete it"
        )
    return directory


def _record(shop: Shop, directory: Path) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "config": shop.config.model_dump(mode="json"),
        "fingerprint": fingerprint(shop),
        "sha256": {name: _sha256(directory / name) for name in CONTENTS},
    }


def _write_tables(shop: Shop, directory: Path) -> None:
    users, ids, rows = np.array(shop.user_ids), np.array(shop.item_ids), range(len(shop.items))
    opened = OPENING_DAY + DAY * np.arange(shop.clicks.shape[1])
    pl.DataFrame(
        {
            "user_id": np.repeat(users, shop.clicks.shape[1]),
            "item_id": ids[shop.clicks.ravel()],
            "timestamp": np.tile(opened, len(users)),
        }
    ).write_parquet(directory / "interactions.parquet")

    names = {**SHOWN, "brand": BRANDS, "material": MATERIALS}
    column = {name: np.array(names[name])[shop.items.classes[name]] for name in names}
    pl.DataFrame(
        {
            "item_id": ids,
            "title": [shop.items.title(row) for row in rows],
            "category": column["garment"],
            "price": shop.items.price,
            "image": [f"{item_id}.jpg" for item_id in ids],
            **{name: column[name] for name in ("brand", "material", "colour", "pattern", "cut")},
        }
    ).write_parquet(directory / "items.parquet")

    half = shop.valid.shape[1]
    pl.DataFrame(
        {
            "user_id": np.repeat(users, 2 * half),
            "item_id": ids[np.hstack([shop.valid, shop.test]).ravel()],
            "split": np.tile(np.repeat(["valid", "test"], half), len(users)),
        }
    ).write_parquet(directory / "purchases.parquet")


def _write_pictures(shop: Shop, directory: Path) -> None:
    pictures = tqdm(shop.item_ids, desc="drawing the shop's pictures", unit="picture", disable=None)
    for row, item_id in enumerate(pictures):
        picture = draw_picture(shop.items.look(row), shop.config.picture_side, picture_rng(shop.config, row))
        picture.save(directory / f"{item_id}.jpg", quality=92, subsampling=0)


def _sha256(path: Path) -> str:
    """sha256 of a file; of a directory, of its files' names and sums in order."""
    if path.is_dir():
        listing = "\n".join(f"{file.name} {_sha256(file)}" for file in sorted(path.iterdir()))
        return hashlib.sha256(listing.encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(directory: Path) -> None:
    """Everything under `directory` is on the disk, not only in its cache."""
    for path in [*directory.rglob("*"), directory]:
        sync(path)
