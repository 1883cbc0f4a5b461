"""A served bundle of each form, and the oracle that knows its answers."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from fastapi.testclient import TestClient

from causalrec.bundle import write_bundle
from causalrec.equations import Form
from service.app import create_app
from service.engine import Ask, Encoded, Engine
from service.settings import Settings
from tests.bundles import make_bundle
from tests.service.oracle import Oracle

T = TypeVar("T")
INDEXED: tuple[Form, ...] = ("paper", "authors", "additive")
FORMS: tuple[Form, ...] = (*INDEXED, "sum")  # the last is scanned only
Serve = Callable[..., TestClient]


class Gate:
    """Holds the scoring thread before each batch until it is opened. sizes: how many requests the batches had."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()
        self.sizes: list[int] = []

    def wait(self, size: int) -> None:
        """Called by the scoring thread."""
        self.sizes.append(size)
        self.reached.set()
        assert self.open.wait(30)


@contextmanager
def held(client: TestClient, gate: Gate, waiting: Sequence[Callable[[], T]]) -> Iterator[list["Future[T]"]]:
    """While one request is at the gate and those of `waiting` are in the line behind it; opened on leaving."""
    with ThreadPoolExecutor(len(waiting) + 1) as pool:
        try:
            pool.submit(client.get, "/v1/users/bob/recommendations")
            assert gate.reached.wait(30)
            futures = [pool.submit(request) for request in waiting]
            line = client.app.state.recommender._batcher._line  # type: ignore[attr-defined] # of its own type, FastAPI
            while len(line) < len(waiting):  # a place alone is taken before Redis is asked
                pass
            assert f"causalrec_waiting {float(len(waiting))}" in client.get("/metrics").text
            yield futures
        finally:
            gate.open.set()


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the services of one test keep their state, in a path short enough for a socket."""
    with TemporaryDirectory(prefix="cr-") as folder:
        monkeypatch.setenv("CAUSALREC_DATA_DIR", folder)
        yield Path(folder)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Form, Path]:
    """Where a bundle of each form lies."""
    return {form: write_bundle(make_bundle(form), tmp_path_factory.mktemp(form)) for form in FORMS}


@pytest.fixture(scope="session")
def clients(folders: dict[Form, Path]) -> Iterator[dict[Form, TestClient]]:
    """A client of a ready service for each form; a small search, so that certificates and full scans both happen."""
    with ExitStack() as stack:
        data = {form: Path(stack.enter_context(TemporaryDirectory(prefix="cr-"))) for form in folders}
        yield {
            form: stack.enter_context(
                TestClient(create_app(Settings(bundle=folder, candidates=60, data_dir=data[form])))
            )
            for form, folder in folders.items()
        }


@pytest.fixture(scope="session")
def client(clients: dict[Form, TestClient]) -> TestClient:
    """A client of the paper's form."""
    return clients["paper"]


@pytest.fixture(scope="session")
def oracles(folders: dict[Form, Path]) -> dict[Form, Oracle]:
    """The oracle of each form's bundle."""
    return {form: Oracle(folder) for form, folder in folders.items()}


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The gate before every batch of services in one test."""
    gate, answer = Gate(), Engine.answer

    def gated(self: Engine, asks: Sequence[Ask]) -> list[Encoded | Exception]:
        gate.wait(len(asks))
        return answer(self, asks)

    monkeypatch.setattr(Engine, "answer", gated)
    return gate


@pytest.fixture
def serve(folders: dict[Form, Path]) -> Iterator[Serve]:
    """Starts a service of its own with the settings given (over the paper's bundle unless one is) for one test."""
    with ExitStack() as stack:

        def start(**settings: object) -> TestClient:
            chosen = Settings.model_validate({"bundle": folders["paper"], **settings})
            return stack.enter_context(TestClient(create_app(chosen)))

        yield start
