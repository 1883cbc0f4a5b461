"""A service with some traffic, and the project's own Prometheus beside it: real processes."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.service.test_process import Process

ROOT = Path(__file__).parents[2]
OURS = ROOT / "docker" / "observability"
EXPERIMENT = {"key": "dial", "description": "", "variants": [{"lambda2": 0}, {"lambda2": 0.8}]}
PATIENCE = 60.0  # seconds for anything to come about
Series = list[dict[str, Any]]


class Prometheus:
    """A running one, asked over HTTP."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/"

    def ask(self, path: str, **parameters: str) -> Any:
        """What its API says. Raises: urllib.error.HTTPError, also for a query that cannot be evaluated."""
        with urllib.request.urlopen(f"{self._url}{path}?{urllib.parse.urlencode(parameters)}") as answer:  # noqa: S310
            said = json.load(answer)
        assert said["status"] == "success", said
        assert not said.get("warnings"), said
        return said["data"]

    def query(self, expression: str) -> Series:
        """The series of an expression, now."""
        found: Series = self.ask("query", query=expression)["result"]
        return found

    def until(self, expression: str) -> None:
        """Waits until an expression has a series."""
        deadline = time.monotonic() + PATIENCE
        while not self._holds(expression):
            assert time.monotonic() < deadline, f"{expression} has not come about"

    def _holds(self, expression: str) -> bool:
        try:
            return bool(self.query(expression))
        except OSError:  # it is starting
            return False

    def seen(self, count: int) -> None:
        """Waits until the service was scraped so many times more."""
        before = self.query('count_over_time(up{job="causalrec"}[5m])')
        done = int(before[0]["value"][1]) if before else 0
        self.until(f'count_over_time(up{{job="causalrec"}}[5m]) >= {done + count}')


@contextmanager
def prometheus(folder: Path, address: str) -> Iterator[Prometheus]:
    """With the project's configuration and rules; only where the service is, and how often it is asked, is another."""
    shutil.copytree(OURS / "prometheus", folder / "config")
    config = folder / "config" / "prometheus.yml"
    text = config.read_text()
    for theirs, ours in (("service:8000", address), ("scrape_interval: 15s", "scrape_interval: 500ms")):
        assert text.count(theirs) == 1
        text = text.replace(theirs, ours)
    config.write_text(text.replace("evaluation_interval: 15s", "evaluation_interval: 500ms"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
        try:
            watch = Prometheus(port)
            watch.until("vector(1)")
            yield watch
        finally:
            process.terminate()
            process.wait(30)


def traffic(service: Process, users: range) -> None:
    """A little of everything that is measured; exposures count once a user, so each time others come."""
    for number in users:
        assert service.request(f"/v1/users/user-{number:02d}/recommendations?k=5")[0] == 200
    for user, query in (("ann", "lambda2=0.6"), ("nobody", "k=3"), ("ann", "k=abc")):
        service.request(f"/v1/users/{user}/recommendations?{query}")
    service.request("/v1/recommendations", {"user_id": "bob", "candidate_item_ids": []})
    event = {"event_id": uuid4().hex, "user_id": "ann", "item_id": "item-001", "type": "click"}
    status, body = service.request("/v1/events", event)
    assert status in (200, 202), body


def experiment(service: Process) -> None:
    """Makes one and starts it."""
    assert service.request("/v1/experiments", EXPERIMENT)[0] == 201
    assert service.request("/v1/experiments/dial/start", {})[0] == 200
