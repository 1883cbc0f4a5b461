"""Refusals as they are read: over a real socket, from a real uvicorn, between requests that are answered."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from causalrec.equations import Form
from service.__main__ import configure
from service.app import create_app
from service.middleware import RequestContext
from service.problem_kinds import Problem
from service.protocol import SIMPLE
from service.settings import Settings

GET = b"GET /v1/users/ann/recommendations HTTP/1.1\r\nHost: here\r\n%b\r\n"
POST = (
    b"POST /v1/recommendations HTTP/1.1\r\nHost: here\r\nContent-Length: 18\r\nContent-Type: application/json\r\n\r\n"
)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """One connection to a running service; `full` makes its line full; `seen` are the paths the middleware met."""

    def __init__(self, port: int) -> None:
        self.full = False
        self.seen: list[str] = []
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._read = self._socket.makefile("rb")

    @property
    def port(self) -> int:
        return int(self._socket.getpeername()[1])

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> Answer:
        status = int(self._read.readline().split()[1])
        lines = iter(self._read.readline, b"\r\n")
        headers = dict(line.decode().rstrip().lower().split(": ", 1) for line in lines)
        return Answer(status, headers, self._read.read(int(headers["content-length"])))

    def ended(self) -> bool:
        return self._read.read(1) == b""

    def close(self) -> None:
        self._read.close()
        self._socket.close()


@pytest.fixture
def wire(folders: dict[Form, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    settings = Settings(bundle=folders["paper"], port=0)
    app = create_app(settings)
    config = configure(app, settings)
    config.lifespan = "on"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    made = Wire(server.servers[0].sockets[0].getsockname()[1])
    monkeypatch.setattr(app.state.refusal, "_full", lambda: 7 if made.full else None)
    inner = RequestContext.__call__

    async def watched(self: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        made.seen.append(scope.get("path", ""))
        await inner(self, scope, receive, send)

    monkeypatch.setattr(RequestContext, "__call__", watched)
    yield made
    made.close()
    server.should_exit = True
    thread.join(30)


def test_a_refusal_is_a_whole_answer_on_a_connection_that_goes_on(wire: Wire) -> None:
    """503 with its headers and problem document, then an answer on the same connection; the middleware met one only."""
    wire.full = True
    wire.send(GET % b"X-Request-ID: mine\r\n")
    refused = wire.receive()
    wire.full = False
    wire.send(GET % b"")
    answered = wire.receive()

    assert (refused.status, refused.headers["retry-after"], refused.headers["x-request-id"]) == (503, "7", "mine")
    assert refused.headers["content-type"] == "application/problem+json"
    assert "date" in refused.headers
    problem = Problem.model_validate(orjson.loads(refused.body))
    assert (problem.status, problem.instance) == (503, "urn:causalrec:request:mine")
    assert (answered.status, orjson.loads(answered.body)["source"]) == (200, "personal")
    assert wire.seen == ["/v1/users/ann/recommendations"]


def test_a_refused_body_is_passed_over(wire: Wire) -> None:
    """The body belongs to the refused request, however late it comes, and not to the next."""
    wire.full = True
    wire.send(POST)
    refused = wire.receive()
    wire.send(b'{"user_id": "ann"}')
    wire.full = False
    wire.send(POST + b'{"user_id": "ann"}')
    answered = wire.receive()

    assert (refused.status, answered.status) == (503, 200)


def test_refusals_in_a_row_keep_their_order(wire: Wire) -> None:
    """Requests sent without waiting for answers get theirs one after the other."""
    wire.full = True
    wire.send(b"".join(GET % (b"X-Request-ID: n%d\r\n" % number) for number in range(5)))

    assert [wire.receive().headers["x-request-id"] for _ in range(5)] == ["n0", "n1", "n2", "n3", "n4"]


def test_a_connection_to_be_closed_is_refused_by_the_middleware(wire: Wire) -> None:
    """And closed, as its caller asked."""
    wire.full = True
    wire.send(GET % b"Connection: close\r\n")

    assert (wire.receive().status, wire.ended()) == (503, True)
    assert len(wire.seen) == 1


def test_health_and_metrics_are_never_refused(wire: Wire) -> None:
    """They do not wait in the line; the metrics count what was refused."""
    wire.full = True
    wire.send(GET % b"")
    wire.receive()
    wire.send(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")

    metrics = wire.receive()

    assert metrics.status == 200
    assert b'causalrec_requests_total{method="GET",route="refused",status="503"} 1.0' in metrics.body


def test_a_request_that_comes_in_parts_is_one(wire: Wire) -> None:
    """Its end may look like a whole request; it is refused once, and the connection goes on."""
    wire.full = True
    wire.send(b"GET /v1/users/bob/recommendations HTTP/1.1\r\nX-Note: ")
    _until_read(wire)
    wire.send(GET % b"X-Request-ID: mine\r\n")
    refused = wire.receive()
    wire.full = False
    wire.send(GET % b"X-Request-ID: next\r\n")

    assert (refused.status, refused.headers["x-request-id"]) == (503, "mine")
    assert (wire.receive().status, wire.seen[1:]) == (200, ["/v1/users/ann/recommendations"])


@pytest.mark.parametrize("header", [b"Connection: close", b"Content-Length: 2", b"Expect: 100-continue"])
def test_what_is_no_simple_request_is_parsed(wire: Wire, header: bytes) -> None:
    """Only a GET whose every byte is its own, and after which the connection stays, is refused unparsed."""
    assert not SIMPLE.fullmatch(GET % (header + b"\r\n"))
    assert not SIMPLE.fullmatch((GET % b"") * 2)
    assert not SIMPLE.fullmatch(GET % b"Bad header: \r\n")
    assert SIMPLE.fullmatch(GET % b"Connection: keep-alive\r\nx-request-id: 7\r\n")


def _until_read(wire: Wire) -> None:
    """Returns when the event loop, which reads in turn, has answered a later connection."""
    other = Wire(wire.port)
    other.send(b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n")
    assert other.receive().status == 200
    other.close()
