"""Where bundles lie: the one that the path names, and those beside it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from causalrec.bundle import read_manifest
from causalrec.errors import BundleError
from causalrec.manifest import Manifest

MANIFEST = "manifest.json"

Signature = tuple[tuple[str, int, int, int], ...]
"""Name, size, time and inode of every file of a bundle: another one where any of them was written anew."""


class Entry(NamedTuple):
    """
    A bundle on the disk, links followed. manifest: None where it cannot be read, for the reason `problem`; that the
    files are what it says is seen when they are loaded.
    """

    path: Path
    signature: Signature
    manifest: Manifest | None
    problem: BundleError | None

    @property
    def id(self) -> str | None:
        """The content id that it says it has."""
        return None if self.manifest is None else self.manifest.content_id


class Registry:
    """
    Args:
        path: a bundle's folder, a link to one, or a folder of bundles. Of the latter it names the link that was made
            last, or where there is none, the newest bundle. The bundles beside the one named are the others that can
            be served.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[Path, Entry] = {}

    def pointed(self) -> Entry:
        """What the path names now; it may be no bundle."""
        if not self._is_folder_of_bundles():
            return self._entry(self._path)
        inside = list(_bundles(self._path))
        links = [each for each in inside if each.is_symlink()]
        newest = max(links, key=_made) if links else max(inside, key=lambda each: (_made(each / MANIFEST), each.name))
        return self._entry(newest)

    def entries(self) -> list[Entry]:
        """Every bundle that can be served from here, by path; the one named among them."""
        folder = self._path if self._is_folder_of_bundles() else self._path.parent
        found = {entry.path: entry for entry in (self._entry(each) for each in _bundles(folder))}
        named = self.pointed()
        found.setdefault(named.path, named)
        self._known = found
        return [found[path] for path in sorted(found)]

    def _is_folder_of_bundles(self) -> bool:
        return not (self._path / MANIFEST).exists() and any(_bundles(self._path))

    def _entry(self, path: Path) -> Entry:
        path = path.resolve()
        signature = _signature(path)
        known = self._known.get(path)
        if known is not None and known.signature == signature:
            return known
        try:
            entry = Entry(path, signature, read_manifest(path), None)
        except BundleError as error:
            entry = Entry(path, signature, None, error.with_traceback(None))
        self._known[path] = entry
        return entry


def _bundles(folder: Path) -> Iterator[Path]:
    """Folders of bundles, and links to some, right inside `folder`; what begins with a dot is being written."""
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        return
    yield from (each for each in inside if not each.name.startswith(".") and (each / MANIFEST).exists())


def _made(path: Path) -> int:
    """When, in nanoseconds; of a link itself, not of what it leads to."""
    try:
        return path.lstat().st_mtime_ns
    except OSError:  # gone meanwhile
        return 0


def _signature(path: Path) -> Signature:
    try:
        with os.scandir(path) as found:
            files = [(each.name, each.stat()) for each in found]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in files))
