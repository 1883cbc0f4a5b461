"""
The service under load: throughput, latency, processor time and memory, against the same process sending ready bytes.

    python -m benchmarks.load --items 50000 500000

Per catalogue (synthetic, paper's form, or the bundles given), every server alone on core 0 and wrk on core 1:
- ready bytes: the same process and middleware whose route returns a ready body of 50 items (benchmarks/ready.py);
- the service at 1, 8 and 64 connections; one by one (--max-batch 1) at 64;
- open: k6 arriving at 70 % of the rate that 64 connections reached, whatever the answers take.
Random users, λ2 from 0 to 2, k = 50. Medians of 3 runs, which take turns. CPU is the server's own and the kernel's for
it, per request; search is the time the service itself measured of retrieval and ranking, and overhead the rest of the
CPU. Read overhead at 1 connection: with more, the event loop's work on other requests falls within search's time.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple, get_args

from tqdm import tqdm

from benchmarks import histograms, servers
from benchmarks.catalogue import FOLDER, write
from benchmarks.generators import Load, k6, write_targets, wrk
from benchmarks.report import Report, command_line, ms
from benchmarks.servers import Server
from causalrec.bundle import read_bundle
from causalrec.index import Kind

CONNECTIONS = (1, 8, 64)
READY, BATCHED, SINGLY, OPEN = "ready bytes", "service", "service, one by one", "service, open at 70 %"
HEADER = (
    "items",
    "what",
    "connections",
    "requests/s",
    "× ready",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "p99/p50",
    "CPU µs",
    "search µs",
    "overhead µs",
    "RSS MB",
    "failed",
)


class Case(NamedTuple):
    """What is measured: a server, and how many connections ask it."""

    what: str
    connections: int


@dataclass(frozen=True)
class Measured:
    """One run of a case; processor and search time in seconds per request, memory in bytes."""

    load: Load
    cpu: float
    search: float | None
    rss: int


def cases() -> list[Case]:
    """Every case that wrk drives."""
    many = [Case(what, connections) for what in (READY, BATCHED) for connections in CONNECTIONS]
    return [*many, Case(SINGLY, max(CONNECTIONS))]


@contextlib.contextmanager
def server(what: str, bundle: Path, flags: list[str], body: Path) -> Iterator[Server]:
    """The server that a case is about."""
    if what == READY:
        command = [sys.executable, "-m", "benchmarks.ready", str(body), "--bundle", str(bundle), "--port", "0", *flags]
        with servers.running(command) as started:
            yield started
    else:
        with servers.service(bundle, *flags, *(("--max-batch", "1") if what == SINGLY else ())) as started:
            yield started


def measure(started: Server, targets: Path, connections: int, seconds: float, rate: float | None = None) -> Measured:
    """One run, after a second of warming up; `rate` makes it open."""
    wrk(started.address, targets, connections, 1)
    before, used = started.metrics(), started.cpu_seconds()
    if rate is None:
        load = wrk(started.address, targets, connections, seconds)
    else:
        seen = k6(started.address, targets, seconds, rate=rate)
        slow = (seen.answered.p50 or 0.0, seen.answered.p95 or 0.0, seen.answered.p99 or 0.0)
        load = Load(seen.answered.count, seconds, *slow, failed=seen.refused.count + seen.broken + seen.dropped)
    cpu, after = started.cpu_seconds() - used, started.metrics()
    name = "causalrec_stage_duration_seconds_sum"
    search = histograms.total(after, name, stage="search") - histograms.total(before, name, stage="search")
    count = max(1, load.requests)
    return Measured(load, cpu / count, search / count if search else None, started.rss())


def run(bundle: Path, targets: Path, options: argparse.Namespace) -> dict[Case, list[Measured]]:
    """Every case `options.runs` times, in turn."""
    body = FOLDER / "body.json"
    with servers.service(bundle, *options.flags) as started:
        body.write_bytes(servers.get(started.address + targets.read_text().splitlines()[0]))
    found: dict[Case, list[Measured]] = {case: [] for case in cases()}
    found[Case(OPEN, 0)] = []
    with tqdm(total=options.runs * len(found), desc=bundle.name, unit="run") as progress:
        for _ in range(options.runs):
            for what in (READY, BATCHED, SINGLY):
                with server(what, bundle, options.flags, body) as started:
                    for case in (case for case in cases() if case.what == what):
                        found[case].append(measure(started, targets, case.connections, options.seconds))
                        progress.update()
                    if what == BATCHED:
                        rate = 0.7 * found[Case(BATCHED, max(CONNECTIONS))][-1].load.rate
                        found[Case(OPEN, 0)].append(measure(started, targets, 8, options.seconds, rate))
                        progress.update()
    return found


def cells(runs: list[Measured], ready: float | None) -> tuple[str, ...]:
    """A row's figures: medians over the runs."""
    rate = median(one.load.rate for one in runs)
    p50, p95, p99 = (median(getattr(one.load, name) for one in runs) for name in ("p50", "p95", "p99"))
    cpu, searches = median(one.cpu for one in runs), [one.search for one in runs if one.search is not None]
    search = median(searches) if searches else None
    return (
        f"{rate:,.0f}",
        "" if ready is None else f"{rate / ready:.2f}",
        *map(ms, (p50, p95, p99)),
        f"{p99 / p50:.1f}",
        f"{cpu * 1e6:,.0f}",
        "" if search is None else f"{search * 1e6:,.0f}",
        "" if search is None else f"{(cpu - search) * 1e6:,.0f}",
        f"{median(one.rss for one in runs) / 1e6:,.0f}",
        str(sum(one.load.failed for one in runs)),
    )


def main() -> int:
    """The command line."""
    parser = command_line("load", __doc__)
    parser.add_argument("bundles", type=Path, nargs="*", metavar="BUNDLE")
    parser.add_argument("--items", type=int, nargs="*", default=[50_000, 500_000], help="synthetic catalogues")
    parser.add_argument(
        "--kind", choices=("auto", *get_args(Kind)), default="auto", help="of search in the synthetic bundles"
    )
    parser.add_argument("--seconds", type=float, default=8, help="of one run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="last: flags for `python -m service`")
    options = parser.parse_args()
    asked = [*map(str, options.bundles), "--items", *map(str, options.items)]
    asked += ["--flags", *options.flags] if options.flags else []
    command = f"python -m benchmarks.load {' '.join(asked)}"
    report = Report("The service under load", command, HEADER, options.out)
    for path in [*options.bundles, *(write(items, "paper", options.kind) for items in options.items)]:
        bundle = read_bundle(path)
        targets = write_targets(bundle)
        name = f"{len(bundle.items):,} ({bundle.manifest.retrieval.index})"
        del bundle
        found = run(path, targets, options)
        rates = {case: median(one.load.rate for one in runs) for case, runs in found.items()}
        for case, runs in found.items():
            ready = rates.get(Case(READY, case.connections)) if case.what != READY else None
            report.add(name, case.what, case.connections or "", *cells(runs, ready))
        gain = rates[Case(BATCHED, max(CONNECTIONS))] / rates[Case(SINGLY, max(CONNECTIONS))]
        report.add(name, f"batched at {max(CONNECTIONS)}: {gain:.2f} × one by one", *[""] * 12)
    return 0


if __name__ == "__main__":
    sys.exit(main())
