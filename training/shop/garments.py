"""Silhouettes: the outlines of each garment in each cut, in the unit square, ready for pictures.py to draw."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # [n, 2]: x to the right, y downwards, both in [−1, 1]
Half = list[tuple[float, float, float]]  # the right half of an outline: x, y, and how much of the cut x takes

CUTS = {"slim": 0.68, "regular": 1.0, "wide": 1.34}
"""Cut → how wide a garment is, as a factor (a shoe: how high)."""


class Garment(NamedTuple):
    """What is drawn of one garment, back to front."""

    behind: list[Points]
    """Closed outlines in the dark tone, behind the cloth: the inside of a neck, a sole."""
    cloth: list[Points]
    """Closed outlines filled with colour and pattern."""
    trim: list[Points]
    """Closed outlines in the dark tone, on top: a hat's band, buttons."""
    seams: list[Points]
    """Open lines in the dark tone."""
    straps: list[Points]
    """Open thick lines in the dark tone, behind everything."""


def garment(name: str, cut: str) -> Garment:
    """The silhouette of garment `name` in `cut`."""
    return GARMENTS[name](CUTS[cut])


def _mirrored(half: Half, w: float, radius: float = 0.05) -> Points:
    """The closed outline symmetric about x = 0 whose right half, from top to bottom, is `half` at width `w`."""
    right = [(x * (1 + share * (w - 1)), y) for x, y, share in half]
    left = [(-x, y) for x, y in reversed(right) if x]
    return _rounded(np.array(right + left), radius)


def _rounded(corners: Points, radius: float) -> Points:
    """The closed outline through `corners`, each replaced by a quadratic curve that starts `radius` before it."""
    sides = [np.roll(corners, shift, axis=0) - corners for shift in (1, -1)]
    near = [side * np.minimum(radius / np.linalg.norm(side, axis=1, keepdims=True), 0.5) for side in sides]
    step = np.linspace(0, 1, 6)[:, None]
    curve: Points = corners[:, None] + (1 - step) ** 2 * near[0][:, None] + step**2 * near[1][:, None]
    return curve.reshape(-1, 2)


