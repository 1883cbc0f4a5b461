"""Which bundle is wanted, in Redis: said by one replica, followed by all of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from causalrec.errors import StateUnavailable
from service.state.connection import Connection

log = logging.getLogger(__name__)

KEPT: Final = 1000  # wishes; the newest one holds, the others say who wanted what before
BLOCK_MS: Final = 300
WRITE_BUDGET = 1.0  # seconds
FOLLOW_BUDGET = 3.0
RETRY: Final = 0.2
NEVER: Final = b"0-0"

# Only from the wish that was known: who was beaten decides again.
COMMIT: Final = """
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if (newest and newest[1] or '0-0') ~= ARGV[1] then return false end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'wish', ARGV[3], 'actor', ARGV[4])
"""


class Wish(NamedTuple):
    """
    What all replicas are to serve, by content ids.

    serving: None leaves each with the bundle that its own path names. pointer: what the path of the replica that said
    so named then: one whose path names another bundle when it starts was set up since, and goes by its path.
    """

    serving: str | None = None
    pointer: str | None = None
    canary: str | None = None
    share: float = 0.0


class Said(NamedTuple):
    """A wish and its place in the stream."""

    at: bytes
    wish: Wish


WISHES: Final = TypeAdapter(Wish)


class ModelStore:
    """The wishes of one tenant, over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._key = connection.keys.models

    async def newest(self) -> Said:
        """What holds; nothing is wanted before anybody said so. Raises: StateUnavailable."""
        found = await self._run(lambda client: client.xrevrange(self._key, count=1), FOLLOW_BUDGET)
        return Said(found[0][0], _wish(found[0][1])) if found else Said(NEVER, Wish())

    async def commit(self, before: Said, wish: Wish, actor: str) -> Said | None:
        """Says what is wanted from now on; None: somebody said something since `before`. Raises: StateUnavailable."""
        arguments = (before.at, KEPT, WISHES.dump_json(wish), actor.encode())
        at = await self._run(lambda client: client.eval(COMMIT, 1, self._key, *arguments), WRITE_BUDGET)
        return Said(at, wish) if at else None

    async def follow(self, changed: Callable[[], Awaitable[None]]) -> None:
        """Calls `changed` at once, and again within a moment of every new wish; never returns."""
        away, last = False, b""
        while True:
            try:
                now = (await self.newest()).at
                if now != last:
                    await changed()
                    last = now
                away = False
                await self._run(partial(_later, key=self._key, than=now), FOLLOW_BUDGET)
            except StateUnavailable as error:
                if not away:
                    log.warning("which bundle is wanted cannot be followed (%s); what is served stays", error)
                away = True
                await asyncio.sleep(RETRY)
            except Exception:
                log.exception("the bundle that is wanted was not served; it is asked for again")
                await asyncio.sleep(RETRY)

    async def _run(self, work: Callable[[Any], Awaitable[Any]], budget: float) -> Any:
        return await self._connection.run(work, budget=budget)


async def _later(client: Any, key: str, than: bytes) -> None:
    """Returns once there may be a newer entry."""
    await client.xread({key: than}, count=1, block=BLOCK_MS)


def _wish(fields: dict[bytes, bytes]) -> Wish:
    """Nothing is wanted by one that is damaged."""
    try:
        return WISHES.validate_json(fields.get(b"wish", b""))
    except ValidationError:
        log.exception("what Redis holds of the bundle that is wanted is damaged; each replica goes by its own path")
        return Wish()
