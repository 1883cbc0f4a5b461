"""
cornac 3.0.1's own server of its own CausalRec beside ours: same items, same k, same client, each alone on core 0.

    python -m benchmarks.peer_cornac --items 50000

cornac, Flask and gunicorn live in an environment of their own, made on the first run below .cache/bench. Its server is
started as its documentation says (flask run; cornac.serving.app), and the last row puts the same app under gunicorn
with one worker. Ours serves the authors' form, which is the same formula, at 50 items, exact.

Found in cornac's code: `score` sums into beta_item, visual_bias and beta_item_mean themselves (fast_dot adds in place),
so each answer starts from the sums of all before it and its lists drift; "fixed" hands it copies of those three arrays
for each call. Its server knows one λ2, chosen when the model is made, ranks every item with a full sort and keeps k.
"same answer twice" asks one user, another, and the first again.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks import servers
from benchmarks.catalogue import FOLDER, USERS, D, write
from benchmarks.generators import Load, environment, save_targets, write_targets, wrk
from benchmarks.report import Report, command_line, ms
from benchmarks.servers import Server
from causalrec.bundle import read_bundle

PACKAGES = ("cornac==3.0.1", "flask==3.1.3", "gunicorn==23.0.0")
PEERS = Path(__file__).parent / "peers"
CONNECTIONS = (1, 8, 64)
K = 50
HEADER = (
    "items",
    "server",
    "connections",
    "requests/s",
    "ours ×",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "failed",
    "same twice",
)


class Case(NamedTuple):
    """A server: its name, "ours" or how cornac's model is made, and whether gunicorn runs it."""

    name: str
    model: str
    gunicorn: bool = False


CASES = (
    Case("causalrec", "ours"),
    Case("cornac, stock", "stock"),
    Case("cornac, fixed", "fixed"),
    Case("cornac, fixed, gunicorn", "fixed", gunicorn=True),
)


def peer_model(bin_folder: Path, kind: str, items: int) -> Path:
    """The folder of cornac's model of this kind and size, written on the first call."""
    folder = (FOLDER / f"cornac-{kind}-{items}").absolute()
    if not folder.exists():
        sizes = [str(USERS), str(items), str(D)]
        command = [str(bin_folder / "python"), str(PEERS / "cornac_model.py"), str(folder), kind, *sizes]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return next(folder.iterdir())


@contextlib.contextmanager
def server(case: Case, items: int, ours: Path, bin_folder: Path) -> Iterator[Server]:
    """The server of this case."""
    if case.model == "ours":
        with servers.service(ours) as started:
            yield started
        return
    module = "cornac_model.FixedCausalRec" if case.model == "fixed" else "cornac.models.CausalRec"
    env = {
        "MODEL_PATH": str(peer_model(bin_folder, case.model, items)),
        "MODEL_CLASS": module,
        "FLASK_APP": "cornac.serving.app",
        "PYTHONPATH": os.pathsep.join([str(PEERS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    if case.gunicorn:
        command = [str(bin_folder / "gunicorn"), "--workers", "1", "--bind", "127.0.0.1:0", "cornac.serving.app:app"]
        with servers.running(command, r"listening at: (http://\S+)", env) as started:
            yield started
    else:
        command = [str(bin_folder / "flask"), "run", "--port", "0"]
        with servers.running(command, env=env) as started:
            yield started


def peer_targets() -> Path:
    """Random users, for cornac's server."""
    rows = np.random.default_rng(0).integers(0, USERS, 4096)
    return save_targets([f"/recommend?uid=user-{row:05d}&k={K}" for row in rows], FOLDER / "cornac-targets")


def same_twice(address: str, targets: Path) -> bool:
    """Whether one user's answer is the same after another's."""
    one, other = targets.read_text().splitlines()[:2]

    first = servers.get(address + one)
    servers.get(address + other)
    return servers.get(address + one) == first


def main() -> int:
    """The command line."""
    parser = command_line("peer_cornac", __doc__)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=8, help="of one run")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    bin_folder = environment("cornac", *PACKAGES)
    ours = write(options.items, "authors", "auto")
    targets = {"ours": write_targets(read_bundle(ours), K), "peer": peer_targets()}
    found: dict[tuple[Case, int], list[Load]] = {(case, count): [] for case in CASES for count in CONNECTIONS}
    stable: dict[Case, bool] = {}
    with tqdm(total=options.runs * len(found), unit="run") as progress:
        for _ in range(options.runs):
            for case in CASES:
                asked = targets["ours" if case.model == "ours" else "peer"]
                with server(case, options.items, ours, bin_folder) as started:
                    stable[case] = same_twice(started.address, asked)
                    for count in CONNECTIONS:
                        wrk(started.address, asked, count, 1)
                        found[case, count].append(wrk(started.address, asked, count, options.seconds))
                        progress.update()
    command = f"python -m benchmarks.peer_cornac --items {options.items}"
    report = Report("Beside cornac's server", command, HEADER, options.out)
    rates = {key: median(load.rate for load in loads) for key, loads in found.items()}
    for (case, count), loads in found.items():
        slow = [ms(median(getattr(load, name) for load in loads)) for name in ("p50", "p95", "p99")]
        ratio = "" if case.model == "ours" else f"{rates[CASES[0], count] / rates[case, count]:.1f}"
        failed, twice = sum(load.failed for load in loads), "yes" if stable[case] else "**no**"
        report.add(f"{options.items:,}", case.name, count, f"{rates[case, count]:,.0f}", ratio, *slow, failed, twice)
    best = {case: max(rates[case, count] for count in CONNECTIONS) for case in CASES}
    fixed = max(best[case] for case in CASES if case.model == "fixed")
    report.note(f"Best against best (fixed copy): {best[CASES[0]] / fixed:.1f} ×; the target is 5 ×.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
