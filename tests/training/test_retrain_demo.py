"""`make retrain` on a small shop: the loop from a served list back into the next model."""

from pathlib import Path

import pytest

from training.config import read_config
from training.retrain_demo import Judged, retrain, table
from training.shop import ShopConfig

SHOP = ShopConfig(seed=7, items=150, users=200, picture_side=32)


@pytest.mark.timeout(300)
def test_what_people_did_with_served_lists_reaches_the_next_model(tmp_path: Path) -> None:
    """Shop, bundle, service with its own Redis, visits over HTTP, export, a second bundle from more interactions."""
    config = read_config(Path("training/runs/shop.toml"))
    short = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 8})})

    before, after = retrain(tmp_path, SHOP, short)

    assert before.interactions == 200 * SHOP.clicks_per_user
    assert after.interactions > before.interactions + 200
    assert after.purchases > 0.9 * before.purchases > 0
    assert min(before.ndcg, after.ndcg) > 0.15


def test_both_are_shown_beside_each_other() -> None:
    """Names, and figures with the digits that mean something."""
    shown = table(Judged(8000, 150, 3.0, 0.2351, 0.3112), Judged(8496, 150, 1.0, 0.2659, 0.513))

    assert "| interactions         | 8,000  | 8,496  |" in shown
    assert "| NDCG@50 of purchases | 0.2351 | 0.2659 |" in shown
