"""A redis-server process that does not outlive us, and the end of one that did."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Literal

Durability = Literal["strict", "everysec"]

SOCKET = "redis.sock"
PID = "redis.pid"
LOG = "redis.log"
STOP_SECONDS = 5.0
FSYNC = {"strict": "always", "everysec": "everysec"}

# Run by an interpreter that then becomes redis-server: asks the kernel for SIGTERM when the thread that started it
# ends, which it does with its process, however that dies. A pre-exec function would run in a fork of our threads.
TIED = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def spawn(program: Path, data_dir: Path, durability: Durability) -> "subprocess.Popen[bytes]":
    """
    Starts a server in `data_dir`. Where the kernel can, it gets SIGTERM as soon as the calling thread is gone.

    It holds a lock on DATA/redis.pid as long as it lives: that is how `end_leftover` knows.
    """
    command = [str(program), *options(durability)]
    if sys.platform == "linux":
        command = [sys.executable, "-ISc", TIED, str(os.getpid()), *command]
    with (data_dir / PID).open("w") as pid_file, (data_dir / LOG).open("ab") as log:
        fcntl.flock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            cwd=data_dir,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(pid_file.fileno(),),
            start_new_session=True,  # Ctrl-C is for us: what is in flight is still written
        )
        pid_file.write(str(process.pid))
    return process


def options(durability: Durability) -> list[str]:
    """The server's command line. Paths are relative to its working directory, so that none has to be quoted."""
    chosen = {
        "port": "0",
        "unixsocket": SOCKET,
        "unixsocketperm": "700",
        "databases": "1",
        "save": "",
        "appendonly": "yes",
        "appendfsync": FSYNC[durability],
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
        "zset-max-ziplist-entries": "256",  # a user's acts stay in the compact form
    }
    return [part for name, value in chosen.items() for part in (f"--{name}", value)]


def end_leftover(data_dir: Path) -> None:
    """Ends the server of an owner that was killed, where it still runs: SIGTERM, after a bound SIGKILL."""
    path = data_dir / PID
    path.touch()
    with path.open() as pid_file:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if _locked_within(0, pid_file):
                return
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), sign)
            if _locked_within(STOP_SECONDS, pid_file):
                return


def _locked_within(seconds: float, file: IO[str]) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True
