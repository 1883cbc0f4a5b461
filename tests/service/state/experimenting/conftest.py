"""Replicas over the embedded Redis; what is done to experiments on each kind of Redis is test_experiment_store's."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.state import experiments
from service.state.keys import Keys
from tests.service.state.conftest import Running
from tests.service.state.experimenting.world import Start, application
from tests.service.state.servers import Server, fresh_keys


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is slow, not broken."""
    monkeypatch.setattr(experiments, "WRITE_BUDGET", 20.0)
    monkeypatch.setattr(experiments, "APPLIED_WITHIN", 20.0)


@pytest.fixture
def server(running: Running) -> Iterator[Server]:
    """The embedded server; one that a test froze is thawed."""
    found = running("embedded")
    yield found
    found.thaw()


@pytest.fixture
def keys() -> Keys:
    """Of this test alone."""
    return fresh_keys()


@pytest.fixture
def start(server: Server, keys: Keys) -> Iterator[Start]:
    """Starts a replica; those of one test share their experiments."""
    with ExitStack() as stack:

        def started(**options: Any) -> TestClient:
            return stack.enter_context(TestClient(application(server, keys, **options)))

        yield started


@pytest.fixture
def client(start: Start) -> TestClient:
    return start()
