"""The kill-switch of one replica: a file, obeyed within a quarter of a second, Redis or not."""

import os
from pathlib import Path

import pytest

from service import killswitch
from service.experiments.assignment import decide
from service.killswitch import KillSwitch
from tests.service.experiments.books import config, running


class Clock:
    """Time that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def later(self) -> None:
        self.now += killswitch.EVERY


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "experiments.off"


@pytest.fixture
def switch(path: Path, clock: Clock) -> KillSwitch:
    return KillSwitch(path, clock)


def off(switch: KillSwitch) -> list[str]:
    return [key for key in ("a", "b", "c") if key in switch.off()]


def test_without_a_file_nothing_is_off(switch: KillSwitch) -> None:
    """The usual case."""
    assert off(switch) == []


def test_an_empty_file_is_everything(switch: KillSwitch, path: Path) -> None:
    """`touch` is all that an operator must know; blank lines say nothing."""
    path.write_text("\n  \n")

    assert off(switch) == ["a", "b", "c"]


def test_a_file_names_what_is_off(switch: KillSwitch, path: Path) -> None:
    """A key per line, whatever blanks are around it."""
    path.write_text("a\r\n\n  c  ")

    assert off(switch) == ["a", "c"]


def test_every_change_of_the_file_is_followed(
    switch: KillSwitch, path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Made, replaced by one of the same size and time, emptied, removed: each is said once."""
    seen = [off(switch)]
    for content in ("a", "b", "", None, None):
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(content)
            os.utime(path, (1, 1))
        clock.later()
        seen.append(off(switch))

    assert seen == [[], ["a"], ["b"], ["a", "b", "c"], [], []]
    assert [record.getMessage().rsplit(": ")[-1] for record in caplog.records] == [
        "a",
        "b",
        "every experiment",
        "nothing",
    ]


def test_the_file_is_read_four_times_a_second_at_most(switch: KillSwitch, path: Path, clock: Clock) -> None:
    """However often somebody asks."""
    before = off(switch)
    path.touch()
    clock.now += killswitch.EVERY * 0.99

    assert before == off(switch) == []
    assert killswitch.EVERY <= 0.25


@pytest.mark.parametrize("damage", ["bytes", "folder"])
def test_a_file_that_cannot_be_read_is_everything(
    switch: KillSwitch, path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """Somebody wanted something off: better all than the wrong ones. It is said once."""
    if damage == "bytes":
        path.write_bytes(b"\xff\xfe")
    else:
        path.mkdir()

    first = off(switch)
    clock.later()

    assert first == off(switch) == ["a", "b", "c"]
    assert len([record for record in caplog.records if "cannot be read" in record.message]) == 1


def test_who_is_switched_off_gets_the_default(switch: KillSwitch, path: Path, clock: Clock) -> None:
    """What the switch says is what decisions are asked with."""
    book = running(config("a"))
    path.write_text("b")
    another = decide(book, "ann", switch.off())
    path.write_text("a")
    clock.later()

    assert (another is None, decide(book, "ann", switch.off())) == (False, None)
