"""
The README's picture: one user's list at λ2 = 0 and at the bundle's default, from the simulated shop.

    python -m training.studies.figure --bundle .cache/demo/bundles/shop --shop .cache/demo/shop --out dial.png
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from causalrec import equations
from causalrec.bundle import Bundle, read_bundle
from causalrec.errors import CausalRecError
from causalrec.search import Searcher
from causalrec.topk import Rows

SHOWN = 8
TILE, GAP, LEFT, LINE, BAR = 112, 14, 150, 18, 6
INK, GREY, OUT, IN = "#222222", "#8a8a8a", "#c0392b", "#1e8449"
MATCH, NOTICE = "#2e6da4", "#d68910"


def draw(bundle: Bundle, pictures: Path, user: int) -> Image.Image:
    """Both lists of the user in row `user`: items that leave are framed red above, those that enter green below."""
    searcher = Searcher(bundle.weights, bundle.manifest.retrieval.index, bundle.index)
    default = bundle.manifest.lambda2.default
    lists = {at: _top(searcher, bundle, user, at) for at in (0.0, default)}
    row_height = LINE * 2 + TILE + 2 * (BAR + 4) + GAP
    size = (LEFT + SHOWN * (TILE + GAP), 2 * row_height + 2 * LINE)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for place, (at, rows) in enumerate(lists.items()):
        top = place * row_height + GAP
        other = lists[default if place == 0 else 0.0]
        pen.text((GAP, top + TILE // 2), f"lambda2 = {at:g}", INK, _font(18))
        words = "nothing removed" if place == 0 else "the picture's pull\nremoved"
        pen.text((GAP, top + TILE // 2 + 26), words, GREY, _font(13))
        terms = bundle.weights.terms(bundle.weights.user(user), torch.from_numpy(rows))
        match = equations.match_value(bundle.weights.form, terms).tolist()
        notice = equations.notice_value(bundle.weights.form, terms).tolist()
        for column, row in enumerate(rows.tolist()):
            corner = (LEFT + column * (TILE + GAP), top)
            _tile(canvas, pictures / str(bundle.catalogue["image"][row]), corner)
            if row not in other:
                pen.rectangle((*corner, corner[0] + TILE, top + TILE), outline=OUT if place == 0 else IN, width=3)
            _bar(pen, corner[0], top + TILE + 6, match[column], MATCH)
            _bar(pen, corner[0], top + TILE + 6 + BAR + 4, notice[column], NOTICE)
    legend = size[1] - 2 * LINE
    _legend(pen, legend)
    return canvas


def average_user(bundle: Bundle) -> int:
    """Of the first 50 users, the row of the one whose list changes as much as the average user's among them."""
    searcher = Searcher(bundle.weights, bundle.manifest.retrieval.index, bundle.index)
    default = bundle.manifest.lambda2.default
    kept = [
        len(np.intersect1d(_top(searcher, bundle, user, 0.0), _top(searcher, bundle, user, default)))
        for user in range(min(50, len(bundle.users)))
    ]
    return int(np.abs(np.array(kept) - np.mean(kept)).argmin())


def _top(searcher: Searcher, bundle: Bundle, user: int, lambda2: float) -> Rows:
    return searcher.top_k(bundle.weights.user(user), lambda2, SHOWN, bundle.seen.items(user)).rows


def _tile(canvas: Image.Image, file: Path, corner: tuple[int, int]) -> None:
    with Image.open(file) as picture:
        canvas.paste(picture.convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS), corner)


def _bar(pen: ImageDraw.ImageDraw, left: int, top: int, value: float, colour: str) -> None:
    pen.rectangle((left, top, left + TILE, top + BAR), fill="#eeeeee")
    pen.rectangle((left, top, left + round(TILE * min(max(value, 0.0), 1.0)), top + BAR), fill=colour)


def _legend(pen: ImageDraw.ImageDraw, top: int) -> None:
    marks = (
        (MATCH, "match: fits the user"),
        (NOTICE, "notice: the picture catches the eye"),
        (OUT, "leaves"),
        (IN, "enters"),
    )
    left = LEFT
    for colour, words in marks:
        pen.rectangle((left, top + 4, left + 14, top + 14), fill=colour)
        pen.text((left + 20, top), words, INK, _font(14))
        left += 40 + round(pen.textlength(words, _font(14)))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m training.studies.figure", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR")
    parser.add_argument("--shop", type=Path, required=True, metavar="DIR", help="the shop the bundle was trained on")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the PNG")
    options = parser.parse_args()
    try:
        bundle = read_bundle(options.bundle)
    except CausalRecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture = draw(bundle, options.shop / "images", average_user(bundle))
    picture.quantize(128).save(options.out, optimize=True)
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
