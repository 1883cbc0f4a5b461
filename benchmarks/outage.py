"""
Do recommendations go on while Redis is frozen or dead, and how soon do two services on one Redis agree?

    python -m benchmarks.outage

The service on core 0 over a Redis named by URL, which shares core 1 with the clients. 8 clients ask as fast as they are
answered: usually, with Redis frozen (SIGSTOP: connections stay open, nothing is answered), thawed, dead (SIGKILL) and
started again. Claims: no answer but 200, and a p99 of at most twice the usual one and the budget for Redis. Then two
services on one Redis: an event, a hidden item and a new item told to one of them, until the other's answer shows it.
Prints PASS or FAIL per claim; exit status 1 after any FAIL.
"""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import servers
from benchmarks.catalogue import write
from benchmarks.generators import k6, write_targets
from benchmarks.report import Report, command_line, ms
from benchmarks.servers import CLIENT_CORE, Server, get, pinned
from benchmarks.soak import Claims
from causalrec.bundle import Bundle, read_bundle
from service.state.binary import find_server

HEADER = ("", "claim", "measured", "allowed")
CLIENTS, BUDGET_MS = 8, 20
PORT = 6399
URL = f"redis://127.0.0.1:{PORT}/0"
TOLD = 20  # changes of each sort between two services
WITHIN = 1.0


class Redis:
    """A redis-server beside the clients, whose log is kept in `folder`, synced to the disk as `fsync` says."""

    def __init__(self, folder: Path, fsync: str = "everysec") -> None:
        self._command = [str(find_server()), "--port", str(PORT), "--dir", str(folder), "--save", ""]
        self._command += ["--appendonly", "yes", "--appendfsync", fsync, "--bind", "127.0.0.1"]
        self._process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        """Starts it."""
        self._process = subprocess.Popen(pinned(self._command, CLIENT_CORE), stdout=subprocess.DEVNULL)

    def signal(self, sign: signal.Signals) -> None:
        """SIGSTOP, SIGCONT or SIGKILL."""
        self._process.send_signal(sign)
        if sign is signal.SIGKILL:
            self._process.wait()

    def close(self) -> None:
        """Ends it, frozen or not."""
        self._process.kill()
        self._process.wait()


def send(address: str, method: str, path: str, body: object) -> Any:
    """What is answered. Raises: HTTPError for any status of 400 or more."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own process
        return json.load(answer)


def tell(address: str, bundle: Bundle) -> None:
    """Three acts of every user, so that there is something to remember."""
    items = bundle.items.ids
    acts = [
        {"event_id": f"{user}-{act}", "user_id": user, "item_id": items[(7 * row + act) % len(items)], "type": "click"}
        for row, user in enumerate(bundle.users.ids)
        for act in range(3)
    ]
    for start in range(0, len(acts), 1000):
        send(address, "POST", "/v1/events", {"events": acts[start : start + 1000]})


def outages(claims: Claims, server: Server, redis: Redis, targets: Path, seconds: float) -> None:
    """The states of Redis one after the other."""
    k6(server.address, targets, 3, clients=CLIENTS)
    usual = k6(server.address, targets, seconds, clients=CLIENTS)
    states: dict[str, Callable[[], None]] = {
        "usual": lambda: None,
        "frozen": lambda: redis.signal(signal.SIGSTOP),
        "thawed": lambda: redis.signal(signal.SIGCONT),
        "dead": lambda: redis.signal(signal.SIGKILL),
        "started again": redis.start,
    }
    usually = usual.answered.p99 or 0.0
    allowed = 2 * usually + BUDGET_MS / 1000
    for state, enter in tqdm(states.items(), desc="Redis", unit="state"):
        enter()
        seen = k6(server.address, targets, seconds, clients=CLIENTS)
        wrong, p99 = seen.refused.count + seen.broken, seen.answered.p99 or 0.0
        told = f"{wrong} of {seen.answered.count:,} ({seen.statuses})"
        claims.check(wrong == 0, f"Redis {state}: every answer is 200", told, "0")
        told = f"{ms(p99)} ms, median {ms(seen.answered.p50 or 0.0)}; {seen.answered.count / seconds:,.0f}/s"
        claims.check(p99 <= allowed, f"Redis {state}: p99", told, f"{ms(allowed)} ms")


def agreement(claims: Claims, one: Server, other: Server, bundle: Bundle) -> None:
    """Changes told to one service, until the other's answer shows them."""
    width = len(bundle.visual.scaling.mean)
    delays: dict[str, list[float]] = {"an event": [], "a hidden item": [], "a new item": []}
    for number in tqdm(range(TOLD), desc="changes", unit="change"):
        user = bundle.users.ids[number]
        first, second = listed(other, user)[:2]
        event = {"event_id": f"seen-{number}", "user_id": user, "item_id": first, "type": "purchase"}
        send(one.address, "POST", "/v1/events", event)
        delays["an event"].append(until(partial(lacks, other, user, first)))
        send(one.address, "PATCH", f"/v1/items/{second}", {"hidden": True})
        delays["a hidden item"].append(until(partial(lacks, other, user, second)))
        new = f"new-{number}"
        send(one.address, "PUT", f"/v1/items/{new}", {"attributes": {}, "feature": [1.0] * width})
        delays["a new item"].append(until(partial(ranks, other, user, new)))
    for what, seconds in delays.items():
        told = f"at most {ms(max(seconds))} ms, median {ms(sorted(seconds)[len(seconds) // 2])} of {len(seconds)}"
        claims.check(max(seconds) <= WITHIN, f"{what} told to one service is in the other's answer", told, "1 s")


