"""Experiments as feature flags: the protocol by hand, and by the OpenFeature SDK over a real connection."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient
from httpx2 import Response
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from causalrec.equations import Form
from service.live import Live
from service.state.keys import Keys
from tests.service.state.experimenting.world import ALL, ONE, SPLIT, Start, application, parts, running
from tests.service.state.servers import Server

EVALUATE = "/ofrep/v1/evaluate/flags"
ANN = {"context": {"targetingKey": "ann", "country": "fr"}}
DEFAULT = 0.6  # of the bundle


@pytest.fixture(scope="module")
def live(folders: dict[Form, Path]) -> Live:
    """The bundle that is served."""
    found = Live(retrieval=None, device="auto", candidates=60, full_scan=True, excluding=frozenset())
    found.load(folders["paper"])
    found.complete()
    return found


@pytest.fixture
def client(start: Start, live: Live) -> TestClient:
    """A replica that serves it."""
    return serving(start(), live)


def serving(client: TestClient, live: Live) -> TestClient:
    client.app.state.live = live  # type: ignore[attr-defined] # of the FastAPI application
    return client


def evaluated(client: TestClient, key: str = "lambda2", user: str = "ann") -> dict[str, Any]:
    answer = client.post(f"{EVALUATE}/{key}", json={"context": {"targetingKey": user}})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_the_default_of_the_bundle_is_a_flag(client: TestClient, live: Live) -> None:
    """Where no experiment says otherwise."""
    assert live.ranker.bundle.manifest.lambda2.default == DEFAULT
    assert evaluated(client) == {
        "key": "lambda2",
        "value": DEFAULT,
        "reason": "DEFAULT",
        "variant": "default",
        "metadata": {"why": "no experiment is running"},
    }


def test_who_is_in_an_experiment_gets_its_value(client: TestClient) -> None:
    """By the flag of everything, and by its own; what was decided and how stands beside it."""
    running(client)
    decision = parts(client).experiments.decide("ann")
    assert decision

    for key in ("lambda2", "dial"):
        flag = evaluated(client, key)

        assert (flag["key"], flag["value"], flag["variant"]) == (key, decision.lambda2[0], decision.variant)
        assert (flag["reason"], flag["metadata"]["experiment"], flag["metadata"]["version"]) == ("SPLIT", "dial", 1)


def test_an_override_is_a_target(client: TestClient) -> None:
    """Not a split."""
    running(client, overrides={"ann": "0.8"})

    flag = evaluated(client)

    assert (flag["reason"], flag["value"], flag["variant"]) == ("TARGETING_MATCH", 0.8, "0.8")


def test_a_zero_is_a_float(client: TestClient) -> None:
    """Clients check the type."""
    running(client, overrides={"ann": "0"})

    body = client.post(f"{EVALUATE}/lambda2", json=ANN).text

    assert '"value":0.0' in body


def test_an_interleaving_names_both(client: TestClient) -> None:
    """A flag has one value: the first; the other one is told."""
    running(client, kind="interleaving")

    flag = evaluated(client)

    assert (flag["value"], flag["metadata"]["interleaved_with"]) == (0.0, 0.8)


@pytest.mark.parametrize(("act", "state"), [("pause", "paused"), ("stop", "stopped")])
def test_what_does_not_run_is_disabled(client: TestClient, act: str, state: str) -> None:
    """Its flag has the bundle's default."""
    running(client)
    client.post(f"{ONE}/{act}")

    flag = evaluated(client, "dial")

    assert (flag["reason"], flag["value"], flag["variant"]) == ("DISABLED", DEFAULT, "default")
    assert flag["metadata"]["why"] == f"the experiment is {state}"


def test_what_is_switched_off_is_disabled(start: Start, live: Live, tmp_path: Path) -> None:
    """On the replica whose file says so."""
    (off := tmp_path / "off").write_text("")
    client = serving(start(off=off), live)
    running(client)

    flags = [evaluated(client), evaluated(client, "dial")]

    assert [(flag["reason"], flag["value"]) for flag in flags] == [("DISABLED", DEFAULT)] * 2
    assert flags[1]["metadata"]["why"] == "the experiment is switched off on this replica"


def test_who_another_experiment_has_gets_the_default_of_this_one(client: TestClient) -> None:
    """And is told which has them."""
    running(client, "first", segment=[0.0, 0.5])
    running(client, "second", segment=[0.5, 1.0])
    taken = next(f"u{n}" for n in range(100) if evaluated(client, user=f"u{n}")["metadata"]["experiment"] == "first")

    flag = evaluated(client, "second", taken)

    assert (flag["reason"], flag["value"]) == ("DEFAULT", DEFAULT)
    assert flag["metadata"]["why"] == "'first' has the unit"


def bulk(client: TestClient, user: str = "ann", known: str | None = None) -> Response:
    headers = {} if known is None else {"if-none-match": known}
    return client.post(EVALUATE, json={"context": {"targetingKey": user}}, headers=headers)


def test_all_flags_come_at_once(client: TestClient) -> None:
    """Each as alone: `lambda2`, and whatever was ever started; a draft is none."""
    running(client, "first", segment=[0.0, 0.5])
    running(client, "second", segment=[0.5, 1.0])
    client.post(ALL, json={"key": "draft", **SPLIT})
    client.post(f"{ALL}/second/stop")

    flags = bulk(client).json()["flags"]

    assert [flag["key"] for flag in flags] == ["lambda2", "first", "second"]
    assert flags == [evaluated(client, key) for key in ("lambda2", "first", "second")]


