"""Exact top-k from an inner-product index: build, λ2-aware query, certificate. The only file that imports faiss."""

from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalrec import equations, tangent
from causalrec.equations import Terms
from causalrec.errors import BundleMismatch, InstallationError
from causalrec.weights import UserVectors, Weights

try:
    import faiss
except ImportError:  # check_flavour says so, with the way out
    faiss = None  # type: ignore[assignment]

Rows = NDArray[np.int64]
Proof = Literal["certificate", "scan", "none"]

DECIMALS = 12  # scores closer than this are ties, broken by item id
SAMPLE = 1024  # rows of the fixed sample that guesses where a user's top lies
RANK_BLOCK = 65_536  # items scored at a time in float64
FLAVOURS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cu13")


@dataclass(frozen=True)
class TopK:
    """
    The best items of one user, best first; equal scores (to 12 decimals) in the order of their ids.

    rows int64 [k], scores float64 [k]; proof says why the list is exact ("certificate": the index was searched to the
    threshold; "scan": every eligible item was scored) or that it is not known to be ("none"). candidates is how many
    items were scored.
    """

    rows: Rows
    scores: NDArray[np.float64]
    proof: Proof
    candidates: int

    @property
    def exact(self) -> bool:
        """Whether no eligible item outside the list can belong in it."""
        return self.proof != "none"


def check_flavour() -> None:
    """Raises InstallationError unless exactly one faiss distribution is installed: two overwrite each other's files."""
    if faiss is None:
        raise InstallationError("faiss is not installed; install causalrec[cpu], or causalrec[gpu] for a GPU")
    installed = []
    for name in FLAVOURS:
        try:
            installed.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    if len(installed) > 1:
        raise InstallationError(
            f"{' and '.join(installed)} are both installed and break each other; "
            "uninstall all of them, then install causalrec[cpu] or causalrec[gpu], not both"
        )


def item_vectors(weights: Weights) -> NDArray[np.float32]:
    """
    What the index holds, [I, D]: the factors of the score's logits that belong to the item.

    paper [γ; γ∘e; e], authors and additive [γ∘(1+e); e] and, where the form has them, [β; v].
    """
    items = weights.items
    products = items.gamma * items.e_match
    parts = [items.gamma, products, items.e] if weights.form == "paper" else [items.gamma + products, items.e]
    parts += [bias[:, None] for bias in (items.beta, items.visual_bias) if bias is not None]
    return np.ascontiguousarray(torch.cat(parts, 1).numpy(), dtype=np.float32)


def query_vector(weights: Weights, user: UserVectors, plane: tuple[float, float, float]) -> NDArray[np.float32]:
    """The user's half [D] of w_a·a + w_b·b + w_n·n, in the layout of `item_vectors`; w_a = w_b but in paper."""
    w_a, w_b, w_n = plane
    gamma, theta = user.gamma.double().numpy(), user.theta.double().numpy()
    parts = [w_a * gamma, w_b * gamma, w_n * theta] if weights.form == "paper" else [w_a * gamma, w_n * theta]
    parts += [np.array([w]) for w, bias in ((w_a, weights.beta), (w_n, weights.visual_bias)) if bias is not None]
    return np.concatenate(parts).astype(np.float32)


def build_index(weights: Weights) -> NDArray[np.uint8]:
    """A flat inner-product index over `item_vectors`, as bytes for the bundle."""
    check_flavour()
    vectors = item_vectors(weights)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    serialised: NDArray[np.uint8] = faiss.serialize_index(index)
    return serialised


