"""One Markdown table per run, headed by the code and the machine it was measured with: ready for docs/LOG.md."""

import argparse
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import torch

from training.export import code_version

PACKAGES = ("torch", "numpy", "faiss-cpu", "faiss-gpu", "numba", "fastapi", "uvicorn")


class Report:
    """
    A table that prints each row as it is known, and keeps all of it for `--out`.

    Args:
        title: the table's heading.
        command: what to type to measure the same again.
        header: the columns.
        out: a file that gets the finished table too.
    """

    def __init__(self, title: str, command: str, header: Sequence[str], out: Path | None = None) -> None:
        self._lines: list[str] = []
        self._out = out
        self._print(f"### {title}\n`{command}`\n\n{machine()}\n")
        self._print(row(header))
        self._print("|" + "---|" * len(header))

    def add(self, *cells: object) -> None:
        """One row."""
        self._print(row(cells))

    def note(self, text: str) -> None:
        """A line below the table (or between rows, where it ends it)."""
        self._print(f"\n{text}")

    def _print(self, text: str) -> None:
        print(text, flush=True)
        self._lines.append(text)
        if self._out is not None:  # row by row: a run that is stopped leaves what it measured
            self._out.write_text("\n".join(self._lines) + "\n")


def row(cells: Sequence[object]) -> str:
    """One line of a Markdown table; None is an empty cell."""
    return "| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"


def machine() -> str:
    """Code, processor, threads and versions in one line."""
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    count = torch.get_num_threads()
    threads = f"{count} torch thread{'s' if count > 1 else ''}"
    hardware = f"{processor()}, {os.cpu_count()} cores, {threads}"
    return f"Code {code_version()}; {hardware}; Python {platform.python_version()}, {versions}."


def processor() -> str:
    """The processor's name with the widest vector instructions it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = facts.get("flags", "").split()
    vectors = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    family = f"family {facts['cpu family']}" if "cpu family" in facts else ""
    return " ".join(filter(None, (facts.get("model name", platform.machine()), family, vectors)))


def command_line(module: str, doc: str | None) -> argparse.ArgumentParser:
    """The parser every benchmark starts from: its docstring, and `--out`."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=doc)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there too")
    return parser


def ms(seconds: float) -> str:
    """Milliseconds with three significant digits, e.g. 0.152, 3.31, 32.1."""
    value = seconds * 1e3
    digits = 3 if value < 1 else 2 if value < 10 else 1
    return f"{value:.{digits}f}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
