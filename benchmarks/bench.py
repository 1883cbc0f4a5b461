"""
What an answer costs, as ratios within one run: `make bench`.

Search: one user's exact top 50 of a synthetic catalogue, by certificate and by full scan, beside three float32
matrix-vector products and a top-k in torch (which proves nothing and knows no exclusions), and beside reading the item
vectors once. HTTP: one connection to a real service process, beside the same server's ready bytes (/health/live).
Training: one epoch of the demo's size. Prints Markdown for docs/LOG.md.
"""

import argparse
import http.client
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.exactness import served
from causalrec.bundle import write_bundle
from causalrec.model import CausalRec, ModelConfig
from causalrec.search import Searcher
from causalrec.weights import Weights
from tests.bundles import make_bundle
from training.config import FitConfig
from training.export import code_version
from training.fit import fit
from training.sampling import Sampler

K = 50


def synthetic(items: int, users: int = 64, d: int = 32) -> Weights:
    """A model whose logits spread as trained ones do: a and b by about 1.5 and 1, n by about 2."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(items, d, generator=generator) / d**0.5
    model = CausalRec(ModelConfig(dim=d), users, items, features, generator)
    with torch.no_grad():
        for parameter, spread in ((model.gamma_u, 0.5), (model.gamma_i, 0.5), (model.theta_u, 0.6), (model.E, 0.6)):
            parameter.normal_(0, spread, generator=generator)
        model.gamma_i.add_(0.15)
    return model.weights(torch.ones(items), "mean", "product_mean")


def timed(work: Callable[[int], object], repeats: int) -> float:
    """Median seconds of `work(0)`, `work(1)`, … after two warm-up calls."""
    work(0), work(1)
    taken = []
    for number in range(repeats):
        started = time.perf_counter()
        work(number)
        taken.append(time.perf_counter() - started)
    return median(taken)


def search_rows(items: int) -> list[list[str]]:
    """Rows of the table for one catalogue size, each with its ratio to the torch peer."""
    weights = synthetic(items)
    searcher, nothing = Searcher(weights), np.empty(0, dtype=np.int64)
    products = weights.gamma_i * weights.e
    proved = []

    def peer(number: int) -> object:
        user = weights.user(number % 64)
        terms = (weights.gamma_i @ user.gamma, products @ user.gamma, weights.e @ user.theta)
        a, b, n = terms
        return (n.sigmoid() * (a.sigmoid() * b.sigmoid() - 0.8 * user.null.float())).topk(K)

    def certified(number: int) -> object:
        answer = searcher.top_k(weights.user(number % 64), 0.8, K, nothing, full_scan=False)
        proved.append(answer.exact)
        return answer

    def scan(number: int) -> object:
        return searcher.scan(weights.user(number % 64), 0.8, K, nothing)

    def read(_: int) -> object:
        return products.sum() + weights.gamma_i.sum() + weights.e.sum()

    works = (
        ("torch, 3 products + top-k", peer),
        ("exact by certificate", certified),
        ("exact by full scan", scan),
        ("read once", read),
    )
    seconds = {name: timed(work, 40) for name, work in works}
    base = seconds["torch, 3 products + top-k"]
    share = f"proved {np.mean(proved):.0%}"
    return [
        [
            f"{items:,}",
            name,
            f"{taken * 1e3:.2f} ms",
            f"{taken / base:.2f}",
            share if name == "exact by certificate" else "",
        ]
        for name, taken in seconds.items()
    ]


def http_rows(items: int) -> list[list[str]]:
    """Milliseconds per request over one kept connection, beside ready bytes."""
    with TemporaryDirectory() as folder:
        path = write_bundle(make_bundle("paper", users=64, items=items, dim=32), Path(folder))
        with served(path, "--log-level", "info") as address:
            connection = http.client.HTTPConnection(address.removeprefix("http://"))

            def get(target: str) -> Callable[[int], object]:
                def work(number: int) -> object:
                    connection.request("GET", target.replace("#", f"{number % 50:02d}"))
                    return connection.getresponse().read()

                return work

            ready = timed(get("/health/live"), 300)
            answer = timed(get(f"/v1/users/user-#/recommendations?k={K}&lambda2=0.8"), 300)
    return [
        [f"{items:,}", "HTTP, ready bytes", f"{ready * 1e3:.2f} ms", "1.00", ""],
        [f"{items:,}", "HTTP, recommendations", f"{answer * 1e3:.2f} ms", f"{answer / ready:.2f}", "to ready bytes"],
    ]


def training_row() -> list[str]:
    """Seconds for an epoch of 200,000 interactions on 10,000 items with features of width 1,280."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 5000, 200_000), rng.integers(0, 10_000, 200_000)
    features = torch.randn(10_000, 1280) / 1280**0.5
    model = CausalRec(ModelConfig(), 5000, 10_000, features, torch.Generator().manual_seed(0))
    sampler = Sampler(user, item, 10_000, 0)
    started = time.perf_counter()
    fit(model, sampler, lambda _: 0.0, FitConfig(epochs=2, batch_size=8192), identity="bench", quiet=True)
    seconds = (time.perf_counter() - started) / 2
    return ["10,000", "epoch, 200k interactions, F=1280", f"{seconds:.2f} s", "", "batch 8192, float32"]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--items", type=int, nargs="+", default=[3000, 50_000])
    options = parser.parse_args()
    print(
        f"Code {code_version()}; {platform.processor() or platform.machine()}, {torch.get_num_threads()} torch threads"
    )
    print("\n| items | what | median | ratio | |\n|---|---|---|---|---|")
    training = training_row()
    torch.set_num_threads(1)
    for items in options.items:
        for row in search_rows(items) + http_rows(items):
            print("| " + " | ".join(row) + " |", flush=True)
    print("| " + " | ".join(training) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
