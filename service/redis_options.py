"""Where the service's Redis is: options that the commands beside the service share."""

import argparse
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from causalrec.errors import ConfigError
from service.state.connection import Connection
from service.state.keys import Keys


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
        known = f" [{variable}, default {default}]" if default else f" [{variable}]"
        command.add_argument(flag, type=kind, default=os.environ.get(variable, default), help=text + known)


@contextlib.asynccontextmanager
async def connected(options: argparse.Namespace) -> AsyncIterator[Connection]:
    """
    A connection to the Redis that the options name.

    Raises: ConfigError where there is no such data directory, and what Connection.open does.
    """
    if options.redis_url is None and not options.data_dir.is_dir():
        raise ConfigError(
            f"{options.data_dir}: there is no such data directory; give the service's --data-dir, or its --redis-url"
        )
    connection = await Connection.open(
        options.redis_url,
        data_dir=options.data_dir,
        durability="strict" if options.redis_url is None else "everysec",  # a named server's is the service's matter
        keys=Keys(options.prefix, options.tenant),
    )
    try:
        yield connection
    finally:
        await connection.close()
