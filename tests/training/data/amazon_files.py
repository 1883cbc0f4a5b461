"""A small category in the files' own formats: four reviewers, three products, one of them without a feature."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

REVIEWS: list[dict[str, Any]] = [
    {"reviewerID": "A1", "asin": "B000000001", "overall": 5.0, "unixReviewTime": 1300000000, "reviewText": "Good\none"},
    {"reviewerID": "A2", "asin": "B000000001", "overall": 2.0, "unixReviewTime": 1300000001},
    {"reviewerID": "A1", "asin": "B000000002", "overall": 4.0, "unixReviewTime": 1300000002},
    {"reviewerID": "A3", "asin": "B000000002", "overall": 3.0, "unixReviewTime": 1300000003},
    {"reviewerID": "A4", "asin": "NOFEATURE1", "overall": 1.0, "unixReviewTime": 1300000004},
]
METADATA: list[dict[str, Any]] = [
    {"asin": "B000000002", "title": "Bib", "categories": [["Baby", "Feeding", "Bibs"], ["Gifts"]], "price": 9.5},
    {"asin": "B000000001", "title": "  ", "imUrl": "image-1.jpg", "price": "$1,299.00", "category": ["Baby", "Prams"]},
    {"asin": "UNWANTED01", "title": "Nobody reviewed it"},
]
FEATURES = {"UNWANTED01": 9.0, "B000000002": 2.0, "B000000001": 1.0}


def write_lines(path: Path, objects: Sequence[Mapping[str, Any] | str], *, zipped: bool = True) -> Path:
    """Objects as JSON, text as it stands; one a line."""
    lines = [line if isinstance(line, str) else json.dumps(line) for line in objects]
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


def write_features(path: Path, values: Mapping[str, float]) -> Path:
    """Each item's feature is its value and the counted numbers after it, so that order shows."""
    content = b""
    for asin, value in values.items():
        content += asin.encode() + (value + np.arange(4096) / 4096).astype("<f4").tobytes()
    path.write_bytes(content)
    return path
