"""The embedded server: its life is tied to ours, whatever ends it or us; one per folder, whoever uses it."""

import asyncio
import fcntl
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from causalrec.errors import ConfigError, StateUnavailable
from service.state import binary, child, embedded
from service.state.child import LOG, PID, SOCKET, Durability
from service.state.connection import Connection
from service.state.embedded import Embedded
from service.state.keys import Keys

ROOT = Path(__file__).parents[3]
OWNER = """
import sys, time
from pathlib import Path
from service.state.embedded import Embedded
server = Embedded(Path(sys.argv[1]), "strict")
server.start()
print("up", flush=True)
time.sleep(600)
"""


@contextmanager
def running(data_dir: Path, durability: Durability = "strict") -> Iterator[Path]:
    """The embedded server of a folder, as this process has it: its socket."""
    server = Embedded(data_dir, durability)
    try:
        yield server.start()
    finally:
        server.close()


@contextmanager
def other_process(data_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of its own that owns the server of a folder."""
    with subprocess.Popen([sys.executable, "-c", OWNER, data_dir], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        try:
            yield process
        finally:
            process.kill()


def ask(data_dir: Path, *command: str) -> Any:
    """One command by a connection of its own, repeated until the server answers."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with redis.Redis(unix_socket_path=str(data_dir / SOCKET), protocol=2, driver_info=None) as client:
                return client.execute_command(*command)
        except redis.ConnectionError:
            assert time.monotonic() < deadline


def pid_of(data_dir: Path) -> int:
    """The server's process."""
    return int((data_dir / PID).read_text())


def await_end(pid: int) -> None:
    """Waits until a process has ended, also one that is not our child and that nobody has collected."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([handle], [], [], 30)[0], "it goes on"
    finally:
        os.close(handle)


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not tie a child to its parent's life")
def test_the_server_ends_with_a_killed_parent(short_path: Path) -> None:
    """kill -9 of the owner: no process is left behind, and what was accepted is there for the next."""
    with other_process(short_path) as owner:
        pid = pid_of(short_path)
        ask(short_path, "SET", "told", "once")
        owner.kill()
        await_end(pid)

    with running(short_path):
        assert ask(short_path, "GET", "told") == b"once"


@pytest.mark.parametrize("frozen", [False, True])
def test_a_server_left_over_does_not_block_the_next(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    """Where the kernel does not end it with its parent, the next owner does: politely, or if it must, not."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "platform", "elsewhere")
        leftover = child.spawn(binary.find_server(), short_path, "strict")
    ask(short_path, "SET", "told", "once")
    if frozen:
        monkeypatch.setattr(child, "STOP_SECONDS", 0.2)
        os.kill(leftover.pid, signal.SIGSTOP)

    with running(short_path):
        assert leftover.wait(30) == (-signal.SIGKILL if frozen else 0)
        assert pid_of(short_path) != leftover.pid
        assert ask(short_path, "GET", "told") == b"once"


def test_a_dead_server_is_started_again(short_path: Path) -> None:
    """Each time it dies, on the same files, and it is counted; the connection finds it."""

    async def scenario() -> tuple[list[bytes], int]:
        found = []
        async with asyncio.timeout(60):
            connection = await Connection.open(None, data_dir=short_path, durability="strict", keys=Keys("p", "t"))
            for number in range(3):
                await asyncio.to_thread(ask, short_path, "SET", "last", str(number))
                pid = pid_of(short_path)
                os.kill(pid, signal.SIGKILL)
                await_end(pid)
                await asyncio.to_thread(ask, short_path, "PING")
                found.append(await connection.run(lambda redis: redis.get("last"), budget=5.0))
            restarts = connection.restarts
            await connection.close()
            return found, restarts

    assert asyncio.run(scenario()) == ([b"0", b"1", b"2"], 3)


def test_two_processes_share_one_server_and_the_second_takes_over(short_path: Path) -> None:
    """The second connects to the first one's; when the first is killed it starts the server itself."""
    with other_process(short_path) as owner:
        first = pid_of(short_path)
        with running(short_path):
            assert pid_of(short_path) == first
            ask(short_path, "SET", "told", "once")
            owner.kill()
            await_end(first)

            assert ask(short_path, "GET", "told") == b"once"
            assert pid_of(short_path) != first


def test_who_only_shares_it_does_not_end_it(short_path: Path) -> None:
    """Closing is of the owner."""
    with running(short_path):
        pid = pid_of(short_path)
        with running(short_path):
            pass

        assert ask(short_path, "PING")
        assert pid_of(short_path) == pid


def test_closing_writes_everything_out(short_path: Path) -> None:
    """Also with durability=everysec: the server is asked to end, not killed; nothing of it is left running."""
    with running(short_path, "everysec"):
        pid = pid_of(short_path)
        ask(short_path, "SET", "told", "once")

    await_end(pid)
    assert "now ready to exit" in (short_path / LOG).read_text()
    with running(short_path, "everysec"):
        assert ask(short_path, "GET", "told") == b"once"


def test_closing_does_not_wait_for_a_frozen_server(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a bound it is killed."""
    monkeypatch.setattr(embedded, "STOP_SECONDS", 0.2)

    with running(short_path):
        pid = pid_of(short_path)
        os.kill(pid, signal.SIGSTOP)

    await_end(pid)


def test_a_start_can_be_given_up(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a long file is read (here: while the server is frozen): nothing is waited for."""
    monkeypatch.setattr(embedded, "START_SECONDS", 1e6)
    with running(short_path):
        os.kill(pid_of(short_path), signal.SIGSTOP)

        async def scenario() -> None:
            opening = asyncio.ensure_future(
                Connection.open(None, data_dir=short_path, durability="strict", keys=Keys("p", "t"))
            )
            await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening

        asyncio.run(scenario())
        os.kill(pid_of(short_path), signal.SIGCONT)


def test_a_file_cut_off_in_the_middle_of_a_write_is_read_up_to_there(short_path: Path) -> None:
    """As a crash leaves it: everything before the last write is there."""
    with running(short_path):
        for name in ("one", "two"):
            ask(short_path, "SET", name, "told")
    file = short_path / "appendonly.aof"
    os.truncate(file, file.stat().st_size - 3)

    with running(short_path):
        assert (ask(short_path, "GET", "one"), ask(short_path, "GET", "two")) == (b"told", None)


def test_a_broken_file_stops_the_start_and_says_why(short_path: Path) -> None:
    """The end of the server's log is in the message; the lock is free again."""
    (short_path / "appendonly.aof").write_bytes(b"*1\r\nnot what it should be")

    with (
        pytest.raises(StateUnavailable, match=r"did not come up: it ended with code 1.*Bad file format"),
        running(short_path),
    ):
        pass

    with (short_path / embedded.LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(("durability", "fsync"), [("strict", b"always"), ("everysec", b"everysec")])
def test_nothing_is_dropped_and_nobody_else_can_connect(short_path: Path, durability: Durability, fsync: bytes) -> None:
    """On the disk as promised, never evicted, no port, a socket for this user only, out of Ctrl-C's way."""
    with running(short_path, durability):
        asked = "appendonly", "appendfsync", "save", "maxmemory-policy", "port"
        config = [ask(short_path, "CONFIG GET", name)[name] for name in asked]

        assert config == ["yes", fsync.decode(), "", "noeviction", "0"]
        assert (short_path / SOCKET).stat().st_mode & 0o777 == 0o700
        assert os.getpgid(pid_of(short_path)) != os.getpgid(0)


def test_a_folder_with_a_long_path_is_reached_through_a_short_link(short_path: Path) -> None:
    """A socket's path has about 107 bytes; two processes find the same link."""
    folder = short_path / ("long" * 30) / "er"

    with running(folder) as first, running(folder) as second:
        assert first == second
        assert len(os.fsencode(first)) < 107
        assert ask(first.parent, "PING")

    first.parent.unlink()


def test_a_short_link_of_somebody_else_is_not_followed(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could lead to another's server; the message names both ways out."""
    monkeypatch.setenv("TMPDIR", str(short_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    folder = short_path / ("long" * 30)
    link = embedded.short_socket(folder).parent
    link.unlink()
    link.symlink_to(short_path)

    with pytest.raises(ConfigError, match=f"{link.name}.* is something else; remove that or choose a shorter"):
        embedded.short_socket(folder)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With the way out."""
    (tmp_path / "file").write_bytes(b"")

    with (
        pytest.raises(ConfigError, match=r"file/data cannot be written .*CAUSALREC_REDIS_URL"),
        running(tmp_path / "file" / "data"),
    ):
        pass
