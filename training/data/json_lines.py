"""JSON lines, gzipped or not, one object at a time; also the lines of Python dicts that old releases hold."""

import ast
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from causalrec.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_NO_LITERAL = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)

Line = tuple[int, dict[str, Any] | str]


def read_json_lines(path: Path, *, quiet: bool = False) -> Iterator[Line]:
    """
    Every line of `path` that is not blank: its number from 1, and its object, or in words why it holds none.

    A line that is no JSON but begins as a Python dict with single quotes is read as one: so are the metadata of 2014.

    Args:
        quiet: no progress bar.
    Raises: DataError where the file cannot be read, or is cut off or damaged as a gzip file.
    """
    number = 0
    try:
        with (
            path.open("rb") as raw,
            tqdm(total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, delay=2, disable=quiet) as bar,
        ):
            for number, line in enumerate(_unpacked(raw), 1):
                bar.update(raw.tell() - bar.n)
                if line.strip():
                    yield number, _parsed(line)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: is a gzip file cut off or damaged after line {number}; copy it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name the file of JSON lines") from error


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    zipped = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    raw.seek(0)
    return gzip.open(raw) if zipped else raw  # type: ignore[return-value]  # GzipFile is read like any file


def _parsed(line: bytes) -> dict[str, Any] | str:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return f"is not UTF-8 at byte {error.start + 1}"
    try:
        found = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        if not text.lstrip().startswith("{'"):
            return f"is not JSON ({error})"
        try:
            found = ast.literal_eval(text.strip())
        except _NO_LITERAL as inner:
            return f"is neither JSON nor a Python dict ({inner})"
    return found if isinstance(found, dict) else f"holds {type(found).__name__}, not an object"
