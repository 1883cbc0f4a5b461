"""The clients of the durability benchmark against a server that fails as a dying service does."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from benchmarks import tellers
from benchmarks.tellers import Tellers, make_events

USERS, ITEMS = ("ann", "bob"), ("hat", "tie")


class Flaky(ThreadingHTTPServer):
    """Answers every third request with 503, hangs up on every fifth, and keeps what it acknowledged."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.guard = threading.Lock()
        self.requests = 0
        self.stored: Counter[str] = Counter()
        self.sizes: Counter[int] = Counter()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Flaky)
        body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        events = body.get("events", [body])
        with server.guard:
            server.requests += 1
            number = server.requests
            if number % 3 and number % 5:
                server.stored.update(event["event_id"] for event in events)
                server.sizes[len(events)] += 1
        if number % 5 == 0:
            self.close_connection = True
            return
        self.send_response(200 if number % 3 else 503)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Flaky]:
    flaky = Flaky()
    thread = threading.Thread(target=flaky.serve_forever)
    thread.start()
    yield flaky
    flaky.shutdown()
    thread.join()
    flaky.server_close()


def test_every_event_is_told_until_it_is_acknowledged(server: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone and in batches, by all clients; what failed is sent again, and some of what did not."""
    monkeypatch.setattr(tellers, "PAUSE", 0.0)
    monkeypatch.setattr(tellers, "AGAIN", 0.5)
    events = make_events(800, USERS, ITEMS)
    told = Tellers(f"http://127.0.0.1:{server.server_port}", events, clients=4)

    told.tell()

    ids = {event["event_id"] for event in events}
    assert told.acknowledged == ids == set(server.stored)
    assert max(server.stored.values()) > 1
    assert {1, 10} <= set(server.sizes)
    assert min(told.counts["503"], told.counts["no answer"], told.counts["sent once more"]) > 0


def test_what_nobody_acknowledges_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bound, and not counted as acknowledged."""
    monkeypatch.setattr(tellers, "PATIENCE", 0.0)
    told = Tellers("http://127.0.0.1:1", make_events(3, USERS, ITEMS), clients=1)

    told.tell()

    assert told.acknowledged == set()
    assert told.counts["given up"] > 0
