"""
Memory per user and per item, and how long a start takes against reading the bundle.

    python -m benchmarks.startup --items 50000 500000 5000000 --kinds scan int8

Per catalogue and kind of search, each step in a fresh process: bytes of the bundle's files; reading the files and
nothing else; `read_bundle` (every file hashed, every array checked); the service from exec to its ready line, and of
that the time its own log gives for loading. Resident memory is the ready service's. Files are in the page cache.
Below: bytes per user and item as the arrays have them, and memory per item as the slope between the sizes.
"""

import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import get_args

from tqdm import tqdm

from benchmarks import servers
from benchmarks.catalogue import FOLDER, write
from benchmarks.report import Report, command_line
from causalrec.bundle import read_manifest
from causalrec.index import Kind
from causalrec.manifest import Manifest

HEADER = (
    "items",
    "kind",
    "files MB",
    "read files s",
    "read_bundle s",
    "start to ready s",
    "of it imports s",
    "ready / read_bundle",
    "(ready − imports) / read_bundle",
    "RSS MB",
)
READ_BUNDLE = "import sys, time; from pathlib import Path; from causalrec.bundle import read_bundle; \
b = time.perf_counter(); read_bundle(Path(sys.argv[1])); print(time.perf_counter() - b)"
IMPORTS = "import time; b = time.perf_counter(); import service.app, service.__main__; print(time.perf_counter() - b)"
PER_USER = ("gamma_u", "theta_u", "M_null", "MV_null", "m_null")


def read_files(path: Path) -> float:
    """Seconds to read every file of the bundle once."""
    begun = time.perf_counter()
    for file in path.iterdir():
        file.read_bytes()
    return time.perf_counter() - begun


def fresh(code: str, *arguments: str) -> float:
    """What `code` prints in a new process."""
    command = servers.pinned([sys.executable, "-c", code, *arguments], servers.CORE)
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def ready(path: Path) -> tuple[float, int]:
    """Seconds from exec to ready, and the ready service's resident memory."""
    with servers.service(path) as server:
        return server.started_in, server.rss()


def array_bytes(manifest: Manifest) -> tuple[float, float]:
    """Bytes of weights.safetensors per user and per item, by the shapes in the manifest."""
    users = items = 0
    for name, entry in manifest.files["weights.safetensors"].tensors.items():
        width = int(re.sub(r"\D", "", entry.dtype)) // 8
        for size in entry.shape[1:]:
            width *= size
        users += width if name in PER_USER else 0
        items += width if name not in PER_USER and entry.shape[:1] == (manifest.items,) else 0
    return users, items


def measure(path: Path, runs: int) -> dict[str, float]:
    """The figures of one bundle, medians over `runs`."""
    read_files(path)  # into the page cache
    starts = [ready(path) for _ in range(runs)]
    return {
        "files": float(sum(file.stat().st_size for file in path.iterdir())),
        "read": median(read_files(path) for _ in range(runs)),
        "bundle": median(fresh(READ_BUNDLE, str(path)) for _ in range(runs)),
        "ready": median(seconds for seconds, _ in starts),
        "imports": median(fresh(IMPORTS) for _ in range(runs)),
        "rss": float(median(size for _, size in starts)),
    }


def main() -> int:
    """The command line."""
    parser = command_line("startup", __doc__)
    parser.add_argument("--items", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--kinds", nargs="+", choices=get_args(Kind), default=["scan", "int8"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where bundles are kept between runs")
    options = parser.parse_args()
    command = f"python -m benchmarks.startup --items {' '.join(map(str, options.items))}"
    report = Report("Memory, and start to ready", command, HEADER, options.out)
    notes = []
    for kind in options.kinds:
        sizes: dict[int, float] = {}
        for items in tqdm(options.items, desc=kind, unit="catalogue"):
            path = write(items, "paper", kind, options.folder)
            found = measure(path, options.runs)
            spent = (found["ready"], found["ready"] - found["imports"])
            ratios = [f"{seconds / found['bundle']:.2f}" for seconds in spent]
            seconds = [f"{found[name]:.2f}" for name in ("read", "bundle", "ready", "imports")]
            megabytes = [f"{found[name] / 1e6:,.0f}" for name in ("files", "rss")]
            report.add(f"{items:,}", kind, megabytes[0], *seconds, *ratios, megabytes[1])
            sizes[items] = found["rss"]
        least, most = min(sizes), max(sizes)
        if most > least:
            slope = (sizes[most] - sizes[least]) / (most - least)
            notes.append(
                f"{kind}: {slope:,.0f} bytes of resident memory per item between {least:,} and {most:,} items."
            )
    per_user, per_item = array_bytes(read_manifest(path))
    notes.append(f"weights.safetensors: {per_user:,} bytes per user, {per_item:,} per item (d = 32, paper's form).")
    for note in notes:
        report.note(note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
