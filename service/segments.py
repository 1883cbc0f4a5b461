"""Segments: the spool's files. Records framed by length and checksum; what a crash tears off was never promised."""

import contextlib
import logging
import os
import time
import zlib
from collections import deque
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from causalrec.files import sync, try_lock

log = logging.getLogger(__name__)

HEADER = Struct("<II")  # length of the record, its crc32
LOCK = "lock"


class Segment(NamedTuple):
    """A file of records, and how many of its bytes are whole records that were synced."""

    path: Path
    size: int


class Segments:
    """
    Segment files, oldest first. Not thread-safe: the spool works on it from one thread.

    `folder` has one folder per process, which holds the lock in it for as long as it lives. The folders of processes
    that are gone are taken over by `open`, and come first.

    Args:
        most: bytes from which on a new segment is begun.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._own = folder / f"{time.time_ns():020d}-{os.getpid()}"  # names sort by age
        self._most = most
        self._locks: dict[Path, int] = {}
        self._finished: deque[Segment] = deque()
        self._begun = 0
        self._handle: int | None = None  # of the segment being written, which is no longer among the finished
        self._writing = Segment(self._own, 0)
        self.size = 0
        """Bytes of all of them."""

    def open(self) -> None:
        """Makes the folder and takes over what dead processes left. Raises: OSError when the disk refuses."""
        self._folder.mkdir(parents=True, exist_ok=True)
        whole = try_lock(self._folder / LOCK, wait=True)  # else a folder could be taken over before it has its lock
        assert whole is not None  # noqa: S101 - it was waited for
        try:
            for left in sorted(path for path in self._folder.iterdir() if path.is_dir()):
                self._take_over(left)
            self._own.mkdir()
            own = try_lock(self._own / LOCK)
            assert own is not None  # noqa: S101 - nobody else knows the folder
            self._locks[self._own] = own
            sync(self._folder)
        finally:
            os.close(whole)

    def append(self, framed: bytes) -> None:
        """Adds whole framed records, durably. Raises: OSError when the disk refuses; then none of them is there."""
        try:
            if self._handle is None:
                self._begin()
            assert self._handle is not None  # noqa: S101 - just begun
            _write_all(self._handle, framed)
            os.fsync(self._handle)
        except OSError:
            self._give_up()
            raise
        self.size += len(framed)
        self._writing = self._writing._replace(size=self._writing.size + len(framed))
        if self._writing.size >= self._most:
            self.finish()

    def finish(self) -> None:
        """Ends the segment being written; the next record begins another."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        if self._writing.size:
            self._finished.append(self._writing)
        else:
            self._writing.path.unlink()
        os.close(handle)

    def oldest(self) -> tuple[Segment, list[bytes]] | None:
        """The oldest segment, which is not written to any more, and its records; None where there is nothing."""
        if not self._finished:
            self.finish()
        if not self._finished:
            return None
        segment = self._finished[0]
        records, whole = unframed(segment.path.read_bytes()[: segment.size])
        if whole < segment.size:
            log.warning("%s: %d bytes after its whole records dropped", segment.path, segment.size - whole)
        return segment, records

    def remove(self) -> None:
        """Removes the oldest segment, and a dead process' folder with its last one."""
        segment = self._finished.popleft()
        segment.path.unlink(missing_ok=True)
        self.size -= segment.size
        folder = segment.path.parent
        if folder != self._own and all(left.path.parent != folder for left in self._finished):
            self._remove_folder(folder)

    def close(self) -> None:
        """Closes every file and lets go of the locks: what is left is for the next process."""
        self.finish()
        if not any(left.path.parent == self._own for left in self._finished) and self._own in self._locks:
            self._remove_folder(self._own)
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()

    def _take_over(self, folder: Path) -> None:
        try:
            lock = try_lock(folder / LOCK)
        except FileNotFoundError:
            return  # whoever had taken it over has just finished it
        if lock is None:
            return  # its process lives
        self._locks[folder] = lock
        found = [Segment(path, path.stat().st_size) for path in sorted(folder.glob("*.log"))]
        if not found:
            self._remove_folder(folder)
            return
        self._finished.extend(found)
        self.size += sum(segment.size for segment in found)
        log.info("%s: %d segments of a process that is gone taken over", folder, len(found))

    def _begin(self) -> None:
        path = self._own / f"{self._begun:08d}.log"
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self._begun += 1
        self._writing = Segment(path, 0)
        sync(self._own)

    def _give_up(self) -> None:
        """After an error nothing more is written to a segment: what its pages hold is not known any more."""
        if self._handle is None:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._handle, self._writing.size)
        with contextlib.suppress(OSError):
            self.finish()

    def _remove_folder(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # another file there is not ours: the folder stays
            (folder / LOCK).unlink(missing_ok=True)
            folder.rmdir()
        os.close(self._locks.pop(folder))


def framed(record: bytes) -> bytes:
    """The record after its length and checksum. An empty one is refused: zeros at a torn end would read as such."""
    assert record  # noqa: S101
    return HEADER.pack(len(record), zlib.crc32(record)) + record


def unframed(content: bytes) -> tuple[list[bytes], int]:
    """The whole records from the start of `content` on, and how many bytes they take."""
    records: list[bytes] = []
    at = 0
    while at + HEADER.size <= len(content):
        length, checksum = HEADER.unpack_from(content, at)
        record = content[at + HEADER.size : at + HEADER.size + length]
        if not length or len(record) < length or zlib.crc32(record) != checksum:
            break
        records.append(record)
        at += HEADER.size + length
    return records, at


def _write_all(handle: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]
