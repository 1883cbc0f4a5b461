"""
Is what the service says exact really exact, and how often does the certificate alone prove it?

    python -m benchmarks.exactness bundles/ml-1m-paper-0 bundles/ml-1m-authors-0 bundles/ml-1m-additive-0

Serves each bundle by `python -m service` and asks over HTTP for 200 users × λ2 {0, .4, .8, 1.2, 2}, k = 50: once as it
runs by default, once with the full scan off and 500 candidates. Every answer that says exact is compared with a float64
ranking computed here, from the stored arrays and the written formulas. Each request is repeated after others.
Prints a Markdown table; exit status 1 if any comparison failed.
"""

import json
import sys
import urllib.parse
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import load_file
from tqdm import tqdm

from benchmarks import servers
from benchmarks.oracle import Truth
from benchmarks.report import Report, command_line

LAMBDA2 = (0.0, 0.4, 0.8, 1.2, 2.0)
K = 50


def ask(address: str, user: str, lambda2: float) -> bytes:
    """The answer's bytes."""
    query = urllib.parse.urlencode({"k": K, "lambda2": lambda2})
    return servers.get(f"{address}/v1/users/{urllib.parse.quote(user, safe='')}/recommendations?{query}")


class Catalogue:
    """A bundle's ids, and the float64 ranking of its stored weights with training positives left out."""

    def __init__(self, bundle: Path) -> None:
        self._truth = Truth.read(bundle)
        seen = load_file(bundle / "seen.safetensors")
        self._starts, self._indices = seen["starts"], seen["indices"]
        self.users = (bundle / "users.txt").read_text().splitlines()
        self._items = pl.read_parquet(bundle / "items.parquet")["item_id"].to_list()

    def top(self, row: int, lambda2: float) -> list[str]:
        """The ids of the best K unseen items of the user in `row`, best first."""
        seen = self._indices[self._starts[row] : self._starts[row + 1]]
        return [self._items[item] for item in self._truth.top(row, lambda2, K, seen)]


def measure(bundle: Path, users: int) -> tuple[list[str], int]:
    """A row of the table for `bundle`, and how many comparisons failed."""
    catalogue = Catalogue(bundle)
    chosen = np.unique(np.linspace(0, len(catalogue.users) - 1, users).astype(int))
    wrong = unstable = 0
    shares = []
    expected = {(row, at): catalogue.top(int(row), at) for row in chosen for at in LAMBDA2}
    for flags in ((), ("--no-full-scan", "--candidates", "500")):
        exact = dict.fromkeys(LAMBDA2, 0)
        with servers.service(bundle, *flags, core=None) as server:
            first = {}
            for (row, at), ranking in tqdm(expected.items(), desc=f"{bundle.name} {' '.join(flags)}", unit="answer"):
                first[row, at] = ask(server.address, catalogue.users[row], at)
                answer = json.loads(first[row, at])
                exact[at] += answer["exact"]
                wrong += answer["exact"] and [item["item_id"] for item in answer["items"]] != ranking
            unstable += sum(
                ask(server.address, catalogue.users[row], at) != content for (row, at), content in first.items()
            )
        shares.append({at: count / len(chosen) for at, count in exact.items()})
    everything, alone = shares
    row = [bundle.name, str(len(expected) * 2), str(wrong), str(unstable), f"{np.mean(list(everything.values())):.3f}"]
    return [*row, *(f"{alone[at]:.3f}" for at in LAMBDA2), f"{np.mean(list(alone.values())):.4f}"], wrong + unstable


def main() -> int:
    """The command line."""
    parser = command_line("exactness", __doc__)
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--users", type=int, default=200)
    options = parser.parse_args()
    columns = (f"certificate, λ2={at:g}" for at in LAMBDA2)
    header = ("bundle", "answers", "wrong", "unstable", "exact", *columns, "all λ2")
    command = f"python -m benchmarks.exactness … --users {options.users}"
    report = Report("Exactness over HTTP", command, header, options.out)
    failures = 0
    for bundle in options.bundles:
        row, failed = measure(bundle, options.users)
        failures += failed
        report.add(*row)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
