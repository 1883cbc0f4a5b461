"""Triples (user, positive, negative) for pairwise training, an epoch at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalrec.errors import DataError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training interactions in random order; the three arrays are aligned [n]."""

    user: Rows
    positive: Rows
    negative: Rows


class Sampler:
    """
    Draws epochs: every training interaction once, with one negative uniform over the trained items the user lacks.

    Args:
        user, item: training interactions [n], as rows.
        items: size of the catalogue.
        seed: with an epoch's number it determines that epoch, whatever was drawn before.
    Raises: DataError when no user has an item to serve as negative.
    """

    def __init__(self, user: Rows, item: Rows, items: int, seed: int) -> None:
        self._trained = np.unique(item)
        self._items = items
        self._seed = seed
        self._keys = np.unique(user * items + item)
        owned = np.bincount(self._keys // items)
        kept = owned[user] < len(self._trained)
        if not kept.any():
            raise DataError("every user has every item: there is nothing to tell apart, so nothing to train on")
        self._user, self._item = user[kept], item[kept]

    def __len__(self) -> int:
        return len(self._user)

    def epoch(self, number: int) -> Epoch:
        """The epoch `number`, from 0: the same for the same seed."""
        rng = np.random.default_rng([self._seed, number])
        order = rng.permutation(len(self._user))
        user, positive = self._user[order], self._item[order]
        negative = rng.choice(self._trained, len(user))
        taken = np.flatnonzero(self._is_positive(user, negative))
        while len(taken):
            negative[taken] = rng.choice(self._trained, len(taken))
            taken = taken[self._is_positive(user[taken], negative[taken])]
        return Epoch(user, positive, negative)

    def _is_positive(self, user: Rows, item: Rows) -> NDArray[np.bool_]:
        keys = user * self._items + item
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        positive: NDArray[np.bool_] = self._keys[place] == keys
        return positive
