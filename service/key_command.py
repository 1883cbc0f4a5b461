"""`python -m service keys`: API keys, made, listed and removed."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from causalrec.errors import ConfigError
from causalrec.files import try_lock, write_atomically
from service.api_keys import HEAD, NAME, NAMED, ROLES, issue, parse, read, text_of
from service.command import ended

VARIABLE = "CAUSALREC_API_KEYS_FILE"
EPILOG = f"""\
The file has a line per key: its name, its roles, its sha256; never the key itself. A running service takes a changed
file over with the next request that needs a key, a quarter of a second late at most. To replace a key without a gap,
add another under a new name, give it to whoever uses the old one, then remove that. The file belongs to whoever wrote
it last and is readable to nobody else (mode 0600): run this as the user that the service runs as.

Roles: {", ".join(ROLES)}. docs/api.md says what each may do; admin may do everything.
"""


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m service keys`."""
    where = os.environ.get(VARIABLE)
    command = argparse.ArgumentParser(
        prog="python -m service keys",
        description="API keys of the service, in the file that its setting api_keys_file names.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--file", type=Path, default=where, required=not where, help=f"the file of keys [default: {VARIABLE}]"
    )
    commands = command.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = commands.add_parser("add", parents=[shared], help="make a key and print it, this once")
    add.add_argument("name", metavar="NAME", help="whose key; what audit logs say")
    add.add_argument("--role", action="append", required=True, choices=ROLES, help="what it may do; can be repeated")
    commands.add_parser("list", parents=[shared], help="names and roles")
    remove = commands.add_parser("remove", parents=[shared], help="make a key invalid")
    remove.add_argument("name", metavar="NAME", help="whose key")
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command; 0 done, 2 a clear error, 130 interrupted."""
    options = parser().parse_args(arguments)

    def work() -> None:
        if options.command == "list":
            _list(options.file)
        else:
            _changed(options)

    return ended(work, place=str(options.file), interrupted="the file is as it was, or changed whole")


def _list(file: Path) -> None:
    for key in read(file):
        print(f"{key.name:<24} {', '.join(sorted(key.roles))}")  # noqa: T201


def _changed(options: argparse.Namespace) -> None:
    """Adds or removes; one at a time, so that of two at once neither is lost."""
    file: Path = options.file.resolve()  # a link stays one
    lock = try_lock(file.with_name(f".{file.name}.lock"), wait=True)
    assert lock is not None  # noqa: S101 - it was waited for
    try:
        (_add if options.command == "add" else _remove)(file, options)
    finally:
        os.close(lock)


def _add(file: Path, options: argparse.Namespace) -> None:
    if not NAME.fullmatch(options.name):
        raise ConfigError(f"the name {options.name!r} {NAMED}")
    text = text_of(file)
    text = HEAD if text is None else text
    if any(key.name == options.name for key in parse(text, file)):
        raise ConfigError(f"{file}: there is a key {options.name!r}; remove it first, or take another name")
    secret, key = issue(options.name, options.role)
    between = "\n" if text and not text.endswith("\n") else ""
    write_atomically(file, f"{text}{between}{key.line()}".encode(), private=True)
    print(secret)  # noqa: T201
    print(f"{key.name} is in {file}; the key above is nowhere, and not shown again", file=sys.stderr)  # noqa: T201


def _remove(file: Path, options: argparse.Namespace) -> None:
    if all(key.name != options.name for key in read(file)):
        raise ConfigError(f"{file}: there is no key {options.name!r}; `python -m service keys list` shows them")
    lines = file.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.partition("#")[0].split()[:1] != [options.name]]
    write_atomically(file, "".join(kept).encode(), private=True)
    print(f"{options.name} is removed from {file}", file=sys.stderr)  # noqa: T201
