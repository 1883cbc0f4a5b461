"""What the swap benchmark is about: a service over a link, and the folder of bundles that the link is in."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks import histograms, servers
from benchmarks.catalogue import served_bundle, synthetic
from benchmarks.durability import until
from benchmarks.servers import CORE, ONE_THREAD, pinned
from causalrec.bundle import read_manifest, write_bundle
from tests import damage
from tests.service.state.servers import free_port
from training.export import retrieval_kind

WATCH = 0.2  # seconds between two looks at the link
GRACE, DRAIN = 2, 7
BAD = {
    "truncated": damage.truncate,
    "edited": damage.edit,
    "NaN in it": damage.put_nan,
    "another schema": damage.change_schema,
    "other golden answers": damage.change_golden,
}
NAME = "swapped"


class Service:
    """A service over the link to a bundle, with a state that outlives it."""

    def __init__(self, link: Path, data: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "service", "--bundle", str(link), "--port", str(self.port)]
        self._command += ["--data-dir", str(data), "--watch-seconds", str(WATCH), "--log-level", "error"]
        self._command += ["--grace-seconds", str(GRACE), "--drain-seconds", str(DRAIN)]
        self.process: subprocess.Popen[bytes]

    def start(self) -> float:
        """Seconds until it was ready."""
        begun = time.perf_counter()
        self.process = subprocess.Popen(pinned(self._command, CORE), env={**os.environ, **ONE_THREAD})
        until(lambda: self.serving() is not None, "the service to be ready")
        return time.perf_counter() - begun

    def serving(self) -> str | None:
        """The id of what is served; None while it is not ready."""
        if self.process.poll() is not None:
            sys.exit(f"error: the service ended with {self.process.returncode}; its own message stands above")
        try:
            return str(self.models()["serving"]) if servers.get(f"{self.address}/health/ready") else None
        except OSError:
            return None

    def models(self) -> dict[str, Any]:
        """What it says of its bundles."""
        found: dict[str, Any] = send(f"{self.address}/v1/models", "GET")
        return found

    def in_state(self, state: str, shelf: "Shelf") -> str:
        """The id of a bundle of the shelf that it says this of."""
        states: dict[str, str] = {
            each["id"]: each["state"] for each in self.models()["models"] if Path(each["path"]) in shelf.own
        }
        return next(content_id for content_id, found in states.items() if found == state)

    def failures(self) -> float:
        """Bundles that it refused."""
        return histograms.total(self.metrics(), "causalrec_model_load_failures_total")

    def metrics(self) -> str:
        """/metrics, as it is scraped."""
        return servers.get(f"{self.address}/metrics").decode()

    def rss(self) -> int:
        """Resident memory in bytes."""
        return servers.resident(self.process.pid)

    def close(self) -> None:
        """Ends it, if it is there."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait()


def send(url: str, method: str) -> Any:
    """What is answered, whatever the status."""
    request = urllib.request.Request(url, method=method)  # noqa: S310 - our own process
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


class Shelf:
    """The folder of bundles: three that are served in turn, and one more to spoil copies of."""

    def __init__(self, folder: Path, items: int) -> None:
        self.link = folder / NAME
        kind = retrieval_kind("auto", items, "paper")
        written = [
            write_bundle(served_bundle(synthetic(items, seed=seed), kind, NAME, seed), folder) for seed in range(4)
        ]
        self.paths = {read_manifest(path).content_id: path for path in written[:3]}
        self.own = {path.resolve() for path in self.paths.values()}
        self._fourth = written[3]
        self.point(written[0])

    def point(self, path: Path) -> None:
        """The link leads there from now on."""
        link = self.link.with_name(".link")
        link.symlink_to(path.name)
        link.replace(self.link)

    def spoilt(self, how: str) -> Path:
        """A copy of the fourth one, spoilt."""
        copy = self.link.with_name(f"spoilt-{how.replace(' ', '-')}")
        shutil.copytree(self._fourth, copy)
        BAD[how](copy)
        return copy
