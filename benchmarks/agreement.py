"""
Whenever an answer says it is exact, are its ids and their order those of the float64 ranking?

    python -m benchmarks.agreement bundles/ml-1m-* --items 50000 500000 --kinds scan int8 flat

Asks 1,000 random questions per model and kind of search (user, 1 to 3 values of λ2 in [0, 3], k, exclusions), in
batches of mixed questions as the service makes them, and again one at a time. The truth is benchmarks/oracle.py.
Kinds that cannot serve a model's form are passed over.
Prints a Markdown table; exit status 1 if any exact answer was wrong, or any question was answered otherwise alone.
"""

import sys
from collections import Counter
from typing import get_args

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.models import Asked, Model, add_arguments, chosen, random_questions, serving
from benchmarks.oracle import Rows, Truth
from benchmarks.report import Report, command_line
from causalrec.index import Kind
from causalrec.search import Searcher
from causalrec.topk import TopK

BATCH = 16
HEADER = (
    "model",
    "kind",
    "answers",
    "exact",
    "by certificate",
    "by scan",
    "wrong",
    "not exact and wrong",
    "alone ≠ batch",
)


def truths(model: Model, asked: list[Asked]) -> list[list[Rows]]:
    """The float64 ranking of each question at each of its λ2."""
    truth = Truth.of(model.weights)
    rankings = []
    for one in tqdm(asked, desc=f"{model.name}: float64 rankings", unit="question"):
        logits, query = truth.logits(one.row), one.query
        rankings.append([truth.top(one.row, at, query.k, query.excluded, logits) for at in query.lambda2])
    return rankings


def same(one: TopK, other: TopK) -> bool:
    """Whether two answers are the same to the bit (the effort spent on them may differ)."""
    return np.array_equal(one.rows, other.rows) and np.array_equal(one.scores, other.scores)


def judge(searcher: Searcher, asked: list[Asked], rankings: list[list[Rows]], name: str) -> Counter[str]:
    """How many answers there were, exact, proved how, wrong, and other when asked alone."""
    counts: Counter[str] = Counter()
    progress = tqdm(total=len(asked), desc=name, unit="question")
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        together = searcher.batch([one.query for one in part])
        for one, answers, expected in zip(part, together, rankings[start:], strict=False):
            alone = searcher.batch([one.query])[0]
            for answer, by_itself, ranking in zip(answers, alone, expected, strict=True):
                right = np.array_equal(answer.rows, ranking)
                counts.update(("answers", answer.proof))
                counts["wrong"] += answer.exact and not right
                counts["missed"] += not answer.exact and not right
                counts["unequal"] += not same(answer, by_itself)
        progress.update(len(part))
    progress.close()
    return counts


def main() -> int:
    """The command line."""
    parser = command_line("agreement", __doc__)
    add_arguments(parser)
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind), default=["scan", "int8", "flat"])
    parser.add_argument("--questions", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    command = f"python -m benchmarks.agreement … --questions {options.questions}"
    report = Report("Exact answers against float64", command, HEADER, options.out)
    failures = 0
    for model in chosen(options):
        asked = random_questions(model, options.questions)
        rankings = truths(model, asked)
        for kind in serving(options.kinds, model):
            found = judge(Searcher(model.weights, kind), asked, rankings, f"{model.name}: {kind}")
            exact = found["certificate"] + found["scan"]
            proofs = (found["certificate"], found["scan"], found["wrong"], found["missed"], found["unequal"])
            report.add(model.name, kind, f"{found['answers']:,}", f"{exact / found['answers']:.4f}", *proofs)
            failures += found["wrong"] + found["unequal"]
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
