"""
What an exact answer costs on one thread, against reading the vectors once and against torch.

    python -m benchmarks.kernels --items 50000 500000
    python -m benchmarks.kernels --items 5000000 --kinds scan int8 --batches 1 64

Per catalogue size (synthetic, paper's form, k = 50, what the user has seen excluded, λ2 = .8):
- reading γ and e (float32, 256 B an item at d = 32) once: the faster of torch.sum over them as float32 and as int64;
- torch: three float32 matrix-vector products with γ∘e stored, the score, exclusions and topk; proves nothing. For a
  batch, three matrix-matrix products over blocks of items, topk per block;
- Searcher.batch of every kind, and scan by numba; batches are of different users. pq and ivf prove nothing: they are
  asked for what they find by themselves, 1,000 candidates, no full scan;
- 7 values of λ2 in one question against one.
All of one size and batch take turns, so that a slow moment meets each; the median counts. Milliseconds, ratios and
candidates are per user. Recall and proofs are of other users than those timed.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import get_args

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.models import Model
from benchmarks.oracle import Rows, Truth
from benchmarks.report import Report, command_line, ms
from causalrec.index import Kind
from causalrec.kernels.fused import FusedScan, Kernel
from causalrec.search import Searcher
from causalrec.topk import Query, TopK

K, LAMBDA2 = 50, 0.8
UNPROVED: tuple[Kind, ...] = ("pq", "ivf")
CANDIDATES = 1000  # of those
SEVEN = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
MIN_TURNS, MAX_TURNS = 6, 61  # the first is not measured
JUDGED = 20  # users whose answers are compared with the truth
TORCH_CELLS = 1 << 19  # users × items of one batched product: what stays in the cache
HEADER = (
    "items",
    "users",
    "what",
    "ms per user",
    "time / read",
    "time / torch",
    "recall",
    "exact",
    "by certificate",
    "candidates",
)

Answer = Sequence[Rows | TopK]
Ask = Callable[[Sequence[int], tuple[float, ...]], Answer]


@dataclass
class Contender:
    """Something that answers, given the rows of users and values of λ2; `seconds` of each call so far."""

    name: str
    ask: Ask
    lambda2: tuple[float, ...] = (LAMBDA2,)
    seconds: list[float] = field(default_factory=list)

    def time(self, users: Sequence[int]) -> None:
        """Asks once, and notes how long it took."""
        begun = time.perf_counter()
        self.ask(users, self.lambda2)
        self.seconds.append(time.perf_counter() - begun)


class Peer:
    """The same scores in eager torch."""

    def __init__(self, model: Model) -> None:
        self._model = model
        weights = model.weights
        self._parts = (weights.gamma_i, weights.gamma_i * weights.e, weights.e)

    def ask(self, users: Sequence[int], lambda2: tuple[float, ...]) -> Answer:
        """The best K rows of every user, at one λ2."""
        weights = self._model.weights
        if len(users) == 1:
            user = weights.user(users[0])
            gamma_i, products, e = self._parts
            a, b, n = gamma_i @ user.gamma, products @ user.gamma, e @ user.theta
            y = _score(a, b, n, user.null.float(), lambda2[0])
            y[torch.from_numpy(self._model.seen[users[0]])] = -torch.inf
            return [y.topk(K).indices.numpy()]
        rows = torch.tensor(users)
        gamma, theta, null = weights.gamma_u[rows], weights.theta_u[rows], weights.null[rows, None]
        values, indices = [], []
        block = TORCH_CELLS // len(users)
        for start in range(0, len(weights.e), block):
            g, p, e = (part[start : start + block] for part in self._parts)
            y = _score(gamma @ g.T, gamma @ p.T, theta @ e.T, null, lambda2[0])
            for place, user_row in enumerate(users):
                seen = self._model.seen[user_row]
                inside = seen[np.searchsorted(seen, start) : np.searchsorted(seen, start + block)]
                y[place, torch.from_numpy(inside - start)] = -torch.inf
            best = y.topk(min(K, y.shape[1]))
            values.append(best.values)
            indices.append(best.indices + start)
        order = torch.cat(values, 1).topk(K).indices
        return list(torch.cat(indices, 1).gather(1, order).numpy())


def _score(a: Tensor, b: Tensor, n: Tensor, null: Tensor, lambda2: float) -> Tensor:
    return n.sigmoid() * (a.sigmoid() * b.sigmoid() - lambda2 * null)


def searching(model: Model, kind: Kind, kernel: Kernel = "auto") -> Ask:
    """`Searcher.batch` as a contender asks it; a kind that proves nothing is asked for what it finds by itself."""
    searcher, proves = Searcher(model.weights, kind, kernel=kernel), kind not in UNPROVED

    def ask(users: Sequence[int], lambda2: tuple[float, ...]) -> Answer:
        spend = 500 if proves else CANDIDATES
        questions = [Query(model.weights.user(row), lambda2, K, model.seen[row], spend, proves) for row in users]
        return [answers[lambda2.index(LAMBDA2)] for answers in searcher.batch(questions)]

    return ask


def scanning(model: Model) -> Ask:
    """The scan's kernel alone: what it leaves for float64 to rank."""
    fused = FusedScan(model.weights.form, model.weights.items)

    def ask(users: Sequence[int], lambda2: tuple[float, ...]) -> Answer:
        questions = [Query(model.weights.user(row), lambda2, K, model.seen[row]) for row in users]
        return [rows[lambda2.index(LAMBDA2)] for rows in fused.survivors(questions)]

    return ask


