"""The event log: a stream of what was accepted and not exported yet, and the ids that were accepted lately."""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from causalrec.errors import EventLogFull
from service.events import Event, packed
from service.state.connection import Connection
from service.state.tallies import OpenNow, planned
from service.state.tally_script import TALLY

MOST = 5_000_000
CHUNK = 1000  # events per script: some 5 to 10 ms during which Redis does nothing else, up to 25 ms where it tallies
DAY = 86_400
REMEMBERED = 7  # days before today whose ids are looked at
OWN = 1 + REMEMBERED + 2  # keys that are the log's own: one day ahead, too

# KEYS: the stream; today's ids; the ids of other days; those of tallies. ARGV: most events in the stream, seconds that
# a day's ids are kept, what TALLY reads, then id and content of each event. Answers 1 for what is new, 0 for a repeat;
# or, with nothing done, how many events there are, where the new ones have no room. Whatever can fail does so before
# the first write, so that an id is kept exactly where its event is.
FIND = (
    f"local OWN = {OWN}"
    + """
local length = redis.call('XLEN', KEYS[1])
local ids, answer, fresh = {}, {}, {}
for i = 4, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
for k = 2, OWN do
  if redis.call('EXISTS', KEYS[k]) == 1 then
    local known = redis.call('SMISMEMBER', KEYS[k], unpack(ids))
    for i = 1, #ids do if known[i] == 1 then answer[i] = 0 end end
  end
end
local seen = {}
for i = 1, #ids do
  if answer[i] == nil then
    if seen[ids[i]] then answer[i] = 0 else answer[i], seen[ids[i]], fresh[#fresh + 1] = 1, true, ids[i] end
  end
end
if #fresh == 0 then return answer end
if length + #fresh > tonumber(ARGV[1]) then return length end
"""
)
WRITE = """
redis.call('SADD', KEYS[2], unpack(fresh))
for i = 1, #ids do
  if answer[i] == 1 then redis.call('XADD', KEYS[1], '*', 'e', ARGV[2 * i + 3]) end
end
redis.call('EXPIRE', KEYS[2], ARGV[2])
return answer
"""


class Script(NamedTuple):
    """A script, and the name under which Redis keeps it."""

    code: str
    sha: str

    @classmethod
    def of(cls, code: str) -> "Script":
        """The script with its name."""
        return cls(code, hashlib.sha1(code.encode(), usedforsecurity=False).hexdigest())


APPEND = Script.of(FIND + WRITE)
APPEND_AND_TALLY = Script.of(FIND + TALLY + WRITE)


class EventLog:
    """
    Adds events, each once.

    An id counts as known for 7 to 8 days after it was accepted.

    Args:
        most: events that the stream may hold; nothing is dropped from it to make room.
        budget: seconds that one call to Redis may take.
        open_series: the series of experiments whose units' outcomes are tallied now.
    """

    def __init__(
        self,
        connection: Connection,
        most: int = MOST,
        budget: float = 1.0,
        clock: Callable[[], float] = time.time,
        open_series: OpenNow = tuple,
    ) -> None:
        self._connection = connection
        self._most = most
        self._budget = budget
        self._clock = clock
        self._open_series = open_series

    @property
    def available(self) -> bool:
        """Whether Redis is believed to answer."""
        return self._connection.available

    async def append(self, events: Sequence[Event], budget: float | None = None) -> list[bool]:
        """
        Adds those events that are new, at most 1,000 at once: all of these, or none; and tallies them.

        Args:
            budget: seconds that one call may take, where not the log's own.
        Returns: for each whether it is new; False for a repeat, within `events` too.
        Raises: EventLogFull; StateUnavailable, after which they may have been added: sent again they are repeats.
        """
        answers: list[bool] = []
        for start in range(0, len(events), CHUNK):
            answers += await self._append(events[start : start + CHUNK], self._budget if budget is None else budget)
        return answers

    async def length(self) -> int:
        """Events that were not exported yet. Raises: StateUnavailable."""
        found: int = await self._connection.run(lambda redis: redis.xlen(self._connection.keys.events))
        return found

    async def _append(self, events: Sequence[Event], budget: float) -> list[bool]:
        keys, today = self._connection.keys, int(self._clock() // DAY)
        days = [today, today + 1, *(today - back for back in range(1, REMEMBERED + 1))]  # a clock may be ahead of ours
        names = [keys.events, *(keys.event_ids(day) for day in days)]
        plan = planned(events, self._open_series(), keys, own=OWN)
        script = APPEND if plan is None else APPEND_AND_TALLY
        if plan is not None:
            names += plan.names
        contents = [part for event in events for part in (event.event_id, packed(event))]
        arguments = [*names, self._most, (REMEMBERED + 2) * DAY, plan.content if plan else b"", *contents]

        async def work(client: Any) -> Any:
            try:
                return await client.evalsha(script.sha, len(names), *arguments)
            except NoScriptError:  # the first time, and after Redis was restarted
                return await client.eval(script.code, len(names), *arguments)

        answer = await self._connection.run(work, budget=budget)
        if isinstance(answer, int):
            raise EventLogFull(
                f"the event log holds {answer:,} events, {self._most:,} at most; `python -m service events export` "
                "empties it",
                retry_after=30,
            )
        return [known == 1 for known in answer]
