"""The embedded default: a real redis-server in the data directory, as our child, for the processes of one machine."""

import fcntl
import hashlib
import logging
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from causalrec.errors import ConfigError, StateUnavailable
from service.state.binary import find_server
from service.state.child import LOG, SOCKET, STOP_SECONDS, Durability, end_leftover, spawn

log = logging.getLogger(__name__)

LOCK = "redis.lock"
LONGEST_PATH = 100  # of a unix socket; the system's limit is 104 to 108 bytes
START_SECONDS = 10.0
OWNER_CHECK = 0.1
BACKOFF = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SETTLED = 10.0  # a server that lived so long was well: the next restart comes at once again


class Embedded:
    """
    One server per data directory, whichever processes use it.

    Who holds the lock on DATA/redis.lock owns the server: starts it, restarts it when it dies, ends it on `close`. The
    others connect to the same socket, and one of them becomes the owner when the owner is gone.

    Args:
        data_dir: where its append-only file, socket and log are.
        durability: strict: every write is on the disk before it is acknowledged; everysec: within about a second.
    """

    def __init__(self, data_dir: Path, durability: Durability) -> None:
        self._data_dir = data_dir.absolute()
        self._durability = durability
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()  # between starting a server and closing
        self._closing = threading.Event()
        self._up = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._supervise, name="embedded-redis", daemon=True)
        self.restarts = 0

    def start(self) -> Path:
        """
        Waits until the server answers; the path of its socket.

        Raises: InstallationError (no server program), ConfigError (folder not writable), StateUnavailable with the last
        lines of its log when it does not come up.
        """
        self._program = find_server()
        self._socket = short_socket(self._data_dir)
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = (self._data_dir / LOCK).open("w")
        except OSError as error:
            raise ConfigError(
                f"data directory {self._data_dir} cannot be written ({error.strerror}); name one that can be, or a "
                f"server with CAUSALREC_REDIS_URL"
            ) from error
        self._thread.start()
        try:
            self._await_answer()
        except BaseException:
            self.close()
            raise
        self._up.set()
        return self._socket

    def close(self) -> None:
        """
        Ends the server if it is ours: SIGTERM, on which it writes out what it holds; after a bound SIGKILL. Also ends a
        `start` that is still under way in another thread.
        """
        with self._guard:
            self._closing.set()
            if self._process:
                self._process.terminate()
        if not self._thread.is_alive():
            return
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive() and self._process:
            log.error("redis-server did not end in %.0f s after SIGTERM and is killed", STOP_SECONDS)
            self._process.kill()
        self._thread.join()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        reason = f"no answer in {START_SECONDS:.0f} s"
        while time.monotonic() < deadline and not self._failure and not self._closing.wait(0.01):
            answer = _ping(self._socket)
            if answer == "up":
                return
            if answer == "loading":  # a long append-only file takes its time
                deadline = time.monotonic() + START_SECONDS
        raise StateUnavailable(
            f"redis-server in {self._data_dir} did not come up: {self._failure or reason}; the end of its log: "
            f"{_last_lines(self._data_dir / LOG)}"
        )

    def _supervise(self) -> None:
        """The thread: waits to be the owner, then keeps a server alive. Servers are tied to this thread's life."""
        with self._lock as lock:
            while not _owned(lock):
                if self._closing.wait(OWNER_CHECK):
                    return
            try:
                end_leftover(self._data_dir)
                (self._data_dir / LOG).write_bytes(b"")
                self._keep_alive()
            except Exception as error:
                log.exception("the embedded redis-server cannot be run")
                self._failure = error

    def _keep_alive(self) -> None:
        failures = 0
        while not self._closing.wait(BACKOFF[min(failures, len(BACKOFF) - 1)]):
            with self._guard:
                if self._closing.is_set():
                    return
                self._process = process = spawn(self._program, self._data_dir, self._durability)
            begun = time.monotonic()
            code = process.wait()
            if self._closing.is_set():
                return
            if not self._up.is_set():
                self._failure = StateUnavailable(f"it ended with code {code}")
                return
            failures = 0 if time.monotonic() - begun > SETTLED else failures + 1
            self.restarts += 1
            log.error("redis-server ended with code %d and is started again (restart %d)", code, self.restarts)


def short_socket(data_dir: Path) -> Path:
    """
    The socket's path, or where that is too long for a socket, a short one: through a link in the temporary folder.

    Raises: ConfigError when that link's name is taken by something else.
    """
    if len(os.fsencode(data_dir / SOCKET)) <= LONGEST_PATH:
        return data_dir / SOCKET
    name = hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:16]
    link = Path(tempfile.gettempdir()) / f"causalrec-{name}"
    try:
        link.symlink_to(data_dir.resolve())
    except FileExistsError:
        if not link.is_symlink() or link.readlink() != data_dir.resolve():
            raise ConfigError(
                f"{data_dir} is too long for a socket's path, and {link}, which would shorten it, is something else; "
                f"remove that or choose a shorter data directory"
            ) from None
    except OSError as error:
        raise ConfigError(
            f"{data_dir} is too long for a socket's path and no link can be made at {link} ({error.strerror}); choose "
            f"a shorter data directory"
        ) from error
    return link / SOCKET


def _ping(socket: Path) -> str:
    client = redis.Redis(
        unix_socket_path=str(socket), socket_timeout=1.0, retry=Retry(NoBackoff(), 0), protocol=2, driver_info=None
    )
    try:
        client.ping()
    except redis.exceptions.BusyLoadingError:
        return "loading"
    except redis.RedisError:
        return "down"
    finally:
        client.close()
    return "up"


def _owned(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_lines(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return "(none)"
    return " | ".join(line for line in lines[-8:] if line.strip()) or "(empty)"
