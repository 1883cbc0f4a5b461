"""The simulation's client against a server that is busy, that refuses, that says nonsense, that is away."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from causalrec.errors import ConfigError
from training.experiments.client import Client, Unanswered
from training.experiments.traffic import OUTSIDE

Script = Sequence[tuple[int, object]]  # status and body of each answer, in order
Start = Callable[[Script], tuple[Client, list[Any]]]
ITEMS = [{"item_id": "hat", "rank": 1}, {"item_id": "tie", "rank": 2}]
PLAIN = {"bundle_id": "b", "lambda2": 0.6, "lambda2_source": "default", "items": ITEMS, "source": "personal"}
MIXED = PLAIN | {"lambda2": None, "experiment": {"key": "dial", "version": 1, "variant": "mix", "propensity": 0.5}}
PROBLEM = {"title": "busy", "detail": "too many requests are waiting"}


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a server that answers by a script, and a client of it; gives the bodies that it was sent."""
    with ExitStack() as stack:

        def started(script: Script) -> tuple[Client, list[Any]]:
            answers, sent = iter(script), []

            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def do_POST(self) -> None:
                    length = int(self.headers.get("Content-Length", 0))
                    sent.append(json.loads(self.rfile.read(length)) if length else self.path)
                    status, body = next(answers)
                    content = body if isinstance(body, bytes) else json.dumps(body).encode()
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.send_header("X-Request-ID", "r-1")
                    self.end_headers()
                    self.wfile.write(content)

                def do_GET(self) -> None:
                    self.do_POST()

                def log_message(self, format: str, *args: object) -> None:
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            stack.callback(server.server_close)
            threading.Thread(target=server.serve_forever, args=(0.01,)).start()
            stack.callback(server.shutdown)
            return stack.enter_context(Client(f"127.0.0.1:{server.server_port}")), sent

        yield started


def test_one_user_asks_by_path_and_several_by_batch(start: Start) -> None:
    """As shops do; an answer says its experiment, or that it is in none, and its request's id."""
    client, sent = start([(200, PLAIN), (200, {"answers": [PLAIN, MIXED]})])

    alone, several = client.ask(["zoë/1"], 2), client.ask(["ann", "bob"], 2)

    assert sent == [
        "/v1/users/zo%C3%AB%2F1/recommendations?k=2",
        {"requests": [{"user_id": "ann", "k": 2}, {"user_id": "bob", "k": 2}]},
    ]
    assert (alone[0].item_ids, alone[0].lambda2, alone[0].variant) == (["hat", "tie"], 0.6, OUTSIDE)
    assert (several[1].experiment, several[1].variant, several[1].lambda2) == ("dial", "mix", None)
    assert {each.request_id for each in several} == {"r-1"}


def test_events_are_sent_again_until_they_are_acknowledged(start: Start) -> None:
    """A busy service is asked again with the same events under the same ids, a thousand at a time."""
    client, sent = start([(503, PROBLEM), (503, b"not json"), (200, {}), (200, {})])
    events = [{"event_id": f"event-{number}"} for number in range(1200)]

    client.tell(events)

    assert sent == [{"events": events[:1000]}] * 3 + [{"events": events[1000:]}]


@pytest.mark.parametrize(
    ("body", "words"), [(PROBLEM, "too many requests are waiting"), (b"<html>", "status 422: <html>"), ([1], "422")]
)
def test_a_refusal_is_told_in_the_services_own_words(start: Start, body: object, words: str) -> None:
    """It is not tried again; whatever the body is, the message says what was asked and what was answered."""
    client, sent = start([(422, body)])

    with pytest.raises(Unanswered, match=rf"^POST /v1/events: .*{words}") as error:
        client.tell([{"event_id": "e"}])

    assert error.value.status == 422
    assert len(sent) == 1


def test_a_service_that_stays_away_is_an_error(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """After PATIENCE, naming the address and how to start one."""
    client, _ = start([])
    monkeypatch.setattr("training.experiments.client.PATIENCE", 0.0)

    with (
        Client("http://127.0.0.1:9") as nobody,
        pytest.raises(ConfigError, match=r"no service answers at .*:9 .*--url"),
    ):
        nobody.ask(["ann"], 1)
    assert client.page_url("dial").endswith("/v1/experiments/dial/report?format=html")
