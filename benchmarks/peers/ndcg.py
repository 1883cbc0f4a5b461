"""NDCG@k and AUC in NumPy alone: what peers in environments of their own are watched by while they train."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]


def mean_ndcg(scores: Floats, seen: tuple[Rows, Rows], held_out: tuple[Rows, Rows], k: int) -> float:
    """
    Mean NDCG@k over the users with held-out items, as `training.metrics.judge` defines it.

    Args:
        scores: [U, I].
        seen: rows of users and items not to be ranked. held_out: rows of users and items that count as hits.
    """
    ranked = np.where(_matrix(seen, scores.shape), -np.inf, scores)
    hits = _matrix(held_out, scores.shape)
    users = np.flatnonzero(hits.any(1))
    ranked, hits = ranked[users], hits[users]
    k = min(k, scores.shape[1])
    some = np.argpartition(-ranked, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(ranked, some, 1), axis=1, kind="stable")
    top = np.take_along_axis(some, order, 1)
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discount)[np.minimum(hits.sum(1), k) - 1]
    return float((np.take_along_axis(hits, top, 1) @ discount / ideal).mean())


def auc(better: Floats, worse: Floats) -> float:
    """Share of pairs [n] in which the held-out item scores above the other; equal scores count half."""
    return float((better > worse).mean() + 0.5 * (better == worse).mean())


def _matrix(pairs: tuple[Rows, Rows], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    there = np.zeros(shape, dtype=bool)
    there[pairs] = True
    return there
