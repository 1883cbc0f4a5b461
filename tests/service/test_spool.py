"""The spool: what was written is there after any crash, in its order, and what was not is not half there."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from causalrec.errors import EventsRefused
from service.segments import HEADER
from service.spool import Spool

ROOT = Path(__file__).parents[2]
Records = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=12)


async def drained(spool: Spool) -> list[bytes]:
    """Every record in order, each file removed once it was read."""
    found: list[bytes] = []
    while (records := await spool.oldest()) is not None:
        found += records
        await spool.remove()
    return found


async def left_by(folder: Path, records: list[bytes], segment: int = 64) -> None:
    """A spool that wrote `records` one after the other and closed."""
    spool = Spool(folder, segment=segment)
    await spool.open()
    for record in records:
        await spool.write(record)
    await spool.close()


async def found_in(folder: Path) -> list[bytes]:
    """What the next process takes over."""
    spool = Spool(folder)
    await spool.open()
    try:
        return await drained(spool)
    finally:
        await spool.close()


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.log"))


def test_records_come_back_in_order_and_leave_nothing(tmp_path: Path) -> None:
    """Over many files; an empty spool has no files and no size, its process' folder goes with it."""

    async def scenario() -> list[bytes]:
        spool = Spool(tmp_path, segment=100)
        await spool.open()
        for number in range(50):
            await spool.write(b"record %d" % number)
        assert (len(files(tmp_path)) > 5, spool.size > 0) == (True, True)
        found = await drained(spool)
        assert (files(tmp_path), spool.size) == ([], 0)
        await spool.close()
        return found

    assert asyncio.run(scenario()) == [b"record %d" % number for number in range(50)]
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


@settings(max_examples=40, deadline=None)  # each waits for a disk
@example(records=[b"a"], cut=400, tail=bytes(16), zeros=True)
@given(records=Records, cut=st.integers(0, 400), tail=st.binary(max_size=20), zeros=st.booleans())
def test_a_torn_end_costs_only_what_was_not_whole(records: list[bytes], cut: int, tail: bytes, zeros: bool) -> None:
    """The last file cut anywhere, with anything after it: exactly the whole records before the cut, in order."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(left_by(folder, records))
        last = files(folder)[-1]
        whole = last.read_bytes()
        cut = min(cut, len(whole))
        last.write_bytes(whole[:cut] + (bytes(len(tail)) if zeros else b""))
        before = sum(path.stat().st_size for path in files(folder)[:-1])
        expected, at = [], 0
        for record in records:
            at += HEADER.size + len(record)
            if at <= before + cut:
                expected.append(record)

        assert asyncio.run(found_in(folder)) == expected


@settings(max_examples=40, deadline=None)  # each waits for a disk
@given(records=Records, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_given_out(records: list[bytes], at: int, bit: int) -> None:
    """What comes back is a beginning of what was written, however a file was damaged."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(left_by(folder, records, segment=1 << 20))
        (only,) = files(folder)
        content = bytearray(only.read_bytes())
        content[at % len(content)] ^= 1 << bit
        only.write_bytes(content)

        found = asyncio.run(found_in(folder))

        assert found == records[: len(found)]
        assert len(found) < len(records)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """A process that is killed as it writes: the next one has at least what the first one was told is written."""
    script = f"""
import asyncio
from pathlib import Path
from service.spool import Spool

async def main():
    spool = Spool(Path({str(tmp_path)!r}), segment=1000)
    await spool.open()
    async def writer(name):
        for number in range(1000000):
            await spool.write(b"%d %d" % (name, number))
            print(name, number, flush=True)
    await asyncio.gather(*(writer(name) for name in range(4)))

asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout
    told = [process.stdout.readline() for _ in range(200)]

    process.send_signal(signal.SIGKILL)
    told += process.stdout.read().splitlines(keepends=True)
    process.wait()
    process.stdout.close()

    found = [record.decode() for record in asyncio.run(found_in(tmp_path))]
    assert {line.strip() for line in told if line.endswith("\n")} <= set(found)
    for name in "0123":
        own = [record for record in found if record.startswith(name)]
        assert own == [f"{name} {number}" for number in range(len(own))]


def test_the_dead_are_taken_over_oldest_first_and_the_living_are_not(tmp_path: Path) -> None:
    """Their records come before ours; a spool whose process lives is left alone."""

    async def scenario() -> tuple[list[bytes], list[bytes]]:
        await left_by(tmp_path, [b"a", b"b"])
        living = Spool(tmp_path)
        await living.open()
        taken = await drained(living)
        await living.write(b"mine")
        await left_by(tmp_path, [b"c"])
        await left_by(tmp_path, [b"d"])
        other = Spool(tmp_path)
        await other.open()
        await other.write(b"e")
        found = await drained(other)
        await other.close()
        assert await drained(living) == [b"mine"]
        await living.close()
        return taken, found

    taken, found = asyncio.run(scenario())

    assert taken == [b"a", b"b"]
    assert found == [b"c", b"d", b"e"]


def test_writers_that_come_together_share_one_fsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """100 at once need two: the first one's, and one for those who came meanwhile."""
    synced: list[int] = []
    real = os.fsync

    def counted(handle: int) -> None:
        synced.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", counted)

    async def scenario() -> list[bytes]:
        spool = Spool(tmp_path)
        await spool.open()
        await spool.write(b"first")
        synced.clear()
        await asyncio.gather(*(spool.write(b"%d" % number) for number in range(100)))
        found = await drained(spool)
        await spool.close()
        return found

    assert asyncio.run(scenario()) == [b"first", *(b"%d" % number for number in range(100))]
    assert len(synced) <= 2


def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    """The message has both sizes; as soon as there is room it takes records again."""

    async def scenario() -> list[bytes]:
        spool = Spool(tmp_path, most=100)
        await spool.open()
        await spool.write(b"x" * 50)
        with pytest.raises(EventsRefused, match=r"holds 58 of at most 100 bytes"):
            await spool.write(b"y" * 50)
        first = await drained(spool)
        await spool.write(b"z" * 50)
        second = await drained(spool)
        await spool.close()
        return first + second

    assert asyncio.run(scenario()) == [b"x" * 50, b"z" * 50]


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_is_told_and_nothing_is_half_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of a record written, or its fsync failed: the caller is refused, earlier and later records are whole."""
    real: Callable[..., int] = getattr(os, call)

    def refuse(handle: int, content: bytes = b"") -> int:
        if call == "write":
            real(handle, content[: len(content) // 2])
        raise OSError(code, os.strerror(code))

    async def scenario() -> list[bytes]:
        spool = Spool(tmp_path)
        await spool.open()
        await spool.write(b"before")
        with monkeypatch.context() as patched:
            patched.setattr(os, call, refuse)
            with pytest.raises(EventsRefused, match=os.strerror(code)):
                await spool.write(b"refused")
        await spool.write(b"after")
        await spool.close()
        return await found_in(tmp_path)

    assert asyncio.run(scenario()) == [b"before", b"after"]


def test_a_writer_who_leaves_takes_nobody_along(tmp_path: Path) -> None:
    """A cancelled write may be kept or not; the others are."""

    async def scenario() -> list[bytes]:
        spool = Spool(tmp_path)
        await spool.open()
        leaving = asyncio.create_task(spool.write(b"leaving"))
        staying = asyncio.create_task(spool.write(b"staying"))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        found = await drained(spool)
        await spool.close()
        return found

    assert set(asyncio.run(scenario())) - {b"leaving"} == {b"staying"}
