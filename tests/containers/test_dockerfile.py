"""The Dockerfile and what goes with it: what must agree with other files. Linters: tests/deploy/test_images.py."""

import re
import shutil
import subprocess
import tomllib

import pytest

from causalrec import __version__
from tests.containers.stack import ROOT

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
IGNORED = {"DL3008", "DL3013"}  # each with its reason in the line above


def test_each_rule_that_is_ignored_has_a_reason() -> None:
    """A comment stands above every ignore."""
    lines = DOCKERFILE.splitlines()

    places = [number for number, line in enumerate(lines) if "hadolint" in line]

    assert {rule for at in places for rule in re.findall(r"DL\d+", lines[at])} == IGNORED
    assert all(lines[at - 1].startswith("# ") and "ignore" not in lines[at - 1] for at in places)


def test_versions_agree() -> None:
    """The image's version is the package's; its torch is the Makefile's and that of constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    torch = re.findall(r"^ARG TORCH=(.*)$", DOCKERFILE, re.MULTILINE)

    assert set(re.findall(r"^ARG VERSION=(.*)$", DOCKERFILE, re.MULTILINE)) == {project["version"]} == {__version__}
    assert f"TORCH := {torch[0]}\n" in (ROOT / "Makefile").read_text()
    assert torch[0] in (ROOT / "constraints.txt").read_text().splitlines()


def test_every_stage_that_runs_is_nobody_in_particular_and_in_exec_form() -> None:
    """uid 10001, a list as entry point, and nothing that a shell would have to expand."""
    for target in ("service", "trainer"):
        stage = DOCKERFILE[DOCKERFILE.index(f"FROM base AS {target}") :]
        stage = stage.split("\nFROM ")[0]

        assert "\nUSER 10001:10001\n" in stage
        assert re.search(r'\nENTRYPOINT \["python", ', stage)


def test_the_context_is_only_what_is_copied() -> None:
    """.dockerignore lets in what a COPY of the Dockerfile names, and nothing else: no tests, no .git, no secrets."""
    allowed = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))

    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for name in line.split()[:-1]
    }

    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert copied == allowed


@pytest.mark.parametrize("script", ["docker/images.sh", "docker/redis/start.sh", "tests/containers/standins.sh"])
def test_scripts_can_be_run(script: str) -> None:
    """They are executable, and their shell can read them."""
    path = ROOT / script
    shell = path.read_text().splitlines()[0].split("/")[-1].split()[-1]

    assert path.stat().st_mode & 0o111
    assert subprocess.run([shutil.which(shell) or shell, "-n", path], check=False).returncode == 0
