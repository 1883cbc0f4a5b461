"""Product pictures: what an item shows (garment, colour, pattern, cut) and nothing of what it hides."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from training.shop.garments import Points, garment

SUPERSAMPLE = 3
COLOURS = {
    "red": (203, 54, 58),
    "orange": (233, 128, 52),
    "yellow": (240, 198, 68),
    "green": (74, 141, 84),
    "teal": (38, 152, 152),
    "blue": (58, 98, 180),
    "purple": (122, 76, 164),
    "pink": (236, 142, 174),
    "brown": (128, 88, 62),
    "black": (58, 58, 66),
}
"""Colour → sRGB."""
BACKDROPS = ((240, 238, 234), (236, 240, 244), (242, 236, 228), (234, 241, 236), (241, 236, 242))
CREAM = (252, 246, 234)


class Look(NamedTuple):
    """The four attributes that a picture shows, by name."""

    garment: str
    colour: str
    pattern: str
    cut: str


def draw_picture(look: Look, side: int, rng: Generator) -> Image.Image:
    """
    The picture of an item that looks like `look`: side × side pixels, RGB.

    The draws of `rng` move what no taste hangs on: position, size, tilt, shade of the colour, backdrop, where the
    pattern starts. The cloth is drawn SUPERSAMPLE times larger and scaled down, so edges are smooth.
    """
    large = side * SUPERSAMPLE
    place = _placement(large, rng)
    base = np.clip(np.array(COLOURS[look.colour]) * rng.uniform(0.93, 1.07), 0, 255)
    dark = _mixed(base, (24, 22, 30), 0.45)
    accent = _mixed(base, CREAM, 0.82) if base @ (0.299, 0.587, 0.114) < 165 else _mixed(base, (70, 40, 36), 0.62)

    cloth = Image.new("RGB", (large, large), _rgb(base))
    marks = PATTERNS[look.pattern](large, rng)
    cloth.paste(Image.new("RGB", cloth.size, accent), mask=marks)
    layer = Image.new("RGB", cloth.size, dark)  # dark beyond the outlines: no pale fringe after scaling down
    alpha = Image.new("L", cloth.size, 0)
    _stitch(look, place, cloth, layer, alpha, dark)
    return _photograph(layer.reduce(SUPERSAMPLE), alpha.reduce(SUPERSAMPLE), rng)


def _placement(large: int, rng: Generator) -> Callable[[Points], list[tuple[float, float]]]:
    """From the unit square to pixels: a slight tilt, size and shift, drawn once per picture."""
    angle, size = np.radians(rng.uniform(-5, 5)), large * 0.465 * rng.uniform(0.94, 1.04)
    centre = large * (0.5 + rng.uniform(-0.025, 0.025, size=2))
    turn = size * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return lambda points: [(float(x), float(y)) for x, y in points @ turn + centre]


def _stitch(
    look: Look,
    place: Callable[[Points], list[tuple[float, float]]],
    cloth: Image.Image,
    layer: Image.Image,
    alpha: Image.Image,
    dark: tuple[int, int, int],
) -> None:
    """Draw the garment, cut from `cloth`, into `layer`, and where it covers the backdrop into `alpha`."""
    shape = garment(look.garment, look.cut)
    width = max(1, cloth.width // 110)
    cover, pencil = ImageDraw.Draw(alpha), ImageDraw.Draw(layer)
    for strap in shape.straps:
        cover.line(place(strap), fill=255, width=width * 6, joint="curve")
    for outline in shape.behind:
        cover.polygon(place(outline), fill=255)
    for outline in shape.cloth:
        points = place(outline)
        mask = Image.new("L", cloth.size, 0)
        ImageDraw.Draw(mask).polygon(points, fill=255)
        layer.paste(cloth, mask=mask)
        alpha.paste(255, mask=mask)
        pencil.line([*points, points[0]], fill=dark, width=width, joint="curve")
    for outline in shape.trim:
        pencil.polygon(place(outline), fill=dark)
        cover.polygon(place(outline), fill=255)
    for seam in shape.seams:
        pencil.line(place(seam), fill=dark, width=width, joint="curve")


def _photograph(layer: Image.Image, alpha: Image.Image, rng: Generator) -> Image.Image:
    """The garment lit from the upper left, its soft shadow on a paper backdrop."""
    side = layer.width
    across = np.linspace(-1, 1, side)
    light = (1.03 - 0.09 * across[None, :] - 0.05 * across[:, None])[..., None]
    distance = np.hypot(across[None, :] * 0.8, across[:, None] + 0.2)[..., None]
    backdrop = np.array(BACKDROPS[rng.integers(len(BACKDROPS))]) * (1.03 - 0.07 * distance**2)

    shift = max(1, side // 40)
    shadow = ImageChops.offset(alpha, shift, shift * 2).filter(ImageFilter.GaussianBlur(side / 28))
    backdrop = backdrop * (1 - 0.34 * np.asarray(shadow, dtype=np.float64)[..., None] / 255)

    cover = np.asarray(alpha, dtype=np.float64)[..., None] / 255
    pixels = cover * np.asarray(layer, dtype=np.float64) * light + (1 - cover) * backdrop
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _unmarked(large: int) -> Image.Image:
    return Image.new("L", (large, large), 0)


def _bands(large: int, rng: Generator, upright: bool, period: float, share: float) -> Image.Image:
    """Parallel bands, `share` of each period wide, nearly level or nearly upright."""
    mask = _unmarked(large)
    pencil = ImageDraw.Draw(mask)
    step, lean = large * period, large * rng.uniform(-0.03, 0.03)
    for start in np.arange(-step * (1 + rng.random()), large + step, step):
        corners = [(0, start), (large, start + lean), (large, start + lean + step * share), (0, start + step * share)]
        pencil.polygon([(y, x) if upright else (x, y) for x, y in corners], fill=255)
    return mask


def _striped(large: int, rng: Generator) -> Image.Image:
    return _bands(large, rng, upright=False, period=0.105, share=0.42)


def _checked(large: int, rng: Generator) -> Image.Image:
    level, upright = (_bands(large, rng, turned, period=0.125, share=0.5) for turned in (False, True))
    return ImageChops.add(level, upright, scale=2)


def _lattice(large: int, rng: Generator, step: float) -> list[tuple[float, float]]:
    """Points of a staggered lattice that covers the canvas."""
    gap = large * step
    x0, y0 = rng.uniform(-gap, 0, size=2)
    rows, columns = range(int(1 / (0.8 * step)) + 3), range(int(1 / step) + 3)
    return [(x0 + gap * (column + row % 2 / 2), y0 + gap * 0.8 * row) for row in rows for column in columns]


def _discs(mask: Image.Image, centres: list[tuple[float, float]], radius: float, fill: int = 255) -> None:
    pencil = ImageDraw.Draw(mask)
    for x, y in centres:
        pencil.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _dotted(large: int, rng: Generator) -> Image.Image:
    mask = _unmarked(large)
    _discs(mask, _lattice(large, rng, 0.115), large * 0.027)
    return mask


def _zigzag(large: int, rng: Generator) -> Image.Image:
    mask = _unmarked(large)
    pencil = ImageDraw.Draw(mask)
    step, x0, y0 = large * 0.055, -large * 0.1 * rng.random(), -large * 0.13 * rng.random()
    xs = x0 + step * np.arange(int(large * 1.2 / step) + 2)
    for y in np.arange(y0, large * 1.1, large * 0.125):
        points = [(float(x), float(y + step * 0.95 * (turn % 2))) for turn, x in enumerate(xs)]
        pencil.line(points, fill=255, width=large // 28, joint="curve")
    return mask


def _floral(large: int, rng: Generator) -> Image.Image:
    mask = _unmarked(large)
    centres = _lattice(large, rng, 0.2)
    turn = rng.uniform(0, 2 * np.pi)
    for angle in turn + 2 * np.pi * np.arange(5) / 5:
        dx, dy = large * 0.038 * np.cos(angle), large * 0.038 * np.sin(angle)
        _discs(mask, [(x + dx, y + dy) for x, y in centres], large * 0.027)
    _discs(mask, centres, large * 0.02, fill=0)
    return mask


PATTERNS: dict[str, Callable[[int, Generator], Image.Image]] = {
    "plain": lambda large, _: _unmarked(large),
    "striped": _striped,
    "dotted": _dotted,
    "checked": _checked,
    "zigzag": _zigzag,
    "floral": _floral,
}
"""Pattern → where the accent colour goes on the cloth."""


def _mixed(base: NDArray[np.float64], other: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    return _rgb((1 - share) * base + share * np.array(other))


def _rgb(values: NDArray[np.float64]) -> tuple[int, int, int]:
    red, green, blue = (round(float(value)) for value in values)
    return red, green, blue
