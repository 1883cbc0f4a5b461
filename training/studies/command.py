"""What every study's command line does: run, write the report whole, say what went wrong in one line."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from causalrec.errors import CausalRecError
from causalrec.files import write_atomically


def write_report(make: Callable[[], str], out: Path) -> int:
    """Writes what `make` returns to `out` and prints the path; returns the exit status: 0 done, 2 a clear error."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("training.run").setLevel(logging.WARNING)  # one line per cell is enough
    try:
        text = make()
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, text.encode())
    except CausalRecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(out)
    return 0
