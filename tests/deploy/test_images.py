"""The Dockerfile and docker-compose.yml, as public tools see them; whether they run, `make compose-test` finds out."""

import re
import shutil
import subprocess

import pytest

from tests.deploy.conftest import tool
from tests.deploy.manifests import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"


def test_hadolint_finds_nothing() -> None:
    """Each rule that is left out says so in its line of the Dockerfile."""
    said = run(tool("hadolint"), "--no-color", str(DOCKERFILE))

    assert said.returncode == 0, said.stdout


def test_the_base_image_is_pinned() -> None:
    """Its tag is in an ARG, where checkov does not see it."""
    base = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)

    assert base
    assert re.fullmatch(r"python:3\.11[a-z0-9.-]*(@sha256:[0-9a-f]{64})?", base[1])


@pytest.mark.parametrize("profiles", [(), ("gpu",), ("observability",), ("load",), ("*",)])
def test_compose_understands_its_file(profiles: tuple[str, ...]) -> None:
    """With no profile, with each, and with all of them."""
    if shutil.which("docker") is None or run("docker", "compose", "version").returncode:
        pytest.skip("docker compose is not installed: docker-compose.yml is not checked here")
    flags = [word for profile in profiles for word in ("--profile", profile)]

    said = run("docker", "compose", *flags, "config", "--quiet")

    assert (said.returncode, said.stderr) == (0, "")


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    """In the project's folder."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
