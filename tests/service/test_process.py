"""The process as an operator meets it: exit codes, messages, signals. Real processes on free ports."""

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from causalrec.bundle import FILES, write_bundle
from service.__main__ import main
from tests.bundles import make_bundle

ROOT = Path(__file__).parents[2]
BATCH = "/v1/recommendations/batch"


class Process:
    """A running `python -m service`; what it logs is kept."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "service", "--port", "0", *flags]
        self._popen = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self._address: str | None = None
        self._listening = threading.Event()
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._popen.stderr
        for line in self._popen.stderr:
            self.log.append(line)
            if found := re.search(r"running on (http://\S+)", line):
                self._address = found[1]
                self._listening.set()
        self._listening.set()

    def request(self, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        assert self._listening.wait(60)
        assert self._address, self.log
        data = None if body is None else json.dumps(body).encode()
        wanted = urllib.request.Request(self._address + path, data, {"content-type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(wanted, timeout=60) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something outside this process."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.log

    def stop(self, sign: signal.Signals) -> None:
        """Sends a signal."""
        self._popen.send_signal(sign)

    def exit_code(self) -> int:
        """Once it has ended."""
        code = self._popen.wait(60)
        self._reader.join()
        return code

    def close(self) -> None:
        """Ends it, whatever state it is in."""
        if self._popen.poll() is None:
            self._popen.kill()
        self.exit_code()
        if self._popen.stderr:
            self._popen.stderr.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Starts processes and ends those that are left."""
    started: list[Process] = []

    def starter(*flags: str) -> Process:
        started.append(Process(*flags))
        return started[-1]

    yield starter
    for process in started:
        process.close()


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle so large that a batch takes several times the grace that a test gives it."""
    return write_bundle(make_bundle(items=160_000, dim=32), tmp_path_factory.mktemp("big"))


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_an_edited_byte_in_any_file_is_refused(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Exit code 2, and a message that names the file and the way out instead of a traceback."""
    folder = Path(shutil.copytree(folders["paper"], tmp_path / "bundle"))
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)

    code = main(["--bundle", str(folder), "--port", "0"])

    printed = capsys.readouterr().err
    assert code == 2
    assert name in printed
    assert "error: " in printed
    assert "Traceback" not in printed


def test_without_a_bundle_the_exit_code_is_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The message says what is missing and how to make it."""
    code = main(["--bundle", str(tmp_path)])

    assert code == 2
    assert re.search(r"^error: .*manifest.json: there is no bundle here; .*\n$", capsys.readouterr().err, re.MULTILINE)


def test_a_slow_request_in_flight_at_sigterm_gets_its_answer(start: Callable[..., Process], big: Path) -> None:
    """Ready turns 503 first while requests are still taken, then what is in flight finishes; the exit code is 0."""
    process = start("--bundle", str(big), "--grace-seconds", "0.5")
    slow = {"requests": [{"user_id": "ann", "lambda2": n / 40, "k": 500, "explain": True} for n in range(64)]}
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(process.request, BATCH, slow)
        process.until(lambda: b"requests_in_progress 2.0" in process.request("/metrics")[1])

        process.stop(signal.SIGTERM)
        process.until(lambda: process.request("/health/ready")[0] == 503)
        in_flight, alive = not answer.done(), process.request("/health/live")[0]

    assert (in_flight, alive) == (True, 200)
    assert answer.result()[0] == 200
    assert len(json.loads(answer.result()[1])["answers"]) == 64
    assert process.exit_code() == 0
    assert any("Waiting for connections to close" in line for line in process.log)


def test_a_running_process_answers_and_ctrl_c_stops_it_at_once(
    start: Callable[..., Process], folders: dict[str, Path]
) -> None:
    """Through uvicorn, uvloop and httptools; at the keyboard nobody waits for load balancers, and no traceback."""
    process = start("--bundle", str(folders["paper"]), "--grace-seconds", "60")
    status, body = process.request("/v1/users/a%2Fb/recommendations?lambda2=0.4&k=3")
    refused = process.request("/v1/users/ann/recommendations?lambda2=abc")

    process.stop(signal.SIGINT)

    assert process.exit_code() == 0
    assert (status, json.loads(body)["source"], len(json.loads(body)["items"])) == (200, "personal", 3)
    assert (refused[0], json.loads(refused[1])["errors"][0]["field"]) == (422, "lambda2")
    assert not any("Traceback" in line for line in process.log)
