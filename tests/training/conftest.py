"""What several files here need: a simulated shop, made once."""

import numpy as np
import pytest

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
