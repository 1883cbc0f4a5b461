"""Replicas of the small application, over every Redis."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient

from causalrec.bundle import Bundle
from service.state import catalogue
from service.state.keys import Keys
from tests.service.state.items.world import BUNDLE, Start, application
from tests.service.state.servers import Server, fresh_keys


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is slow, not broken."""
    monkeypatch.setattr(catalogue, "WRITE_BUDGET", 20.0)
    monkeypatch.setattr(catalogue, "APPLIED_WITHIN", 20.0)


@pytest.fixture
def start(redis_server: Server) -> Iterator[Start]:
    """Starts a replica; those of one test share what is said unless they are given keys."""
    keys = fresh_keys()
    with ExitStack() as stack:

        def started(bundle: Bundle = BUNDLE, most_items: int = 100, keys: Keys = keys) -> TestClient:
            return stack.enter_context(TestClient(application(redis_server, bundle, keys, most_items)))

        yield started


@pytest.fixture
def client(start: Start) -> TestClient:
    return start()
