"""A user's exact top k: one interface over the fused scan, the sieve of codes, and indices with their certificate."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec import equations
from causalrec import path as paths
from causalrec.equations import Terms
from causalrec.index import FAISS_KINDS, Index, Kind
from causalrec.kernels.device import DeviceScan
from causalrec.kernels.fused import FusedScan, Kernel
from causalrec.retrieval import Retriever
from causalrec.sieve import Sieve
from causalrec.topk import DECIMALS, Proof, Query, Rows, TopK, best_first, rounded_scores
from causalrec.weights import UserVectors, Weights

Device = Literal["auto", "cpu", "cuda"]
Probe = tuple[Query, float]  # one λ2 of a query

RANK_BLOCK = 8192  # items scored at a time in float64: their terms stay in the second-level cache
FEW_SHARE, FEWEST = 10, 1000  # a tenth of the items, or this many, are scored one by one before a search is begun
MAX_PIECES = 2000  # of a λ2 path
NOBODY: Rows = np.empty(0, dtype=np.int64)


class Searcher:
    """
    Exact top-k with its proof over one model's catalogue, at any λ2.

    Args:
        weights: the model.
        kind: how candidates are found. "scan": every item, by the fused kernel; "int8": codes of every item and a
            certificate; "flat", "sq8", "pq", "ivf": a FAISS index (`causalrec.index`). pq and ivf prove nothing: their
            answers are what they found, and scanned only where no score found is above 0.
        data: the index's bytes (`build_index`); built anew when None. The first two kinds need none.
        kernel: which kernel scans on the CPU (`FusedScan`).
        device: "cpu"; "cuda": items are scanned there in half precision (`DeviceScan`), whatever else `kind` says but
            for a FAISS index; "auto": cuda where there is one.
    Raises: BundleMismatch when the index holds other items than the weights; InstallationError (`check_flavour`).
    """

    def __init__(
        self,
        weights: Weights,
        kind: Kind = "flat",
        data: NDArray[np.uint8] | None = None,
        *,
        kernel: Kernel = "auto",
        device: Device = "cpu",
    ) -> None:
        self.weights = weights
        self.form = weights.form
        self.device: Literal["cpu", "cuda"] = (
            "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
        )
        self._sieve = None
        self._scan: FusedScan | DeviceScan
        if self.device == "cuda":
            self._scan = DeviceScan(weights.form, weights.items, self.device)
        else:
            self._scan = FusedScan(weights.form, weights.items, kernel)
            if kind == "int8" and Sieve.fits(weights, self._scan):
                self._sieve = Sieve(weights, self._scan)
        self._retriever = None
        if kind in FAISS_KINDS:
            index = Index(weights, kind, data, self.device)
            self._proves = index.exhaustive
            self._retriever = Retriever(weights, index)

    def batch(self, queries: Sequence[Query]) -> list[tuple[TopK, ...]]:
        """For each query its top k at each of its λ2, the same as if it had been asked alone."""
        if self._sieve is not None:
            return self._completed(queries, self._sifted(queries, self._sieve))
        if self._retriever is not None:
            return self._completed(queries, [self._retrieved(*probe, self._retriever) for probe in _probes(queries)])
        return self.scans(queries)

    def top_k(
        self,
        user: UserVectors,
        lambda2: float,
        k: int,
        excluded: Rows,
        *,
        candidates: int = 500,
        full_scan: bool = True,
    ) -> TopK:
        """The user's k best items at λ2 outside `excluded`: a batch of one (`Query` says what the arguments are)."""
        return self.batch([Query(user, (lambda2,), k, excluded, candidates, full_scan)])[0][0]

    def scans(self, queries: Sequence[Query]) -> list[tuple[TopK, ...]]:
        """As `batch`, by scoring every item outside each query's `excluded`."""
        return _grouped(queries, self._scanned(queries))

    def scan(self, user: UserVectors, lambda2: float, k: int, excluded: Rows) -> TopK:
        """The user's k best items by scoring every one outside `excluded`."""
        return self._scanned([Query(user, (lambda2,), k, excluded)])[0]

    @property
    def few(self) -> int:
        """Up to how many items `scores` is faster for than a search of the catalogue with all others excluded."""
        return max(FEWEST, len(self.weights.gamma_i) // FEW_SHARE)

    def scores(self, user: UserVectors, lambda2: Sequence[float], rows: Rows) -> NDArray[np.float64]:
        """Debiased scores [L, C] of `rows` at each λ2, float64, rounded to 12 decimals."""
        scores = np.empty((len(lambda2), len(rows)))
        for start in range(0, len(rows), RANK_BLOCK):
            block = slice(start, start + RANK_BLOCK)
            terms = self.weights.terms(user, torch.from_numpy(rows[block]))
            for number, at in enumerate(lambda2):
                scores[number, block] = rounded_scores(self.weights.form, terms, user, at)
        return scores

    def best_first(self, scores: NDArray[np.float64], rows: Rows, k: int) -> Rows:
        """`topk.best_first`."""
        return best_first(scores, rows, k)

    def rank(self, user: UserVectors, lambda2: float, k: int, rows: Rows) -> TopK:
        """The k best of `rows` (distinct), each scored in float64; proof "scan": all there is to score was."""
        scores = self.scores(user, (lambda2,), rows)[0]
        order = best_first(scores, rows, k)
        return TopK(rows[order], scores[order], "scan", len(rows))

    def terms(self, user: UserVectors, rows: Rows) -> equations.Terms:
        """Float64 terms [C] of one user with the items in `rows`."""
        return self.weights.terms(user, torch.from_numpy(rows))

    def path(
        self, user: UserVectors, maximum: float, k: int, excluded: Rows, limit: int = MAX_PIECES
    ) -> paths.Lambda2Path:
        """As `path.whole`."""
        return paths.whole(self, user, maximum, k, excluded, limit)

    def lines(self, user: UserVectors, rows: Rows) -> paths.Lines:
        """p, q [C] of the scores p − λ2·q of `rows`, in float64."""
        return paths.lines(self.weights, user, rows)

    def reaching(self, user: UserVectors, maximum: float, excluded: Rows, least: NDArray[np.float64]) -> Rows:
        """Rising rows outside `excluded` of every item that reaches `least` at one of `path.edges` or more."""
        (reaching,) = self._scan.survivors([Query(user, tuple(paths.edges(maximum).tolist()), 1, excluded)], least)
        return np.unique(np.concatenate(reaching))

    def _retrieved(self, query: Query, lambda2: float, retriever: Retriever) -> TopK | None:
        """The index's answer; None where every item must be scored."""
        eligible = len(self.weights.gamma_i) - len(query.excluded)
        k = min(query.k, eligible)
        if k == 0 or eligible <= max(query.candidates, k + 1):
            return None
        best = retriever.top_k(query.user, lambda2, k, query.excluded, max(query.candidates, k + 1))
        hopeless = self.weights.form != "additive" and best.scores[-1] <= 0  # no tangent to have searched with
        return None if query.full_scan and not best.exact and (self._proves or hopeless) else best

    def _sifted(self, queries: Sequence[Query], sieve: Sieve) -> list[TopK | None]:
        """The sieve's answers, one per probe; None where it has no certificate, or is slower than the scan."""
        half = len(self.weights.gamma_i) // 2  # with more excluded, most of what passes the codes is
        found_in_codes = iter(sieve.sift([query for query in queries if len(query.excluded) <= half]))
        sifted = [next(found_in_codes) if len(query.excluded) <= half else None for query, _ in _probes(queries)]
        proved = [(probe, found) for probe, found in zip(_probes(queries), sifted, strict=True) if found is not None]
        ranked = iter(
            self._ranked(
                [probe for probe, _ in proved],
                [found.rows for _, found in proved],
                [("certificate", found.scored) for _, found in proved],
            )
        )
        return [None if found is None else next(ranked) for found in sifted]

    def _completed(self, queries: Sequence[Query], found: Sequence[TopK | None]) -> list[tuple[TopK, ...]]:
        """The answers per query, with a scan for every probe that was not `found`."""
        missing = [
            replace(query, lambda2=(lambda2,))
            for (query, lambda2), best in zip(_probes(queries), found, strict=True)
            if best is None
        ]
        scanned = iter(self._scanned(missing))
        return _grouped(queries, [next(scanned) if best is None else best for best in found])

    def _scanned(self, queries: Sequence[Query]) -> list[TopK]:
        """One per probe. Float32, and a bound on its error, leave the few items that can be among the best."""
        if not queries:
            return []
        items = len(self.weights.gamma_i)
        return self._ranked(
            _probes(queries),
            [rows for lists in self._scan.survivors(queries) for rows in lists],
            [("scan", items - len(query.excluded)) for query, _ in _probes(queries)],
        )

    def _ranked(
        self, probes: Sequence[Probe], survivors: Sequence[Rows], proofs: Sequence[tuple[Proof, int]]
    ) -> list[TopK]:
        """
        Float64 ranks what is left, all of a batch at once.

        Args:
            survivors, proofs: one per probe; a proof comes with how many items were scored for it.
        """
        if not probes:
            return []
        counts = np.array([len(rows) for rows in survivors])
        rows, owner = np.concatenate([NOBODY, *survivors]), np.repeat(np.arange(len(probes)), counts)
        scores = self._scores(probes, rows, owner)
        order = np.lexsort((rows, -scores, owner))
        rows, scores = rows[order], scores[order]
        found = []
        for (query, _), start, count, (proof, candidates) in zip(
            probes, (np.cumsum(counts) - counts).tolist(), counts.tolist(), proofs, strict=True
        ):
            best = slice(start, start + min(query.k, count))
            found.append(TopK(rows[best], scores[best], proof, candidates))
        return found

    def _scores(self, probes: Sequence[Probe], rows: Rows, owner: Rows) -> NDArray[np.float64]:
        """Debiased score of each of `rows` for the probe `owner` says, rounded so that ties are ties everywhere."""
        first = [number == 0 or probes[number - 1][0] is not query for number, (query, _) in enumerate(probes)]
        asking = np.cumsum(first) - 1  # whose query each probe is
        users = [query.user for (query, _), is_first in zip(probes, first, strict=True) if is_first]
        gamma, theta = (torch.stack([getattr(user, part).double() for user in users]) for part in ("gamma", "theta"))
        null = torch.stack([user.null.double() for user in users])
        lambda2 = torch.tensor([lambda2 for _, lambda2 in probes], dtype=torch.float64)
        scores = np.empty(len(rows))
        for start in range(0, len(rows), RANK_BLOCK):
            block = slice(start, start + RANK_BLOCK)
            probe = torch.from_numpy(owner[block])
            user, row = asking[owner[block]], rows[block]
            null_of, place = null[torch.from_numpy(user)], None
            if len(users) < len(probes):  # what several λ2 of a query want has the same terms at each
                pairs, place = np.unique(user * len(self.weights.gamma_i) + row, return_inverse=True)
                user, row = np.divmod(pairs, len(self.weights.gamma_i))
            who, items = torch.from_numpy(user), self.weights.items.take(torch.from_numpy(row)).double()
            terms = equations.pair_terms(gamma[who], theta[who], items)
            if place is not None:
                terms = Terms(*(part[torch.from_numpy(place)] for part in terms))
            scores[block] = equations.score(self.weights.form, terms, null_of, lambda2[probe]).numpy()
        return np.round(scores, DECIMALS)


def _probes(queries: Sequence[Query]) -> list[Probe]:
    return [(query, lambda2) for query in queries for lambda2 in query.lambda2]


def _grouped(queries: Sequence[Query], found: Sequence[TopK]) -> list[tuple[TopK, ...]]:
    """What was found for each probe, put together per query."""
    answers = iter(found)
    return [tuple(next(answers) for _ in query.lambda2) for query in queries]
