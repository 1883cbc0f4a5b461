"""What every study's command line does: run, write the report whole, say what went wrong in one line."""

import argparse
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


def quoted(study: str, options: argparse.Namespace, *shown: str) -> str:
    """The command of a report as a reader would type it: those `shown` of its options, no folder of this machine."""
    words = [f"python -m training.studies.{study}"]
    for name in shown:
        value = getattr(options, name)
        if isinstance(value, Path) and value.is_absolute():
            value = value.name
        if value is not None:
            words += [f"--{name}", *(f"{each:g}" if isinstance(each, float) else str(each) for each in _each(value))]
    return " ".join(words)


def _each(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]
