"""The exact top k from 8-bit codes: a λ2-aware inner product per item, and a certificate for what it leaves out."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from causalrec import equations, tangent
from causalrec.equations import Terms
from causalrec.kernels import compiled
from causalrec.kernels.codes import SAFE, encode_items, encode_planes, encode_users
from causalrec.kernels.fused import FusedScan
from causalrec.kernels.questions import Floats, ask, user_vectors
from causalrec.topk import DECIMALS, Query, Rows
from causalrec.weights import Weights

SAMPLE = 8192  # items of the fixed sample that guesses where a user's top lies
TOUCHED = 32  # best items of the sample at whose mean the tangent touches
NOTHING = torch.empty(0)
NO_CLOUD = Terms(NOTHING, NOTHING, NOTHING)  # only the authors' form looks at it


class Sifted(NamedTuple):
    """What one probe leaves: a superset of its top k, and how many items were scored for it."""

    rows: Rows
    scored: int


class Plane(NamedTuple):
    """A bound on the score of one probe, and a score that its k-th best is sure to reach."""

    bound: tangent.Bound
    tau: float


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
        self._codes = encode_items(self._parts, count)
        chosen = np.random.default_rng(0).permutation(count)[:SAMPLE]
        self._sample: Rows = np.sort(chosen).astype(np.int64)
        self._sampled = FusedScan(weights.form, weights.items.take(torch.from_numpy(self._sample)), fused.kernel)

    @staticmethod
    def fits(weights: Weights, fused: FusedScan) -> bool:
        """Whether there is a sieve for this model: not the authors' form, no biases, the compiled kernel."""
        biased = weights.beta is not None or weights.visual_bias is not None
        return weights.form != "authors" and not biased and fused.kernel == "native"

    @property
    def bytes(self) -> int:
        """Memory the codes take."""
        return sum(array.nbytes for array in self._codes[:4])

    def sift(self, queries: Sequence[Query]) -> list[Sifted | None]:
        """
        One per λ2 of each query. None where there is no certificate, because too few of the sample score above 0, or
        where the codes rule out so little that a scan is cheaper.
        """
        planes = iter(self._planes(queries))
        own = [[next(planes) for _ in query.lambda2] for query in queries]
        asked, kept = [], []
        for query, theirs in zip(queries, own, strict=True):
            if proved := [(lambda2, p) for lambda2, p in zip(query.lambda2, theirs, strict=True) if p is not None]:
                asked.append(Query(query.user, tuple(lambda2 for lambda2, _ in proved), query.k, query.excluded))
                kept += [plane for _, plane in proved]
        found = iter(self._sift(asked, kept) if asked else [])
        return [None if plane is None else next(found) for theirs in own for plane in theirs]

    def _planes(self, queries: Sequence[Query]) -> list[Plane | None]:
        """One per λ2 of each query, from the fused scan of the sample."""
        guesses = [Query(q.user, q.lambda2, q.k, self._positions(q.excluded)) for q in queries]
        hits, error = self._sampled.hits(guesses)
        probes = [(query, lambda2) for query in queries for lambda2 in query.lambda2]
        best = np.zeros((len(probes), TOUCHED), dtype=np.int64)
        taus = np.full(len(probes), -np.inf)
        for number, ((query, _), (positions, scores)) in enumerate(zip(probes, hits.per_probe(), strict=True)):
            if len(positions) >= max(query.k, 1):
                order = np.argsort(-scores)
                best[number] = np.resize(positions[order[: min(query.k, TOUCHED)]], TOUCHED)
                taus[number] = float(scores[order[query.k - 1]]) - error[number]
        points = self._points(probes, best)
        return [
            self._plane(query, lambda2, point, tau)
            for (query, lambda2), point, tau in zip(probes, points, taus.tolist(), strict=True)
        ]

    def _plane(self, query: Query, lambda2: float, point: tangent.Point, tau: float) -> Plane | None:
        form = self._weights.form
        if tau == -np.inf or (tau <= 0 and form == "paper"):
            return None
        bound = tangent.bound(form, point, tau, float(query.user.null), lambda2, (0.0, 0.0), NO_CLOUD)
        return None if bound.threshold(1.0) == -np.inf else Plane(bound, tau)

    def _points(self, probes: Sequence[tuple[Query, float]], best: Rows) -> list[tangent.Point]:
        """The mean logits of each probe's best [P, TOUCHED] of the sample."""
        gamma, theta = (torch.stack([getattr(q.user, part).float() for q, _ in probes]) for part in ("gamma", "theta"))
        items = self._weights.items.take(torch.from_numpy(self._sample[best]))
        terms = equations.pair_terms(gamma[:, None], theta[:, None], items)
        return [tangent.Point(a, b, n) for a, b, n in torch.stack([t.mean(1) for t in terms], 1).tolist()]

    def _sift(self, asked: Sequence[Query], planes: Sequence[Plane]) -> list[Sifted | None]:
        weights = self._weights
        paper = weights.form == "paper"
        vectors, nulls = user_vectors(asked, self._fused.width)
        error = self._fused.error(asked, vectors, nulls)
        taus = np.array([plane.tau for plane in planes])
        questions = ask(asked, vectors, nulls, len(weights.gamma_i), taus - 2 * error, 2 * error)
        match, notice = vectors[:, 0], vectors[:, 1]
        users = encode_users([match, match, notice] if paper else [match, notice], self._codes)
        slopes = np.array([plane.bound.weights for plane in planes])
        owner = np.repeat(np.arange(len(asked)), np.diff(questions.probes))
        coded = encode_planes(slopes if paper else slopes[:, [0, 2]], users, owner)
        one = 1.0 if paper else 0.0  # a score that adds nothing to the offset: log 1, or 0
        offsets = np.array([plane.bound.threshold(one) for plane in planes])
        slack = SAFE * (coded.norms * self._codes.longest + np.abs(offsets) + 1) + 10.0**-DECIMALS
        hits, scored = compiled.sift(self._codes, weights, questions, users, coded, offsets - slack)
        return [
            Sifted(rows, count) if count >= 0 else None
            for (rows, _), count in zip(hits.per_probe(), scored[owner].tolist(), strict=True)
        ]

    def _parts(self, start: int, stop: int) -> list[Floats]:
        """What users' match, visual match and notice are multiplied by: [γ, γ∘e_match, e], or [γ∘(1+e_match), e]."""
        items, rows = self._weights.items, slice(start, stop)
        gamma, e = items.gamma[rows], items.e[rows]
        product = gamma * items.e_match[rows]
        if self._weights.form == "paper":
            return [gamma.numpy(), product.numpy(), e.numpy()]
        return [(gamma + product).numpy(), e.numpy()]

    def _positions(self, rows: Rows) -> Rows:
        """Where in the sample those of `rows` are that it holds."""
        places: Rows = np.minimum(np.searchsorted(self._sample, rows), len(self._sample) - 1).astype(np.int64)
        return np.asarray(places[self._sample[places] == rows])
