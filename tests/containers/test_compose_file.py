"""docker-compose.yml as it is read: what holds of every service, and what .env.example says of its variables."""

import re
from typing import Any

import pytest
import yaml

from tests.containers.stack import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
VARIABLES = dict(re.findall(r"(?<!\$)\$\{(\w+):-([^}]*)\}", TEXT))
JOBS = {"trainer", "load"}  # which end by themselves


def test_each_variable_is_explained_with_its_default() -> None:
    """.env.example names every variable that is read and no other; each has its default, and a comment above."""
    example = (ROOT / ".env.example").read_text()

    explained = dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE))
    bare = re.findall(r"(?<!\$)\$(?:\{(\w+)[^:\w]|(\w+))", TEXT)

    assert explained == VARIABLES
    assert not bare, "a variable without a default"
    assert not re.search(r"(^|\n)\n\w+=", example), "a variable without a comment above"


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_can_do_no_more_than_it_must(name: str) -> None:
    """Read-only root, no capabilities, no new privileges, limits of CPU, memory and processes, bounded logs."""
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} == limits.keys()
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_what_serves_is_watched_and_started_again(name: str) -> None:
    """A health check and a restart policy; a job ends and stays so."""
    service = SERVICES[name]

    assert service["restart"] == ("no" if name in JOBS else "unless-stopped")
    assert ("healthcheck" in service) == (name not in JOBS)


def test_what_depends_on_another_waits_until_it_is_healthy() -> None:
    """service_healthy for what serves, service_completed_successfully for a job; never merely started."""
    conditions = {
        (name, other): how["condition"]
        for name, service in SERVICES.items()
        for other, how in service.get("depends_on", {}).items()
    }

    assert len(conditions) == 7
    for (_, other), condition in conditions.items():
        assert condition == ("service_completed_successfully" if other in JOBS else "service_healthy")


def test_other_machines_reach_no_port() -> None:
    """Every published port names 127.0.0.1, and Redis publishes none."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert "ports" not in SERVICES["redis"]
    assert SERVICES["redis"]["networks"] == ["state"]
    assert COMPOSE["networks"]["state"]["internal"] is True


def test_images_are_pinned() -> None:
    """Ours by the tag that `make images` gives; others' to the patch version."""
    others = [service["image"] for service in SERVICES.values() if "build" not in service]

    assert len(others) == 5
    assert all(re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", image) for image in others)


def test_what_strict_promises_redis_keeps() -> None:
    """The defaults of the service's durability and of Redis' appendfsync go together (docs/operations.md)."""
    assert VARIABLES["CAUSALREC_DURABILITY"] == "strict"
    assert VARIABLES["REDIS_APPENDFSYNC"] == "always"


def test_secrets_are_files() -> None:
    """No environment variable and no command holds a password; the files that come along are there."""
    said = [str(service.get(part, "")) for service in SERVICES.values() for part in ("environment", "command")]
    files = [VARIABLES[name] for name in ("REDIS_URL_FILE", "GRAFANA_PASSWORD_FILE")]
    contents = [(ROOT / file).read_text().strip() for file in files]

    assert COMPOSE["secrets"].keys() == {"redis_url", "grafana_password"}
    assert all(content not in text and "laptop" not in text for text in said for content in contents)
    assert re.fullmatch(r"redis://:[\w-]+@redis:6379/0", contents[0])


def test_what_is_mounted_from_the_repository_is_there() -> None:
    """A folder that is missing would be made, empty and by root, where the engine runs."""
    mounts = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./")
    ]

    assert len(mounts) >= 7
    assert [mount for mount in mounts if not (ROOT / mount).exists()] == []
