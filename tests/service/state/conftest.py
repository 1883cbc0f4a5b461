"""The servers that the contract suites run over: started once, each test with keys of its own."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.service.state.servers import Server, cluster_server, embedded_server, named_server, sentinel_server

STARTERS = {
    "embedded": embedded_server,
    "named": named_server,
    "sentinel": sentinel_server,
    "cluster": cluster_server,
}
Running = Callable[[str], Server]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="cr") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def running() -> Iterator[Running]:
    """The server of a kind, started when it is first asked for."""
    servers: dict[str, Server] = {}
    with tempfile.TemporaryDirectory(prefix="cr") as folder, ExitStack() as closing:

        def get(kind: str) -> Server:
            if kind not in servers:
                (data_dir := Path(folder) / kind).mkdir()
                servers[kind] = STARTERS[kind](data_dir, closing)
            return servers[kind]

        yield get


@pytest.fixture(params=["embedded", "named"])
def redis_server(request: pytest.FixtureRequest, running: Running) -> Iterator[Server]:
    """A server embedded, and one named by URL. A test that kills it starts it again; it is thawed in the end."""
    server = running(request.param)
    yield server
    server.thaw()


@pytest.fixture(params=["embedded", "named", "cluster"])
def mortal_server(request: pytest.FixtureRequest, running: Running) -> Iterator[Server]:
    """Those kinds that come back as they were. A test that kills one starts it again; it is thawed in the end."""
    server = running(request.param)
    yield server
    server.thaw()


@pytest.fixture(params=list(STARTERS))
def any_server(request: pytest.FixtureRequest, running: Running) -> Server:
    """Every kind of server; tests leave it as it is."""
    return running(request.param)
