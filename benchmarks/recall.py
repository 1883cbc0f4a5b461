"""
How much of the true top 50 a search finds at every λ2, and how often its certificate alone proves it.

    python -m benchmarks.recall bundles/ml-1m-paper-0 --items 50000 500000 --kinds flat int8

Per model, kind and λ2 in {0, .2, …, 1.2, 2}: 100 users, k = 50, what they have seen excluded. Recall is of the answers
as served (full scan where the proof fails) and of the search alone (full scan off, 500 candidates); the truth is
benchmarks/oracle.py. "proved" is the certificate's share among users whose 50th score τ is above 0: with τ ≤ 0 no
certificate of the paper's form can hold, and their share stands beside it.
Exit status 1 where target 1 is missed: recall as served < .999, or proved < .99 (.95 below 10,000 items) over all λ2.
"""

import sys
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.models import LAMBDA2, Model, add_arguments, chosen, serving
from benchmarks.oracle import Logits, Truth
from benchmarks.report import Report, command_line
from causalrec.index import Kind
from causalrec.search import Searcher
from causalrec.topk import Query

K, CANDIDATES = 50, 500
HEADER = ("model", "kind", "λ2", "recall, served", "recall, search alone", "proved (τ > 0)", "τ ≤ 0", "candidates")


@dataclass(frozen=True)
class Measured:
    """One user at one λ2: recall as served and of the search alone, whether that proved it, τ > 0, candidates."""

    served: float
    alone: float
    proved: bool
    positive: bool
    candidates: int


def measure(truth: Truth, searcher: Searcher, query: Query, row: int, logits: Logits) -> list[Measured]:
    """The user in `row` at every λ2 of `query`."""
    served = searcher.batch([query])[0]
    alone = searcher.batch([replace(query, full_scan=False)])[0]
    found = []
    for at, whole, part in zip(query.lambda2, served, alone, strict=True):
        scores = truth.scores(row, at, logits)
        right = truth.top(row, at, K, query.excluded, logits)
        recall = [len(np.intersect1d(answer.rows, right)) / len(right) for answer in (whole, part)]
        proved = part.proof == "certificate"
        found.append(Measured(recall[0], recall[1], proved, bool(scores[right[-1]] > 0), part.candidates))
    return found


def cells(measured: list[Measured]) -> tuple[str, ...]:
    """A row's figures: two recalls, share proved among τ > 0, share of τ ≤ 0, median (most) candidates."""
    positive = [one.proved for one in measured if one.positive]
    spent = [one.candidates for one in measured]
    return (
        f"{np.mean([one.served for one in measured]):.4f}",
        f"{np.mean([one.alone for one in measured]):.4f}",
        f"{np.mean(positive):.3f}" if positive else "",
        f"{1 - len(positive) / len(measured):.3f}",
        f"{np.median(spent):,.0f} ({max(spent):,})",
    )


def reached(measured: list[Measured], items: int) -> bool:
    """Target 1 over all λ2 of one model and kind."""
    positive = [one.proved for one in measured if one.positive]
    enough = 0.99 if items >= 10_000 else 0.95
    return float(np.mean([one.served for one in measured])) >= 0.999 and float(np.mean(positive or [True])) >= enough


def rows_of(model: Model, kind: Kind, users: int, truth: Truth) -> dict[float, list[Measured]]:
    """λ2 → what was measured of each user."""
    searcher = Searcher(model.weights, kind)
    found: dict[float, list[Measured]] = {at: [] for at in LAMBDA2}
    for row in tqdm(np.unique(np.linspace(0, truth.users - 1, users).astype(int)), desc=f"{model.name}: {kind}"):
        query = Query(model.weights.user(int(row)), LAMBDA2, K, model.seen[row], CANDIDATES)
        for at, one in zip(LAMBDA2, measure(truth, searcher, query, int(row), truth.logits(row)), strict=True):
            found[at].append(one)
    return found


def main() -> int:
    """The command line."""
    parser = command_line("recall", __doc__)
    add_arguments(parser)
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind), default=["flat", "int8"])
    parser.add_argument("--users", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    command = f"python -m benchmarks.recall … --users {options.users}"
    report = Report("Recall@50 and the certificate alone", command, HEADER, options.out)
    missed = 0
    for model in chosen(options):
        truth = Truth.of(model.weights)
        for kind in serving(options.kinds, model):
            found = rows_of(model, kind, options.users, truth)
            for at, measured in found.items():
                report.add(model.name, kind, f"{at:g}", *cells(measured))
            everything = [one for measured in found.values() for one in measured]
            report.add(model.name, kind, "all", *cells(everything))
            missed += not reached(everything, truth.items)
    report.note(f"Target 1: {'missed in ' + str(missed) + ' of the above' if missed else 'reached'}.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
