"""Items and users as 8-bit codes, with what the codes miss: a bound on every inner product of a plane with an item."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from causalrec.kernels.questions import Floats

Doubles = NDArray[np.float64]

LANES = 16
SPARE = 8  # blocks behind the items, which the kernel's prefetching may touch
MEASURED = 16_384  # items that give a dimension its unit
SAFE = 1e-6  # of a vector's length: far above float32's rounding of what is coded


class Codes(NamedTuple):
    """
    Items of P parts (match, visual match, notice), each G groups of four dimensions: v ≈ unit∘scale·(code − 128).

    codes uint8 [B, P·G, 16, 4]; of every item [16·B] its scale, the length of what the code misses (residual) and of
    what it says (size), in units; unit [P, 4·G]; longest: the greatest length of an item, in units.
    """

    codes: NDArray[np.uint8]
    scales: Floats
    residuals: Floats
    sizes: Floats
    unit: Doubles
    longest: float


class CodedUsers(NamedTuple):
    """
    Users' halves of the parts' inner products: user∘unit ≈ scale·byte.

    packed int32 [U, P·G] holds four bytes each; shifts int32 [U, P] is 128 times their sum; scales [U, P]; lengths and
    residuals [U, P]: of the part in units, and of what its bytes miss.
    """

    packed: NDArray[np.int32]
    shifts: NDArray[np.int32]
    scales: Doubles
    lengths: Doubles
    residuals: Doubles


class CodedPlanes(NamedTuple):
    """Per probe: weights [P, parts] of a user's sums, and what item residuals (norms) and sizes (residuals) count."""

    weights: Floats
    norms: Floats
    residuals: Floats


def empty_codes(measured: Sequence[Floats], count: int) -> Codes:
    """
    Codes of `count` items that all say nothing, with a unit per dimension: the kernel fills them in.

    Args:
        measured: the parts of some of the items, each [C, w], all of one width; their mean squares give the units.
    """
    unit = np.sqrt((_padded(measured).astype(np.float64) ** 2).mean(0))
    unit[unit == 0] = 1.0
    blocks, groups = -(-count // LANES) + SPARE, unit.size // 4
    codes = np.full((blocks, groups, LANES, 4), 128, dtype=np.uint8)
    scales, residuals, sizes = (np.zeros(blocks * LANES, dtype=np.float32) for _ in range(3))
    return Codes(codes, scales, residuals, sizes, unit, 0.0)


def encode_users(parts: Sequence[Floats], codes: Codes) -> CodedUsers:
    """The users' parts, each [U, w], in the units of `codes`."""
    scaled = _padded(parts).astype(np.float64) * codes.unit
    scales = np.maximum(np.abs(scaled).max(2) / 127, np.finfo(np.float32).tiny)
    rounded = np.rint(scaled / scales[:, :, None])
    missed = np.linalg.norm(scaled - rounded * scales[:, :, None], axis=2)
    packed = rounded.astype(np.int8).reshape(len(scaled), -1).view(np.int32)
    shifts = (128 * rounded.sum(2)).astype(np.int32)
    return CodedUsers(packed, shifts, scales, np.linalg.norm(scaled, axis=2), missed)


def encode_planes(weights: Doubles, users: CodedUsers, owner: NDArray[np.int64]) -> CodedPlanes:
    """Planes with `weights` [P, parts] over the parts of the users in rows `owner` [P]."""
    norms = np.sqrt(((weights * users.lengths[owner]) ** 2).sum(1))
    residuals = np.sqrt(((weights * users.residuals[owner]) ** 2).sum(1))
    return CodedPlanes(
        (weights * users.scales[owner]).astype(np.float32),
        (norms * (1 + SAFE)).astype(np.float32),
        (residuals * (1 + SAFE)).astype(np.float32),
    )


def _padded(parts: Sequence[Floats]) -> Floats:
    """[C, P, w] with w filled up to a multiple of four by zeros."""
    stacked = np.stack(parts, 1)
    return np.pad(stacked, ((0, 0), (0, 0), (0, -stacked.shape[2] % 4)))