def test_who_knows_the_flags_is_told_that_they_are_the_same(client: TestClient) -> None:
    """304 by ETag, until something is other than it was."""
    running(client)
    etag = bulk(client).headers["etag"]

    same, others = bulk(client, known=f'W/{etag}, "x"'), bulk(client, known='"x"')
    client.post(f"{ONE}/stop")
    changed = bulk(client, known=etag)

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert (others.status_code, changed.status_code) == (200, 200)
    assert changed.headers["etag"] != etag


@pytest.mark.parametrize(
    ("body", "code", "details"),
    [
        (b"{", "PARSE_ERROR", "not JSON"),
        (b"", "PARSE_ERROR", "there is no body"),
        (b"[]", "PARSE_ERROR", "send an object"),
        (b"{}", "TARGETING_KEY_MISSING", "targetingKey is needed"),
        (b'{"context": {}}', "TARGETING_KEY_MISSING", "targetingKey is needed"),
        (b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING", "targetingKey is needed"),
        (b'{"context": "ann"}', "INVALID_CONTEXT", "context is not an object"),
        (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT", "not a string"),
        (b'{"context": {"targetingKey": " ann"}}', "INVALID_CONTEXT", "begins or ends with a space"),
        (b'{"context": {"targetingKey": "\\ud83d"}}', "INVALID_CONTEXT", "unprintable"),
    ],
)
def test_what_cannot_be_evaluated_is_said_as_the_protocol_does(
    client: TestClient, body: bytes, code: str, details: str
) -> None:
    """400 with its code; with the flag's key where there is one."""
    headers = {"content-type": "application/json"}

    one = client.post(f"{EVALUATE}/lambda2", content=body, headers=headers)
    every = client.post(EVALUATE, content=body, headers=headers)

    assert (one.status_code, one.json()["key"], one.json()["errorCode"]) == (400, "lambda2", code)
    assert (every.status_code, every.json()["errorCode"]) == (400, code)
    assert details in one.json()["errorDetails"]
    assert set(every.json()) == {"errorCode", "errorDetails"}


def test_a_body_declared_as_something_else_is_not_read(client: TestClient) -> None:
    """PARSE_ERROR says as what to send it."""
    answer = client.post(EVALUATE, content=b"{}", headers={"content-type": "text/plain"})

    assert (answer.status_code, answer.json()["errorCode"]) == (400, "PARSE_ERROR")
    assert "application/json" in answer.json()["errorDetails"]


def test_a_flag_that_is_not_there_is_not_found(client: TestClient) -> None:
    """404, as the protocol says it."""
    answer = client.post(f"{EVALUATE}/dial", json=ANN)

    assert (answer.status_code, answer.json()["key"], answer.json()["errorCode"]) == (404, "dial", "FLAG_NOT_FOUND")


def test_without_a_bundle_there_is_no_value(start: Start) -> None:
    """503 in the protocol's form."""
    client = start()

    for path in (EVALUATE, f"{EVALUATE}/lambda2"):
        answer = client.post(path, json=ANN)

        assert (answer.status_code, set(answer.json())) == (503, {"errorDetails"})


def test_asking_for_flags_exposes_nobody(client: TestClient) -> None:
    """Nothing is recorded."""
    running(client)
    evaluated(client, "dial")
    bulk(client)

    async def recorded() -> int:
        connection = parts(client).connection
        return int(await connection.run(lambda redis: redis.xlen(connection.keys.events)))

    assert client.portal
    assert client.portal.call(recorded) == 0


@pytest.fixture
def flags(server: Server, keys: Keys, live: Live) -> Iterator[OpenFeatureClient]:
    """The OpenFeature SDK, with its OFREP provider, of a service on a port of this machine."""
    app = application(server, keys)
    app.state.live = live
    listening = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=listening.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not listening.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
    (port,) = {socket.getsockname()[1] for each in listening.servers for socket in each.sockets}
    provider = OFREPProvider(f"http://127.0.0.1:{port}")
    api.set_provider(provider, "shop")
    yield api.get_client("shop")
    provider.session.close()
    api.clear_providers()
    listening.should_exit = True
    thread.join(60)


def test_the_openfeature_sdk_reads_what_is_served(flags: OpenFeatureClient, start: Start) -> None:
    """The default; then, once an experiment runs, what is decided, with reason, variant and metadata."""
    context = EvaluationContext("ann", {"country": "fr"})
    before = flags.get_float_details("lambda2", -1.0, context)
    running(replica := start())
    decision = parts(replica).experiments.decide("ann")
    assert decision
    deadline = time.monotonic() + 20
    while flags.get_float_details("dial", -1.0, context).error_code == ErrorCode.FLAG_NOT_FOUND:
        assert time.monotonic() < deadline  # the other replica was told

    after = [flags.get_float_details(key, -1.0, context) for key in ("lambda2", "dial")]

    assert (before.value, before.reason, before.variant) == (DEFAULT, Reason.DEFAULT, "default")
    for each in after:
        assert (each.value, each.reason, each.variant) == (decision.lambda2[0], Reason.SPLIT, decision.variant)
        assert (each.flag_metadata["experiment"], each.flag_metadata["version"]) == ("dial", 1)


def test_the_openfeature_sdk_understands_what_is_wrong(flags: OpenFeatureClient) -> None:
    """Its own codes, and its caller's default."""
    missing = flags.get_float_details("lambda2", -1.0)
    unknown = flags.get_float_details("dial", -1.0, EvaluationContext("ann"))
    invalid = flags.get_float_details("lambda2", -1.0, EvaluationContext(" ann"))

    assert [(each.value, each.error_code) for each in (missing, unknown, invalid)] == [
        (-1.0, ErrorCode.TARGETING_KEY_MISSING),
        (-1.0, ErrorCode.FLAG_NOT_FOUND),
        (-1.0, ErrorCode.INVALID_CONTEXT),
    ]
