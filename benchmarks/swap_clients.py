"""Clients that keep what they are answered, to be compared with what each bundle truly ranks."""

import contextlib
import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

AGAIN = 0.05  # seconds between two looks at whether the service is ready


class Target(NamedTuple):
    """One request: the row of a user, λ2, and the path that asks."""

    row: int
    lambda2: float
    path: str


class Clients:
    """
    Clients with a connection each, kept alive, that ask again as soon as they are answered.

    answered: how many 200s. bodies: by bundle id and target, every different body. failed: answers that were no 200,
    not whole, or none at all, by what they were; refused: connections not accepted, or closed without a byte of an
    answer, by a service that was told to stop (`stopping`). seconds: of every answer.
    """

    def __init__(self, address: str, targets: Sequence[Target]) -> None:
        self._place = urlsplit(address).netloc
        self._targets = itertools.cycle(targets)
        self._guard = threading.Lock()
        self.answered = 0
        self.bodies: dict[tuple[str, Target], set[bytes]] = {}
        self.failed: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.stopping = False
        self.go_on = True

    def ask(self, clients: int) -> None:
        """Returns when `go_on` ends."""
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(lambda _: self._client(), range(clients)))

    def until_unready(self) -> None:
        """Goes on until the service says that it is not ready, as behind a load balancer; then no more is asked."""
        connection = http.client.HTTPConnection(self._place, timeout=30)
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                connection.request("GET", "/health/ready")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    break
                time.sleep(AGAIN)
        self.go_on = False

    def _client(self) -> None:
        connection = http.client.HTTPConnection(self._place, timeout=60)
        while self.go_on:
            with self._guard:
                target = next(self._targets)
            begun = time.perf_counter()
            try:
                connection.request("GET", target.path)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._guard:
                    (self.refused if self.stopping else self.failed)[type(error).__name__] += 1
                if self.stopping:
                    return
                continue
            try:
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._note(f"half an answer ({type(error).__name__})")
                continue
            if response.status == 200:
                self._keep(target, body, time.perf_counter() - begun)
            else:
                self._note(str(response.status))
        connection.close()

    def _keep(self, target: Target, body: bytes, seconds: float) -> None:
        bundle_id = body[14:78].decode()  # {"bundle_id":"… comes first
        with self._guard:
            self.answered += 1
            self.seconds.append(seconds)
            self.bodies.setdefault((bundle_id, target), set()).add(body)

    def _note(self, what: str) -> None:
        with self._guard:
            self.failed[what] += 1


@contextlib.contextmanager
def asking(clients: Clients, count: int) -> Iterator[None]:
    """Meanwhile they ask."""
    thread = threading.Thread(target=clients.ask, args=(count,))
    thread.start()
    try:
        yield
    finally:
        clients.go_on = False
        thread.join()


def listed(body: bytes) -> tuple[str, list[tuple[str, float]]]:
    """Bundle id and list of an answer."""
    answer: dict[str, Any] = json.loads(body)
    return answer["bundle_id"], [(item["item_id"], item["score"]) for item in answer["items"]]
