"""
The simulated shop as one answers from it without a trained model: lists at any λ2, and what visits to them bring.

A stand-in for a model that learnt from clicks: score = a·t + √(1 − a²)·ε + (1 − λ2)·p·κ, a = 0.6 of the taste t known,
ε its mistakes, κ the pull that λ2 takes out. So λ2 = 0 is best for clicks, a λ2 inside (0, 1) for purchases.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from training.shop import Shop, ShopConfig, make_shop
from training.shop.traffic import expected_purchases_per_list, simulate_visits, top_lists

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

KNOWN, LENGTH = 0.6, 10
LOW, HIGH, STEP = 0.0, 2.0, 0.02


@dataclass(frozen=True, eq=False)
class Acts:
    """Clicks and purchases of every place of the lists, summed over visits, [n, k] each."""

    clicks: Floats
    purchases: Floats


class World:
    """
    A shop and the lists of every user at every λ2 of a fine grid.

    Args:
        config: of the shop.
        rng: for the stand-in's mistakes.
    """

    def __init__(self, config: ShopConfig, rng: Generator) -> None:
        self.shop: Shop = make_shop(config)
        noise = rng.standard_normal(self.shop.taste.shape)
        self._learnt = KNOWN * self.shop.taste + np.sqrt(1 - KNOWN**2) * noise
        self.users = config.users

    def ranked(self, lambda2: float, mistakes: Floats | float = 0.0) -> Rows:
        """The lists of all users [U, k]; `mistakes` are added to the scores [U, I]."""
        pull = (1 - lambda2) * self.shop.config.pull * self.shop.kappa
        return top_lists(self._learnt + pull + mistakes, LENGTH)

    @cached_property
    def lists(self) -> Rows:
        """[G, U, k]: at every λ2 from LOW to HIGH by STEP."""
        return np.stack([self.ranked(lambda2) for lambda2 in np.arange(LOW, HIGH + STEP / 2, STEP)])

    def served(self, users: Rows, lambda2: Floats) -> Rows:
        """The lists [n, k] of these users at λ2 [n], rounded to the grid."""
        return self.lists[np.rint((lambda2 - LOW) / STEP).astype(np.int64), users]

    def sold(self, lambda2: float) -> float:
        """The truth: expected purchases per visit, the mean over all users."""
        users = np.arange(self.users)
        return float(expected_purchases_per_list(self.shop, users, self.ranked(lambda2)).mean())

    def visited(self, users: Rows, lists: Rows, visits: int, rng: Generator) -> Acts:
        """What `visits` visits of each of the users to its list bring."""
        drawn = [simulate_visits(self.shop, users, lists, rng) for _ in range(visits)]
        clicks, purchases = (sum(getattr(one, name) for one in drawn) for name in ("clicked", "purchased"))
        return Acts(np.asarray(clicks, dtype=np.float64), np.asarray(purchases, dtype=np.float64))
