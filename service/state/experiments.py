"""Experiments in Redis: changed by any replica, one change at a time, and followed by all of them."""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from causalrec.errors import CausalRecError, StateUnavailable
from service.experiments.model import NO_EXPERIMENTS, AuditEntry, Book, Experiment, Holdout
from service.experiments.report import Look
from service.state.connection import Connection
from service.state.experiment_records import ENTRIES, REVISION, Reader, fields

log = logging.getLogger(__name__)

KEPT_CHANGES = 100  # they only wake: who wakes reads everything
KEPT_AUDIT = 100_000
KEPT_LOOKS = 2000
LOOKS_TTL = 90 * 86_400
AUDIT_AT_ONCE = 1000
BLOCK_MS = 300
WRITE_BUDGET = 1.0  # seconds: who changes an experiment waits for the disk rather than not knowing
FOLLOW_BUDGET = 3.0
RETRY = 0.2
APPLIED_WITHIN = 2.0

# ARGV: the revision that the change was made from, how many changes and audit entries are kept, the audit entry, then
# for each field HSET or HSETNX, name, content.
COMMIT: Final = """
local book, changes, audit = KEYS[1], KEYS[2], KEYS[3]
local now = tonumber(redis.call('HGET', book, ':revision') or 0)
if now ~= tonumber(ARGV[1]) then return {0, now} end
for i = 5, #ARGV, 3 do redis.call(ARGV[i], book, ARGV[i + 1], ARGV[i + 2]) end
now = redis.call('HINCRBY', book, ':revision', 1)
redis.call('XADD', changes, 'MAXLEN', '~', ARGV[2], '*', 'revision', now)
redis.call('XADD', audit, 'MAXLEN', '~', ARGV[3], '*', 'entry', ARGV[4])
return {1, now}
"""
EVERYTHING: Final = "return {redis.call('HGETALL', KEYS[1]), redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)}"
LEAD: Final = """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class Outdated(CausalRecError):
    """Somebody else changed an experiment meanwhile: decide again by the newer book."""

    def __init__(self, expected: int, now: int) -> None:
        super().__init__(f"experiments were changed meanwhile (revision {now}, not {expected}); send it again")


class ExperimentStore:
    """The experiments of one tenant, over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._keys = connection.keys
        self._me = secrets.token_hex(8)
        self._reader = Reader()
        self._book = NO_EXPERIMENTS
        self._revision = -1  # nothing was read yet
        self._last = b"0-0"
        self._moved = asyncio.Condition()

    @property
    def book(self) -> Book:
        """What was followed last: it stays in force while Redis is away."""
        return self._book

    async def commit(self, expected_revision: int, change: Experiment | Holdout, entry: AuditEntry) -> int:
        """
        Writes a change that was made from the book of `expected_revision`, and who made it; both or neither.

        Returns: the new revision, for `applied`.
        Raises: Outdated; StateUnavailable, after which it may have been written.
        """
        known = 0
        if isinstance(change, Experiment) and expected_revision == self._revision:
            known = len(before.versions) if (before := self._book.experiments.get(change.key)) else 0
        arguments: list[Any] = [expected_revision, KEPT_CHANGES, KEPT_AUDIT, ENTRIES.dump_json(entry)]
        for name, content, once in fields(change, known):
            arguments += ["HSETNX" if once else "HSET", name, content]
        keys = (self._keys.experiments, self._keys.experiment_changes, self._keys.experiment_audit)
        done, now = await self._run(lambda client: client.eval(COMMIT, len(keys), *keys, *arguments))
        if not done:
            raise Outdated(expected_revision, now)
        return int(now)

    async def applied(self, revision: int, *, within: float | None = None) -> None:
        """
        Until what is followed here has come to `revision`; 0: until everything was read once.

        Args:
            within: seconds; None is what a request may wait.
        Raises: StateUnavailable when it takes longer.
        """
        try:
            async with asyncio.timeout(APPLIED_WITHIN if within is None else within), self._moved:
                await self._moved.wait_for(lambda: self._revision >= revision)
        except TimeoutError as error:
            said = "the change is written, but did not come back in time"
            raise StateUnavailable(said if revision else "the experiments could not be read yet") from error

    async def follow(self, apply: Callable[[Book], None]) -> None:
        """
        Tells `apply` the book, and again within a moment of every change; never returns.

        Also where the revision went back, as Redis lost data: what Redis has is what holds. While Redis is away it
        tells nothing: what was told last stays in force.
        """
        away = False
        while True:
            try:
                await self._load(apply)
                if away:
                    log.info("experiments are followed again, from revision %d", self._revision)
                away = False
                await self._until_changed()
            except StateUnavailable as error:
                if not away:
                    log.warning("experiments cannot be followed (%s); what was last known of them holds", error)
                away = True
                await asyncio.sleep(RETRY)
            except Exception:
                log.exception("experiments were not applied; they are read again")
                await asyncio.sleep(RETRY)

    async def audit(self, key: str | None, most: int) -> list[AuditEntry]:
        """The last changes, newest first, at most `most`; key None: of all experiments. Raises: StateUnavailable."""
        found: list[AuditEntry] = []
        end = "+"
        while True:
            read = await self._run(partial(_before, name=self._keys.experiment_audit, end=end))
            entries = [_entry(content) for _, content in read]
            found += [entry for entry in entries if entry and key in (None, entry.key)]
            if len(read) < AUDIT_AT_ONCE or len(found) >= most:
                return found[:most]
            end = f"({read[-1][0].decode()}"

    async def keep_report(self, key: str, report: bytes) -> None:
        """Keeps the last report of an experiment. Raises: StateUnavailable."""
        await self._run(lambda client: client.hset(self._keys.experiment_reports, key, report))

    async def kept_report(self, key: str) -> bytes | None:
        """What `keep_report` kept. Raises: StateUnavailable."""
        kept: bytes | None = await self._run(lambda client: client.hget(self._keys.experiment_reports, key))
        return kept

    async def looks(self, key: str, series: int) -> list[Look]:
        """The last looks at a series, oldest first. Raises: StateUnavailable."""
        name = self._keys.experiment_looks(key, series)
        kept = await self._run(lambda client: client.lrange(name, 0, -1))
        return [look for content in kept if (look := _look(content))]

    async def add_look(self, key: str, series: int, look: Look) -> None:
        """Adds a look; the oldest go, and all of them some months after the last. Raises: StateUnavailable."""
        name = self._keys.experiment_looks(key, series)

        async def work(client: Any) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.rpush(name, look.model_dump_json())
                pipeline.ltrim(name, -KEPT_LOOKS, -1)
                pipeline.expire(name, LOOKS_TTL)
                await pipeline.execute()

        await self._run(work)

    async def lead(self, name: str, seconds: float) -> bool:
        """
        Whether this replica, called `name`, is the one that looks after experiments, for `seconds` from now on.

        Who leads and asks again in time goes on to. Raises: StateUnavailable: then it must not act as the leader.
        """
        arguments = (self._keys.experiment_lead, f"{name}/{self._me}", max(1, round(seconds * 1000)))
        return bool(await self._run(lambda client: client.eval(LEAD, 1, *arguments)))

    async def _load(self, apply: Callable[[Book], None]) -> None:
        keys = (self._keys.experiments, self._keys.experiment_changes)
        pairs, last = await self._run(lambda client: client.eval(EVERYTHING, 2, *keys), budget=FOLLOW_BUDGET)
        book = self._reader.book(dict(zip(pairs[::2], pairs[1::2], strict=True)))
        if book.revision < self._revision:
            log.warning("experiments went back from revision %d to %d: Redis lost data", self._revision, book.revision)
        self._book = book
        apply(book)
        self._revision, self._last = book.revision, last[0][0] if last else b"0-0"
        async with self._moved:
            self._moved.notify_all()

    async def _until_changed(self) -> None:
        """Returns once the book in Redis may be another."""
        book, changes = self._keys.experiments, self._keys.experiment_changes
        while not await self._run(
            lambda client: client.xread({changes: self._last}, count=1, block=BLOCK_MS), budget=FOLLOW_BUDGET
        ):
            revision = await self._run(lambda client: client.hget(book, REVISION), budget=FOLLOW_BUDGET)
            if int(revision or 0) != self._revision:
                return

    async def _run(self, work: Callable[[Any], Awaitable[Any]], *, budget: float | None = None) -> Any:
        return await self._connection.run(work, budget=WRITE_BUDGET if budget is None else budget)


async def _before(client: Any, name: str, end: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of the stream up to `end`, newest first."""
    found: list[tuple[bytes, dict[bytes, bytes]]] = await client.xrevrange(name, end, "-", count=AUDIT_AT_ONCE)
    return found


def _entry(content: dict[bytes, bytes]) -> AuditEntry | None:
    """None where it is damaged."""
    try:
        return ENTRIES.validate_json(content.get(b"entry", b""))
    except ValidationError:
        return None


def _look(content: bytes) -> Look | None:
    """None where it is damaged, or of another release."""
    try:
        return Look.model_validate_json(content)
    except ValidationError:
        return None
