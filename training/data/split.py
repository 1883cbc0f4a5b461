"""Split: which interactions are learned from, which choose λ2, which give the figures reported."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalrec.errors import ConfigError
from training.config import DataConfig
from training.data.interactions import Interactions

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Rows of the interactions, each in exactly one part, each part rising."""

    train: Rows
    valid: Rows
    test: Rows


def split(interactions: Interactions, config: DataConfig, seed: int) -> Split:
    """
    The parts of `interactions`, as config.split says; none is empty.

    ratio: valid and test are shares of all interactions, drawn at random.
    time: the last test share of each user's interactions, rounded, and before them the valid share; at equal times
        the smaller item row comes first.
    source: test is what the source put there; valid is a share of all interactions drawn from the rest.
    A user left without a training interaction gets back one of the drawn ones (ratio: valid or test, source: valid;
    with time the first interaction always trains), so that only the source can leave a user without.

    Raises: ConfigError where the column needed is absent or has gaps, or a part would be empty.
    """
    rng = np.random.default_rng(seed)
    part = {"ratio": _by_ratio, "time": _by_time, "source": _by_source}[config.split](interactions, config, rng)
    parts = Split(*(np.flatnonzero(part == number) for number in (_TRAIN, _VALID, _TEST)))
    for name in ("train", "valid", "test"):
        if not len(getattr(parts, name)):
            raise ConfigError(
                f'data.split = "{config.split}" with valid = {config.valid}, test = {config.test} leaves nothing '
                f"for {name} of {len(interactions)} interactions; take larger shares or more data"
            )
    return parts


_TRAIN, _VALID, _TEST = 0, 1, 2
_Parts = NDArray[np.int8]


def _by_ratio(interactions: Interactions, config: DataConfig, rng: np.random.Generator) -> _Parts:
    n = len(interactions)
    order = rng.permutation(n)
    part = np.full(n, _TRAIN, dtype=np.int8)
    tests, valids = round(n * config.test), round(n * config.valid)
    part[order[:tests]] = _TEST
    part[order[tests : tests + valids]] = _VALID
    return _each_user_trains(part, order[: tests + valids], interactions.user)


def _by_time(interactions: Interactions, config: DataConfig, _: np.random.Generator) -> _Parts:
    if interactions.timestamp is None:
        raise ConfigError('data.split = "time" needs timestamps, the data has none; use "ratio" or "source"')
    if gaps := int(np.isnan(interactions.timestamp).sum()):
        raise ConfigError(
            f'data.split = "time": {gaps} of {len(interactions)} interactions have no timestamp; '
            'add them, or use "ratio" or "source"'
        )
    order = np.lexsort((interactions.item, interactions.timestamp, interactions.user))
    counts = np.bincount(interactions.user)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    first_test = np.maximum(np.rint(counts * (1.0 - config.test)), 1)
    first_valid = np.maximum(np.rint(counts * (1.0 - config.test - config.valid)), 1)
    part = np.full(len(order), _TRAIN, dtype=np.int8)
    part[order[place >= np.repeat(first_valid, counts)]] = _VALID
    part[order[place >= np.repeat(first_test, counts)]] = _TEST
    return part


def _by_source(interactions: Interactions, config: DataConfig, rng: np.random.Generator) -> _Parts:
    if interactions.source_train is None:
        raise ConfigError('data.split = "source" needs the column source_split; add it, or use "ratio" or "time"')
    part = np.where(interactions.source_train, _TRAIN, _TEST).astype(np.int8)
    drawn = rng.permutation(np.flatnonzero(interactions.source_train))[: round(len(part) * config.valid)]
    part[drawn] = _VALID
    return _each_user_trains(part, drawn, interactions.user)


def _each_user_trains(part: _Parts, drawn: Rows, user: Rows) -> _Parts:
    """Gives back to training the first `drawn` interaction of every user who has none there."""
    trained = np.zeros(user.max(initial=-1) + 1, dtype=np.bool_)
    trained[user[part == _TRAIN]] = True
    bare = drawn[~trained[user[drawn]]]
    _, first = np.unique(user[bare], return_index=True)
    part[bare[first]] = _TRAIN
    return part
