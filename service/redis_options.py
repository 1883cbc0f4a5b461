"""Where the service's Redis is: options that the commands beside the service share."""

import argparse
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from causalrec.errors import ConfigError
from service.state.connection import Connection
from service.state.keys import Keys

URL_FILE = "CAUSALREC_REDIS_URL_FILE"


def add_redis_options(command: argparse.ArgumentParser) -> None:
    """--redis-url, --data-dir, --prefix and --tenant, from the environment where they are not given."""
    for flag, default, text in (
        ("--redis-url", None, "the service's Redis; without one, the embedded one in its data directory"),
        ("--data-dir", "data", "the service's data directory"),
        ("--prefix", "causalrec", "of the keys in Redis"),
        ("--tenant", "default", "whose events"),
    ):
        variable = f"CAUSALREC_{flag[2:].replace('-', '_').upper()}"
        kind = Path if flag == "--data-dir" else str
        known = f" [{variable}, default {default}]" if default else f" [{variable}, or the file {URL_FILE} names]"
        command.add_argument(flag, type=kind, default=os.environ.get(variable, default), help=text + known)


@contextlib.asynccontextmanager
async def connected(options: argparse.Namespace) -> AsyncIterator[Connection]:
    """
    A connection to the Redis that the options name.

    Raises: ConfigError where there is no such data directory or no such file, and what Connection.open does.
    """
    url = options.redis_url or _from_file()
    if url is None and not options.data_dir.is_dir():
        raise ConfigError(
            f"{options.data_dir}: there is no such data directory; give the service's --data-dir, or its --redis-url"
        )
    connection = await Connection.open(
        url,
        data_dir=options.data_dir,
        durability="strict" if url is None else "everysec",  # a named server's is the service's matter
        keys=Keys(options.prefix, options.tenant),
    )
    try:
        yield connection
    finally:
        await connection.close()


def _from_file() -> str | None:
    """The URL in the file that the environment names, as containers mount it; None where it names none."""
    path = os.environ.get(URL_FILE)
    try:
        return Path(path).read_text().strip() if path else None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{URL_FILE}={path}: cannot be read ({error})") from error
