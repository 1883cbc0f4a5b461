"""The project's compose file under a name of its own: nobody's demo is touched, and all of it goes in the end."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tests.containers.claims import Broken

ROOT = Path(__file__).parents[2]
PROJECT = "causalrec-test"
PORTS = ("CAUSALREC_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT")
PATIENCE = 180.0
LONGEST = 900.0  # of one command: on a busy machine the demo trains for minutes
# Somebody outside the container's own processes, from whom its first one takes even SIGKILL.
KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"


def docker(*arguments: str, **variables: str) -> str:
    """What `docker ARGUMENTS` says. Raises: Broken with what it complains of."""
    done = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | variables,
        timeout=LONGEST,
    )
    if done.returncode:
        raise Broken(f"docker {' '.join(arguments[:6])} …: exit {done.returncode}: {done.stderr.strip()[-1500:]}")
    return done.stdout.strip()


def inspected(name: str) -> dict[str, Any]:
    """What the engine knows of an image or a container."""
    found: dict[str, Any] = json.loads(docker("inspect", name))[0]
    return found


def until(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> float:
    """The seconds until it does. Raises: Broken when it never does."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > patience:
            raise Broken(f"waited {patience:.0f} s for {what}")
        time.sleep(0.1)
    return time.monotonic() - begun


class Stack:
    """
    `docker compose` with free ports of this machine.

    It never builds; images that are not there are pulled, as compose does.
    """

    def __init__(self) -> None:
        self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.service = f"http://127.0.0.1:{self._ports['CAUSALREC_PORT']}"
        self.prometheus = f"http://127.0.0.1:{self._ports['PROMETHEUS_PORT']}"
        self.grafana = f"http://127.0.0.1:{self._ports['GRAFANA_PORT']}"

    def compose(self, *arguments: str) -> str:
        """What `docker compose ARGUMENTS` says. Raises: Broken."""
        ports = {name: str(port) for name, port in self._ports.items()}
        return docker("compose", "--project-name", PROJECT, "--profile", "*", *arguments, **ports)

    def up(self, *services: str) -> float:
        """The seconds until `services` and what they depend on are healthy. Raises: Broken."""
        begun = time.monotonic()
        self.compose("up", "--detach", "--no-build", *services)
        for service in services:
            until(partial(self.healthy, service), f"{service} to be healthy")
        return time.monotonic() - begun

    def container(self, service: str) -> dict[str, Any]:
        """What the engine knows of the container of `service`."""
        return inspected(f"{PROJECT}-{service}-1")

    def healthy(self, service: str) -> bool:
        """Whether its health check says so."""
        state = self.container(service)["State"]
        return bool(state["Status"] == "running" and state.get("Health", {}).get("Status") == "healthy")

    def run_inside(self, service: str, script: str, *arguments: str) -> str:
        """What a Python script says that runs in the container of `service`."""
        return self.compose("exec", "--no-TTY", service, "python", "-c", script, *arguments)

    def crash(self, service: str) -> float:
        """SIGKILL to its first process, as when it crashes; the seconds until it is healthy again, by itself."""
        before = self.container(service)
        begun, restarts, pid = time.monotonic(), before["RestartCount"], before["State"]["Pid"]
        where = ("--pid", "host", "--network", "none", "--user", "0", "--entrypoint", "python")
        docker("run", "--rm", *where, self.container("service")["Image"], "-c", KILL, str(pid))
        until(lambda: self.container(service)["RestartCount"] > restarts, f"{service} to be started again", 60)
        until(partial(self.healthy, service), f"{service} to be healthy again")
        return time.monotonic() - begun

    def logs(self) -> str:
        """The last lines of every container."""
        return self.compose("logs", "--no-color", "--tail", "25")

    def down(self) -> str:
        """Removes containers, networks and volumes; says so. Raises: Broken when something is left."""
        self.compose("down", "--volumes", "--timeout", "10", "--remove-orphans")
        label = f"label=com.docker.compose.project={PROJECT}"
        for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
            if left := docker(*kind, "--quiet", "--filter", label):
                raise Broken(f"docker {' '.join(kind)} still shows {left!r}")
        return "no container, volume or network"


def free_ports(count: int) -> Sequence[int]:
    """Different ports that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
