"""Inner-product indices over the items: build, load, search, and how far off a product may be. Alone imports faiss."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from causalrec.equations import Form
from causalrec.errors import BundleMismatch, ConfigError, InstallationError
from causalrec.vectors import Floats, Rows, item_vectors, longest, query_vector, vector_width
from causalrec.weights import UserVectors, Weights

try:
    import faiss
except ImportError:  # check_flavour says so, with the way out
    faiss = None  # type: ignore[assignment]

Bytes = NDArray[np.uint8]
Kind = Literal["scan", "int8", "flat", "sq8", "pq", "ivf"]
Device = Literal["cpu", "cuda"]

FAISS_KINDS: Final = ("flat", "sq8", "pq", "ivf")  # those with an index
FLAVOURS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cu13")

BLOCK = 65_536  # item vectors formed at a time
PQ_TRAINED_ON = 65_536  # items that the codebooks are fitted to
PQ_BITS = 4
IVF_TRAINED_ON = 64  # items per cell that the cells are fitted to
IVF_VISITED = 1 / 16  # share of the cells that a search visits where nothing better was measured
OVERFETCHED = 1024  # excluded items that are fetched and dropped; more are masked
GPU_WIDEST = 2048  # what faiss returns at most on a GPU
UNIT = 2.0**-24  # rounding of one float32 operation
HALF_STEP = 0.501  # how far a value is from its grid point, in steps: the rest is for rounding while encoding


class Found(NamedTuple):
    """Rows of the largest products, in falling order; no eligible item besides them has a product above `floor`."""

    rows: Rows
    floor: float


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


def check_kind(form: Form, kind: Kind) -> None:
    """Raises ConfigError where an index is to serve sum, which no inner product bounds: all items must be scored."""
    if form == "sum" and kind in FAISS_KINDS:
        raise ConfigError(
            f"retrieval by {kind!r} cannot serve the form 'sum', whose best items no inner product finds; "
            'set export.retrieval, and the service\'s retrieval, to "scan" or "auto"'
        )


def build_index(weights: Weights, kind: Kind = "flat") -> Bytes:
    """
    An inner-product index over `item_vectors`, as bytes for the bundle: the same for the same model.

    flat: the vectors in float32. sq8: 8 bits per dimension, between its least and its largest value. pq: 4 bits per
    dimension, searched in registers (fast-scan). ivf: float32 in 4√I cells, of which a search visits the nearest.

    Raises: ValueError for "scan" and "int8"; InstallationError (`check_flavour`); ConfigError (`check_kind`).
    """
    check_flavour()
    check_kind(weights.form, kind)
    if kind not in FAISS_KINDS:
        raise ValueError(f"{kind!r} has no index; one of {', '.join(FAISS_KINDS)} has")
    with _one_thread():
        index = _EMPTY[kind](weights)
        scale = _scale(weights, kind)
        for block in _blocks(len(weights.gamma_i)):
            index.add(item_vectors(weights, block) * scale)
        return _serialised(index)


def with_probes(data: Bytes, nprobe: int) -> Bytes:
    """The "ivf" index in `data`, visiting `nprobe` cells per search."""
    index = faiss.deserialize_index(data)
    index.nprobe = nprobe  # type: ignore[attr-defined]
    return _serialised(index)


class Index:
    """
    A searchable index of one model's items.

    Args:
        weights: the model.
        kind: see `build_index`.
        data: bytes of `build_index`, kept and searched in place where faiss can; built anew when None.
        device: "cuda" searches a flat index on the GPU where faiss has GPU support; everything else stays on the CPU.
    Raises: BundleMismatch when the index is of another kind or holds other items than the weights; InstallationError
        (`check_flavour`); ConfigError (`check_kind`).
    """

    def __init__(
        self, weights: Weights, kind: Kind = "flat", data: Bytes | None = None, device: Device = "cpu"
    ) -> None:
        check_flavour()
        check_kind(weights.form, kind)
        self.kind: Kind = kind
        self._data = build_index(weights, kind) if data is None else data  # faiss goes on reading it
        self._index: Any = _opened(self._data)
        expected = (len(weights.gamma_i), vector_width(weights))
        if type(self._index).__name__ != _CLASSES.get(kind):
            raise BundleMismatch(
                f"index.faiss is an {type(self._index).__name__}, which is no {kind!r} index; export the bundle again"
            )
        if (self._index.ntotal, self._index.d) != expected:
            raise BundleMismatch(
                f"index.faiss holds {self._index.ntotal} vectors of width {self._index.d}, the weights ask for "
                f"{expected[0]} of width {expected[1]}; export the bundle again"
            )
        self._gpu: Any = _on_gpu(self._index) if kind == "flat" and device == "cuda" else None
        self._scale = _scale(weights, kind)
        self._steps = _steps(self._index) if kind == "sq8" else np.zeros(expected[1])
        self._rounding = 2 * expected[1] * UNIT * (longest(weights) + float(np.linalg.norm(self._steps)))

    @property
    def exhaustive(self) -> bool:
        """Whether every item's product is compared, to a known error: whether a search can prove anything."""
        return self.kind in ("flat", "sq8")

    @property
    def parameters(self) -> dict[str, int]:
        """What the kind was built with."""
        if self.kind == "ivf":
            return {"nlist": self._index.nlist, "nprobe": self._index.nprobe}
        return {"subquantizers": self._index.M, "bits": PQ_BITS} if self.kind == "pq" else {}

    def search(self, query: Floats, width: int, excluded: Rows) -> Found:
        """
        The `width` largest products with `query` [D] outside `excluded` (distinct rows); fewer where no more are left.

        Few excluded items are fetched along and dropped, which is cheaper than a mask; fast-scan and GPU know no masks.
        Where the cells visited hold too few items, more cells are visited.
        """
        scaled = (query / self._scale)[None]
        masked = len(excluded) > OVERFETCHED and self.kind != "pq"
        fetched = min(width + (0 if masked else len(excluded)), self._index.ntotal)
        index = self._index if masked or self._gpu is None or fetched > GPU_WIDEST else self._gpu
        for parameters in self._settings(excluded if masked else None):
            products, rows = index.search(scaled, fetched, params=parameters)
            kept = np.flatnonzero(rows[0] >= 0)
            if len(excluded) and not masked:
                kept = kept[~np.isin(rows[0][kept], excluded)]
            if len(kept) >= width:
                break
        if not len(kept):  # fast-scan's answer to a query for which all items are alike: any will do
            return Found(np.setdiff1d(np.arange(self._index.ntotal), excluded)[:width], np.inf)
        kept = kept[:width]
        floor = float(products[0][kept[-1]]) if len(kept) == width else -np.inf
        return Found(rows[0][kept], floor)

    def slack(self, query: Floats) -> float:
        """
        The most by which a product may differ from the exact one; infinite where the index proves nothing.

        Float32 rounding (F12) and, for sq8, half a step of every dimension's grid, which is tighter than the query's
        norm times the largest residual.
        """
        if not self.exhaustive:
            return np.inf
        parts = np.abs(query.astype(np.float64))
        return self._rounding * float(np.linalg.norm(parts)) + HALF_STEP * float(parts @ self._steps)

    def _settings(self, masked: Rows | None) -> Iterator[Any]:
        """What faiss is told besides the query, one search after the other."""
        selector = None
        if masked is not None:
            eligible = np.ones(self._index.ntotal, dtype=bool)
            eligible[masked] = False
            selector = faiss.IDSelectorBitmap(np.packbits(eligible, bitorder="little"))  # type: ignore[call-arg, arg-type]
        if self.kind != "ivf":
            yield None if selector is None else faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
            return
        visited = self._index.nprobe
        while visited < self._index.nlist:
            yield faiss.SearchParametersIVF(sel=selector, nprobe=visited)  # type: ignore[call-arg]
            visited *= 2
        yield faiss.SearchParametersIVF(sel=selector, nprobe=self._index.nlist)  # type: ignore[call-arg]


