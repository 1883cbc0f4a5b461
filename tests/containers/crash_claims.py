"""The service and Redis are killed while events are told: nothing that was acknowledged may be lost."""

import contextlib
import json
import threading
import time
from collections import Counter

from tests.containers.claims import Broken, Claims, demand
from tests.containers.client import ask, recommendations
from tests.containers.stack import Stack, until

TELLERS, BATCH = 4, 20
LEAST = 200  # acknowledged before, between and after the crashes
EXPORT = ("exec", "--no-TTY", "service", "python", "-m", "service", "events", "export", "--to", "/data/events")
# Every event id in the exported files, the service's own records left out.
EXPORTED = """
import json, polars
found = polars.read_parquet("/data/events/**/*.parquet", hive_partitioning=False)
print(json.dumps(found["event_id"].to_list()))
"""


class Tellers:
    """Threads that tell of new events all the time; each request is repeated until it is acknowledged."""

    def __init__(self, address: str) -> None:
        self._address = f"{address}/v1/events"
        self._stop = threading.Event()
        self._guard = threading.Lock()
        self._threads = [threading.Thread(target=self._tell, args=(number,)) for number in range(TELLERS)]
        self.acknowledged: set[str] = set()
        self.answers: Counter[int] = Counter()
        for thread in self._threads:
            thread.start()

    def more(self, count: int) -> None:
        """Returns when `count` further events are acknowledged. Raises: Broken."""
        goal = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= goal, f"{count} events to be acknowledged", 60)

    def end(self) -> None:
        """Returns when each teller's last request is acknowledged, or was never."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _tell(self, teller: int) -> None:
        number = 0
        while not self._stop.is_set():
            events = [
                {
                    "event_id": f"crash-{teller}-{number + place}",
                    "user_id": f"user-{100 + (number + place) % 800:04}",
                    "item_id": f"item-{place:04}",
                    "type": "impression",
                }
                for place in range(BATCH)
            ]
            number += BATCH
            self._insist(events)

    def _insist(self, events: list[dict[str, str]]) -> None:
        while True:
            status = ask(self._address, {"events": events}).status
            with self._guard:
                self.answers[status] += 1
                if status == 200:
                    self.acknowledged.update(event["event_id"] for event in events)
                    return
            if self._stop.is_set():
                return
            time.sleep(0.02)


def crash_claims(claims: Claims, stack: Stack) -> None:
    """Kills, then counts."""
    tellers = Tellers(stack.service)
    try:
        claims.check("Redis crashes: started again by itself", lambda: crashed(stack, tellers, "redis"))
        claims.check("the service crashes: started again by itself", lambda: crashed(stack, tellers, "service"))
        claims.check("Redis is away: lists go on, events are kept on the disk", lambda: away(stack, tellers))
    finally:
        tellers.end()
    claims.check("nothing acknowledged is lost, nothing is there twice", lambda: exported(stack, tellers))


def crashed(stack: Stack, tellers: Tellers, service: str) -> str:
    """SIGKILL, while events are told and acknowledged before and after."""
    tellers.more(LEAST)
    before = len(tellers.acknowledged)
    took = stack.crash(service)
    tellers.more(LEAST)
    return (
        f"healthy again after {took:.1f} s; {before:,} events acknowledged before, {len(tellers.acknowledged):,} after"
    )


def away(stack: Stack, tellers: Tellers) -> str:
    """Stopped for good, as somebody who updates it does."""
    stack.compose("stop", "redis")
    tellers.more(LEAST)
    answer = recommendations(stack.service, "user-0042")
    demand(answer.status == 200 and len(answer.body["items"]) == 10, str(answer))
    stack.up("redis")
    tellers.more(LEAST)
    return f"{len(tellers.acknowledged):,} events acknowledged"


def exported(stack: Stack, tellers: Tellers) -> str:
    """Each acknowledged event is in the export once; what was not acknowledged may be."""
    demand(len(tellers.acknowledged) >= 4 * LEAST, f"only {len(tellers.acknowledged)} events were acknowledged")
    found: Counter[str] = Counter()

    def drained() -> bool:
        stack.compose(*EXPORT)
        found.clear()
        found.update(json.loads(stack.run_inside("service", EXPORTED)))
        return tellers.acknowledged <= found.keys()  # the spool joins the log a moment after Redis is back

    with contextlib.suppress(Broken):
        until(drained, "every acknowledged event to be exported", 60)
    lost = sorted(tellers.acknowledged - found.keys())
    demand(not lost, f"{len(lost)} of {len(tellers.acknowledged)} are lost, as {lost[:3]}")
    twice = [event for event, times in found.items() if times > 1]
    demand(not twice, f"{len(twice)} are there twice, as {twice[:3]}")
    demand("round-trip" in found, "the event of the round trip is not there")
    refused = {status: count for status, count in sorted(tellers.answers.items()) if status != 200}
    return f"{len(tellers.acknowledged):,} acknowledged, all exported; requests not acknowledged at once: {refused}"
