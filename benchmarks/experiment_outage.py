"""
Does an experiment survive a minute without Redis?

    python -m benchmarks.experiment_outage
    python -m benchmarks.experiment_outage --seconds 5      a short version

The service on core 0 over a Redis named by URL, which shares core 1 with 8 clients. An experiment between three λ2 is
made and started over HTTP; then the clients ask for recommendations as fast as they are answered, for users of whom
new ones come all the time, while Redis works, is dead (SIGKILL, for --seconds) and is started again, until what was
spooled meanwhile is drained and a while longer. Then the events are exported. Claims: no answer but 200, every answer
is in the experiment, no user's variant ever changes, every list and every exposure of an answer is in the export,
none is there twice. Prints PASS or FAIL per claim; exit status 1 after any FAIL.
"""

import contextlib
import http.client
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import polars as pl

from benchmarks.durability import until
from benchmarks.outage import URL, Redis, send, service
from benchmarks.report import Report, command_line
from benchmarks.servers import CORE, Server
from benchmarks.soak import HEADER, Claims
from causalrec.bundle import read_bundle, write_bundle
from tests.bundles import make_bundle

CLIENTS = 8
KEY, LAMBDA2 = "outage", (0.0, 0.8, 1.6)
FIRST, MORE = 200, 0.2  # users at the start, and how many of them come with each answer
PHASES = ("before", "dead", "after")


class Answer(NamedTuple):
    """What one request was answered; variant None: outside the experiment."""

    user: str
    request_id: str
    version: int | None
    variant: str | None
    lambda2: float
    phase: str


class Visitors:
    """Clients with a connection each, kept alive. phase: which of PHASES it is now; None: time to go."""

    def __init__(self, address: str, users: Sequence[str]) -> None:
        self._place = urlsplit(address).netloc
        self._users = users  # those the bundle knows; who comes after them is new to it
        self.phase: str | None = PHASES[0]
        self.answers: list[Answer] = []
        self.wrong: Counter[str] = Counter()

    def ask(self) -> None:
        """Returns when it is time to go."""
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(self._client, range(CLIENTS)))

    def count(self, phase: str) -> int:
        """Answers in a phase."""
        return sum(each.phase == phase for each in self.answers)

    def _client(self, number: int) -> None:
        rng, connection = random.Random(number), http.client.HTTPConnection(self._place, timeout=30)
        while (phase := self.phase) is not None:
            at = rng.randrange(FIRST + int(MORE * len(self.answers)))
            user = self._users[at] if at < len(self._users) else f"visitor-{at}"
            try:
                connection.request("GET", f"/v1/users/{quote(user)}/recommendations?k=10")
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()  # the next request opens it again
                self.wrong[type(error).__name__] += 1
                continue
            if response.status == 200:
                self.answers.append(_answer(user, response.headers["X-Request-ID"], json.loads(body), phase))
            else:
                self.wrong[str(response.status)] += 1
        connection.close()


def _answer(user: str, request_id: str, body: dict[str, Any], phase: str) -> Answer:
    block = body.get("experiment") or {}
    return Answer(user, request_id, block.get("version"), block.get("variant"), body["lambda2"], phase)


def experiment(server: Server) -> None:
    """Makes it and starts it."""
    wanted = {"key": KEY, "variants": [{"lambda2": each} for each in LAMBDA2]}
    send(server.address, "POST", "/v1/experiments", wanted)
    send(server.address, "POST", f"/v1/experiments/{KEY}/start", {})


def drained(server: Server) -> bool:
    """Whether nothing waits on the disk for Redis."""
    found = re.search(r"^causalrec_spool_bytes (\S+)$", server.metrics(), re.MULTILINE)
    return found is not None and float(found[1]) == 0


