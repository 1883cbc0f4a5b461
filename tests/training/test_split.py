"""The three ways to split, on logs small enough to check by hand and on random ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalrec.errors import ConfigError
from training.config import DataConfig
from training.data.interactions import Interactions
from training.data.split import Split, split


def log(user: list[int], *, timestamp: list[float] | None = None, train: list[bool] | None = None) -> Interactions:
    """An interaction per entry of `user` (rising), each with an item of its own."""
    return Interactions(
        user=np.array(user, dtype=np.int64),
        item=np.arange(len(user), dtype=np.int64),
        timestamp=None if timestamp is None else np.array(timestamp, dtype=np.float64),
        rating=None,
        source_train=None if train is None else np.array(train),
    )


def shop(users: int, each: int) -> Interactions:
    """`users` with `each` interactions, the later the larger the item; the source's test is the last of each user."""
    user = [u for u in range(users) for _ in range(each)]
    return log(
        user,
        timestamp=[float(n % each) for n in range(len(user))],
        train=[n % each < each - 1 for n in range(len(user))],
    )


def parts_of(parts: Split) -> list[int]:
    return sorted([*parts.train.tolist(), *parts.valid.tolist(), *parts.test.tolist()])


@pytest.mark.parametrize("way", ["ratio", "time", "source"])
@given(users=st.integers(10, 40), each=st.integers(5, 12), seed=st.integers(0, 9))
def test_every_interaction_is_in_exactly_one_part(way: str, users: int, each: int, seed: int) -> None:
    """The parts cover the log without overlap, and every user has something to learn from."""
    interactions = shop(users, each)

    parts = split(interactions, DataConfig(split=way, valid=0.2, test=0.2), seed)

    assert parts_of(parts) == list(range(len(interactions)))
    assert set(interactions.user[parts.train]) == set(range(users))


def test_ratio_takes_the_shares_asked_for() -> None:
    """Of 1,000 interactions 10 % and 20 % are held out."""
    parts = split(shop(10, 100), DataConfig(valid=0.1, test=0.2), 0)

    assert (len(parts.train), len(parts.valid), len(parts.test)) == (700, 100, 200)


def test_ratio_draws_from_the_whole_log() -> None:
    """At random over all interactions: users differ in how many of theirs are test, and no end of the log is spared."""
    interactions = shop(100, 10)

    parts = split(interactions, DataConfig(), 0)

    assert len(set(np.bincount(interactions.user[parts.test], minlength=100))) > 2
    assert parts.test.min() < 100
    assert parts.test.max() >= 900


def test_ratio_gives_every_user_something_to_learn_from() -> None:
    """Users with one interaction keep it for training, however the dice fall."""
    interactions = log([*range(50), *[50] * 50])

    parts = split(interactions, DataConfig(valid=0.4, test=0.5), 0)

    assert set(interactions.user[parts.train]) == set(range(51))


@pytest.mark.parametrize("way", ["ratio", "source"])
def test_the_seed_decides(way: str) -> None:
    """The same seed gives the same parts, another seed others."""
    interactions, config = shop(20, 10), DataConfig(split=way)

    first, again, other = (split(interactions, config, seed).valid for seed in (1, 1, 2))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_time_holds_out_each_users_last() -> None:
    """By the clock, not by the place in the file: ten interactions, the latest is test, the one before validation."""
    interactions = log([0] * 10 + [1] * 10, timestamp=[*range(10, 0, -1), *range(100, 110)])

    parts = split(interactions, DataConfig(split="time"), 0)

    assert parts.test.tolist() == [0, 19]
    assert parts.valid.tolist() == [1, 18]


def test_time_breaks_ties_by_item() -> None:
    """Interactions of the same second count in the order of item rows."""
    interactions = Interactions(np.zeros(5, np.int64), np.array([4, 2, 0, 3, 1]), np.full(5, 7.0), None, None)

    parts = split(interactions, DataConfig(split="time", valid=0.2, test=0.2), 0)

    assert interactions.item[parts.test].tolist() == [4]
    assert interactions.item[parts.valid].tolist() == [3]


def test_time_leaves_one_to_learn_from() -> None:
    """Even where nearly everything is held out, a user's first interaction trains."""
    parts = split(shop(3, 3), DataConfig(split="time", valid=0.4, test=0.5), 0)

    assert parts.train.tolist() == [0, 3, 6]


def test_time_does_not_test_on_users_of_one_interaction() -> None:
    """Who has a single interaction has it in training, whatever the shares."""
    interactions = log([*[0] * 10, 1], timestamp=[*range(10), 0])

    parts = split(interactions, DataConfig(split="time", valid=0.2, test=0.7), 0)

    assert 10 in parts.train


def test_source_keeps_the_sources_test_part() -> None:
    """Test is exactly what the source says; validation comes out of its training part."""
    interactions = shop(20, 10)

    parts = split(interactions, DataConfig(split="source"), 0)

    assert parts.test.tolist() == list(range(9, 200, 10))
    assert len(parts.valid) == 20


@pytest.mark.parametrize(
    ("interactions", "way", "message"),
    [
        (log([0, 0, 0]), "time", 'needs timestamps.*use "ratio"'),
        (log([0, 0, 0], timestamp=[1, float("nan"), 2]), "time", "1 of 3 interactions have no timestamp"),
        (log([0, 0, 0]), "source", "needs the column source_split"),
        (log([0, 0, 0]), "ratio", "leaves nothing for valid of 3 interactions"),
        (log([0] * 20, train=[True] * 20), "source", "leaves nothing for test"),
        (log([0] * 20, train=[False] * 20), "source", "leaves nothing for train"),
    ],
)
def test_what_cannot_be_split_says_why(interactions: Interactions, way: str, message: str) -> None:
    """A split that the data does not allow names what is missing and the way out."""
    with pytest.raises(ConfigError, match=message):
        split(interactions, DataConfig(split=way), 0)
