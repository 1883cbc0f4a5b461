"""
Is the λ2-path the truth: the float64 list at every piece's midpoint, and on both sides of every breakpoint?

    python -m benchmarks.paths bundles/ml-1m-paper-0 --items 50000

200 users per model, k = 10 and 50 in turn, λ2 in [0, 3], what they have seen excluded. A side of a breakpoint is as far
from it as 1e-9, or a quarter of the way to the next breakpoint where that is nearer. The truth is benchmarks/oracle.py;
where its two scores at a differing place are equal to 12 decimals' rounding, the breakpoint is met and counts as right.
Prints a Markdown table; exit status 1 if any list was wrong, or pieces do not join up.
"""

import sys
import time
from collections import Counter
from itertools import pairwise
from statistics import median
from typing import get_args

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.models import LARGEST_LAMBDA2, Model, add_arguments, chosen
from benchmarks.oracle import DECIMALS, Logits, Rows, Truth
from benchmarks.report import Report, command_line, ms
from causalrec.index import Kind
from causalrec.path import Lambda2Path
from causalrec.search import Searcher

SIDE = 1e-9
HEADER = ("model", "kind", "users", "pieces, median (most)", "truncated", "lists checked", "ties", "wrong", "median ms")


def points(path: Lambda2Path) -> list[tuple[float, Rows]]:
    """Every λ2 to check with the list that must stand there: midpoints, and both ends of every piece, just inside."""
    found = []
    for piece in path.pieces:
        inside = min(SIDE, (piece.end - piece.start) / 4)
        found += [(at, piece.rows) for at in (piece.start + inside, (piece.start + piece.end) / 2, piece.end - inside)]
    return found


def joined(path: Lambda2Path, maximum: float) -> bool:
    """Whether the pieces cover [0, maximum] (its beginning where truncated) without gaps or repeated lists."""
    pieces = path.pieces
    whole = pieces[0].start == 0 and (path.truncated or pieces[-1].end == maximum)
    return whole and all(
        one.end == other.start and not np.array_equal(one.rows, other.rows) for one, other in pairwise(pieces)
    )


def verdict(truth: Truth, row: int, at: float, rows: Rows, excluded: Rows, logits: Logits) -> str:
    """right, tied (it differs from the float64 list only among scores equal to 12 decimals' rounding) or wrong."""
    expected = truth.top(row, at, len(rows), excluded, logits)
    if np.array_equal(rows, expected):
        return "right"
    scores = truth.scores(row, at, logits)
    tied = len(np.unique(rows)) == len(rows) and not np.isin(rows, excluded).any()
    return "tied" if tied and np.abs(scores[rows] - scores[expected]).max() <= 10.0**-DECIMALS else "wrong"


def measure(model: Model, kind: Kind, users: int) -> tuple[tuple[object, ...], int]:
    """A row of the table, and how many checks failed."""
    truth, searcher = Truth.of(model.weights), Searcher(model.weights, kind)
    counts: Counter[str] = Counter()
    pieces, seconds = [], []
    chosen_rows = np.unique(np.linspace(0, truth.users - 1, users).astype(int)).tolist()
    for number, row in enumerate(tqdm(chosen_rows, desc=f"{model.name}: {kind}", unit="user")):
        excluded, k = model.seen[row], (10, 50)[number % 2]
        begun = time.perf_counter()
        path = searcher.path(model.weights.user(row), LARGEST_LAMBDA2, k, excluded, limit=2000)
        seconds.append(time.perf_counter() - begun)
        pieces.append(len(path.pieces))
        counts["truncated"] += path.truncated
        counts["wrong"] += not joined(path, LARGEST_LAMBDA2)
        logits = truth.logits(row)
        counts.update(verdict(truth, row, at, rows, excluded, logits) for at, rows in points(path))
    checked = counts["right"] + counts["tied"] + counts["wrong"]
    many = f"{median(pieces):,.0f} ({max(pieces):,})"
    spent = (f"{checked:,}", counts["tied"], counts["wrong"], ms(median(seconds)))
    return (model.name, kind, len(chosen_rows), many, counts["truncated"], *spent), counts["wrong"]


def main() -> int:
    """The command line."""
    parser = command_line("paths", __doc__)
    add_arguments(parser, items=(50_000,))
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind), default=["scan"])
    parser.add_argument("--users", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    command = f"python -m benchmarks.paths … --users {options.users}"
    report = Report("The λ2-path against float64", command, HEADER, options.out)
    failures = 0
    for model in chosen(options):
        for kind in options.kinds:
            row, wrong = measure(model, kind, options.users)
            report.add(*row)
            failures += wrong
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
