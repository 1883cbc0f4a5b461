"""What is remembered of each user: the last time of each kind of act with each item, newest first, bounded."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from service.events import NO_STATE, Act, Event, EventType, RecordType, UserState
from service.state.connection import Connection

KEPT = 200
TTL_SECONDS = 90 * 24 * 3600
WRITE_BUDGET = 1.0

# One byte, as every act of every user is held in memory. Nothing else is an act.
TYPES: dict[bytes, EventType] = {b"c": "click", b"b": "cart", b"p": "purchase", b"r": "rating"}
CODES: dict[RecordType, bytes] = {name: code for code, name in TYPES.items()}


class UserStore:
    """
    Acts of users, in one sorted set per user: member = code of the type + item id, score = milliseconds since 1970.

    A repeated or late event changes nothing that a newer one said, so the same events in any order, any number of
    times, leave the same state (within `ttl_seconds`).

    Args:
        kept: acts per user; older ones are dropped.
        ttl_seconds: after so long without an act a user is forgotten.
    """

    def __init__(self, connection: Connection, kept: int = KEPT, ttl_seconds: int = TTL_SECONDS) -> None:
        self._connection = connection
        self._kept = kept
        self._ttl = ttl_seconds
        self._asked: dict[str, asyncio.Future[UserState]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, user_ids: Sequence[str]) -> list[UserState]:
        """
        What is remembered of each. Whoever asks in the same turn of the event loop shares a round trip.

        Raises: StateUnavailable.
        """
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._ask)
        waiting = [self._asked.setdefault(user_id, loop.create_future()) for user_id in user_ids]
        return [await asyncio.shield(future) for future in waiting]

    def _ask(self) -> None:
        asked, self._asked = self._asked, {}
        task = asyncio.get_running_loop().create_task(self._answer(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, asked: Mapping[str, "asyncio.Future[UserState]"]) -> None:
        try:
            states = await self._fetch(list(asked))
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            for future in asked.values():
                future.set_exception(error)
                future.exception()  # seen, also where nobody waits any more
        else:
            for future, state in zip(asked.values(), states, strict=True):
                future.set_result(state)

    async def _fetch(self, user_ids: Sequence[str]) -> list[UserState]:
        """One round trip, to each node concerned of a cluster."""
        keys = [self._connection.keys.user_acts(user_id) for user_id in user_ids]

        async def work(redis: Any) -> list[list[tuple[bytes, float]]]:
            if len(keys) == 1:
                return [await redis.zrange(keys[0], 0, self._kept - 1, desc=True, withscores=True)]
            async with redis.pipeline(transaction=False) as pipeline:
                for key in keys:
                    pipeline.zrange(key, 0, self._kept - 1, desc=True, withscores=True)
                found: list[list[tuple[bytes, float]]] = await pipeline.execute()
                return found

        return [
            UserState(tuple(_act(member, score) for member, score in found)) if found else NO_STATE
            for found in await self._connection.run(work)
        ]

    async def record(self, events: Sequence[Event]) -> None:
        """One round trip, to each node concerned of a cluster. Raises: StateUnavailable; repeating it is harmless."""
        users: dict[str, dict[bytes, int]] = {}
        for event in events:
            if code := CODES.get(event.type):
                acts, member = users.setdefault(event.user_id, {}), code + event.item_id.encode()
                acts[member] = max(round(event.timestamp * 1000), acts.get(member, 0))
        if not users:
            return

        async def work(redis: Any) -> None:
            async with redis.pipeline(transaction=False) as pipeline:
                for user_id, acts in users.items():
                    key = self._connection.keys.user_acts(user_id)
                    pipeline.zadd(key, acts, gt=True)
                    pipeline.zremrangebyrank(key, 0, -self._kept - 1)
                    pipeline.expire(key, self._ttl)
                await pipeline.execute()

        await self._connection.run(work, budget=WRITE_BUDGET)


def _act(member: bytes, score: float) -> Act:
    return Act(member[1:].decode(), TYPES[member[:1]], score / 1000)
