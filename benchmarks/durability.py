"""
Is every acknowledged event exported exactly once, whatever is killed?

    python -m benchmarks.durability                          the embedded Redis, then a server named by URL
    python -m benchmarks.durability --durability everysec    what the faster setting loses

16 clients post 100,000 events, alone and in batches, each until it is acknowledged; some acknowledged requests are sent
again. Meanwhile Redis is killed (SIGKILL) three times and started again, and the service once; then the export is
killed once as it writes, and run again. Claims: all are acknowledged in the end, each acknowledged event is in the
Parquet files, none is there twice, and each is what was sent. Prints PASS or FAIL per claim; exit status 1 after any
FAIL. SIGKILL leaves what the kernel was given, so a crash of the machine may lose more with everysec: its last second.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks import servers
from benchmarks.report import Report, command_line
from benchmarks.soak import HEADER, Claims
from benchmarks.tellers import Event, Tellers, make_events
from causalrec.bundle import read_bundle, write_bundle
from service.state.binary import find_server
from service.state.child import FSYNC, PID, Durability
from tests.bundles import make_bundle

KILLS = (("Redis", 0.2), ("Redis", 0.4), ("the service", 0.6), ("Redis", 0.8))  # what, at which share acknowledged
AHEAD = 0.15  # of the events may be told while something is being killed and started again
AWAY = 1.0  # seconds until a named server is started again
DEADLINE = 120.0


class Stack:
    """
    The service and its Redis: embedded, or a server of ours that it is given the URL of.

    Args:
        folder: of everything they write.
    """

    def __init__(self, bundle: Path, folder: Path, durability: Durability, *, named: bool) -> None:
        self._data, self._durability, self._named = folder / "data", durability, named
        self._redis_folder = folder / "redis"
        self._redis_folder.mkdir(parents=True)
        self._redis_port, port = _free_port(), _free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.where = ["--redis-url", f"redis://127.0.0.1:{self._redis_port}/0"] if named else []
        self.where += ["--data-dir", str(self._data)]
        self._command = [sys.executable, "-m", "service", "--bundle", str(bundle), "--port", str(port)]
        self._command += ["--grace-seconds", "0", "--log-level", "error", "--durability", durability, *self.where]
        self._redis: subprocess.Popen[bytes] | None = None
        self._start_redis()
        self._start()

    def kill(self, what: str) -> None:
        """SIGKILL, and a new start."""
        if what == "the service":
            self._service.kill()
            self._service.wait()
            self._start()
        elif self._redis:
            self._redis.kill()
            self._redis.wait()
            time.sleep(AWAY)
            self._start_redis()
        else:
            until(self._embedded_killed, "the embedded Redis to be there")  # its owner starts another

    def spooled(self) -> list[Path]:
        """The files that were not drained yet."""
        return list((self._data / "spool").rglob("*.log"))

    def close(self) -> None:
        """Ends both."""
        self._service.send_signal(signal.SIGINT)
        self._service.wait()
        if self._redis:
            self._redis.terminate()
            self._redis.wait()

    def _start(self) -> None:
        self._service = subprocess.Popen(self._command)
        until(self._ready, "the service to be ready")

    def _start_redis(self) -> None:
        if self._named:
            options = ["--port", str(self._redis_port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
            command = [str(find_server()), *options, "--appendfsync", FSYNC[self._durability]]
            self._redis = subprocess.Popen(command, cwd=self._redis_folder, stdout=subprocess.DEVNULL)

    def _embedded_killed(self) -> bool:
        try:
            os.kill(int((self._data / PID).read_text()), signal.SIGKILL)
        except (OSError, ValueError):  # between one and the next
            return False
        return True

    def _ready(self) -> bool:
        if self._service.poll() is not None:
            sys.exit(f"error: the service ended with {self._service.returncode}; its own message stands above")
        try:
            servers.get(f"{self.address}/health/ready")
        except OSError:
            return False
        return True


def until(holds: Callable[[], object], what: str) -> None:
    """Returns when it does. Raises: SystemExit after two minutes."""
    deadline = time.monotonic() + DEADLINE
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"error: waited {DEADLINE:.0f} s for {what}")
        time.sleep(0.01)


def disturb(stack: Stack, tellers: Tellers, events: int, killed: list[int]) -> None:
    """Kills each of KILLS in its turn, while events are told; `killed` gets how many were acknowledged then."""
    for what, share in KILLS:
        tellers.most = (share + AHEAD) * events
        until(partial(tellers.reached, share * events), f"{share:.0%} to be acknowledged")
        killed.append(len(tellers.acknowledged))
        print(f"killing {what} at {killed[-1]:,} events", file=sys.stderr, flush=True)
        stack.kill(what)
    tellers.most = float("inf")


def export(where: Sequence[str], folder: Path) -> None:
    """The export, killed when its first file is there, then run to its end."""
    command = [sys.executable, "-m", "service", "events", "export", "--to", str(folder), *where]
    first = subprocess.Popen(command)
    until(lambda: first.poll() is not None or any(folder.rglob("*.parquet")), "the export's first file")
    first.kill()
    first.wait()
    subprocess.run(command, check=True)


def compare(claims: Claims, events: Sequence[Event], tellers: Tellers, folder: Path, durability: Durability) -> None:
    """The claims about what was exported."""
    found = pl.read_parquet(sorted(folder.rglob("*.parquet")), hive_partitioning=False)
    sent = pl.DataFrame(events).with_columns(acknowledged=pl.col("event_id").is_in(list(tellers.acknowledged)))
    acknowledged = sent.filter("acknowledged")
    total, given = len(sent), len(acknowledged)
    claims.check(given == total, "acknowledged in the end", f"{given:,} of {total:,}", f"{total:,}")
    missing = len(acknowledged.join(found, on="event_id", how="anti"))
    lossless = durability == "strict"
    allowed = "0" if lossless else "some, with everysec"
    claims.check(missing == 0 or not lossless, "acknowledged, not exported", f"{missing:,}", allowed)
    twice = len(found) - found["event_id"].n_unique()
    claims.check(twice == 0, "exported twice", f"{twice:,} of {len(found):,} rows", "0")
    whole = found.with_columns(pl.col("timestamp").dt.epoch("ms"))
    meant = sent.with_columns((pl.col("timestamp") * 1000).round().cast(pl.Int64))
    changed = len(whole.join(meant, on=["event_id", "user_id", "item_id", "type", "value", "timestamp"], how="anti"))
    claims.check(changed == 0, "exported otherwise than sent", f"{changed:,}", "0")


def measure(options: "Options", bundle: Path, folder: Path, *, named: bool) -> bool:
    """One run; whether every claim held."""
    known = read_bundle(bundle)
    events = make_events(options.events, known.users.ids, known.items.ids)
    kind = "server named by URL" if named else "embedded"
    command = f"python -m benchmarks.durability --durability {options.durability} --events {options.events}"
    report = Report(f"Events survive, {kind}, durability = {options.durability}", command, HEADER, options.out)
    claims = Claims(report)
    stack = Stack(bundle, folder, options.durability, named=named)
    try:
        tellers = Tellers(stack.address, events, options.clients)
        tellers.most = 0  # until the disturber says
        killed: list[int] = []
        disturber = threading.Thread(target=disturb, args=(stack, tellers, len(events), killed))
        begun = time.perf_counter()
        disturber.start()
        tellers.tell()
        seconds = time.perf_counter() - begun
        disturber.join()
        until(lambda: not stack.spooled(), "the spool to be drained")
        drained = time.perf_counter() - begun - seconds
        export(stack.where, folder / "exported")
    finally:
        stack.close()
    meanwhile = len(killed) == len(KILLS) and max(killed) < len(events)
    claims.check(meanwhile, "killed while events were told", ", ".join(f"{at:,}" for at in killed), "all")
    compare(claims, events, tellers, folder / "exported", options.durability)
    counts = ", ".join(f"{what}: {count:,}" for what, count in sorted(tellers.counts.items()))
    report.note(
        f"{options.clients} clients, {seconds:.0f} s, {len(events) / seconds:,.0f} events/s over all, spool empty "
        f"{drained:.1f} s after the last; requests by answer: {counts}."
    )
    return claims.failed == 0


class Options:
    """The command line's."""

    events: int
    clients: int
    durability: Durability
    redis: str
    out: Path | None


def main() -> int:
    """The command line."""
    parser = command_line("durability", __doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--durability", choices=list(FSYNC), default="strict")
    parser.add_argument("--redis", choices=("embedded", "named", "both"), default="both")
    options = parser.parse_args(namespace=Options())
    with tempfile.TemporaryDirectory(prefix="durability") as name:
        folder = Path(name)
        bundle = write_bundle(make_bundle(), folder / "bundles")
        kinds = {"embedded": (False,), "named": (True,), "both": (False, True)}[options.redis]
        held = [measure(options, bundle, folder / ("named" if named else "embedded"), named=named) for named in kinds]
    return 0 if all(held) else 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
