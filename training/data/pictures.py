"""Pictures: items' picture files as pixels in memory, for a model whose own network looks at them."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from causalrec.backbone import read_picture
from causalrec.errors import DataError
from training.data.features import FOLDER
from training.data.table import EXAMPLES

WORKERS = min(8, os.cpu_count() or 1)
SHOW_AFTER = 2.0


def item_pictures(directory: Path, items: pl.DataFrame) -> tuple[Path, ...] | None:
    """
    Where each of `items` has its picture; None where the data directory has no images/ at all.

    An item without a picture gets the name its picture should have: whoever reads it says which is missing.
    """
    folder = directory / FOLDER
    if not folder.is_dir():
        return None
    named = zip(items["image"], items["item_id"], strict=True)
    return tuple(folder / image if image else Path(f"{folder}/{item_id}.jpg") for image, item_id in named)


@lru_cache(maxsize=1)
def decode_pictures(paths: tuple[Path, ...], pixels: int) -> Tensor:
    """
    The pictures as they lie on disk, squashed to a square as for the backbone: uint8 [I, 3, pixels, pixels].

    The last pictures asked for are kept, so that models trained one after the other decode them once; do not write
    to what is returned.

    Raises: DataError naming the first five that cannot be read.
    """
    decoded = torch.empty(len(paths), 3, pixels, pixels, dtype=torch.uint8)
    bad: list[str] = []

    def decode(path: Path) -> Tensor | str:
        try:
            picture = read_picture(path).resize((pixels, pixels), Image.Resampling.BICUBIC)
        except DataError as error:
            return str(error)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)

    with ThreadPoolExecutor(WORKERS) as workers:
        shown = tqdm(
            workers.map(decode, paths), total=len(paths), desc="decoding pictures", unit="picture", delay=SHOW_AFTER
        )
        for row, found in enumerate(shown):
            if isinstance(found, str):
                bad.append(found)
            else:
                decoded[row] = found
    if bad:
        more = [f"and {len(bad) - EXAMPLES} more"] if len(bad) > EXAMPLES else []
        head = f"{len(bad)} of {len(paths)} items have no usable picture, and this model looks at all of them:"
        way_out = 'mend them, or drop such items with images.source = "images" and --skip-bad'
        raise DataError("\n  ".join([head, *bad[:EXAMPLES], *more, way_out]))
    return decoded


def pictures_digest(paths: Sequence[Path]) -> str:
    """sha256, hexadecimal, over the content of all files in order; one that cannot be read counts as empty."""
    whole = hashlib.sha256()
    for path in paths:
        content = path.read_bytes() if path.is_file() else b""
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()
