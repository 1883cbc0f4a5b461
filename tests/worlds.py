"""Small data directories with a real structure, in the project's layout: no pictures, features.npy instead."""

from pathlib import Path

import numpy as np
import polars as pl


def write_data(
    directory: Path, *, users: int = 60, items: int = 80, each: int = 12, ratings: bool = False, purchases: bool = False
) -> Path:
    """
    Users with a taste for two of eight directions; items' features show half of what people like.

    Args:
        each: interactions per user.
        ratings: adds ratings that follow the taste.
        purchases: adds purchases.parquet, four per user, what the user likes best among the rest.
    Returns: the directory.
    """
    rng = np.random.default_rng(7)
    taste, nature = rng.normal(size=(users, 8)), rng.normal(size=(items, 8))
    liking = taste @ nature.T + rng.gumbel(size=(users, items))
    order = np.argsort(-liking, axis=1)
    chosen = order[:, :each]
    user_ids = np.array([f"user-{n:03d}" for n in range(users)])
    item_ids = np.array([f"item-{n:03d}" for n in range(items)])
    log = pl.DataFrame(
        {
            "user_id": np.repeat(user_ids, each),
            "item_id": item_ids[chosen.ravel()],
            "timestamp": np.arange(users * each, dtype=np.int64),
        }
    )
    if ratings:
        level = np.take_along_axis(liking, chosen, 1).ravel()
        log = log.with_columns(rating=pl.Series(np.clip(np.round(level / 2 + 1.5), 1, 5)))
    directory.mkdir(parents=True, exist_ok=True)
    log.write_parquet(directory / "interactions.parquet")
    pl.DataFrame({"item_id": item_ids, "title": [f"Item {n}" for n in range(items)]}).write_parquet(
        directory / "items.parquet"
    )
    features = np.maximum(0, 1 + nature[:, :4] @ rng.normal(size=(4, 20))) + 3  # non-negative, with a common mean
    np.save(directory / "features.npy", features.astype(np.float32))
    if purchases:
        bought = order[:, each : each + 4]
        pl.DataFrame({"user_id": np.repeat(user_ids, 4), "item_id": item_ids[bought.ravel()]}).write_parquet(
            directory / "purchases.parquet"
        )
    return directory
