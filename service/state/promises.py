"""What a named server must be for our promises to hold: its version, and that what it accepted stays."""

import logging
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

from service.state.binary import OLDEST, parse_version
from service.state.child import Durability

log = logging.getLogger(__name__)


async def broken(client: Any, durability: Durability) -> list[str]:
    """
    The settings of the server (each primary of a cluster) under which `durability="strict"` would be untrue, in words.

    What is only doubtful is logged: an old version, settings that may not be read, everything lost at a restart.
    """
    for info in await _each(client, "INFO", "server"):
        version = info.get("redis_version", "")
        if version and parse_version(version) < OLDEST:
            log.warning("Redis %s is older than %s: some commands will fail", version, ".".join(map(str, OLDEST)))
    problems: list[str] = []
    persistence, memory = await _each(client, "CONFIG GET", "append*"), await _each(client, "CONFIG GET", "maxmemory*")
    for config in ({**one, **other} for one, other in zip(persistence, memory, strict=True)):
        if not config:
            log.warning("Redis does not show its settings: whether it keeps what it accepted cannot be checked")
        elif durability == "strict":
            problems += _unkept(config)
        elif config["appendonly"] != "yes":
            log.warning("Redis has appendonly=no: what it accepted is gone when it restarts")
    return list(dict.fromkeys(problems))


def _unkept(config: dict[str, str]) -> list[str]:
    problems = [
        f"{name}={config.get(name)} (strict needs {wanted})"
        for name, wanted in (("appendonly", "yes"), ("appendfsync", "always"))
        if config.get(name) != wanted
    ]
    policy = config.get("maxmemory-policy", "noeviction")
    if config.get("maxmemory", "0") != "0" and policy != "noeviction":
        problems.append(f"maxmemory-policy={policy} (strict needs noeviction: others drop what was accepted)")
    return problems


async def _each(client: Any, *command: str) -> list[dict[str, str]]:
    """A command's answer of every server that writes go to; empty where the server refuses it."""
    servers: list[Any] = [client]
    if isinstance(client, RedisCluster):
        servers = (await client.initialize()).get_primaries()
    answers = []
    for server in servers:
        try:
            answers.append(_texts(await server.execute_command(*command)))
        except ResponseError:
            answers.append({})
    return answers


def _texts(answer: dict[Any, Any]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in answer.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
