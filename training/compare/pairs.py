"""
How two rankings differ, user by user: intervals, a test, and what is left of it when many are compared.

The unit is the user. Each is judged under several seeds, and a seed has its own split and its own trained models: a
user's value is the average over the seeds that judged them, and a difference is taken within a seed. Intervals and test
say what other users would change, given these trained models; what another training would change is seen from seed to
seed, so that a difference is believed only if every seed shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalrec.errors import DataError
from causalrec.manifest import Interval
from training.metrics import ENDS, Bootstrap, Values

Rows = NDArray[np.int64]
Sample = dict[int, tuple[Rows, Values]]  # seed → the users' rows [U] and their values [U] or [U, n]

FLIPS = 9_999
AT_ONCE = 512  # flips held in memory


@dataclass(frozen=True)
class Difference:
    """a − b over the users both were judged on."""

    users: int
    mean_a: float
    mean_b: float
    difference: Interval
    relative: Interval | None
    """a / b − 1; None where a resample's b is zero."""
    seeds: dict[int, float]
    """The mean difference of each seed alone."""
    by_user: Values
    """[users], averaged over the seeds."""


def average(sample: Sample) -> tuple[Rows, Values]:
    """Users [U], rising, and each one's average over the seeds that judged them, [U] or [U, n]."""
    values = np.concatenate([found for _, found in sample.values()])
    users, place = np.unique(np.concatenate([rows for rows, _ in sample.values()]), return_inverse=True)
    sums = np.zeros((len(users), *values.shape[1:]))
    np.add.at(sums, place, values)
    return users, sums / np.bincount(place).reshape(-1, *[1] * (values.ndim - 1))


def difference(a: Sample, b: Sample, bootstrap: Bootstrap) -> Difference | None:
    """
    a − b over the seeds that both have, with 95 % paired bootstrap intervals over users; None if they share no seed.

    Raises: DataError when a seed's users differ: the two were judged on other splits.
    """
    common = sorted(a.keys() & b.keys())
    if not common:
        return None
    for seed in common:
        if not np.array_equal(a[seed][0], b[seed][0]):
            raise DataError(
                f"seed {seed}: two models were judged on different users; remove their cells, compare again"
            )
    _, mine = average({seed: a[seed] for seed in common})
    users, theirs = average({seed: b[seed] for seed in common})
    means = bootstrap.means(np.stack([mine, theirs], 1))
    low, high = np.quantile(means[:, 0] - means[:, 1], ENDS)
    return Difference(
        users=len(users),
        mean_a=float(mine.mean()),
        mean_b=float(theirs.mean()),
        difference=Interval(mean=float((mine - theirs).mean()), low=float(low), high=float(high)),
        relative=relative(means[:, 0], means[:, 1], float(mine.mean()), float(theirs.mean())),
        seeds={seed: float((a[seed][1] - b[seed][1]).mean()) for seed in common},
        by_user=mine - theirs,
    )


def relative(resampled_a: Values, resampled_b: Values, mean_a: float, mean_b: float) -> Interval | None:
    """a / b − 1 with its interval from paired resamples [R]; None where a resample's b is not above zero."""
    if resampled_b.min() <= 0:
        return None
    low, high = np.quantile(resampled_a / resampled_b - 1, ENDS)
    return Interval(mean=mean_a / mean_b - 1, low=float(low), high=float(high))


def sign_flip(differences: Sequence[Values], seed: int, flips: int = FLIPS) -> list[float]:
    """
    Two-sided p-values of the paired randomisation test: how often a mean is as far from zero by chance.

    If two rankings serve users equally well, either could have been called the first for each user: the signs of the
    differences are flipped at random. It tests the mean, which is what is reported, where Wilcoxon's signed ranks test
    another quantity. Source: Fisher 1935; Smucker, Allan and Carterette 2007 for rankings.

    Args:
        differences: per comparison, one value per user [U]; the lengths may differ.
    Returns: per comparison (1 + as extreme) / (1 + flips), so that none is below 1 / (1 + flips).
    """
    found = [1.0] * len(differences)
    for users in sorted({len(values) for values in differences}):
        places = [place for place, values in enumerate(differences) if len(values) == users]
        columns = np.stack([differences[place] for place in places], 1)
        rng = np.random.default_rng([seed, users])
        bound = np.abs(columns.sum(0)) * (1 - 1e-9)  # equal sums stay equal in whatever order they are added
        extreme = np.zeros(len(places), np.int64)
        for start in range(0, flips, AT_ONCE):
            signs = rng.integers(0, 2, (min(AT_ONCE, flips - start), users), np.int8) * 2.0 - 1.0
            extreme += (np.abs(signs @ columns) >= bound).sum(0)
        for place, count in zip(places, extreme.tolist(), strict=True):
            found[place] = (1 + count) / (1 + flips)
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979): those ≤ α are wrong about any true zero among them with probability ≤ α."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(order) else scaled
    return [float(p) for p in adjusted]
