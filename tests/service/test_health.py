"""Live is not ready: ready only from the replayed golden answers until stopping begins."""

import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from causalrec.bundle import write_bundle
from causalrec.errors import BundleMismatch
from causalrec.manifest import GoldenItem
from service.app import create_app
from service.settings import Settings
from tests.bundles import make_bundle
from tests.service.conftest import Serve

ANN = "/v1/users/ann/recommendations"


def test_before_a_bundle_is_loaded_the_process_lives_but_is_not_ready(folders: dict[str, Path]) -> None:
    """Liveness depends on nothing; readiness and requests are a 503 problem that says to come back."""
    client = TestClient(create_app(Settings(bundle=folders["paper"])))  # not entered: its lifespan has not begun

    answers = [client.get(path) for path in ("/health/ready", "/readyz", ANN)]

    assert client.get("/health/live").json() == client.get("/livez").json() == {"status": "alive"}
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, "1")] * 3
    assert answers[0].json()["type"] == "urn:causalrec:problem:not-ready"


def test_a_ready_process_names_its_bundle(client: TestClient) -> None:
    """Which bundle answers can be asked without asking for an answer."""
    ready = client.get("/health/ready")

    assert ready.status_code == 200
    assert ready.json() == client.get("/readyz").json()
    assert ready.json()["bundle_id"] == client.get(ANN).json()["bundle_id"]


def test_a_stopping_process_is_unready_and_still_answers(serve: Serve) -> None:
    """A load balancer learns first; what it still sends is answered."""
    client = serve()

    client.app.state.live.retire()  # type: ignore[attr-defined] # starlette types app as a plain ASGI callable

    assert client.get("/health/ready").status_code == 503
    assert (client.get("/health/live").status_code, client.get(ANN).status_code) == (200, 200)


def test_a_bundle_whose_golden_answers_come_out_otherwise_is_refused(tmp_path: Path) -> None:
    """Whole and unedited is not enough: the service must rank as the exporter did."""
    bundle = make_bundle()
    first = bundle.golden[0]
    wrong = first.model_copy(update={"items": (GoldenItem(item_id="item-000", score=0.1), *first.items[1:])})
    folder = write_bundle(type(bundle)(**{**vars(bundle), "golden": (wrong, *bundle.golden[1:])}), tmp_path)

    with (
        pytest.raises(BundleMismatch, match=r"golden.json.*user 'ann' at lambda2=0.0"),
        TestClient(create_app(Settings(bundle=folder))),
    ):
        pass


def test_a_golden_answer_that_cannot_be_asked_for_is_a_bad_bundle(tmp_path: Path) -> None:
    """λ2 beyond the bundle's own range: refused as a bundle, not as somebody's request."""
    bundle = make_bundle()
    beyond = bundle.golden[0].model_copy(update={"lambda2": 99.0})
    folder = write_bundle(type(bundle)(**{**vars(bundle), "golden": (beyond,)}), tmp_path)

    with (
        pytest.raises(BundleMismatch, match=r"golden.json: lambda2=99"),
        TestClient(create_app(Settings(bundle=folder))),
    ):
        pass


def test_a_dead_dial_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bundle on which λ2 changes nothing is served, loudly."""
    folder = write_bundle(make_bundle(dead=True), tmp_path)

    with TestClient(create_app(Settings(bundle=folder))) as client:
        assert client.get("/health/ready").status_code == 200

    assert [record.levelname for record in caplog.records if "DIAL IS DEAD" in record.message] == ["WARNING"]


def test_stopping_leaves_no_thread(folders: dict[str, Path]) -> None:
    """What the lifespan built it closes, the scoring thread too."""
    before = set(threading.enumerate())

    with TestClient(create_app(Settings(bundle=folders["paper"]))) as client:
        client.get(ANN)
        assert any(thread.name.startswith("scoring") for thread in set(threading.enumerate()) - before)

    assert not any(thread.name.startswith("scoring") for thread in set(threading.enumerate()) - before)
