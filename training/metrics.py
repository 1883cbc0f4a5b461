"""Ranking metrics per user over the whole catalogue, and bootstrap intervals over users."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from causalrec.bundle import Seen
from causalrec.manifest import Interval

Values = NDArray[np.float64]

PART = 10_000_000  # counts multiplied at a time
ENDS = (0.025, 0.975)  # of a 95 % interval, as quantiles of the resamples


@dataclass(frozen=True)
class Relevant:
    """Held-out items by user, and the rows [n] of the users who have any: only those are judged."""

    pairs: Seen
    users: NDArray[np.int64]

    @classmethod
    def of(cls, user: NDArray[np.int64], item: NDArray[np.int64], users: int) -> "Relevant":
        """From pairs of rows in any order."""
        return cls(Seen.of(user, item, users), np.unique(user))

    def matrix(self, users: NDArray[np.int64], items: int) -> Tensor:
        """bool [B, I]: which items are relevant to each of `users`."""
        return mask(self.pairs, users, items)


def mask(pairs: Seen, users: NDArray[np.int64], items: int) -> Tensor:
    """bool [B, I]: which (user, item) pairs of the block are in `pairs`."""
    block = torch.zeros(len(users), items, dtype=torch.bool)
    columns = [pairs.items(int(user)) for user in users]
    rows = np.repeat(np.arange(len(users)), [len(column) for column in columns])
    block[torch.from_numpy(rows), torch.from_numpy(np.concatenate(columns))] = True
    return block


def judge(scores: Tensor, top: Tensor, relevant: Tensor, k: int) -> dict[str, Values]:
    """
    Metrics [B] of one block of users.

    MRR: 1 / the best relevant item's rank in the whole catalogue (ties by row). NDCG@k with binary gains, the ideal
    list holding min(k, relevant) hits. HR@k: whether any relevant item is in the top k. Recall@k: the share that is.

    Args:
        scores: [B, I], −inf where masked.
        top: [B, k] rows of the best, best first.
        relevant: bool [B, I], at least one per row.
    """
    hits = relevant.gather(1, top).double()
    count = relevant.sum(1)
    discount = 1.0 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64))
    ideal = discount.cumsum(0)[count.clamp_max(k) - 1]
    best_score, best_row = scores.masked_fill(~relevant, -torch.inf).max(1)
    above = (scores > best_score[:, None]).sum(1)
    rows = torch.arange(scores.shape[1])
    tied_before = ((scores == best_score[:, None]) & (rows < best_row[:, None])).sum(1)
    reachable = best_score > -torch.inf
    values = {
        "MRR": torch.where(reachable, 1.0 / (1 + above + tied_before).double(), 0.0),
        f"NDCG@{k}": (hits * discount[: top.shape[1]]).sum(1) / ideal,
        f"HR@{k}": hits.amax(1),
        f"Recall@{k}": hits.sum(1) / count,
    }
    return {name: value.numpy() for name, value in values.items()}


def list_metrics(
    seen: Seen, features: Tensor
) -> Callable[[Tensor, Tensor], tuple[dict[str, Values], NDArray[np.int64]]]:
    """
    What is said of the lists themselves, whoever wanted what is in them.

    Args:
        seen: training positives of all users: an item's popularity is the share of users who have it among theirs.
        features: [I, F] centred and scaled.
    Returns: a function of scores [B, I], −inf where masked, and of their top [B, k], which gives per user [B]
        "popularity@k", the mean popularity of the list's items, and "diversity@k", the mean of 1 − cosine over the
        pairs of its pictures' features (0 with fewer than two items; an item without features differs from each by 1);
        and how many of the lists hold each item, [I]. Masked items that fill up a short list count for nothing.
    """
    share = torch.from_numpy(np.bincount(seen.indices, minlength=len(features)) / (len(seen.starts) - 1))
    directions = torch.nn.functional.normalize(features)
    lengths = directions.square().sum(1).double()  # 1, or 0 without features

    def judged(scores: Tensor, top: Tensor) -> tuple[dict[str, Values], NDArray[np.int64]]:
        k = top.shape[1]
        listed = scores.gather(1, top) > -torch.inf
        count = listed.sum(1)
        sums = embedding_bag(top, directions, mode="sum", per_sample_weights=listed.to(directions.dtype)).double()
        cosines = sums.square().sum(1) - (lengths[top] * listed).sum(1)  # of ordered pairs of different items
        pairs = (count * (count - 1)).double()
        values = {
            f"popularity@{k}": (share[top] * listed).sum(1) / count.clamp_min(1),
            f"diversity@{k}": torch.where(pairs > 0, 1.0 - cosines / pairs.clamp_min(1.0), 0.0),
        }
        shown = np.bincount(top[listed].numpy(), minlength=len(features))
        return {name: value.numpy() for name, value in values.items()}, shown

    return judged


class Bootstrap:
    """
    95 % percentile intervals of a mean over users.

    Args:
        resamples: how many.
        seed: the same resamples of users serve every metric, so that differences are paired.
    """

    def __init__(self, resamples: int, seed: int) -> None:
        self._resamples, self._seed = resamples, seed
        self._counts: dict[int, NDArray[np.uint8]] = {}

    def interval(self, values: Values) -> Interval:
        """Mean and 95 % interval of `values` [users]."""
        low, high = np.quantile(self.means(values), ENDS)
        return Interval(mean=float(values.mean()), low=float(low), high=float(high))

    def means(self, values: Values) -> Values:
        """The mean over users of every resample: [resamples] of `values` [users], [resamples, n] of [users, n]."""
        counts = self._drawn(len(values))
        parts = np.array_split(counts, max(1, counts.size // PART))
        means: Values = np.concatenate([part.astype(np.float64) @ values for part in parts]) / len(values)
        return means

    def _drawn(self, users: int) -> NDArray[np.uint8]:
        """How often each user was drawn, [resamples, users], the same for every call with as many users."""
        if users not in self._counts:
            rng = np.random.default_rng([self._seed, users])
            drawn = [rng.multinomial(users, np.full(users, 1.0 / users)) for _ in range(self._resamples)]
            self._counts[users] = np.stack([counts.astype(np.uint8) for counts in drawn])
        return self._counts[users]