class Searcher:
    """
    Exact, explained-by-proof top-k over one model's catalogue, at any λ2.

    Args:
        weights: the model.
        index: bytes of `build_index`; built anew when None.
    Raises: BundleMismatch when the index holds other items than the weights; InstallationError (`check_flavour`).
    """

    def __init__(self, weights: Weights, index: NDArray[np.uint8] | None = None) -> None:
        check_flavour()
        self.weights = weights
        self._index: Any = faiss.deserialize_index(build_index(weights) if index is None else index)
        vectors = item_vectors(weights)
        if (self._index.ntotal, self._index.d) != vectors.shape:
            raise BundleMismatch(
                f"index.faiss holds {self._index.ntotal} vectors of width {self._index.d}, the weights ask for "
                f"{vectors.shape[0]} of width {vectors.shape[1]}; export the bundle again"
            )
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        self._slack = 2 * vectors.shape[1] * 2.0**-24 * float(norms.max(initial=0.0))
        items = weights.items
        self._e_norm = float(items.e.norm(dim=1).max()) * (1 + 1e-6)
        self._gamma_norm = float(items.gamma.norm(dim=1).max()) * (1 + 1e-6)
        self._product_norm = float((items.gamma * items.e_match).norm(dim=1).max()) * (1 + 1e-6)
        self._bias = sum(float(bias.abs().max()) for bias in (items.beta, items.visual_bias) if bias is not None)
        chosen = np.random.default_rng(0).permutation(len(vectors))[:SAMPLE]
        self._sample: Rows = np.sort(chosen).astype(np.int64)
        self._sample_items = weights.items.take(torch.from_numpy(self._sample))

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
        """
        The user's k best items at λ2 outside `excluded`.

        Searches the index with the tangent at a guess of the top, scores what comes back, and stops when the
        certificate holds; a second and third search use the tangent at what was found. Then every item is scored, as
        it is at once where no more items are eligible than one search may return.

        Args:
            excluded: distinct rows that must not be returned.
            candidates: how many items one search may return (at least k is used).
            full_scan: False answers with proof "none" where the certificate fails, for measuring it alone.
        """
        eligible = len(self.weights.gamma_i) - len(excluded)
        k = min(k, eligible)
        if k == 0 or eligible <= max(candidates, k + 1):
            return self.scan(user, lambda2, k, excluded)
        best = self._search(user, lambda2, k, excluded, max(candidates, k + 1))
        return self.scan(user, lambda2, k, excluded) if full_scan and not best.exact else best

    def scan(self, user: UserVectors, lambda2: float, k: int, excluded: Rows) -> TopK:
        """
        The user's k best items by scoring every one outside `excluded`.

        Float32 scores, and a bound on their error, leave the few items that can be among the best; float64 ranks them.
        """
        rough, error = self._rough(user, lambda2)
        allowed = np.ones(len(rough), dtype=bool)
        allowed[excluded] = False
        rows = np.flatnonzero(allowed).astype(np.int64)
        close = rows
        if 0 < k < len(rows):
            scores = rough[rows]
            least = np.partition(scores, len(scores) - k)[len(scores) - k]
            close = rows[scores >= least - 2 * error]
        best = self.rank(user, lambda2, k, close)
        return TopK(best.rows, best.scores, "scan", len(rows))

    def rank(self, user: UserVectors, lambda2: float, k: int, rows: Rows) -> TopK:
        """The k best of `rows` (distinct), each scored in float64; proof "scan": all there is to score was."""
        scores = np.concatenate(
            [self.scores(user, lambda2, rows[i : i + RANK_BLOCK]) for i in range(0, max(len(rows), 1), RANK_BLOCK)]
        )
        order = best_first(scores, rows, k)
        return TopK(rows[order], scores[order], "scan", len(rows))

    def scores(self, user: UserVectors, lambda2: float, rows: Rows) -> NDArray[np.float64]:
        """Debiased scores [C] of `rows`, float64, rounded to 12 decimals so that ties are ties everywhere."""
        terms = self.weights.terms(user, torch.from_numpy(rows))
        return self._rounded(terms, user, lambda2)

    def _search(self, user: UserVectors, lambda2: float, k: int, excluded: Rows, candidates: int) -> TopK:
        null, n_range = float(user.null), self._n_range(user)
        selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(excluded))
        parameters = faiss.SearchParameters(sel=selector) if len(excluded) else None  # type: ignore[call-arg]
        cloud, point, tau = self._guess(user, lambda2, k, excluded)
        pool = np.empty(0, dtype=np.int64)
        best = TopK(pool, np.empty(0), "none", 0)
        for width in (min(candidates, max(100, 4 * k)), candidates, candidates):
            plane = tangent.bound(self.weights.form, point, tau, null, lambda2, n_range, cloud)
            query = query_vector(self.weights, user, plane.weights)
            products, found = self._index.search(query[None], width, params=parameters)
            pool = np.union1d(pool, found[0])
            terms = self.weights.terms(user, torch.from_numpy(pool))
            scores = self._rounded(terms, user, lambda2)
            order = best_first(scores, pool, k)
            tau = float(scores[order[-1]])
            threshold = plane.threshold(tau - 10.0**-DECIMALS)
            slack = self._slack * float(np.linalg.norm(query.astype(np.float64)))
            held = float(products[0, -1]) < threshold - slack
            best = TopK(pool[order], scores[order], "certificate" if held else "none", len(pool))
            if held:
                break
            point = _mean_point(terms, torch.from_numpy(order))
        return best

    def _guess(self, user: UserVectors, lambda2: float, k: int, excluded: Rows) -> tuple[Terms, tangent.Point, float]:
        """
        Where the user's top lies, from the sample: its terms, the mean logits of its best and the last one's score,
        taken to the quantile that k is of the catalogue.
        """
        terms = equations.pair_terms(user.gamma.float(), user.theta.float(), self._sample_items)
        free = torch.from_numpy(~np.isin(self._sample, excluded))
        cloud = Terms(*(part[free] for part in terms)) if bool(free.any()) else terms
        scores = equations.score(self.weights.form, cloud, user.null.float(), lambda2)
        share = k * len(scores) / len(self.weights.gamma_i)
        best = scores.topk(min(max(5, round(share)), len(scores)))
        return cloud, _mean_point(cloud, best.indices), float(best.values[-1])

    def _n_range(self, user: UserVectors) -> tuple[float, float]:
        """Limits of the user's notice over the catalogue, float32 with its error: only the authors' form reads them."""
        if self.weights.form != "authors":
            return 0.0, 0.0
        theta, bias = user.theta.float(), self.weights.visual_bias
        notice = self.weights.e @ theta if bias is None else self.weights.e @ theta + bias
        error = 2 * (len(theta) + 1) * 2.0**-24 * (float(theta.norm()) * self._e_norm + self._bias)
        return float(notice.min()) - error, float(notice.max()) + error

    def _rough(self, user: UserVectors, lambda2: float) -> tuple[NDArray[np.float32], float]:
        """
        Float32 scores of every item, and the most by which one may differ from its float64 score.

        Each logit is a sum of d + 1 rounded products, off by at most 2(d + 2)·2⁻²⁴ times the norms; no form's score
        moves by more than 1 + λ2 times what a logit does; sigmoids, null and their products add some units of 2⁻²⁴.
        """
        gamma, theta = user.gamma.float(), user.theta.float()
        terms = equations.pair_terms(gamma, theta, self.weights.items)
        scores: NDArray[np.float32] = equations.score(self.weights.form, terms, user.null.float(), lambda2).numpy()
        unit = 2.0**-24
        reach = float(gamma.norm()) * (self._gamma_norm + self._product_norm) + float(theta.norm()) * self._e_norm
        logits = 2 * (len(gamma) + 2) * unit * (reach + self._bias)
        values = 16 * unit * (1.0 + abs(float(user.null)) + float(np.abs(scores).max(initial=0.0)))
        return scores, (1.0 + lambda2) * (logits + values)

    def _rounded(self, terms: Terms, user: UserVectors, lambda2: float) -> NDArray[np.float64]:
        exact: NDArray[np.float64] = equations.score(self.weights.form, terms, user.null.double(), lambda2).numpy()
        return np.round(exact, DECIMALS)


def best_first(scores: NDArray[np.float64], rows: Rows, k: int) -> Rows:
    """Positions [min(k, C)] of the best scores, best first; ties in the order of rows, which is that of ids."""
    if k <= 0 or not len(scores):
        return np.empty(0, dtype=np.int64)
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        kept = np.flatnonzero(scores >= least)
    else:
        kept = np.arange(len(scores))
    order = np.lexsort((rows[kept], -scores[kept]))[:k]
    return kept[order].astype(np.int64)


def _mean_point(terms: Terms, positions: Tensor) -> tangent.Point:
    return tangent.Point(*(float(part[positions].double().mean()) for part in terms))
