"""Inner-product indices over the items: build, load, search, and how far off a product may be. Alone imports faiss."""

from importlib import metadata
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec.errors import BundleMismatch, InstallationError
from causalrec.weights import UserVectors, Weights

try:
    import faiss
except ImportError:  # check_flavour says so, with the way out
    faiss = None  # type: ignore[assignment]

Rows = NDArray[np.int64]
Kind = Literal["scan", "int8", "flat"]

FLAVOURS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cu13")


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


def build_index(weights: Weights, kind: Kind = "flat") -> NDArray[np.uint8]:  # noqa: ARG001
    """A flat inner-product index over `item_vectors`, as bytes for the bundle."""
    check_flavour()
    vectors = item_vectors(weights)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    serialised: NDArray[np.uint8] = faiss.serialize_index(index)
    return serialised


class Index:
    """
    A searchable index of one model's items.

    Args:
        weights: the model.
        data: bytes of `build_index`; built anew when None.
    Raises: BundleMismatch when the index holds other items than the weights; InstallationError (`check_flavour`).
    """

    def __init__(self, weights: Weights, kind: Kind = "flat", data: NDArray[np.uint8] | None = None) -> None:
        check_flavour()
        self._index: Any = faiss.deserialize_index(build_index(weights, kind) if data is None else data)
        vectors = item_vectors(weights)
        if (self._index.ntotal, self._index.d) != vectors.shape:
            raise BundleMismatch(
                f"index.faiss holds {self._index.ntotal} vectors of width {self._index.d}, the weights ask for "
                f"{vectors.shape[0]} of width {vectors.shape[1]}; export the bundle again"
            )
        norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
        self._slack = 2 * vectors.shape[1] * 2.0**-24 * float(norms.max(initial=0.0))

    def search(self, query: NDArray[np.float32], width: int, excluded: Rows) -> tuple[NDArray[np.float32], Rows]:
        """The `width` largest products with `query` [D] outside `excluded`, in falling order, and their rows."""
        selector = faiss.IDSelectorNot(faiss.IDSelectorBatch(excluded))
        parameters = faiss.SearchParameters(sel=selector) if len(excluded) else None  # type: ignore[call-arg]
        products, found = self._index.search(query[None], width, params=parameters)
        return products[0], found[0]

    def slack(self, query: NDArray[np.float32]) -> float:
        """The most by which a product may differ from the exact one: float32 rounding and what the index quantises."""
        return self._slack * float(np.linalg.norm(query.astype(np.float64)))
