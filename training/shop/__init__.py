"""
The simulated shop: a small world with a known truth.

    garments.py    silhouettes
    pictures.py    what an item shows → its product picture
    catalogue.py   items: shown and hidden attributes
    world.py       users, clicks, purchases: make_shop
    traffic.py     what served lists bring: expected, drawn; the true best λ2; oracles
    files.py       a shop on disk: write_shop, read_shop
"""

from training.shop.catalogue import Items
from training.shop.files import fingerprint, read_shop, write_shop
from training.shop.pictures import Look, draw_picture
from training.shop.traffic import (
    GRID,
    TrueBest,
    Visits,
    expected_clicks_per_list,
    expected_purchases_per_list,
    expected_revenue_per_list,
    oracle_scores,
    simulate_visits,
    top_lists,
    true_best_lambda2,
)
from training.shop.world import Shop, ShopConfig, make_shop

__all__ = [
    "GRID",
    "Items",
    "Look",
    "Shop",
    "ShopConfig",
    "TrueBest",
    "Visits",
    "draw_picture",
    "expected_clicks_per_list",
    "expected_purchases_per_list",
    "expected_revenue_per_list",
    "fingerprint",
    "make_shop",
    "oracle_scores",
    "read_shop",
    "simulate_visits",
    "top_lists",
    "true_best_lambda2",
    "write_shop",
]
