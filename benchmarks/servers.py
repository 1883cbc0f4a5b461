"""Server processes: started on a core of their own, watched through /proc and /metrics, stopped."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CORE, CLIENT_CORE = "0", "1"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Server:
    """A running server: its address, process, and the seconds from its start until it answered."""

    address: str
    pid: int
    started_in: float

    def cpu_seconds(self) -> float:
        """Processor time it has used, its own and the kernel's for it."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss(self) -> int:
        """Resident memory in bytes."""
        return resident(self.pid)

    def metrics(self) -> str:
        """/metrics, as it is scraped."""
        return get(f"{self.address}/metrics").decode()


def get(url: str) -> bytes:
    """What `url` answers. Raises: HTTPError for any status of 400 or more."""
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - our own process
        content: bytes = answer.read()
        return content


def pinned(command: Sequence[str], core: str) -> list[str]:
    """`command` on one core, where the machine has another for the client."""
    return ["taskset", "-c", core, *command] if (os.cpu_count() or 1) > 1 else list(command)


def resident(pid: int | str = "self") -> int:
    """Resident memory of a process in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


@contextlib.contextmanager
def running(
    command: Sequence[str],
    announced: str = r"running on (http://\S+)",
    env: Mapping[str, str] | None = None,
    core: str | None = CORE,
) -> Iterator[Server]:
    """The server that `command` starts, once a line of its stderr matches `announced` (group 1: its address)."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        list(command) if core is None else pinned(command, core),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ONE_THREAD, **(env or {})},
    )
    assert process.stderr is not None  # noqa: S101 - for the type checker
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(announced, line, re.IGNORECASE):
                with drained(process):
                    yield Server(found[1], process.pid, time.perf_counter() - begun)
                return
        sys.exit("".join(lines))
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def service(bundle: Path, *flags: str, core: str | None = CORE) -> Iterator[Server]:
    """The service on `bundle`, with a state of its own (unless a flag says otherwise); it stops without grace."""
    with tempfile.TemporaryDirectory(prefix="causalrec-") as folder:
        command = [sys.executable, "-m", "service", "--bundle", str(bundle), "--port", "0", "--grace-seconds", "0"]
        with running([*command, "--data-dir", folder, *flags], core=core) as server:
            yield server


@contextlib.contextmanager
def drained(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Keeps reading the process' stderr, so that it never waits for somebody to."""
    assert process.stderr is not None  # noqa: S101
    reader = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)  # noqa: S607
    try:
        yield
    finally:
        reader.terminate()
        reader.wait()