def reading(model: Model) -> list[Contender]:
    """Ways to read the vectors once; the fastest counts."""
    gamma, e = model.weights.gamma_i, model.weights.e
    longs = [part.view(torch.int64) for part in (gamma, e)]

    def floats(*_: object) -> Answer:
        gamma.sum(), e.sum()
        return []

    def integers(*_: object) -> Answer:
        longs[0].sum(), longs[1].sum()
        return []

    return [Contender("read", floats), Contender("read", integers)]


def contenders(model: Model, kinds: Sequence[Kind], numba: bool) -> Iterator[tuple[str, Ask]]:
    """Whoever answers, by name."""
    yield "torch", Peer(model).ask
    yield "scan's kernel alone", scanning(model)
    for kind in kinds:
        yield kind, searching(model, kind)
    if numba:
        yield "scan, numba", searching(model, "scan", "numba")


def judged(contender: Contender, truths: Mapping[int, Rows], batch: int) -> tuple[str, str, str, str]:
    """
    Recall at LAMBDA2, share exact, share proved by certificate, median candidates; empty where nothing is proved.

    Args:
        truths: the true list of each user who is asked about, by row.
    """
    users: list[int] = list(truths)
    answers: list[Rows | TopK] = []
    for start in range(0, len(users), batch):
        answers += contender.ask(users[start : start + batch], contender.lambda2)
    lists = [answer.rows if isinstance(answer, TopK) else answer for answer in answers]
    recall = f"{np.mean([np.isin(truth, rows).mean() for truth, rows in zip(truths.values(), lists, strict=True)]):.4f}"
    proofs = [answer for answer in answers if isinstance(answer, TopK)]
    if not proofs:
        return recall, "", "", ""
    certified = np.mean([answer.proof == "certificate" for answer in proofs])
    exact, spent = np.mean([answer.exact for answer in proofs]), np.median([answer.candidates for answer in proofs])
    return recall, f"{exact:.2f}", f"{certified:.2f}", f"{spent:,.0f}"


def race(entered: Sequence[Contender], batch: int, users: int, budget: float) -> None:
    """Lets the contenders take turns, after one unmeasured turn, for about `budget` seconds (5 to 60 turns)."""
    rng = np.random.default_rng(0)
    begun, turn = time.perf_counter(), 0
    with tqdm(total=MAX_TURNS, desc=f"{batch} at a time", leave=False) as progress:
        while turn < MIN_TURNS or (turn < MAX_TURNS and time.perf_counter() - begun < budget):
            asked = rng.choice(users, batch, replace=False).tolist()
            for contender in entered:
                contender.time(asked)
            turn += 1
            progress.update()
    for contender in entered:
        del contender.seconds[0]


def measure(
    model: Model, kinds: Sequence[Kind], batches: Sequence[int], numba: bool, budget: float, report: Report
) -> None:
    """All rows of one catalogue."""
    truth = Truth.of(model.weights)
    items, users = f"{truth.items:,}", truth.users
    rows = np.unique(np.linspace(0, users - 1, JUDGED).astype(int)).tolist()
    truths = {row: truth.top(row, LAMBDA2, K, model.seen[row]) for row in tqdm(rows, desc="float64 rankings")}
    del truth
    asks = list(contenders(model, kinds, numba))
    for batch in batches:
        entered = reading(model) + [Contender(name, ask) for name, ask in asks]
        if batch == 1:
            entered += [Contender(f"{name}, 7 λ2", ask, SEVEN) for name, ask in asks if name != "torch"]
        race(entered, batch, users, budget)
        taken: dict[str, float] = {}
        for contender in entered:
            taken[contender.name] = min(median(contender.seconds), taken.get(contender.name, np.inf))
        read, torch_ms = taken.pop("read"), taken["torch"] / batch
        report.add(items, "", "reading γ and e once", ms(read), "1.00", "", "", "", "", "")
        for contender in entered[2:]:
            own = taken[contender.name] / batch
            ratio = f"{own / torch_ms:.3f}"
            name = contender.name
            if len(contender.lambda2) > 1:
                single = taken[name.removesuffix(", 7 λ2")]
                name += f" ({taken[name] / single:.2f} × one)"
                ratio = ""
            report.add(items, batch, name, ms(own), f"{own / read:.2f}", ratio, *judged(contender, truths, batch))


def main() -> int:
    """The command line."""
    parser = command_line("kernels", __doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind), default=["scan", "int8", "flat"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64], help="users asked for at once")
    parser.add_argument("--budget", type=float, default=15, metavar="SECONDS", help="per size and batch")
    parser.add_argument("--numba", action="store_true", help="scan by numba too (compiles for some seconds)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    command = (
        f"python -m benchmarks.kernels --items {' '.join(map(str, options.items))} --kinds {' '.join(options.kinds)}"
    )
    report = Report("Kernels, one thread, k = 50", command, HEADER, options.out)
    for items in options.items:
        model = Model.synthetic(items, "paper")
        measure(model, options.kinds, options.batches, options.numba, options.budget, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
