"""The fused scan where there is no compiler: numba over the bundle's own arrays, tile by tile; numpy keeps the best."""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from causalrec.equations import ItemArrays
from causalrec.kernels.questions import Floats, Hits, Questions

TILE = 2048  # items whose logits stay in the first-level cache
LIMIT = np.float32(28.0)  # σ is 1 or 0 to 1e-12 beyond it, and products of three factors stay finite
ONE = np.float32(1.0)
FORMS = {"paper": 0, "authors": 1, "additive": 2, "sum": 3}


def scan(items: ItemArrays, form: str, asked: Questions) -> Hits:
    """What `compiled.scan` gives: every probe's hits that can still be among its best."""
    count, dim = items.gamma.shape
    first, second = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    arrays = [part.contiguous().numpy() for part in (items.gamma, items.e, items.e_match)]
    biases = [
        np.zeros(count, dtype=np.float32) if bias is None else bias.numpy() for bias in (items.beta, items.visual_bias)
    ]
    rows, scores = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.float32)]
    for user, null in enumerate(asked.nulls):
        vectors = np.ascontiguousarray(asked.vectors[user, :, :dim])
        _halves(*arrays, *biases, FORMS[form], vectors[0], vectors[1], null, first, second)  # type: ignore[call-arg, arg-type]
        allowed = np.ones(count, dtype=bool)
        allowed[asked.excluded[asked.starts[user] : asked.starts[user + 1]]] = False
        for probe in range(asked.probes[user], asked.probes[user + 1]):
            values = first - asked.lambda2[probe] * second
            rows.append(_kept(values, allowed, asked.least[probe], asked.margin[probe], int(asked.k[probe])))
            scores.append(values[rows[-1]])
    return Hits(_lengths(rows[1:]), np.concatenate(rows), np.concatenate(scores))


def _kept(
    values: Floats, allowed: NDArray[np.bool_], least: np.float32, margin: np.float32, k: int
) -> NDArray[np.int64]:
    rows = np.flatnonzero(allowed & (values >= least)).astype(np.int64)
    if not 0 < k < len(rows):
        return rows if k else rows[:0]
    kth = np.partition(values[rows], len(rows) - k)[len(rows) - k]
    kept: NDArray[np.int64] = rows[values[rows] >= kth - margin]
    return kept


def _lengths(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.array([len(each) for each in rows], dtype=np.int64)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _halves(
    gamma: Floats,
    e: Floats,
    e_match: Floats,
    beta: Floats,
    visual_bias: Floats,
    form: int,
    gamma_u: Floats,
    theta_u: Floats,
    null: np.float32,
    first: Floats,
    second: Floats,
) -> None:
    """first, second [I] of every item: its score is first − λ2·second (`causalrec.equations.score`)."""
    a = np.empty(TILE, dtype=np.float32)
    b, n, powers = np.empty_like(a), np.empty_like(a), np.empty(TILE, dtype=np.int32)
    star = np.exp(-min(max(null, -LIMIT), LIMIT))
    for start in range(0, len(gamma), TILE):
        count = min(TILE, len(gamma) - start)
        _logits(gamma, e, e_match, gamma_u, theta_u, start, count, a, b, n)
        for i in range(count):
            a[i] += beta[start + i]
            n[i] += visual_bias[start + i]
        if form == 2:
            for i in range(count):
                first[start + i], second[start + i] = a[i] + b[i] + n[i], n[i]
        elif form == 1:
            for i in range(count):
                a[i] += b[i]
            for x in (a, n):
                _exponential(x, powers, count)
            for i in range(count):
                notice = ONE + n[i]
                first[start + i] = ONE / ((ONE + a[i] * n[i]) * (ONE + a[i]) * notice)
                second[start + i] = ONE / ((ONE + star * n[i]) * (ONE + star) * notice)
        else:
            for x in (a, b, n):
                _exponential(x, powers, count)
            if form == 0:
                _product(a, b, n, null, start, count, first, second)
            else:
                _sum(a, b, n, start, count, first, second)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _product(
    a: Floats, b: Floats, n: Floats, null: np.float32, start: int, count: int, first: Floats, second: Floats
) -> None:
    """Halves of σ(a)σ(b)σ(n) − λ2·c·σ(n), of e^−a, e^−b, e^−n."""
    for i in range(count):
        match = (ONE + a[i]) * (ONE + b[i])
        first[start + i] = ONE / (match * (ONE + n[i]))
        second[start + i] = first[start + i] * match * null


@njit(cache=True, nogil=True, fastmath={"contract"})
def _sum(a: Floats, b: Floats, n: Floats, start: int, count: int, first: Floats, second: Floats) -> None:
    """Halves of σ(a) + σ(b) + (1 − λ2)·σ(n), of e^−a, e^−b, e^−n, by one division."""
    for i in range(count):
        match, notice = (ONE + a[i]) * (ONE + b[i]), ONE + n[i]
        inverse = ONE / (match * notice)
        first[start + i] = inverse * (notice * ((ONE + a[i]) + (ONE + b[i])) + match)
        second[start + i] = inverse * match


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _logits(
    gamma: Floats,
    e: Floats,
    e_match: Floats,
    gamma_u: Floats,
    theta_u: Floats,
    start: int,
    count: int,
    a: Floats,
    b: Floats,
    n: Floats,
) -> None:
    """Terms of `count` items from `start` on. Sums in any order: the error bound does not depend on it."""
    for i in range(count):
        x, y, z = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for d in range(len(gamma_u)):
            product = gamma[start + i, d] * gamma_u[d]
            x += product
            y += product * e_match[start + i, d]
            z += e[start + i, d] * theta_u[d]
        a[i], b[i], n[i] = x, y, z


@njit(cache=True, nogil=True, fastmath={"contract"})
def _exponential(x: Floats, powers: NDArray[np.int32], count: int) -> None:
    """x ← e^−x within 2 units in the last place, x limited to ±28: −x = n·ln 2 + r, a polynomial for e^r, then 2ⁿ."""
    magic = np.float32(12582912.0)  # 1.5·2²³: adding it rounds to an integer
    for i in range(count):
        value = min(max(-x[i], -LIMIT), LIMIT)
        whole = (value * np.float32(1.44269504) + magic) - magic
        r = value - whole * np.float32(0.693145752)
        r = r - whole * np.float32(1.42860677e-6)
        p = np.float32(1.98756915e-4) * r + np.float32(1.39819994e-3)
        p = p * r + np.float32(8.33345205e-3)
        p = p * r + np.float32(4.16657962e-2)
        p = p * r + np.float32(1.66666657e-1)
        p = p * r + np.float32(0.5)
        x[i] = p * (r * r) + r + ONE
        powers[i] = (np.int32(whole) + np.int32(127)) << np.int32(23)
    two_to = powers.view(np.float32)
    for i in range(count):
        x[i] = x[i] * two_to[i]
