"""The compiled kernels (native.cpp) through ctypes, which lets go of the interpreter's lock while they run."""

import ctypes
import importlib.util
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causalrec.equations import ItemArrays
from causalrec.errors import InstallationError
from causalrec.kernels.codes import MEASURED, SAFE, CodedPlanes, CodedUsers, Codes, empty_codes
from causalrec.kernels.questions import Floats, Hits, Questions
from causalrec.weights import Weights

FORMS = {"paper": 0, "authors": 1, "additive": 2, "sum": 3}
LEVELS = {4: "x86-64-v4", 3: "x86-64-v3", 1: "baseline"}


@cache
def library() -> ctypes.CDLL | None:
    """The extension that the package's build makes; None where there was no compiler."""
    spec = importlib.util.find_spec("causalrec.kernels._native")
    if spec is None or spec.origin is None:
        return None
    native = ctypes.CDLL(spec.origin)
    native.causalrec_scan.restype = native.causalrec_sift.restype = ctypes.c_void_p
    native.causalrec_encode.restype = ctypes.c_float
    return native


def level() -> int:
    """The newest instruction set that both processor and kernels know: a key of LEVELS. Needs `library`."""
    native = library()
    return 1 if native is None else int(native.causalrec_level())


def scan(blocks: NDArray[np.float32], items: int, form: str, asked: Questions) -> Hits:
    """
    Every item's float32 score against every question; the hits that can still be among the best.

    Args:
        blocks: [B, width, parts, 16], as `fused.blocked` lays them out, with readable memory behind it.
    """
    counts = np.empty(len(asked.lambda2), dtype=np.int64)
    native = _present()
    found = native.causalrec_scan(
        ctypes.c_int32(level()),
        _at(blocks),
        *_integers(items, blocks.shape[1], blocks.shape[2]),
        ctypes.c_int32(FORMS[form]),
        *_questions(asked),
        _at(counts),
    )
    return _taken(native, found, counts)


def encode(blocks: Floats, weights: Weights) -> Codes:
    """
    Every item's codes, from the `fused.blocked` items of the same model. Their parts are what users' match, visual
    match and notice are multiplied by: [γ, γ∘e_match, e] (paper), [γ∘(1 + e_match), e] (additive).
    """
    native, items = _present(), weights.items
    gamma, e, e_match = (part[:MEASURED].numpy() for part in (items.gamma, items.e, items.e_match))
    product = gamma * e_match
    some = [gamma, product, e] if weights.form == "paper" else [gamma + product, e]
    codes = empty_codes(some, len(items.gamma))
    parts, unit = len(codes.unit), codes.unit.astype(np.float32)
    longest = native.causalrec_encode(
        ctypes.c_int32(level()),
        _at(blocks),
        *_integers(len(items.gamma), blocks.shape[1], blocks.shape[2]),
        ctypes.c_int32(FORMS[weights.form]),
        _at(unit),
        *_integers(parts, codes.codes.shape[1] // parts),
        ctypes.c_float(SAFE),
        *(_at(array) for array in codes[:4]),
    )
    return codes._replace(longest=longest)


def lay(blocks: Floats, form: str, items: ItemArrays) -> None:
    """Writes `items` into zeroed blocks [B, width, parts, 16] (`fused.blocked`)."""
    rows = [tensor.contiguous().numpy() for tensor in (items.gamma, items.e, items.e_match)]
    biases = [None if bias is None else bias.contiguous().numpy() for bias in (items.beta, items.visual_bias)]
    _present().causalrec_lay(
        *(_at(array) for array in rows),
        *(ctypes.c_void_p() if bias is None else _at(bias) for bias in biases),
        *_integers(*items.gamma.shape, blocks.shape[1], blocks.shape[2]),
        ctypes.c_int32(FORMS[form]),
        _at(blocks),
    )


def sift(
    codes: Codes,
    weights: Weights,
    asked: Questions,
    users: CodedUsers,
    planes: CodedPlanes,
    offsets: NDArray[np.float64],
) -> tuple[Hits, NDArray[np.int64]]:
    """
    Scores in float32 every item that its codes cannot rule out; the hits that can still be among the best.

    Args:
        asked: `least` is where the score to beat starts; it rises with what is found.
        users, planes, offsets: one plane per probe. What scores τ has a product with it of at least offset + log τ
            (paper) or offset + τ (additive).
    Returns: the hits, and how many items were scored for each user [U], −1 where the codes ruled out too little.
    """
    native = _present()
    counts, scored = np.empty(len(asked.lambda2), dtype=np.int64), np.empty(len(asked.nulls), dtype=np.int64)
    items = weights.items
    rows = [tensor.contiguous().numpy() for tensor in (items.gamma, items.e, items.e_match)]
    parts = len(codes.unit)
    found = native.causalrec_sift(
        ctypes.c_int32(level()),
        *(_at(array) for array in codes[:4]),
        *_integers(len(items.gamma), parts, codes.codes.shape[1] // parts),
        *(_at(array) for array in rows),
        *_integers(items.gamma.shape[1], asked.vectors.shape[2]),
        ctypes.c_int32(FORMS[weights.form]),
        *_questions(asked),
        *(_at(array) for array in (*users[:2], *planes, offsets, counts, scored)),
    )
    return _taken(native, found, counts), scored


def _present() -> ctypes.CDLL:
    native = library()
    if native is None:
        raise InstallationError("the compiled kernels are not there; install a C++ compiler and causalrec again")
    return native


def _questions(asked: Questions) -> tuple[object, ...]:
    return (*_integers(len(asked.nulls)), *(_at(array) for array in asked))


def _integers(*values: int) -> tuple[ctypes.c_int64, ...]:
    return tuple(ctypes.c_int64(value) for value in values)


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _taken(native: ctypes.CDLL, found: int, counts: NDArray[np.int64]) -> Hits:
    rows, scores = np.empty(counts.sum(), dtype=np.int64), np.empty(counts.sum(), dtype=np.float32)
    native.causalrec_take(ctypes.c_void_p(found), _at(rows), _at(scores))
    return Hits(counts, rows, scores)
