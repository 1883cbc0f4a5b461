"""What several files here need: a simulated shop, made once; a data directory of three users and three items."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.config import DataConfig
from training.data.dataset import Dataset, load_dataset
from training.shop import (
    Shop,
    ShopConfig,
    make_shop,
)
from training.shop.catalogue import Floats, Rows

SMALL = ShopConfig(seed=7, items=300, users=400)
TINY = ShopConfig(seed=3, items=24, users=6, clicks_per_user=5, purchases_per_user=4, picture_side=32)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(SMALL)


def of_rows(scores: Floats, rows: Rows) -> Floats:
    return np.take_along_axis(scores, rows, axis=1)


PAIRS = [(user, item) for user in ("ann", "bob", "cy") for item in ("hat", "shoe", "tie")]
LOG = "user_id,item_id,timestamp,rating\n" + "".join(f"{user},{item},7,4\n" for user, item in PAIRS)
ITEMS = "item_id,title,price,brand\ntie,A tie,9.5,Acme\nhat,A hat,,Acme\nshoe,A shoe,80,Sole\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Items out of order, each with a feature that tells its row in the file: tie 0, hat 1, shoe 2."""
    (tmp_path / "interactions.csv").write_text(LOG)
    (tmp_path / "items.csv").write_text(ITEMS)
    np.save(tmp_path / "features.npy", np.arange(3, dtype=np.float16)[:, None] + np.zeros((3, 4), np.float16))
    return tmp_path


def load(directory: Path, *, skip_bad: bool = False, **config: Any) -> Dataset:
    return load_dataset(directory, DataConfig(**{"k_core": 2} | config), seed=0, skip_bad=skip_bad)