def load(server: Server, redis: Redis, users: Sequence[str], seconds: float) -> tuple[Visitors, float]:
    """What the clients were answered, and the seconds that draining took."""
    visitors = Visitors(server.address, users)
    clients = threading.Thread(target=visitors.ask)
    clients.start()
    try:
        time.sleep(seconds / 4)
        visitors.phase = "dead"
        redis.signal(signal.SIGKILL)
        time.sleep(seconds)
        redis.start()
        visitors.phase, begun = "after", time.perf_counter()
        until(lambda: drained(server), "the spool to be drained")
        taken = time.perf_counter() - begun
        time.sleep(seconds / 4)
    finally:
        visitors.phase = None
        clients.join()
    until(lambda: drained(server), "the spool to be drained")
    return visitors, taken


def answered(claims: Claims, visitors: Visitors) -> pl.DataFrame:
    """The claims about the answers, and those in the experiment."""
    answers = pl.DataFrame(visitors.answers, orient="row")
    wrong = ", ".join(f"{what}: {count}" for what, count in visitors.wrong.items()) or "none"
    counts = ", ".join(f"{phase} {visitors.count(phase):,}" for phase in PHASES)
    claims.check(not visitors.wrong, "answers other than 200", f"{wrong} beside {len(answers):,} ({counts})", "none")
    claims.check(all(map(visitors.count, PHASES)), "answered before, while Redis was dead, and after", counts, "all")
    without = answers["variant"].null_count()
    claims.check(without == 0, "answers outside the experiment", f"{without:,}", "0")
    inside = answers.filter(pl.col("variant").is_not_null())
    given = inside.group_by("user").agg(pl.struct("variant", "lambda2").n_unique(), pl.col("phase").n_unique())
    changed = int((given["variant"] > 1).sum())
    stayed = (
        f"{changed:,} of {len(given):,}, {int((given['phase'] == len(PHASES)).sum()):,} of them in all three phases"
    )
    claims.check(changed == 0, "users whose variant changed", stayed, "0")
    return inside


def exported(claims: Claims, inside: pl.DataFrame, folder: Path) -> None:
    """The claims about what the export has of them."""
    rows = pl.read_parquet(sorted(folder.rglob("*.parquet")), hive_partitioning=False).filter(experiment=KEY)
    rows = rows.with_columns(lambda2=pl.col("lambda2").list.first()).rename({"user_id": "user"})
    same = ["user", "version", "variant", "lambda2"]
    for kind, of in (("list", ["request_id", *same]), ("exposure", same)):
        found, wanted = rows.filter(type=kind), inside.select(of).unique()
        missing = len(wanted.join(found, on=of, how="anti"))
        claims.check(missing == 0, f"{kind}s not exported", f"{missing:,} of {len(wanted):,}", "0")
        once = ["request_id"] if kind == "list" else ["user", "version"]
        twice = len(found) - found.select(once).n_unique()
        claims.check(twice == 0, f"{kind}s exported twice", f"{twice:,} of {len(found):,} rows", "0")


def main() -> int:
    """The command line."""
    parser = command_line("experiment_outage", __doc__)
    parser.add_argument("--seconds", type=float, default=60, help="that Redis is dead")
    options = parser.parse_args()
    command = f"python -m benchmarks.experiment_outage --seconds {options.seconds:g}"
    report = Report("An experiment while Redis is dead", command, HEADER, options.out)
    claims = Claims(report)
    with tempfile.TemporaryDirectory(prefix="causalrec-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        bundle = write_bundle(make_bundle(), folder / "bundles")
        redis = stack.enter_context(contextlib.closing(Redis(folder, "always")))
        server = stack.enter_context(service(bundle, CORE, "--shadow-rate", "0"))
        experiment(server)
        visitors, taken = load(server, redis, read_bundle(bundle).users.ids, options.seconds)
        export = [sys.executable, "-m", "service", "events", "export", "--redis-url", URL, "--to", str(folder / "to")]
        subprocess.run(export, check=True, stdout=subprocess.DEVNULL)
        exported(claims, answered(claims, visitors), folder / "to")
    report.note(f"{CLIENTS} clients, Redis dead for {options.seconds:g} s; spool empty {taken:.1f} s after its start.")
    return 1 if claims.failed else 0


if __name__ == "__main__":
    sys.exit(main())
