"""
Real Redis servers for tests, of every kind that a Connection can be opened on, and how each is frozen and killed.

    def test_something(redis_server: Server) -> None:
        async def scenario() -> None:
            async with connect(redis_server) as connection:
                await connection.run(lambda redis: redis.set(..., ...))

        asyncio.run(scenario())

Every `connect` has a key prefix of its own unless it is given `keys`. Nothing is ever flushed.
"""

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from service.state.binary import find_server
from service.state.child import PID
from service.state.connection import Connection
from service.state.embedded import Embedded
from service.state.keys import Keys

_numbers = itertools.count()


class Server:
    """
    A running server.

    Args:
        url, data_dir: what Connection.open gets.
        pids: of the processes that are frozen and killed.
        start: starts it again after `kill`; None where it comes back by itself.
    """

    def __init__(
        self,
        kind: str,
        url: str | None,
        data_dir: Path,
        pids: Callable[[], list[int]],
        start: Callable[[], None] | None = None,
    ) -> None:
        self.kind = kind
        self.url = url
        self.data_dir = data_dir
        self._pids = pids
        self._start = start

    def freeze(self, *, first: bool = False) -> None:
        """SIGSTOP: connections stay open, nothing is answered. first: only the first process."""
        self._signal(signal.SIGSTOP, self._pids()[:1] if first else self._pids())

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT, self._pids())

    def kill(self) -> None:
        """SIGKILL: what was not on the disk is gone."""
        self._signal(signal.SIGKILL, self._pids())

    def _signal(self, sign: signal.Signals, pids: list[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, sign)

    def restart(self) -> None:
        """Started again after `kill`, on the same files; returns at once."""
        if self._start:
            self._start()


@asynccontextmanager
async def connect(server: Server, **options: Any) -> AsyncIterator[Connection]:
    """A connection with keys that nobody else has; a budget that a busy machine keeps, unless one is given."""
    chosen = {"durability": "strict", "budget": 2.0, "keys": fresh_keys(), **options}
    connection = await Connection.open(server.url, data_dir=server.data_dir, **chosen)
    try:
        yield connection
    finally:
        await connection.close()


def fresh_keys() -> Keys:
    """Keys that no other test has."""
    return Keys(f"test-{os.getpid()}-{next(_numbers)}", "shop")


class Program:
    """A redis-server of the test's own, on a TCP port of this machine."""

    def __init__(self, folder: Path, *flags: str, port: int | None = None, login: str | None = None) -> None:
        self.port = port or free_port()
        self.folder = folder
        self._flags = (*flags, "--requirepass", login) if login else flags
        self._login = login
        self._popen: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._popen
        return self._popen.pid

    def start(self) -> None:
        """Starts it, again if it was killed."""
        if self._popen:
            self._popen.wait(10)
        command = [str(find_server()), *self._flags, "--port", str(self.port), "--bind", "127.0.0.1"]
        self._popen = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)

    def ask(self, *command: Any) -> Any:
        """One command by a connection of its own; waits until the server is there."""
        deadline = time.monotonic() + 20
        while True:
            try:
                with redis.Redis(port=self.port, password=self._login, protocol=2, driver_info=None) as client:
                    return client.execute_command(*command)
            except redis.ConnectionError:
                assert time.monotonic() < deadline

    def __enter__(self) -> "Program":
        self.ask("PING")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it, whatever state it is in."""
        assert self._popen
        self._popen.kill()
        self._popen.wait(10)


STRICT = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
MASTER = "the-master"


def embedded_server(data_dir: Path, closing: ExitStack) -> Server:
    """The embedded server, owned by this process whichever connections come and go."""
    owner = Embedded(data_dir, "strict")
    owner.start()
    closing.callback(owner.close)
    return Server("embedded", None, data_dir, lambda: [int(pid) for pid in (data_dir / PID).read_text().split()])


def named_server(folder: Path, closing: ExitStack) -> Server:
    """A single server addressed by URL."""
    program = Program(folder, *STRICT)
    closing.callback(program.close)
    program.ask("PING")
    return Server("named", f"redis://127.0.0.1:{program.port}/0", folder, lambda: [program.pid], program.start)


def sentinel_server(folder: Path, closing: ExitStack) -> Server:
    """A master, its replica, and a sentinel that makes the replica the master soon after the master is gone."""
    master = Program(folder, *STRICT)
    closing.callback(master.close)
    (folder / "replica").mkdir()
    replica = Program(folder / "replica", *STRICT, "--replicaof", "127.0.0.1", str(master.port))
    closing.callback(replica.close)
    _until(lambda: master.ask("WAIT", 1, 1000))  # a sentinel looks for replicas at once, then in 10 s
    (folder / "sentinel").mkdir()
    (folder / "sentinel" / "sentinel.conf").write_text(
        f"sentinel monitor {MASTER} 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds {MASTER} 300\n"
    )
    sentinel = Program(folder / "sentinel", "sentinel.conf", "--sentinel")
    closing.callback(sentinel.close)
    _until(lambda: sentinel.ask("SENTINEL", "REPLICAS", MASTER))
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/{MASTER}/0"
    return Server("sentinel", url, folder, lambda: [master.pid])


def cluster_server(folder: Path, closing: ExitStack, replicas: int = 0) -> Server:
    """Three primaries, a third of the slots each; the first ones with a replica."""
    flags = (
        *STRICT,
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "1000",
        "--cluster-require-full-coverage",
        "no",
    )
    nodes = []
    for number in range(3 + replicas):
        (folder / str(number)).mkdir()
        nodes.append(Program(folder / str(number), *flags))
        closing.callback(nodes[-1].close)
    for number, node in enumerate(nodes):
        if number < 3:
            node.ask("CLUSTER", "ADDSLOTS", *range(16384 * number // 3, 16384 * (number + 1) // 3))
        node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
    _until(lambda: all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in nodes))
    for primary, replica in zip(nodes, nodes[3:], strict=False):
        name = primary.ask("CLUSTER", "MYID")
        _until(lambda replica=replica, name=name: name in replica.ask("CLUSTER", "NODES"))  # type: ignore[misc]
        replica.ask("CLUSTER", "REPLICATE", name)
        _until(lambda primary=primary: primary.ask("WAIT", 1, 1000))  # type: ignore[misc]
    hosts = ",".join(f"127.0.0.1:{port}" for port in (free_port(), *(node.port for node in nodes)))  # one is away

    def start() -> None:
        for node in nodes:
            node.start()

    return Server("cluster", f"redis+cluster://{hosts}", folder, lambda: [node.pid for node in nodes], start)


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline


def free_port() -> int:
    """A port of this machine that nobody listens on, nor on the one that a cluster's node takes beside it."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            with suppress(OSError, OverflowError):
                other.bind(("127.0.0.1", port + 10_000))
                return port
