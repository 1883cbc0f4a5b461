"""More than can be answered: refused at once and cheaply, never scored too late or for nobody."""

import asyncio
import re
import time
from functools import partial
from typing import Any

import pytest
from fastapi.testclient import TestClient

from causalrec.errors import DeviceOutOfMemory
from causalrec.search import Searcher
from causalrec.topk import Query, TopK
from service.app import create_app
from service.problem_kinds import MEDIA_TYPE, Problem
from service.settings import Settings
from tests.service.conftest import Gate, Serve, held

ANN = "/v1/users/ann/recommendations"


def counted(client: TestClient, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_full_line_is_a_503_with_retry_after(serve: Serve, gate: Gate) -> None:
    """Overload is refused at once; those admitted are answered, and health and metrics do not wait in line."""
    client = serve(max_waiting=1)

    with held(client, gate, [lambda: client.get(ANN)]) as waiting:
        refused = client.get(ANN, headers={"x-request-id": "mine"})
        health = client.get("/health/ready").status_code

    assert (refused.status_code, refused.headers["retry-after"], health) == (503, "1", 200)
    assert refused.headers["content-type"] == MEDIA_TYPE
    assert Problem.model_validate(refused.json()).type == "urn:causalrec:problem:overloaded"
    assert (refused.headers["x-request-id"], refused.json()["instance"]) == ("mine", "urn:causalrec:request:mine")
    assert waiting[0].result().status_code == 200


def test_refusals_are_made_before_anything_is_read(serve: Serve, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither route nor parameters nor body are looked at, and the histogram tells refusals from answers."""
    client = serve(max_waiting=1)
    with held(client, gate, [lambda: client.get(ANN)]):
        refused = [client.get(ANN, params={"k": "abc"}), client.post("/v1/recommendations", content=b"no JSON")]

    duration = 'causalrec_request_duration_seconds_count{outcome="%s",route="%s"}'
    assert [answer.status_code for answer in refused] == [503, 503]
    assert counted(client, duration % ("refused", "refused")) == 2
    assert counted(client, duration % ("answered", "/v1/users/{user_id}/recommendations")) == 2
    assert counted(client, 'causalrec_requests_total{method="POST",route="refused",status="503"}') == 1


def test_a_line_that_fills_while_a_request_is_read_refuses_it(
    serve: Serve, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted as a refusal under its own route."""
    monkeypatch.setattr("service.refusal.LINED", "/none/")  # as if there had been room a moment ago
    client = serve(max_waiting=1)
    batch = {"requests": [{"user_id": "ann"}] * 2}

    with held(client, gate, [lambda: client.get(ANN)]):
        refused = client.post("/v1/recommendations/batch", json=batch)

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    route = "/v1/recommendations/batch"
    assert counted(client, f'causalrec_request_duration_seconds_count{{outcome="refused",route="{route}"}}') == 1


def test_a_request_past_its_deadline_is_not_scored(serve: Serve, gate: Gate) -> None:
    """503 with Retry-After, by a problem of its own."""
    client = serve(deadline_ms=1)

    with held(client, gate, [lambda: client.get(ANN)]) as waiting:
        time.sleep(0.002)

    late = waiting[0].result()
    assert (late.status_code, late.headers["retry-after"]) == (503, "1")
    assert late.json()["type"] == "urn:causalrec:problem:deadline-passed"
    assert gate.sizes == [1]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_caller_who_hung_up_is_not_scored(folders: dict[str, Any], gate: Gate, leaves: bool) -> None:
    """Whoever waits long is watched: the place in the line is free at once, and nobody else is hurt."""
    app = create_app(Settings(bundle=folders["paper"]))

    async def ask(gone: asyncio.Event) -> int:
        sent: list[Any] = []
        scope = {"type": "http", "method": "GET", "path": ANN, "query_string": b"", "headers": [], "root_path": ""}

        async def receive() -> dict[str, str]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        status: int = sent[0]["status"]
        return status

    async def scenario() -> list[int]:
        async with app.router.lifespan_context(app):
            batcher = app.state.recommender._batcher
            batcher._seconds = 1.0  # as if scoring took long
            first = asyncio.create_task(ask(asyncio.Event()))
            await asyncio.to_thread(gate.reached.wait, 30)
            gone = asyncio.Event()
            second = asyncio.create_task(ask(gone))
            while not batcher.waiting:
                await asyncio.sleep(0)
            if leaves:
                gone.set()
                while batcher.waiting:
                    await asyncio.sleep(0)
            gate.open.set()
            return [await first, await second]

    statuses = asyncio.run(scenario())

    assert statuses == [200, 499 if leaves else 200]
    assert gate.sizes == ([1] if leaves else [1, 1])


def test_an_error_in_a_shared_batch_is_one_requests(
    serve: Serve, gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the search of a batch fails, everybody is searched for alone, and only the culprit fails."""
    batch = Searcher.batch

    def fragile(self: Searcher, queries: list[Query]) -> list[tuple[TopK, ...]]:
        if any(query.k == 7 for query in queries):
            raise ZeroDivisionError
        return batch(self, queries)

    client = serve()
    gate.open.set()
    expected = client.get(ANN, params={"k": 5}).content
    gate.open.clear()
    gate.reached.clear()
    monkeypatch.setattr(Searcher, "batch", fragile)

    with held(client, gate, [partial(client.get, ANN, params={"k": k}) for k in (5, 7, 5)]) as waiting:
        pass

    assert sorted(future.result().status_code for future in waiting) == [200, 200, 500]
    assert [future.result().content for future in waiting if future.result().status_code == 200] == [expected] * 2


@pytest.mark.gpu
def test_an_accelerator_without_room_is_a_503(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of memory while a batch is scored: 503 with Retry-After for that request, and the next one is answered."""
    client = serve()
    batch = Searcher.batch

    def refuse(self: Searcher, queries: list[Query]) -> list[tuple[TopK, ...]]:
        if any(query.k == 7 for query in queries):
            raise DeviceOutOfMemory("cuda has too little memory left: tried to allocate 20.00 GiB")
        return batch(self, queries)

    monkeypatch.setattr(Searcher, "batch", refuse)
    refused, answered = client.get(ANN, params={"k": 7}), client.get(ANN, params={"k": 8})

    assert (refused.status_code, refused.headers["retry-after"], answered.status_code) == (503, "1", 200)
    assert Problem.model_validate(refused.json()).type == "urn:causalrec:problem:out-of-memory"
