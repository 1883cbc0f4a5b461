"""
Is what the service says exact really exact, and how often does the certificate alone prove it?

    python -m benchmarks.exactness bundles/ml-1m-paper-0 bundles/ml-1m-authors-0 bundles/ml-1m-additive-0

Serves each bundle by `python -m service` and asks over HTTP for 200 users × λ2 {0, .4, .8, 1.2, 2}, k = 50: once as it
runs by default, once with the full scan off and 500 candidates. Every answer that says exact is compared with a float64
ranking computed here, from the stored arrays and the written formulas. Each request is repeated after others.
Prints a Markdown table; exit status 1 if any comparison failed.
"""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tqdm import tqdm

LAMBDA2 = (0.0, 0.4, 0.8, 1.2, 2.0)
K = 50

Floats = NDArray[np.float64]


@contextlib.contextmanager
def served(bundle: Path, *flags: str) -> Iterator[str]:
    """The address of a service on `bundle`, while it runs."""
    command = [sys.executable, "-m", "service", "--bundle", str(bundle), "--port", "0", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None  # noqa: S101 - for the type checker
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"running on (http://\S+)", line):
                yield found[1]
                return
        sys.exit("".join(lines))
    finally:
        process.terminate()
        process.wait()


def ask(address: str, user: str, lambda2: float) -> bytes:
    """The answer's bytes."""
    query = urllib.parse.urlencode({"k": K, "lambda2": lambda2})
    url = f"{address}/v1/users/{urllib.parse.quote(user, safe='')}/recommendations?{query}"
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own process
        content: bytes = answer.read()
        return content


class Truth:
    """Float64 rankings of a bundle's stored weights, by the formulas of the paper and the authors' code."""

    def __init__(self, bundle: Path) -> None:
        self.form = json.loads((bundle / "manifest.json").read_bytes())["form"]
        self.w: dict[str, Floats] = {
            name: array.astype(np.float64) for name, array in load_file(bundle / "weights.safetensors").items()
        }
        seen = load_file(bundle / "seen.safetensors")
        self.starts, self.indices = seen["starts"], seen["indices"]
        self.users = (bundle / "users.txt").read_text().splitlines()
        self.items = pl.read_parquet(bundle / "items.parquet")["item_id"].to_list()

    def top(self, row: int, lambda2: float) -> list[str]:
        """The user's best K unseen items; scores equal to 12 decimals stand in the order of ids."""
        scores = np.round(self.scores(row, lambda2), 12)
        scores[self.indices[self.starts[row] : self.starts[row + 1]]] = -np.inf
        order = sorted(range(len(scores)), key=lambda item: (-scores[item], self.items[item]))
        return [self.items[item] for item in order[:K]]

    def scores(self, row: int, lambda2: float) -> Floats:
        """Every item's debiased score for the user in `row`."""
        w, gamma_u, theta_u = self.w, self.w["gamma_u"][row], self.w["theta_u"][row]
        a: Floats = w["gamma_i"] @ gamma_u + w.get("beta", 0.0)
        b = (w["gamma_i"] * w.get("e_match", w["e"])) @ gamma_u
        n = w["e"] @ theta_u + w.get("visual_bias", 0.0)
        if self.form == "paper":
            c = w["M_null"][row] * w["MV_null"][row]
            paper: Floats = _s(a) * _s(b) * _s(n) - lambda2 * c * _s(n)
            return paper
        if self.form == "authors":
            m, star = a + b, w["m_null"][row]
            return _s(m + n) * _s(m) * _s(n) - lambda2 * _s(star + n) * _s(star) * _s(n)
        additive: Floats = a + b + (1 - lambda2) * n
        return additive


def _s(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logit)))


def measure(bundle: Path, users: int) -> tuple[list[str], int]:
    """A row of the table for `bundle`, and how many comparisons failed."""
    truth = Truth(bundle)
    chosen = np.unique(np.linspace(0, len(truth.users) - 1, users).astype(int))
    wrong = unstable = 0
    shares = []
    expected = {(row, at): truth.top(int(row), at) for row in chosen for at in LAMBDA2}
    for flags in ((), ("--no-full-scan", "--candidates", "500")):
        exact = dict.fromkeys(LAMBDA2, 0)
        with served(bundle, *flags) as address:
            first = {}
            for (row, at), ranking in tqdm(expected.items(), desc=f"{bundle.name} {' '.join(flags)}", unit="answer"):
                first[row, at] = ask(address, truth.users[row], at)
                answer = json.loads(first[row, at])
                exact[at] += answer["exact"]
                wrong += answer["exact"] and [item["item_id"] for item in answer["items"]] != ranking
            unstable += sum(ask(address, truth.users[row], at) != content for (row, at), content in first.items())
        shares.append({at: count / len(chosen) for at, count in exact.items()})
    everything, alone = shares
    row = [bundle.name, str(len(expected) * 2), str(wrong), str(unstable), f"{np.mean(list(everything.values())):.3f}"]
    return [*row, *(f"{alone[at]:.3f}" for at in LAMBDA2), f"{np.mean(list(alone.values())):.4f}"], wrong + unstable


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exactness", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE")
    parser.add_argument("--users", type=int, default=200)
    options = parser.parse_args()
    header = [
        "bundle",
        "answers",
        "wrong",
        "unstable",
        "exact",
        *(f"certificate, λ2={at:g}" for at in LAMBDA2),
        "all λ2",
    ]
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    failures = 0
    for bundle in options.bundles:
        row, failed = measure(bundle, options.users)
        failures += failed
        print("| " + " | ".join(row) + " |", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
