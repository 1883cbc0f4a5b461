"""Traces: what a collector receives, by a real one's protocol."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from causalrec.errors import InstallationError
from service.app import create_app
from service.settings import Settings
from service.tracing import Tracing

pytest.importorskip("opentelemetry.sdk", reason="the extra `tracing` is not installed")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).parents[2]
ROUTE = "/v1/users/{user_id}/recommendations"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(ThreadingHTTPServer):
    """Receives spans by OTLP over HTTP. paths: what was posted to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths: set[str] = set()
        self.requests: list[ExportTraceServiceRequest] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def spans(self) -> dict[str, Any]:
        """All received, by name."""
        every = [each for got in self.requests for part in got.resource_spans for each in part.scope_spans]
        return {span.name: span for each in every for span in each.spans}


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.paths.add(self.path)
        content = self.rfile.read(int(self.headers["content-length"]))
        self.server.requests.append(ExportTraceServiceRequest.FromString(content))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A running one."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked(collector: Collector, folder: Path, share: float, **headers: str) -> Any:
    """The answer of a traced service to one request; when this returns all spans were sent."""
    settings = Settings(bundle=folder, otlp_endpoint=collector.url, trace_sample=share)
    with TestClient(create_app(settings)) as client:
        client.get("/metrics")
        return client.get("/v1/users/ann/recommendations", params={"k": 3}, headers=headers)


def attributes(span: Any) -> dict[str, Any]:
    """By key."""
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_request_is_a_span_and_so_is_each_stage(collector: Collector, folders: dict[str, Path]) -> None:
    """With the request's id and the bundle's; as long as Server-Timing says; nothing names the user."""
    answer = asked(collector, folders["paper"], 1.0, **{"X-Request-ID": "r-1"})

    spans, root = collector.spans(), collector.spans()[f"GET {ROUTE}"]
    ids = {"causalrec.request_id": "r-1", "causalrec.bundle_id": answer.json()["bundle_id"]}
    http = {"http.request.method": "GET", "http.route": ROUTE, "http.response.status_code": 200}
    assert collector.paths == {"/v1/traces"}
    assert set(spans) == {f"GET {ROUTE}", "state", "queue", "search", "encode"}
    assert attributes(root) == ids | http
    for stage, said in (part.split(";dur=") for part in answer.headers["server-timing"].split(", ")):
        took = (spans[stage].end_time_unix_nano - spans[stage].start_time_unix_nano) / 1e6
        assert took == pytest.approx(float(said), abs=0.001)
        assert spans[stage].parent_span_id == root.span_id
        assert attributes(spans[stage]) == ids
    assert all(root.start_time_unix_nano <= each.start_time_unix_nano for each in spans.values())
    assert all(each.end_time_unix_nano <= root.end_time_unix_nano for each in spans.values())
    assert "ann" not in str(collector.requests)


def test_a_callers_trace_is_continued(collector: Collector, folders: dict[str, Path]) -> None:
    """W3C traceparent, whatever the share of our own."""
    asked(collector, folders["paper"], 0.0, traceparent=f"00-{TRACE}-{PARENT}-01")

    root = collector.spans()[f"GET {ROUTE}"]
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)


@pytest.mark.parametrize(("share", "headers"), [(1.0, {"traceparent": f"00-{TRACE}-{PARENT}-00"}), (0.0, {})])
def test_what_is_not_sampled_is_not_sent(
    collector: Collector, folders: dict[str, Path], share: float, headers: dict[str, str]
) -> None:
    """By the caller's word, else by ours."""
    assert asked(collector, folders["paper"], share, **headers).status_code == 200

    assert not collector.requests


def test_the_access_log_names_the_trace(
    collector: Collector, folders: dict[str, Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one leads to the other."""
    monkeypatch.setenv("CAUSALREC_ACCESS_LOG", "true")

    with caplog.at_level("INFO", logger="service.access"):
        asked(collector, folders["paper"], 1.0)

    last = caplog.records[-1].fields  # type: ignore[attr-defined]
    assert last["trace_id"] == collector.spans()[f"GET {ROUTE}"].trace_id.hex()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (422, 0), (503, 2)])
def test_only_our_own_failures_are_errors(collector: Collector, status: int, code: int) -> None:
    """A caller's mistake is none of the service's."""
    tracing = Tracing.open(collector.url, 1.0)
    tracing.tell("r-1", "GET", ROUTE, status, 0.1, [])
    tracing.close()

    root = collector.spans()[f"GET {ROUTE}"]
    assert root.status.code == code
    assert ("error.type" in attributes(root)) == (code == 2)


def test_without_the_setting_nothing_is_imported() -> None:
    """Off by default, and then it costs nothing."""
    ours = "opentelemetry.sdk.trace", "opentelemetry.exporter"  # redis imports other parts, where they are installed
    code = f"import sys, service.app; print([name for name in sys.modules if name.startswith({ours})])"

    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ran.stdout == "[]\n"


def test_without_the_extra_the_setting_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a traceback."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(InstallationError, match=r"pip install 'causalrec\[tracing\]'"):
        Tracing.open("http://127.0.0.1:1", 1.0)
