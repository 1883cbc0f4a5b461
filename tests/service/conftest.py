"""A served bundle of each form, and the oracle that knows its answers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from causalrec.bundle import write_bundle
from causalrec.equations import Form
from service.app import create_app
from service.settings import Settings
from tests.bundles import make_bundle
from tests.service.oracle import Oracle

FORMS: tuple[Form, ...] = ("paper", "authors", "additive")
Serve = Callable[..., TestClient]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Form, Path]:
    """Where a bundle of each form lies."""
    return {form: write_bundle(make_bundle(form), tmp_path_factory.mktemp(form)) for form in FORMS}


@pytest.fixture(scope="session")
def clients(folders: dict[Form, Path]) -> Iterator[dict[Form, TestClient]]:
    """A client of a ready service for each form; a small search, so that certificates and full scans both happen."""
    with ExitStack() as stack:
        yield {
            form: stack.enter_context(TestClient(create_app(Settings(bundle=folder, candidates=60))))
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
def serve(folders: dict[Form, Path]) -> Iterator[Serve]:
    """Starts a service of its own with the settings given (over the paper's bundle unless one is) for one test."""
    with ExitStack() as stack:

        def start(**settings: object) -> TestClient:
            chosen = Settings.model_validate({"bundle": folders["paper"], **settings})
            return stack.enter_context(TestClient(create_app(chosen)))

        yield start
