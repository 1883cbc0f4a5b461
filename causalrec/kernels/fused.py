"""The fused exact scan: one pass over the items gives every probe the few that can be among its best."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec.equations import APART, Form, ItemArrays
from causalrec.errors import InstallationError
from causalrec.kernels import compiled
from causalrec.kernels.questions import Floats, Hits, ask, user_vectors
from causalrec.topk import Query, Rows

Kernel = Literal["auto", "native", "numba"]

LANES = 16  # items in a block
SPARE = 4  # blocks of zeros behind the items, which the kernel's prefetching may touch
UNIT = 2.0**-24  # rounding of one float32 operation


class FusedScan:
    """
    Every item of a model, in blocks of 16 for the compiled kernel; numba reads the bundle's own arrays.

    Where the form keeps a and b apart, a block holds [γ; e] (256 B an item at d = 32) and the kernel forms γ∘e in
    registers; where the match has a visual matrix of its own, [γ; e; e_match]. The other forms need only
    [γ∘(1+e_match); e]. Biases are one more dimension.

    Args:
        kernel: "native" (compiled), "numba", or "auto": the compiled one where the build made it.
    Raises: InstallationError when the kernel asked for is not there.
    """

    def __init__(self, form: Form, items: ItemArrays, kernel: Kernel = "auto") -> None:
        if kernel == "native" and compiled.library() is None:
            raise InstallationError(
                "the compiled kernel is not there; install a C++ compiler and causalrec again, or ask for numba"
            )
        self.form: Form = form
        self.count = len(items.gamma)
        self.kernel: Kernel = "numba" if kernel == "numba" or compiled.library() is None else "native"
        self._items = items
        self._blocks = (
            blocked(form, items) if self.kernel == "native" else np.empty((0, items.gamma.shape[1]), dtype=np.float32)
        )
        self._gamma = _longest(items.gamma)
        self._product = _longest(items.gamma * items.e_match) if len(items.gamma) else 0.0
        self._e = _longest(items.e)
        self._bias = sum(float(bias.abs().max()) for bias in (items.beta, items.visual_bias) if bias is not None)

    @property
    def width(self) -> int:
        """Dimensions of a user's half, with one for biases."""
        return int(self._blocks.shape[1])

    @property
    def blocks(self) -> Floats:
        """The items as `blocked` lays them out; none for numba."""
        return self._blocks

    @property
    def bytes(self) -> int:
        """Memory the blocks take."""
        return self._blocks.nbytes

    def survivors(self, queries: Sequence[Query], floors: NDArray[np.float64] | None = None) -> list[list[Rows]]:
        """
        For every query and each of its λ2, rows in no order: a superset of its k best, by float32 and a bound on its
        error; never an excluded row.

        Args:
            floors: [P], one per λ2 of each query: then instead every item whose score can reach its floor.
        """
        found = iter(rows for rows, _ in self.hits(queries, floors)[0].per_probe())
        return [[next(found) for _ in query.lambda2] for query in queries]

    def hits(
        self,
        queries: Sequence[Query],
        floors: NDArray[np.float64] | None = None,
        users: tuple[Floats, Floats] | None = None,
    ) -> tuple[Hits, NDArray[np.float64]]:
        """
        `survivors` with their float32 scores, flat, and the most [P] by which a probe's scores may be off.

        Args:
            users: the queries' `user_vectors`, where they are at hand.
        """
        vectors, nulls = users or user_vectors(queries, self.width)
        error = self.error(queries, vectors, nulls)
        least = np.full(len(error), -np.inf) if floors is None else floors - error
        asked = ask(queries, vectors, nulls, self.count, least, 2 * error)
        if floors is not None:
            asked = asked._replace(k=np.full(len(error), self.count))
        if self.kernel == "native":
            return compiled.scan(self._blocks, self.count, self.form, asked), error
        from causalrec.kernels import jit  # noqa: PLC0415 - numba is slow to import, and large; most never need it

        return jit.scan(self._items, self.form, asked), error

    def error(self, queries: Sequence[Query], vectors: Floats, nulls: Floats) -> NDArray[np.float64]:
        """
        The most [P] by which a float32 score may differ from the float64 one.

        Each logit is a sum of d + 1 rounded products, off by at most 2(d + 2)·2⁻²⁴ times the norms; no form's score
        moves by more than 1 + λ2 times what its logits do together (sum: σ rises by ¼ at most, so max(1, |1−λ2|)/4
        times); exponentials, null and their products add some units of 2⁻²⁴ (sum, up to 3 − λ2: about 30 + 11·λ2).
        """
        dim = len(queries[0].user.gamma) if queries else 0
        lengths = np.linalg.norm(vectors[:, :, :dim].astype(np.float64), axis=2)
        reach = lengths[:, 0] * (self._gamma + self._product) + lengths[:, 1] * self._e + self._bias
        off = UNIT * (2 * (dim + 3) * reach + 48 * (1 + reach + np.abs(nulls)))
        lambda2 = np.array([value for query in queries for value in query.lambda2])
        errors: NDArray[np.float64] = np.repeat(off, [len(query.lambda2) for query in queries]) * (1 + lambda2)
        return errors


def blocked(form: Form, items: ItemArrays) -> Floats:
    """Items as [B + spare, width, parts, 16], zeros where there is none: what the compiled kernels read."""
    count, dim = items.gamma.shape
    biased = items.beta is not None or items.visual_bias is not None
    own = items.e_match is not items.e
    parts = 3 if form in APART and (own or biased) else 2
    blocks = np.zeros((-(-count // LANES) + SPARE, dim + biased, parts, LANES), dtype=np.float32)
    compiled.lay(blocks, form, items)
    return blocks


def _longest(vectors: torch.Tensor) -> float:
    """The largest norm [I, d] → number, rounded up."""
    return float(vectors.norm(dim=1).max()) * (1 + 1e-6) if len(vectors) else 0.0
