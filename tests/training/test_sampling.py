"""Triples: every interaction once, negatives that are none of the user's, the same for the same seed."""

import numpy as np
import pytest

from causalrec.errors import DataError
from training.sampling import Sampler

USER = np.array([0, 0, 0, 1, 1, 2], dtype=np.int64)
ITEM = np.array([0, 1, 2, 2, 3, 4], dtype=np.int64)


def test_every_interaction_comes_once_with_a_true_negative() -> None:
    """An epoch is a permutation of the interactions; no negative is a positive of its user or an untrained item."""
    sampler = Sampler(USER, ITEM, items=9, seed=0)
    positives = set(zip(USER.tolist(), ITEM.tolist(), strict=True))

    for number in range(50):
        epoch = sampler.epoch(number)
        assert sorted(zip(epoch.user.tolist(), epoch.positive.tolist(), strict=True)) == sorted(positives)
        assert not positives & set(zip(epoch.user.tolist(), epoch.negative.tolist(), strict=True))
        assert set(epoch.negative.tolist()) <= {0, 1, 2, 3, 4}


def test_negatives_are_uniform_over_what_the_user_lacks() -> None:
    """User 2 has only item 4: each of the other four is drawn about a quarter of the time."""
    sampler = Sampler(USER, ITEM, items=9, seed=0)

    drawn = np.concatenate([epoch.negative[epoch.user == 2] for epoch in map(sampler.epoch, range(2000))])

    shares = np.bincount(drawn, minlength=5) / len(drawn)
    np.testing.assert_allclose(shares, [0.25, 0.25, 0.25, 0.25, 0], atol=0.04)


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    """Epoch 3 is the same whether or not epochs 0 to 2 were drawn before; another seed gives another."""
    drawn = Sampler(USER, ITEM, items=9, seed=5)
    for number in range(3):
        drawn.epoch(number)

    fresh = Sampler(USER, ITEM, items=9, seed=5).epoch(3)

    assert np.array_equal(drawn.epoch(3).negative, fresh.negative)
    assert np.array_equal(drawn.epoch(3).user, fresh.user)
    assert not np.array_equal(Sampler(USER, ITEM, items=9, seed=6).epoch(3).user, fresh.user)


def test_a_user_with_every_item_is_left_out() -> None:
    """There is no negative for such a user; when all are such, there is nothing to train on."""
    everything = np.array([0, 0, 1], dtype=np.int64), np.array([0, 1, 1], dtype=np.int64)

    assert len(Sampler(*everything, items=2, seed=0)) == 1
    with pytest.raises(DataError, match="nothing to train on"):
        Sampler(everything[0][:2], everything[1][:2], items=2, seed=0)