def _flat(weights: Weights) -> Any:
    return faiss.IndexFlatIP(vector_width(weights))


def _sq8(weights: Weights) -> Any:
    """Its grid spans each dimension's range, so that no value is clipped; least and largest say it all."""
    vectors = (item_vectors(weights, block) for block in _blocks(len(weights.gamma_i)))
    least, largest = zip(*((block.min(0), block.max(0)) for block in vectors), strict=True)
    index = faiss.IndexScalarQuantizer(vector_width(weights), faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    index.train(np.stack([np.min(least, 0), np.max(largest, 0)]))
    return index


def _pq(weights: Weights) -> Any:
    width = vector_width(weights)
    index = faiss.IndexPQFastScan(width, width, PQ_BITS, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1  # small catalogues need no warning
    sample = _sample(weights, PQ_TRAINED_ON)
    index.train(np.resize(sample, (max(len(sample), 2**PQ_BITS), width)))
    return index


def _ivf(weights: Weights) -> Any:
    """Dimensions scaled by what the users make of them, so that cells are round where queries look at them."""
    count, width = len(weights.gamma_i), vector_width(weights)
    cells = max(1, min(round(4 * count**0.5), count))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 1, IVF_TRAINED_ON
    index.train(_sample(weights, IVF_TRAINED_ON * cells) * _scale(weights, "ivf"))
    index.nprobe = max(1, round(IVF_VISITED * cells))
    return index


_EMPTY: Final = {"flat": _flat, "sq8": _sq8, "pq": _pq, "ivf": _ivf}
_CLASSES: Final = {
    "flat": "IndexFlatIP",
    "sq8": "IndexScalarQuantizer",
    "pq": "IndexPQFastScan",
    "ivf": "IndexIVFFlat",
}


def _scale(weights: Weights, kind: Kind) -> Floats:
    """What items are multiplied and queries divided by: for ivf the root mean square [D] of the users' dimensions."""
    if kind != "ivf":
        return np.ones(1, dtype=np.float32)
    gamma, theta = (part.norm(dim=0) / len(part) ** 0.5 for part in (weights.gamma_u, weights.theta_u))
    scale = query_vector(weights, UserVectors(gamma, theta, gamma.new_zeros(())), (1.0, 1.0, 1.0))
    return np.where(scale > 0, scale, np.float32(1))


def _sample(weights: Weights, count: int) -> Floats:
    """Vectors of at most `count` items, always the same."""
    items = len(weights.gamma_i)
    if items <= count:
        return item_vectors(weights)
    rows = np.sort(np.random.default_rng(0).choice(items, count, replace=False))
    return item_vectors(weights, rows)


def _steps(index: Any) -> NDArray[np.float64]:
    """How far neighbouring grid points of each dimension [D] are apart."""
    trained = faiss.vector_to_array(index.sq.trained).astype(np.float64)
    return trained[len(trained) // 2 :] / 255


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def _opened(data: Bytes) -> Any:
    try:
        reader = faiss.ZeroCopyIOReader(faiss.swig_ptr(data), data.nbytes)  # type: ignore[attr-defined]
        return faiss.read_index(reader, faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise BundleMismatch(f"index.faiss cannot be read ({error}); export the bundle again") from error


def _serialised(index: Any) -> Bytes:
    data: Bytes = faiss.serialize_index(index)
    return data


def _on_gpu(index: Any) -> Any:
    """The index on the first GPU; None where faiss has no GPU support."""
    if not hasattr(faiss, "StandardGpuResources"):
        return None
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)


@contextmanager
def _one_thread() -> Iterator[None]:
    """With more threads sums are taken in another order, and the bytes would differ between machines."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
