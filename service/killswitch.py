"""Switches experiments off on this replica by a file, whether or not Redis can be reached."""

import logging
import time
from collections.abc import Callable, Container
from pathlib import Path

from service.experiments.assignment import ALL, NONE_OFF

log = logging.getLogger(__name__)

EVERY = 0.25  # seconds between two looks at the file


class KillSwitch:
    """
    The file: absent, nothing is off; empty, every experiment is; else those whose keys it has, one a line.

    A file that is there and cannot be read switches everything off.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked = -EVERY
        self._off: Container[str] = NONE_OFF
        self._content: str | None = None

    def off(self) -> Container[str]:
        """The keys of experiments that are switched off; for `assignment.decide`."""
        now = self._clock()
        if now - self._looked >= EVERY:
            self._looked = now
            self._look()
        return self._off

    def _look(self) -> None:
        """Reads the file, rather than asking when it changed: two writes within one tick of its clock both count."""
        try:
            content: str | None = self._path.read_text("utf-8")
        except FileNotFoundError:
            content = None
        except (OSError, UnicodeDecodeError) as error:
            content = ""
            if content != self._content:
                log.error("the kill-switch %s is there but cannot be read (%s)", self._path, error)  # noqa: TRY400
        if content == self._content:
            return
        self._content = content
        keys = frozenset((content or "").split())
        self._off = NONE_OFF if content is None else keys or ALL
        said = "nothing" if content is None else ", ".join(sorted(keys)) or "every experiment"
        log.warning("switched off on this replica by %s: %s", self._path, said)
