"""
What the device scan costs on a GPU: `python -m benchmarks.gpu`.

Per catalogue size and batch: the pass over the items alone (GB/s of the items' bytes, beside a device copy), the whole
answer up to what float64 ranks, and eager torch: three float16 matrix products, the score, top-k, which proves nothing
and knows no exclusions. Prints Markdown for docs/LOG.md; without a GPU it says so and exits with 2.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch

from benchmarks.catalogue import synthetic
from causalrec.kernels.block_maxima import torch_maxima, triton_maxima
from causalrec.kernels.device import DeviceScan
from causalrec.topk import Query
from causalrec.weights import Weights

K = 50
LAMBDA2 = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)


def milliseconds(work: Callable[[], object], repeats: int = 30) -> float:
    """Median device time of `work` after five warm-up calls."""
    for _ in range(5):
        work()
    taken = []
    for _ in range(repeats):
        started, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        started.record()
        work()
        ended.record()
        torch.cuda.synchronize()
        taken.append(started.elapsed_time(ended))
    return float(median(taken))


def eager(weights: Weights, queries: list[Query]) -> Callable[[], object]:
    """The same users' top k at one λ2 in eager torch, everything in float16 but the score."""
    gamma_i, e = weights.gamma_i.cuda().half(), weights.e.cuda().half()
    products = gamma_i * e
    gamma, theta = (torch.stack([getattr(q.user, part) for q in queries]).cuda().half() for part in ("gamma", "theta"))
    null = torch.stack([query.user.null for query in queries]).cuda().float()[:, None]

    def work() -> object:
        a, b, n = (users @ items.T for users, items in ((gamma, gamma_i), (gamma, products), (theta, e)))
        scores = n.float().sigmoid() * (a.float().sigmoid() * b.float().sigmoid() - 0.8 * null)
        return scores.topk(K)

    return work


def rows(items: int, kernel: Callable[..., object]) -> list[list[str]]:
    """One row per batch of 1, 8 and 64 users at one λ2, and one of a single user at seven."""
    weights = synthetic(items)
    scan = DeviceScan(weights.form, weights.items, "cuda")
    source = torch.empty(scan.bytes, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copied = 2 * scan.bytes / milliseconds(partial(target.copy_, source)) / 1e6
    rng, table = np.random.default_rng(0), []
    for users, lambda2 in ((1, (0.8,)), (1, LAMBDA2), (8, (0.8,)), (64, (0.8,))):
        queries = [
            Query(weights.user(user), lambda2, K, rng.choice(items, 100, replace=False)) for user in range(users)
        ]
        asked = scan._ask(queries)
        once = milliseconds(partial(kernel, scan._blocks, asked))
        whole = milliseconds(partial(scan.survivors, queries))
        peer = milliseconds(eager(weights, queries))
        table.append(
            [
                f"{items:,}",
                f"{users}",
                f"{len(lambda2)}",
                f"{once:.3f}",
                f"{scan.bytes / once / 1e6:,.0f}",
                f"{copied:,.0f}",
                f"{whole:.3f}",
                f"{peer:.3f}",
                f"{peer / once:.1f}",
            ]
        )
    return table


def main() -> int:
    """Prints the table; 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, nargs="+", default=[500_000, 5_000_000])
    parser.add_argument("--kernel", choices=["triton", "torch"], default="triton")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU is here: nothing was measured", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, kernel {arguments.kernel}, k = {K}\n")
    print("| items | users | λ2 values | pass ms | GB/s | copy GB/s | answer ms | eager torch ms | eager / pass |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for items in arguments.items:
        for row in rows(items, triton_maxima if arguments.kernel == "triton" else torch_maxima):
            print("| " + " | ".join(row) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
