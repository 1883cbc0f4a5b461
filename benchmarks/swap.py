"""
Do bundles change under load without anybody noticing, and does the service stop and come back as it says?

    python -m benchmarks.swap
    python -m benchmarks.swap --seconds 12 --swaps 6      a short version

The service on core 0, 32 clients on core 1 that ask as fast as they are answered. Three bundles take turns, two of them
in memory: the link is moved to the third (and watched), or it is activated; then it is rolled back. Meanwhile five
bundles are offered, each spoilt in another way. Claims: no answer but 200; the body of every answer is the bundle's
whose id it bears, by that bundle's own exact list; every bad bundle is refused and counted, and the old one goes on.
Then SIGTERM under load: behind something that looks at readiness no request fails, and nothing that was begun to be
answered is cut off; the process ends in time. Then SIGKILL and a new start: what was activated last is served again
within --ready seconds, although the link leads to a bad bundle.
Prints PASS or FAIL per claim; exit status 1 after any FAIL.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from tqdm import tqdm

from benchmarks.durability import until
from benchmarks.report import Report, command_line, ms
from benchmarks.servers import CLIENT_CORE
from benchmarks.soak import HEADER, Claims
from benchmarks.swap_clients import Clients, Target, asking, listed
from benchmarks.swap_world import BAD, DRAIN, GRACE, Service, Shelf, send
from causalrec.bundle import read_bundle
from causalrec.search import Searcher

CLIENTS, TARGETS, K = 32, 1024, 20


def targets(users: Sequence[str]) -> list[Target]:
    """Random users, λ2 from 0 to 2."""
    rng = random.Random(0)
    rows = [(rng.randrange(len(users)), rng.randrange(21) / 10) for _ in range(TARGETS)]
    return [
        Target(row, lambda2, f"/v1/users/{users[row]}/recommendations?k={K}&lambda2={lambda2:g}")
        for row, lambda2 in rows
    ]


def swaps(service: Service, shelf: Shelf, count: int, seconds: float) -> tuple[list[float], list[float], int]:
    """
    Swaps to a bundle that is not in memory (told by the link and by activating in turn) and rollbacks by turns, evenly
    over the time, and the bad bundles in between.

    Returns: the seconds that each swap and each rollback took, and how many bad bundles were refused.
    """
    loaded: list[float] = []
    back: list[float] = []
    refused, offered, every = 0, iter(BAD), seconds / count
    begun = time.perf_counter()
    for turn in tqdm(range(count), desc="swaps", unit="swap"):
        other, started = service.in_state("available" if turn % 2 == 0 else "previous", shelf), time.perf_counter()
        if turn % 4 == 0 and shelf.link.resolve() != shelf.paths[other].resolve():  # a link that stays is no news
            shelf.point(shelf.paths[other])
        else:
            act = f"{other}/activate" if turn % 2 == 0 else "rollback"
            send(f"{service.address}/v1/models/{act}", "POST")
        until(lambda other=other: service.serving() == other, "the other bundle to be served")  # type: ignore[misc]
        (back if turn % 2 else loaded).append(time.perf_counter() - started)
        if turn % max(1, count // len(BAD)) == 0 and (how := next(offered, None)):
            refused += refuses(service, shelf, how)
        time.sleep(max(0.0, begun + (turn + 1) * every - time.perf_counter()))
    for how in offered:
        refused += refuses(service, shelf, how)
    return loaded, back, refused


def refuses(service: Service, shelf: Shelf, how: str) -> bool:
    """Whether a spoilt bundle, once it was offered, is refused, and what was served goes on."""
    before, failures = service.serving(), service.failures()
    bad = shelf.spoilt(how)
    shelf.point(bad)
    until(lambda: service.failures() > failures, "the bad bundle to be refused")
    (told,) = [each for each in service.models()["models"] if each["path"] == str(bad.resolve())]
    return bool(told["state"] == "refused" and service.serving() == before)


def truthful(claims: Claims, clients: Clients, shelf: Shelf) -> None:
    """The claims about what was in the answers."""
    many = sum(len(bodies) > 1 for bodies in clients.bodies.values())
    wrong = 0
    seen = {bundle_id for bundle_id, _ in clients.bodies}
    for bundle_id in seen & set(shelf.paths):
        bundle = read_bundle(shelf.paths[bundle_id])
        searcher = Searcher(bundle.weights, "scan")
        mine = [(target, bodies) for (whose, target), bodies in clients.bodies.items() if whose == bundle_id]
        for target, bodies in tqdm(mine, desc=bundle_id[:12], unit="list"):
            excluded = bundle.seen.items(target.row)
            best = searcher.scan(bundle.weights.user(target.row), target.lambda2, K, excluded)
            rows, scores = best.rows.tolist(), best.scores.tolist()
            true = [(bundle.items.ids[row], score) for row, score in zip(rows, scores, strict=True)]
            wrong += any(listed(body) != (bundle_id, true) for body in bodies)
    told = f"{wrong:,} of {len(clients.bodies):,} different questions, {clients.answered:,} answers"
    claims.check(wrong == 0 and seen == set(shelf.paths), "answers that are not their bundle's own", told, "0")
    claims.check(many == 0, "questions with two answers of one bundle", f"{many:,}", "0")


def swapping(report: Report, claims: Claims, service: Service, shelf: Shelf, options: argparse.Namespace) -> None:
    """The first part."""
    users = read_bundle(shelf.link).users.ids
    clients, before = Clients(service.address, targets(users)), service.rss()
    with asking(clients, CLIENTS):
        time.sleep(1)
        loaded, back, refused = swaps(service, shelf, options.swaps, options.seconds)
    wrong = ", ".join(f"{what}: {count}" for what, count in clients.failed.items()) or "none"
    rate = clients.answered / (options.seconds + 1)
    claims.check(not clients.failed, "failed requests", f"{wrong} beside {clients.answered:,} answers", "none")
    done = len(loaded) + len(back)
    told = f"{len(loaded)} loaded in {ms(median(loaded))} ms, {len(back)} back in {ms(median(back))} ms (medians)"
    claims.check(done == options.swaps, "swaps and rollbacks", told, f"{options.swaps}")
    told = f"{refused} of {len(BAD)}, {service.failures():.0f} counted"
    claims.check(
        refused == len(BAD) and service.failures() == len(BAD), "bad bundles refused", told, f"{len(BAD)} and counted"
    )
    truthful(claims, clients, shelf)
    ordered = sorted(clients.seconds)
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] for share in (0.5, 0.99))
    note = (
        f"{CLIENTS} clients: {rate:,.0f} answers/s, median {ms(p50)} ms, p99 {ms(p99)} ms, most {ms(ordered[-1])} ms. "
        f"Resident memory {before / 1e6:,.0f} MB before, {service.rss() / 1e6:,.0f} MB after, with the previous one."
    )
    report.add("", note, "", "")


def stopping(claims: Claims, service: Service, shelf: Shelf) -> None:
    """The second part."""
    asked = targets(read_bundle(shelf.link).users.ids)
    behind, blunt = Clients(service.address, asked), Clients(service.address, asked)
    watcher = threading.Thread(target=behind.until_unready)
    with asking(blunt, CLIENTS // 2), asking(behind, CLIENTS // 2):
        watcher.start()
        time.sleep(2)
        blunt.stopping, begun = True, time.perf_counter()
        service.process.send_signal(signal.SIGTERM)
        code = service.process.wait()
        took = time.perf_counter() - begun
        watcher.join()
    told = f"{dict(behind.failed) or 'none'} beside {behind.answered:,}"
    claims.check(not behind.failed, "SIGTERM: failed behind something that looks at readiness", told, "none")
    told = f"{dict(blunt.failed) or 'none'} beside {blunt.answered:,}; not taken: {dict(blunt.refused)}"
    claims.check(not blunt.failed, "SIGTERM: failed of clients that go on until they are not let in", told, "none")
    allowed = GRACE + DRAIN
    claims.check(code == 0 and took <= allowed, "SIGTERM: ended", f"code {code} after {took:.1f} s", f"{allowed} s")


def killing(claims: Claims, service: Service, shelf: Shelf, within: float) -> None:
    """The third part; the link leads to a bad bundle all along."""
    usual = service.start()
    now = service.models()["serving"]
    other = service.in_state("available", shelf)
    send(f"{service.address}/v1/models/{other}/activate", "POST")
    service.process.kill()
    service.process.wait()
    seconds = service.start()
    claims.check(
        seconds <= within, "SIGKILL: ready again", f"{seconds:.1f} s, {usual:.1f} s when it had ended", f"{within:g} s"
    )
    claims.check(
        service.serving() == other != now, "SIGKILL: what was activated is served again", other[:12], "the same"
    )


@contextlib.contextmanager
def running(shelf: Shelf, data: Path) -> Iterator[Service]:
    """A service that is ready."""
    service = Service(shelf.link, data)
    service.start()
    try:
        yield service
    finally:
        service.close()


def main() -> int:
    """The command line."""
    parser = command_line("swap", __doc__)
    parser.add_argument("--items", type=int, default=50_000, help="of each synthetic catalogue")
    parser.add_argument("--seconds", type=float, default=60, help="of the swaps")
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--ready", type=float, default=30, help="seconds to come back in")
    options = parser.parse_args()
    command = f"python -m benchmarks.swap --items {options.items} --seconds {options.seconds:g} --swaps {options.swaps}"
    report = Report("Bundles change under load", command, HEADER, options.out)
    claims = Claims(report)
    with contextlib.suppress(OSError, AttributeError, ValueError):
        os.sched_setaffinity(0, {int(CLIENT_CORE)})
    with tempfile.TemporaryDirectory(prefix="causalrec-") as name:
        shelf, data = Shelf(Path(name) / "bundles", options.items), Path(name) / "data"
        with running(shelf, data) as service:
            swapping(report, claims, service, shelf, options)
            stopping(claims, service, shelf)
            killing(claims, service, shelf, options.ready)
    return 1 if claims.failed else 0


if __name__ == "__main__":
    sys.exit(main())
