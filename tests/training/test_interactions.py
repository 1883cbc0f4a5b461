"""The k-core against a naive loop, and the shapes of interactions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalrec.errors import ShapeError
from training.data.interactions import Interactions, k_core

Pairs = list[tuple[int, int]]


def naive_core(pairs: Pairs, k: int) -> Pairs:
    """One offender at a time, counted anew after each."""
    pairs = list(pairs)
    while True:
        users, items = [user for user, _ in pairs], [item for _, item in pairs]
        for user, item in pairs:
            if users.count(user) < k:
                pairs = [pair for pair in pairs if pair[0] != user]
                break
            if items.count(item) < k:
                pairs = [pair for pair in pairs if pair[1] != item]
                break
        else:
            return pairs


@given(st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=45), st.integers(0, 5))
def test_the_core_is_the_naive_loops(pairs: set[tuple[int, int]], k: int) -> None:
    """Dropping many at once ends where dropping one at a time ends."""
    rows = sorted(pairs)
    user, item = np.array(rows, dtype=np.int64).reshape(-1, 2).T

    mask = k_core(user, item, k)

    assert [pair for pair, stays in zip(rows, mask, strict=True) if stays] == naive_core(rows, k)


def test_dropping_an_item_drops_the_users_who_needed_it() -> None:
    """A chain falls link by link: the first user's leaving takes all others along."""
    user, item = np.array([0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 2])

    assert not k_core(user, item, 2).any()
    assert k_core(user, item, 1).all()


def test_columns_of_different_length_are_refused() -> None:
    """The message holds both shapes."""
    with pytest.raises(ShapeError, match=r"user is \(2,\), rating is \(3,\)"):
        Interactions(np.zeros(2, np.int64), np.zeros(2, np.int64), None, np.zeros(3), None)
