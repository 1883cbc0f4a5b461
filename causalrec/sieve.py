"""The exact top k from 8-bit codes: a λ2-aware inner product per item, and a certificate for what it leaves out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec import equations, tangent
from causalrec.kernels import compiled
from causalrec.kernels.codes import SAFE, encode_planes, encode_users
from causalrec.kernels.fused import FusedScan
from causalrec.kernels.questions import Floats, Hits, ask, user_vectors
from causalrec.topk import DECIMALS, Query, Rows, held
from causalrec.weights import Weights

SAMPLE = 8192  # items of the fixed sample that guesses where a user's top lies
TOUCHED = 32  # best items of the sample at whose mean the tangent touches

Users = tuple[Floats, Floats]  # of `user_vectors`


class Sifted(NamedTuple):
    """What one probe leaves: a superset of its top k, and how many items were scored for it."""

    rows: Rows
    scored: int


class Planes(NamedTuple):
    """
    Per probe: weights [P, 3] of the logits; offsets [P], by which log τ (paper) or τ (additive) is smaller than the
    product of what scores τ; taus [P], scores that the k-th best is sure to reach, −inf where nothing can be proved.
    """

    weights: tangent.Doubles
    offsets: tangent.Doubles
    taus: tangent.Doubles

    def take(self, chosen: NDArray[np.bool_]) -> "Planes":
        """Those of the probes `chosen`."""
        return Planes(*(part[chosen] for part in self))


class Sieve:
    """
    Every item's codes, for the paper's and the additive form, whose certificate is one number per score to beat.

    A sample gives each probe a score to beat and the tangent of log y (`causalrec.tangent`). The kernel then goes over
    the codes, scores in float32 whatever the tangent cannot rule out, and raises the score to beat as it finds better.

    Args:
        fused: the model's fused scan, for its error bound.
    """

    def __init__(self, weights: Weights, fused: FusedScan) -> None:
        self._weights = weights
        self._fused = fused
        count = len(weights.gamma_i)
        self._codes = compiled.encode(fused.blocks, weights)
        chosen = np.random.default_rng(0).permutation(count)[:SAMPLE]
        self._sample: Rows = np.sort(chosen).astype(np.int64)
        self._sampled = FusedScan(weights.form, weights.items.take(torch.from_numpy(self._sample)), fused.kernel)

    @staticmethod
    def fits(weights: Weights, fused: FusedScan) -> bool:
        """Whether there is a sieve for this model: paper or additive, no biases, the compiled kernel."""
        biased = weights.beta is not None or weights.visual_bias is not None
        return weights.form in ("paper", "additive") and not biased and fused.kernel == "native"

    @property
    def bytes(self) -> int:
        """Memory the codes take."""
        return sum(array.nbytes for array in self._codes[:4])

    def sift(self, queries: Sequence[Query]) -> list[Sifted | None]:
        """
        One per λ2 of each query. None where there is no certificate, because too few of the sample score above 0, or
        where the codes rule out so little that a scan is cheaper.
        """
        if not queries:
            return []
        users = user_vectors(queries, self._fused.width)
        planes = self._planes(queries, users)
        proved = planes.taus > -np.inf
        if proved.all():
            return self._sift(queries, users, planes)
        flags = iter(proved.tolist())
        kept = [replace(query, lambda2=tuple(value for value in query.lambda2 if next(flags))) for query in queries]
        asked = [number for number, query in enumerate(kept) if query.lambda2]
        if not asked:
            return [None] * len(proved)
        vectors, nulls = users
        chosen = [kept[number] for number in asked]
        found = iter(self._sift(chosen, (vectors[asked], nulls[asked]), planes.take(proved)))
        return [next(found) if each else None for each in proved.tolist()]

    def _planes(self, queries: Sequence[Query], users: Users) -> Planes:
        """One per λ2 of each query, from the fused scan of the sample."""
        positions = self._positions([query.excluded for query in queries])
        guesses = [Query(q.user, q.lambda2, q.k, rows) for q, rows in zip(queries, positions, strict=True)]
        hits, error = self._sampled.hits(guesses, users=users)
        counts = [len(query.lambda2) for query in queries]
        owner = np.repeat(np.arange(len(queries)), counts)
        k = np.array([query.k for query in queries])[owner]
        lambda2 = np.array([value for query in queries for value in query.lambda2])
        sampled, scores = _best_first(hits)
        probe = np.arange(len(owner))
        enough = hits.counts >= np.maximum(k, 1)
        taus = np.where(enough, scores[probe, np.clip(k, 1, scores.shape[1]) - 1].astype(np.float64) - error, -np.inf)
        touched = np.clip(np.minimum(k, hits.counts), 1, TOUCHED)
        best = sampled[probe[:, None], np.arange(TOUCHED) % touched[:, None]]
        if self._weights.form == "additive":
            ones = np.ones(len(owner))
            return Planes(np.stack([ones, ones, 1 - lambda2], 1), np.zeros(len(owner)), taus)
        removed = lambda2 * np.array([float(query.user.null) for query in queries])[owner]  # float64: it is a proof
        weights, offsets = tangent.tangents(self._points(users[0][owner], best), removed)
        return Planes(weights, offsets, np.where((taus > 0) & (offsets > -np.inf), taus, -np.inf))

    def _points(self, vectors: Floats, best: Rows) -> tangent.Doubles:
        """The mean logits [P, 3] of each probe's best [P, TOUCHED] of the sample; vectors [P, 2, d]."""
        users = torch.from_numpy(vectors)
        items = self._weights.items.take(torch.from_numpy(self._sample[best]))
        terms = equations.pair_terms(users[:, None, 0], users[:, None, 1], items)
        points: tangent.Doubles = torch.stack([term.mean(1) for term in terms], 1).double().numpy()
        return points

    def _sift(self, asked: Sequence[Query], users: Users, planes: Planes) -> list[Sifted | None]:
        weights = self._weights
        paper = weights.form == "paper"
        vectors, nulls = users
        error = self._fused.error(asked, vectors, nulls)
        questions = ask(asked, vectors, nulls, len(weights.gamma_i), planes.taus - 2 * error, 2 * error)
        match, notice = vectors[:, 0], vectors[:, 1]
        coded_users = encode_users([match, match, notice] if paper else [match, notice], self._codes)
        owner = np.repeat(np.arange(len(asked)), np.diff(questions.probes))
        coded = encode_planes(planes.weights if paper else planes.weights[:, [0, 2]], coded_users, owner)
        slack = SAFE * (coded.norms * self._codes.longest + np.abs(planes.offsets) + 1) + 10.0**-DECIMALS
        hits, scored = compiled.sift(self._codes, weights, questions, coded_users, coded, planes.offsets - slack)
        return [
            Sifted(rows, count) if count >= 0 else None
            for (rows, _), count in zip(hits.per_probe(), scored[owner].tolist(), strict=True)
        ]

    def _positions(self, excluded: Sequence[Rows]) -> list[Rows]:
        """Where in the sample those of each query's excluded rows are that it holds."""
        if max(map(len, excluded)) > len(self._sample) // 8:
            items = len(self._weights.gamma_i)
            return [np.flatnonzero(held(self._sample, rows, items)).astype(np.int64) for rows in excluded]
        rows = np.concatenate(excluded)
        places = np.minimum(np.searchsorted(self._sample, rows), len(self._sample) - 1)
        there = self._sample[places] == rows
        before = np.concatenate([[0], np.cumsum(there)])
        ends = before[np.cumsum([len(each) for each in excluded])]
        return np.split(places[there], ends[:-1])


def _best_first(hits: Hits) -> tuple[Rows, Floats]:
    """What each probe kept as a row of [P, most], best first: rows and scores, −inf behind the last."""
    table = np.full((len(hits.counts), max(1, int(hits.counts.max()))), -np.inf, dtype=np.float32)
    rows = np.zeros(table.shape, dtype=np.int64)
    there = np.arange(table.shape[1]) < hits.counts[:, None]
    table[there], rows[there] = hits.scores, hits.rows
    order = np.argsort(-table, axis=1)
    return np.take_along_axis(rows, order, 1), np.take_along_axis(table, order, 1)
