"""What is logged: of every request one line that names nobody, in the form that was asked for."""

import io
import json
import logging
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service import logs
from service.logs import AccessLog
from service.refusal import Refusal
from service.telemetry import Telemetry
from tests.service.conftest import Serve
from tests.service.test_process import Process, start

__all__ = ["start"]  # a fixture
Lines = Callable[[], list[str]]


@pytest.fixture
def said(request: pytest.FixtureRequest) -> Iterator[Lines]:
    """The lines logged in the test's form, by all loggers."""
    root, stream = logging.getLogger(), io.StringIO()
    before, level = root.handlers[:], root.level
    root.handlers = []  # pytest's own stay as they are
    logs.configure(request.param, "info", stream)
    yield lambda: stream.getvalue().splitlines()
    root.handlers, root.level = before, level


def fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """What each line of the access log says."""
    return [getattr(record, logs.FIELDS) for record in caplog.records if record.name == "service.access"]


@pytest.mark.parametrize("said", ["json"], indirect=True)
def test_a_json_line_is_one_object_whatever_is_in_it(said: Lines) -> None:
    """Line breaks, tracebacks, text that no encoding takes."""
    log = logging.getLogger("shop")
    log.error("λ\n%s", "\udcff", exc_info=ValueError("first\nsecond"))

    (line,) = said()
    found = json.loads(line)

    assert (found["level"], found["logger"], found["message"]) == ("error", "shop", "λ\n\udcff")
    assert found["error"].endswith("ValueError: first\nsecond")
    assert found["time"].endswith("+00:00")


@pytest.mark.parametrize("said", ["text"], indirect=True)
def test_a_text_line_has_the_fields_after_the_message(said: Lines) -> None:
    """For people, with the same content."""
    AccessLog(on=True).tell("r-1", "GET", "/v1/items/{item_id}", 200, 0.0123456789, refused=False, trace_id="ab")

    (line,) = said()

    expected = "request request_id=r-1 method=GET route=/v1/items/{item_id} status=200 seconds=0.012346 trace_id=ab"
    assert line.endswith(f" INFO service.access: {expected}")


def test_a_line_per_request_names_nobody(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Id, method, route template, status, seconds: neither path nor query."""
    client = serve(access_log=True)

    with caplog.at_level(logging.INFO):
        client.get("/v1/users/ann/recommendations", params={"k": 3}, headers={"X-Request-ID": "r-1"})
        client.get("/v1/users/ann/recommendations", params={"k": "abc"}, headers={"X-Request-ID": "r-2"})

    one, two = fields(caplog)
    assert one.pop("seconds") > 0
    assert one == {"request_id": "r-1", "method": "GET", "route": "/v1/users/{user_id}/recommendations", "status": 200}
    assert (two["request_id"], two["status"]) == ("r-2", 422)
    assert not any(word in str(line) for line in fields(caplog) for word in ("ann", "k=3", "abc"))


def test_without_the_setting_there_are_no_lines(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Nor any of the server's own."""
    with caplog.at_level(logging.INFO):
        serve().get("/v1/users/ann/recommendations", params={"k": "abc"})

    assert not fields(caplog)


def test_what_failed_is_logged_whatever_the_sample(caplog: pytest.LogCaptureFixture) -> None:
    """Answered and refused requests are sampled, failed ones are not; a fault of ours is an error."""
    access = AccessLog(on=True, sample=0.25, rng=random.Random(0))

    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            access.tell("a", "GET", "/", 200, 0.1, refused=False)
            access.tell("b", "GET", "refused", 503, 0.1, refused=True)
            access.tell("c", "GET", "/", 422, 0.1, refused=False)
            access.tell("d", "GET", "/", 500, 0.1, refused=False)

    ids = [each["request_id"] for each in fields(caplog)]
    assert (ids.count("c"), ids.count("d")) == (1000, 1000)
    assert all(200 < ids.count(each) < 300 for each in "ab")
    assert {record.levelname for record in caplog.records if record.fields["status"] == 500} == {"ERROR"}  # type: ignore[attr-defined]


def test_who_is_refused_at_the_door_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    """By the protocol, which the middleware never sees."""
    refusal = Refusal(Telemetry(waiting=lambda: 0), lambda: 1, AccessLog(on=True))

    with caplog.at_level(logging.INFO):
        refusal.answer("GET", [(b"x-request-id", b"r-9")])

    (line,) = fields(caplog)
    assert (line["request_id"], line["route"], line["status"]) == ("r-9", "refused", 503)


def test_a_process_logs_json_and_nothing_else(start: Callable[..., Process], folders: dict[str, Path]) -> None:
    """From the first line to the last, uvicorn's among them; and no line twice."""
    process = start("--bundle", str(folders["paper"]), "--log-format", "json", "--access-log", "--grace-seconds", "0")
    process.request("/v1/users/ann/recommendations?k=3")

    process.stop(signal.SIGTERM)

    assert process.exit_code() == 0
    lines = [json.loads(line) for line in process.log]
    assert {"uvicorn", "service"} <= {line["logger"].partition(".")[0] for line in lines}
    (told,) = [line for line in lines if line["logger"] in ("service.access", "uvicorn.access")]
    assert (told["message"], told["status"], told["level"]) == ("request", 200, "info")