def lacks(server: Server, user: str, item: str) -> bool:
    """Whether the user's list is without the item."""
    return item not in listed(server, user)


def ranks(server: Server, user: str, item: str) -> bool:
    """Whether the item can be recommended to the user."""
    only = {"user_id": user, "candidate_item_ids": [item]}
    return bool(send(server.address, "POST", "/v1/recommendations", only)["items"])


def listed(server: Server, user: str) -> list[str]:
    """What the user is recommended."""
    answer = json.loads(get(f"{server.address}/v1/users/{user}/recommendations?k=10"))
    return [item["item_id"] for item in answer["items"]]


def until(reached: Callable[[], bool]) -> float:
    """Seconds until it is."""
    begun = time.perf_counter()
    while not reached():
        if time.perf_counter() - begun > 10 * WITHIN:
            break
    return time.perf_counter() - begun


@contextlib.contextmanager
def service(path: Path, core: str, *flags: str) -> Iterator[Server]:
    """A service over that Redis."""
    named = ("--redis-url", URL, "--state-budget-ms", str(BUDGET_MS), *flags)
    with servers.service(path, *named, core=core) as server:
        yield server


def main() -> int:
    """The command line."""
    parser = command_line("outage", __doc__)
    parser.add_argument("--items", type=int, default=50_000, help="of the synthetic catalogue")
    parser.add_argument("--seconds", type=float, default=15, help="of each state of Redis")
    options = parser.parse_args()
    path = write(options.items, "paper", "auto")
    bundle = read_bundle(path)
    targets = write_targets(bundle)
    command = f"python -m benchmarks.outage --items {options.items} --seconds {options.seconds:g}"
    report = Report("Redis frozen and dead, and two services on one Redis", command, HEADER, options.out)
    claims = Claims(report)
    with (
        tempfile.TemporaryDirectory(prefix="causalrec-") as folder,
        contextlib.closing(Redis(Path(folder))) as redis,
        service(path, servers.CORE, "--shadow-rate", "0") as one,
    ):
        tell(one.address, bundle)
        outages(claims, one, redis, targets, options.seconds)
        with service(path, CLIENT_CORE) as other:
            agreement(claims, one, other, bundle)
    return 1 if claims.failed else 0


if __name__ == "__main__":
    sys.exit(main())
