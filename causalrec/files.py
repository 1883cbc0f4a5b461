"""Files that are complete or absent: temporary name, fsync, rename; and locks that die with their process."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """
    `path` holds `content` afterwards, or what it held before: nothing in between survives a kill or a crash.

    Args:
        private: nobody but its owner can read it, at no moment.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if private:
            temporary.touch(0o600)
        _write_synced(temporary, content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_directory_atomically(directory: Path, files: dict[str, bytes]) -> None:
    """
    A directory with `files` appears at `directory` whole, in one rename.

    Raises: FileExistsError when something is there already.
    """
    with new_directory(directory) as temporary:
        for name, content in files.items():
            (temporary / name).write_bytes(content)


@contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """
    Gives an empty directory to fill with files; once filled it appears at `directory` whole, in one rename.

    Raises: FileExistsError when something is there already; then, as after any error inside, nothing is left behind.
    """
    parent = directory.parent
    parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(parent)
    temporary = parent / f".{directory.name}.{os.getpid()}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        sync(temporary)
        if directory.exists():
            raise FileExistsError(directory)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(parent)


def link_atomically(link: Path, target: str) -> None:
    """`link` becomes a symbolic link to `target`, replacing the link that was there. Raises OSError if it is a file."""
    if link.exists() and not link.is_symlink():
        raise FileExistsError(link)
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync(link.parent)


def remove_leftovers(parent: Path) -> None:
    """Removes what killed writers left in `parent`: temporary names whose process is gone."""
    for leftover in parent.glob(".*.*.tmp"):
        owner = leftover.name.split(".")[-2]
        if owner.isdigit() and _alive(int(owner)):
            continue
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Makes a file's content, or the names in a directory, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def try_lock(path: Path, *, wait: bool = False) -> int | None:
    """
    Locks the file `path`, made where it is not there, for as long as the handle returned is open (`os.close` ends it).

    Args:
        wait: until whoever holds it lets go.
    Returns: the handle; None where somebody else holds the lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle


def _write_synced(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    sync(path)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
