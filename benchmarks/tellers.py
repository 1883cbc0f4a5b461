"""Clients that tell the service of events, each until it is acknowledged, whatever dies meanwhile."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

Event = dict[str, Any]

SIZES = (1, 1, 1, 10, 100)  # events per request: one is sent alone, several in a batch
AGAIN = 0.02  # of the acknowledged requests are sent once more, as a caller does whose answer got lost
PAUSE, PATIENCE = 0.05, 120.0  # seconds between attempts, and until one gives up
TYPES = ("impression", "click", "cart", "purchase", "rating")
DAYS = 3  # that the events are spread over


def make_events(count: int, users: Sequence[str], items: Sequence[str], seed: int = 0) -> list[Event]:
    """Different events of the last days, in no order."""
    rng, now = random.Random(seed), time.time()
    return [
        {
            "event_id": f"event-{number}",
            "user_id": rng.choice(users),
            "item_id": rng.choice(items),
            "type": rng.choice(TYPES),
            "value": float(rng.randint(1, 500)),
            "timestamp": round(now - rng.uniform(0, DAYS * 86_400), 3),
        }
        for number in range(count)
    ]


class Tellers:
    """
    Clients with a connection each, kept alive, that share the events between them.

    acknowledged: ids of the events that a 200 was answered for. counts: requests by what became of them. most: while so
    many are acknowledged nothing is sent, so that they cannot be through before what is to disturb them.
    """

    def __init__(self, address: str, events: Sequence[Event], clients: int) -> None:
        self._place = urlsplit(address).netloc
        self._shares = [events[client::clients] for client in range(clients)]
        self._guard = threading.Lock()
        self.acknowledged: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.most = float("inf")

    def tell(self) -> None:
        """Returns when every event is acknowledged, or given up."""
        with ThreadPoolExecutor(len(self._shares)) as pool:
            list(pool.map(self._client, range(len(self._shares))))

    def reached(self, events: float) -> bool:
        """Whether so many are acknowledged."""
        return len(self.acknowledged) >= events

    def _client(self, number: int) -> None:
        rng, share, at = random.Random(number), self._shares[number], 0
        connection = http.client.HTTPConnection(self._place, timeout=10)
        while at < len(share):
            while self.reached(self.most):
                time.sleep(PAUSE)
            part = share[at : at + rng.choice(SIZES)]
            at += len(part)
            body = json.dumps(part[0] if len(part) == 1 else {"events": part})
            if self._insist(connection, body):
                with self._guard:
                    self.acknowledged.update(event["event_id"] for event in part)
                if rng.random() < AGAIN:
                    self._note("sent once more")
                    self._insist(connection, body)
            else:
                self._note("given up")
        connection.close()

    def _insist(self, connection: http.client.HTTPConnection, body: str) -> bool:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            outcome = self._attempt(connection, body)
            self._note(outcome)
            if outcome == "200":
                return True
            time.sleep(PAUSE)
        return False

    def _attempt(self, connection: http.client.HTTPConnection, body: str) -> str:
        try:
            connection.request("POST", "/v1/events", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()  # the next attempt opens it again
            return "no answer"
        return str(answer.status)

    def _note(self, what: str) -> None:
        with self._guard:
            self.counts[what] += 1