def _ellipse(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> Points:
    angle = np.radians(np.linspace(start, end, 40))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _line(*points: tuple[float, float]) -> Points:
    return np.array(points)


def _shirt(w: float) -> Garment:
    body: Half = [(0, -0.55, 0), (0.18, -0.74, 0), (0.46, -0.62, 0.6), (0.76, -0.2, 0.7), (0.56, -0.06, 0.8)]
    body += [(0.41, -0.24, 1), (0.41, 0.74, 1), (0, 0.76, 1)]
    arm = 0.41 * w
    return Garment(
        behind=[_ellipse(0, -0.7, 0.17, 0.09)],
        cloth=[_mirrored(body, w)],
        trim=[],
        seams=[
            _ellipse(0, -0.74, 0.19, 0.23, 10, 170),
            _line((arm, -0.24), (0.46 * (1 + 0.6 * (w - 1)) - 0.06, -0.58)),
            _line((-arm, -0.24), (-0.46 * (1 + 0.6 * (w - 1)) + 0.06, -0.58)),
        ],
        straps=[],
    )


def _dress(w: float) -> Garment:
    body: Half = [(0, -0.5, 0), (0.13, -0.6, 0), (0.15, -0.86, 0), (0.25, -0.86, 0), (0.27, -0.5, 0.4)]
    body += [(0.2, -0.14, 0.6), (0.36, 0.3, 1), (0.56, 0.8, 1.1), (0.28, 0.87, 1.1), (0, 0.88, 1)]
    waist = 0.2 * (1 + 0.6 * (w - 1))
    return Garment(
        behind=[],
        cloth=[_mirrored(body, w, 0.08)],
        trim=[_line((-waist - 0.005, -0.17), (waist + 0.005, -0.17), (waist + 0.01, -0.08), (-waist - 0.01, -0.08))],
        seams=[_line((0.08, 0.0), (0.2 * w, 0.82)), _line((-0.08, 0.0), (-0.2 * w, 0.82))],
        straps=[],
    )


def _skirt(w: float) -> Garment:
    body: Half = [(0, -0.56, 0), (0.3, -0.56, 0.4), (0.44, -0.1, 0.9), (0.62, 0.56, 1), (0.32, 0.63, 1), (0, 0.65, 1)]
    top = 0.3 * (1 + 0.4 * (w - 1))
    return Garment(
        behind=[],
        cloth=[_mirrored(body, w, 0.07)],
        trim=[_line((-top, -0.6), (top, -0.6), (top + 0.02, -0.46), (-top - 0.02, -0.46))],
        seams=[_line((share * top, -0.42), (share * 0.58 * w, 0.6)) for share in (-0.6, -0.2, 0.2, 0.6)],
        straps=[],
    )


def _trousers(w: float) -> Garment:
    legs: Half = [(0, -0.84, 0), (0.32, -0.84, 0.4), (0.38, -0.4, 0.7), (0.44, 0.86, 1.2), (0.14, 0.88, -0.6)]
    legs += [(0.0, -0.2, 0)]
    top = 0.32 * (1 + 0.4 * (w - 1))
    return Garment(
        behind=[],
        cloth=[_mirrored(legs, w, 0.04)],
        trim=[_line((-top - 0.005, -0.86), (top + 0.005, -0.86), (top + 0.015, -0.75), (-top - 0.015, -0.75))],
        seams=[
            _line((0, -0.75), (0, -0.22)),
            _line((top - 0.12, -0.74), (top + 0.04, -0.54)),
            _line((0.12 - top, -0.74), (-top - 0.04, -0.54)),
        ],
        straps=[],
    )


def _coat(w: float) -> Garment:
    body: Half = [(0, -0.62, 0), (0.16, -0.84, 0), (0.42, -0.74, 0.6), (0.68, 0.3, 0.9), (0.5, 0.36, 0.9)]
    body += [(0.36, -0.34, 1), (0.43, 0.86, 1.1), (0, 0.88, 1)]
    lapel = [(0.0, -0.12), (0.05, -0.62), (0.15, -0.84), (0.25, -0.52)]
    pocket = 0.24 * w
    return Garment(
        behind=[_ellipse(0, -0.72, 0.14, 0.12)],
        cloth=[_mirrored(body, w)],
        trim=[
            _line(*lapel),
            _line(*[(-x, y) for x, y in lapel]),
            *[_ellipse(0.08, y, 0.032, 0.032) for y in (0.04, 0.24, 0.44)],
        ],
        seams=[
            _line((0, -0.12), (0, 0.86)),
            _line((pocket - 0.08, 0.36), (pocket + 0.1, 0.32)),
            _line((0.08 - pocket, 0.36), (-pocket - 0.1, 0.32)),
        ],
        straps=[],
    )


def _shoe(w: float) -> Garment:
    height = 1 + 1.15 * (w - 1)
    upper = [(-0.78, -0.42), (-0.56, -0.5), (-0.24, -0.44), (-0.06, -0.2), (0.3, -0.02), (0.68, 0.06), (0.8, 0.24)]
    upper += [(0.8, 0.34), (-0.8, 0.34)]
    sole = [(-0.84, 0.28), (0.84, 0.28), (0.84, 0.4), (0.76, 0.46), (-0.8, 0.46)]

    def raised(points: list[tuple[float, float]]) -> Points:
        return np.array([(x, 0.34 + (y - 0.34) * height) for x, y in points])

    return Garment(
        behind=[],
        cloth=[_rounded(raised(upper), 0.12)],
        trim=[_rounded(raised(sole), 0.05)],
        seams=[raised([(x, y), (x - 0.13, y + 0.17)]) for x, y in ((-0.09, -0.23), (0.05, -0.14), (0.19, -0.07))]
        + [raised([(-0.52, -0.46), (-0.46, 0.0), (-0.5, 0.3)]), raised([(0.4, 0.02), (0.42, 0.16), (0.5, 0.3)])],
        straps=[],
    )


def _bag(w: float) -> Garment:
    body: Half = [(0, -0.2, 0), (0.46, -0.2, 1), (0.56, 0.64, 1), (0, 0.66, 1)]
    return Garment(
        behind=[],
        cloth=[_mirrored(body, w, 0.1)],
        trim=[_line((-0.09, -0.02), (0.09, -0.02), (0.09, 0.14), (-0.09, 0.14))],
        seams=[_line((-0.48 * w, 0.04), (-0.1, 0.06)), _line((0.1, 0.06), (0.48 * w, 0.04))],
        straps=[_ellipse(0, -0.18, 0.3 * (1 + 0.8 * (w - 1)), 0.52, 180, 360)],
    )


def _hat(w: float) -> Garment:
    brim = 0.66 * (1 + 1.05 * (w - 1))
    crown = [(-0.38, 0.22), (-0.33, -0.34), (-0.18, -0.46), (0.0, -0.4), (0.18, -0.46), (0.33, -0.34), (0.38, 0.22)]
    band = [(-0.37, 0.0), (0.37, 0.0), (0.385, 0.16), (-0.385, 0.16)]
    return Garment(
        behind=[],
        cloth=[_ellipse(0, 0.22, brim, 0.17), _rounded(np.array(crown), 0.1)],
        trim=[_line(*band)],
        seams=[_ellipse(0, 0.17, 0.385, 0.06, 10, 170)],
        straps=[],
    )


GARMENTS: dict[str, Callable[[float], Garment]] = {
    "hat": _hat,
    "shirt": _shirt,
    "skirt": _skirt,
    "bag": _bag,
    "trousers": _trousers,
    "dress": _dress,
    "shoe": _shoe,
    "coat": _coat,
}
"""Garment → its silhouette, from the usually cheap to the usually dear (catalogue.py: type goes with price)."""
