"""A batch of queries as the flat arrays that kernels read, and what kernels find."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec.topk import Query, Rows

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

LONG = 2048  # excluded rows


class Questions(NamedTuple):
    """
    Users and, for each, a probe per λ2; in the order of the kernels' arguments.

    vectors [U, 2, width]: of the match, of the notice. nulls [U]. probes [U + 1]: user u's begin at probes[u].
    lambda2, least, margin, k [P]: a probe keeps every item that scores at least `least` and is within `margin` of its
    k-th best. starts [U + 1], excluded: user u's excluded rows, sorted, are excluded[starts[u] : starts[u + 1]].
    """

    vectors: Floats
    nulls: Floats
    probes: Longs
    lambda2: Floats
    least: Floats
    margin: Floats
    k: Longs
    starts: Longs
    excluded: Longs


class Hits(NamedTuple):
    """What the probes kept, in no order: counts [P], then rows and float32 scores, probe after probe."""

    counts: Longs
    rows: Rows
    scores: Floats

    def per_probe(self) -> list[tuple[Rows, Floats]]:
        """Rows and scores of each probe."""
        ends = np.cumsum(self.counts)[:-1]
        return list(zip(np.split(self.rows, ends), np.split(self.scores, ends), strict=True))


def user_vectors(queries: Sequence[Query], width: int) -> tuple[Floats, Floats]:
    """γᵤ and θᵤ [U, 2, width], filled up with ones (what an item's bias is multiplied by), and nulls [U]."""
    vectors = np.ones((len(queries), 2, width), dtype=np.float32)
    dim = len(queries[0].user.gamma) if queries else width
    for half, part in ((0, "gamma"), (1, "theta")):
        vectors[:, half, :dim] = torch.stack([getattr(query.user, part).float() for query in queries]).numpy()
    return vectors, np.array([float(query.user.null) for query in queries], dtype=np.float32)


def ask(
    queries: Sequence[Query],
    vectors: Floats,
    nulls: Floats,
    items: int,
    least: NDArray[np.float64],
    margin: NDArray[np.float64],
) -> Questions:
    """
    The queries, flat.

    Args:
        vectors, nulls: of `user_vectors`.
        items: how many there are; a query that wants more than are eligible gets all of those.
        least, margin: [P], one per λ2 of each query; both are rounded to the safe side.
    """
    probes = np.cumsum([0, *(len(query.lambda2) for query in queries)])
    wanted = [min(query.k, items - len(query.excluded)) for query in queries]
    excluded = [_rising(query.excluded) for query in queries]
    return Questions(
        vectors,
        nulls,
        probes,
        np.array([value for query in queries for value in query.lambda2], dtype=np.float32),
        np.nextafter(least.astype(np.float32), np.float32(-np.inf)),
        np.nextafter(margin.astype(np.float32), np.float32(np.inf)),
        np.repeat(np.array(wanted, dtype=np.int64), np.diff(probes)),
        np.cumsum([0, *(len(rows) for rows in excluded)]),
        np.concatenate([*excluded, np.empty(0, dtype=np.int64)]),
    )


def _rising(rows: Rows) -> Rows:
    """Sorted rows. Long arrays nearly always are already, and seeing that costs a fraction of sorting them."""
    return rows if len(rows) > LONG and bool((rows[1:] > rows[:-1]).all()) else np.sort(rows)
