"""
Does the service hold: 64 clients for a minute, then ten times what it can answer?

    python -m benchmarks.soak --items 500000
    python -m benchmarks.soak bundles/ml-1m-paper-0 --seconds 20

First phase: 64 clients (k6) that ask again as soon as they are answered. No error, p99 ≤ 3 × p50, memory grows by less
than 2 % after the first 10 seconds. Second phase: arrivals at ten times the rate of the first phase, from at most 640
clients at once (k6; an arrival is "not sent" where all of them still wait for an answer).
Every refusal is 429 or 503 with Retry-After and, by the server's own histogram, 99 % of them take at most 5 ms; those
answered stay within twice the first phase's p99, by the client's clock and by the server's histogram.
Server on core 0, k6 on core 1; random users, λ2 from 0 to 2, k = 50. Prints PASS or FAIL per claim; exit status 1 after
any FAIL.
"""

import argparse
import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from benchmarks import histograms, servers
from benchmarks.catalogue import write
from benchmarks.generators import Outcome, k6, write_targets
from benchmarks.histograms import Buckets
from benchmarks.report import Report, command_line, ms
from benchmarks.servers import Server
from causalrec.bundle import read_bundle
from causalrec.index import Kind

CLIENTS, TIMES = 64, 10
SETTLED = 10.0  # seconds after which memory must not grow
HEADER = ("", "claim", "measured", "allowed")
DURATION = "causalrec_request_duration_seconds"
MISSING = float("nan")


class Memory:
    """Resident memory of a process, read twice a second: (seconds since it began, bytes)."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int]] = []

    def growth(self) -> float:
        """By which share the last quarter's largest exceeds the largest of the first SETTLED seconds."""
        end = self.samples[-1][0]
        early = [size for at, size in self.samples if at <= min(SETTLED, end / 2)]
        late = [size for at, size in self.samples if at >= 0.75 * end]
        return max(late) / max(early) - 1


@contextlib.contextmanager
def watching(server: Server) -> Iterator[Memory]:
    """Watches the server's memory meanwhile."""
    memory, stop, begun = Memory(), threading.Event(), time.perf_counter()

    def watch() -> None:
        while not stop.is_set():
            memory.samples.append((time.perf_counter() - begun, server.rss()))
            stop.wait(0.5)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()


class Claims:
    """The rows of the report, and how many claims failed."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.failed = 0

    def check(self, holds: bool, claim: str, measured: str, allowed: str) -> None:
        """One claim."""
        self.failed += not holds
        self._report.add("PASS" if holds else "**FAIL**", claim, measured, allowed)


def between(before: str, after: str, outcome: str) -> Buckets:
    """The server's histogram of requests with this outcome between two scrapes."""
    return histograms.difference(
        histograms.buckets(after, DURATION, outcome=outcome), histograms.buckets(before, DURATION, outcome=outcome)
    )


def steady(claims: Claims, server: Server, targets: Path, seconds: float) -> tuple[Outcome, float]:
    """The first phase; what k6 saw, and the p99 of what was answered by the server's histogram."""
    k6(server.address, targets, 3, clients=CLIENTS)  # connections, caches
    before = server.metrics()
    with watching(server) as memory:
        seen = k6(server.address, targets, seconds, clients=CLIENTS)
    own = histograms.quantile(between(before, server.metrics(), "answered"), 0.99)
    wrong = seen.refused.count + seen.broken
    p50, p99 = seen.answered.p50 or MISSING, seen.answered.p99 or MISSING
    count = f"{seen.answered.count:,} answers, {seen.answered.count / seconds:,.0f}/s"
    claims.check(wrong == 0, f"{CLIENTS} clients, {seconds:.0f} s: no error", f"{wrong} of {count}", "0")
    claims.check(p99 <= 3 * p50, "p99 ≤ 3 × p50", f"{ms(p99)} against {ms(p50)} ms: {p99 / p50:.2f}", "3")
    growth = memory.growth()
    claims.check(growth < 0.02, "memory after the first 10 s", f"{growth:+.2%} of {server.rss() / 1e6:,.0f} MB", "+2 %")
    return seen, own


def overload(
    claims: Claims, server: Server, targets: Path, seconds: float, usual: Outcome, rate: float, own: float
) -> None:
    """The second phase."""
    before = server.metrics()
    seen = k6(server.address, targets, seconds, rate=TIMES * rate, most=TIMES * CLIENTS)
    after = server.metrics()
    refusals = between(before, after, "refused")
    count, answered = max(refusals.values(), default=0.0), seen.answered
    sent = answered.count + seen.refused.count + seen.broken
    offered = (sent + seen.dropped) / seconds / rate
    told = (
        f"{seen.refused.count:,} refused of {sent:,} sent ({seen.statuses}); arrivals {offered:.1f} × the usual rate, "
    )
    told += f"{seen.dropped:,} of them not sent"
    claims.check(seen.broken == 0 and seen.refused.count > 0, "overload: refusals are 429 or 503", told, "no other")
    without = seen.without_retry_after
    claims.check(without == 0, "every refusal has Retry-After", f"{without:,} without", "0")
    p99 = histograms.quantile(refusals, 0.99)
    claims.check(p99 <= 0.005, "refusals, server's p99", f"{ms(p99)} ms of {count:,.0f}", "5 ms")
    client, usually = answered.p99 or MISSING, usual.answered.p99 or MISSING
    told = f"{ms(client)} against {ms(usually)} ms, {answered.count / seconds:,.0f} answers/s"
    claims.check(client <= 2 * usually, "answered, client's p99", f"{told}: {client / usually:.2f}", "2")
    server_p99 = histograms.quantile(between(before, after, "answered"), 0.99)
    told = f"{ms(server_p99)} against {ms(own)} ms: {server_p99 / own:.2f}"
    claims.check(server_p99 <= 2 * own, "answered, server's p99", told, "2")


def main() -> int:
    """The command line."""
    parser = command_line("soak", __doc__)
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="instead of a synthetic catalogue")
    parser.add_argument("--items", type=int, default=500_000, help="of the synthetic catalogue")
    parser.add_argument("--kind", choices=("auto", *get_args(Kind)), default="auto", help="of its search")
    parser.add_argument("--seconds", type=float, default=60, help="of each phase")
    parser.add_argument("--flags", nargs=argparse.REMAINDER, default=[], help="last: flags for `python -m service`")
    options = parser.parse_args()
    path = options.bundle or write(options.items, "paper", options.kind)
    targets = write_targets(read_bundle(path))
    flags = " ".join(["--flags", *options.flags]) if options.flags else ""
    command = f"python -m benchmarks.soak {path} --seconds {options.seconds:.0f} {flags}".strip()
    claims = Claims(Report("The service holds", command, HEADER, options.out))
    with servers.service(path, *options.flags) as server:
        usual, own = steady(claims, server, targets, options.seconds)
        time.sleep(2)
        overload(claims, server, targets, options.seconds, usual, usual.answered.count / options.seconds, own)
    return 1 if claims.failed else 0


if __name__ == "__main__":
    sys.exit(main())
