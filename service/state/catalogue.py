"""What was said of items, in Redis: written atomically by any replica, followed by all of them."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from causalrec.errors import StateUnavailable
from service.catalogue import CatalogueFull, ItemRecord
from service.state.connection import Connection

log = logging.getLogger(__name__)

MOST_ITEMS = 10_000
KEPT_CHANGES = 10_000  # who is further behind reads everything again
BLOCK_MS = 300
WRITE_BUDGET = 1.0  # seconds: who changes the catalogue waits for the disk rather than not knowing
FOLLOW_BUDGET = 3.0
RETRY = 0.2
APPLIED_WITHIN = 2.0
READ_AT_ONCE = 200  # records of some 5 kB each

Entries = list[tuple[bytes, dict[bytes, bytes]]]
Before = Literal["absent", "there", "deleted"]

# One value per item: a flag (0 shown, 1 hidden, 2 deleted) and what was said of it. Flag and content change apart from
# each other, so that of two writers at the same moment neither undoes the other. Counted, under an id that no item can
# have, are the items that are more than hidden or shown.
COUNT: Final = b""
WRITE: Final = """
local items, version, changes = KEYS[1], KEYS[2], KEYS[3]
local act, item, content, most, kept = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local function counted(value) return value and (value == '2' or #value > 1) end
local old = redis.call('HGET', items, item)
local flag = old and string.sub(old, 1, 1) or ''
local new = false
if act == 'forget' then
    if old ~= content then return {0, flag} end
elseif act == 'put' then
    new = (flag == '1' and '1' or '0') .. content
elseif flag == '2' then
    return {0, flag}
else
    new = act == 'delete' and '2' or (act == 'hide' and '1' or '0') .. (old and string.sub(old, 2) or '')
end
if counted(new) and not counted(old) then
    if act == 'put' and tonumber(redis.call('HGET', items, '') or 0) >= most then return {-1, flag} end
    redis.call('HINCRBY', items, '', 1)
elseif counted(old) and not counted(new) then
    redis.call('HINCRBY', items, '', -1)
end
if new then redis.call('HSET', items, item, new) else redis.call('HDEL', items, item) end
local now = redis.call('INCR', version)
redis.call('XADD', changes, 'MAXLEN', '~', kept, '*', 'item', item, 'version', now)
return {now, flag}
"""
POSITION: Final = "return {redis.call('GET', KEYS[1]), redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)}"


class Written(NamedTuple):
    """A change that is in Redis. version: the catalogue's with it; 0 where nothing had to change."""

    version: int
    before: Before


class Changes(NamedTuple):
    """What was said of items up to `version`. whole: nothing else is said of any; else since the last ones."""

    version: int
    records: Sequence[ItemRecord]
    gone: Sequence[str] = ()
    whole: bool = False


class CatalogueStore:
    """
    The live catalogue of one tenant, over one connection.

    Args:
        most_items: how many items may be new, changed or deleted; to PUT one more is refused. To hide or delete never
            is, and hidden items do not count.
    """

    def __init__(self, connection: Connection, *, most_items: int = MOST_ITEMS) -> None:
        keys = connection.keys
        self._connection = connection
        self._keys = (keys.items, keys.item_version, keys.item_changes)
        self._most = most_items
        self._version = -1  # nothing was read yet
        self._last = b"0-0"
        self._moved = asyncio.Condition()

    async def put(self, record: ItemRecord) -> Written:
        """
        Says of an item what `record` does; a hidden one stays hidden, a deleted one is there again.

        Raises: CatalogueFull, StateUnavailable.
        """
        written = await self._write("put", record.item_id, _content(record))
        if written.version < 0:
            raise CatalogueFull(self._most)
        return written

    async def patch(self, item_id: str, *, hidden: bool) -> Written:
        """Hides an item or shows it again; a deleted one stays deleted. Raises: StateUnavailable."""
        return await self._write("hide" if hidden else "show", item_id)

    async def delete(self, item_id: str) -> Written:
        """Deletes an item; that it was, is remembered. Raises: StateUnavailable."""
        return await self._write("delete", item_id)

    async def forget(self, record: ItemRecord) -> Written:
        """Nothing is said of the item any more, if it is still `record` that is. Raises: StateUnavailable."""
        flag = b"2" if record.deleted else b"1" if record.hidden else b"0"
        return await self._write("forget", record.item_id, flag + _content(record))

    async def applied(self, version: int, *, within: float | None = None) -> None:
        """
        Until what is followed here has come to `version`; 0: until everything was read once.

        Args:
            within: seconds; None is what a request may wait.
        Raises: StateUnavailable when it takes longer.
        """
        try:
            async with asyncio.timeout(APPLIED_WITHIN if within is None else within), self._moved:
                await self._moved.wait_for(lambda: self._version >= version)
        except TimeoutError as error:
            said = "the change is written, but did not come back in time; send it again"
            raise StateUnavailable(said if version else "the live catalogue could not be read yet") from error

    async def catch_up(self) -> None:
        """Until what is followed here has everything that is written by now. Raises: StateUnavailable."""
        version = await self._connection.run(lambda client: client.get(self._keys[1]), budget=WRITE_BUDGET)
        await self.applied(int(version or 0))

    async def follow(self, apply: Callable[[Changes], Awaitable[None]]) -> None:
        """
        Tells `apply` everything there is, then every change within a moment of its being written; never returns.

        Whatever could mean that a change was missed (an error, a gap in the versions, a trimmed stream, a version that
        went back because Redis lost data) makes it tell everything again. While Redis is away it tells nothing: what
        was told last goes on to hold.
        """
        away = False
        while True:
            try:
                await self._load(apply)
                if away:
                    log.info("the live catalogue is followed again, from version %d", self._version)
                away = False
                while await self._step(apply):
                    pass
            except StateUnavailable as error:
                if not away:
                    log.warning("the live catalogue cannot be followed (%s); what was last known of it holds", error)
                away = True
                await asyncio.sleep(RETRY)
            except Exception:
                log.exception("the live catalogue's changes were not applied; they are read again")
                await asyncio.sleep(RETRY)

    async def _write(self, act: str, item_id: str, content: bytes = b"") -> Written:
        arguments = (act, item_id.encode(), content, self._most, KEPT_CHANGES)
        version, flag = await self._connection.run(
            lambda client: client.eval(WRITE, len(self._keys), *self._keys, *arguments), budget=WRITE_BUDGET
        )
        before: dict[bytes, Before] = {b"": "absent", b"2": "deleted"}
        return Written(int(version), before.get(bytes(flag), "there"))

    async def _load(self, apply: Callable[[Changes], Awaitable[None]]) -> None:
        """Everything. Changes written meanwhile are told twice, as they come after the position in the stream."""
        items, *rest = self._keys
        version, last = await self._run(lambda client: client.eval(POSITION, len(rest), *rest))
        cursor, records = 0, []
        while True:
            cursor, found = await self._run(partial(_scan, items=items, cursor=cursor))
            records += [_record(item_id, value) for item_id, value in found.items() if item_id != COUNT]
            if not cursor:
                break
        await apply(Changes(int(version or 0), records, whole=True))
        await self._come_to(int(version or 0), last[0][0] if last else b"0-0")

    async def _step(self, apply: Callable[[Changes], Awaitable[None]]) -> bool:
        """The next changes, once there are any; False where some are missing."""
        items, version, changes = self._keys
        entries = await self._run(lambda client: _read(client, changes, self._last, block=BLOCK_MS))
        if not entries:
            if int(await self._run(lambda client: client.get(version)) or 0) == self._version:
                return True
            entries = await self._run(lambda client: _read(client, changes, self._last))
        if not entries:
            return False
        expected = range(self._version + 1, self._version + 1 + len(entries))
        if [int(fields[b"version"]) for _, fields in entries] != list(expected):
            return False
        ids = list(dict.fromkeys(fields[b"item"] for _, fields in entries))
        values = await self._run(lambda client: client.hmget(items, ids))
        said = [_record(item_id, value) for item_id, value in zip(ids, values, strict=True) if value is not None]
        gone = [item_id.decode() for item_id, value in zip(ids, values, strict=True) if value is None]
        await apply(Changes(expected[-1], said, gone))
        await self._come_to(expected[-1], entries[-1][0])
        return True

    async def _come_to(self, version: int, last: bytes) -> None:
        self._version, self._last = version, last
        async with self._moved:
            self._moved.notify_all()

    async def _run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await self._connection.run(work, budget=FOLLOW_BUDGET)


async def _scan(client: Any, items: str, cursor: int) -> tuple[int, dict[bytes, bytes]]:
    found: tuple[int, dict[bytes, bytes]] = await client.hscan(items, cursor, count=READ_AT_ONCE)
    return found


async def _read(client: Any, changes: str, after: bytes, block: int | None = None) -> Entries:
    """The entries after `after`; block: milliseconds to wait for the first."""
    found = await client.xread({changes: after}, count=READ_AT_ONCE, block=block)
    return found[0][1] if found else []


def _content(record: ItemRecord) -> bytes:
    """What is kept beside the flag: a line of JSON, then the feature's bytes; nothing where nothing is said."""
    if not record.attributes and record.feature is None:
        return b""
    head = {"attributes": dict(record.attributes), "backbone": record.backbone}
    return json.dumps(head, sort_keys=True).encode() + b"\n" + (record.feature or b"")


def _record(item_id: bytes, value: bytes) -> ItemRecord:
    """An item of which something unreadable is said is hidden: what it was told to be is not known."""
    flag, (head, _, feature) = value[:1], value[1:].partition(b"\n")
    try:
        said = json.loads(head) if head else {"attributes": {}, "backbone": None}
        attributes, backbone = dict(said["attributes"]), said["backbone"]
    except (ValueError, TypeError, KeyError):
        log.exception("what Redis holds of item %r is damaged; it is hidden: PUT or DELETE it", item_id.decode()[:80])
        return ItemRecord(item_id.decode(), {}, None, None, hidden=True, deleted=False)
    return ItemRecord(item_id.decode(), attributes, feature or None, backbone, flag == b"1", flag == b"2")
