"""How every command of the service ends: done, with one clear line, or interrupted."""

import sys
from collections.abc import Callable

from causalrec.errors import CausalRecError


def ended(work: Callable[[], None], *, place: str, interrupted: str) -> int:
    """
    Runs `work`; returns the exit status: 0 done, 2 a clear error, 130 interrupted.

    Args:
        place: named where an operating system's error names no file.
        interrupted: what Ctrl-C leaves, in words.
    """
    try:
        work()
    except CausalRecError as error:
        return _said(f"error: {error}", 2)
    except OSError as error:
        return _said(f"error: {error.filename or place}: {error.strerror or error}", 2)
    except KeyboardInterrupt:
        return _said(f"interrupted; {interrupted}", 130)
    return 0


def _said(line: str, status: int) -> int:
    print(line, file=sys.stderr)  # noqa: T201 - a command's output
    return status
