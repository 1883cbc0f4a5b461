"""One thread that scores, and the bounded line before it: a batch is whatever queued while the last one ran."""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from causalrec.errors import CausalRecError, Overloaded

log = logging.getLogger(__name__)

Ask = TypeVar("Ask")
Got = TypeVar("Got")

LONGEST_RETRY = 30  # seconds: a longer guess would only be wrong
BACKLOG = 64  # pieces of idle work kept


class DeadlinePassed(Overloaded):
    """A request waited longer than its deadline, and was not scored."""

    def __init__(self, retry_after: int, waited: float) -> None:
        CausalRecError.__init__(
            self, f"the request waited {waited:.2f} s, past its deadline; try again in {retry_after} s"
        )
        self.retry_after = retry_after


@dataclass(eq=False)
class _Ticket(Generic[Ask, Got]):
    """One caller's place in the line: what it asks, and where the outcomes and the seconds it waited go."""

    asks: Sequence[Ask]
    future: asyncio.Future[tuple[list[Got | Exception], float]]
    arrived: float = field(default_factory=time.perf_counter)


Outcomes = tuple[Sequence[Got | Exception], float]
_Result = tuple[list[Got | Exception], float] | Exception


class Place(Generic[Ask, Got]):
    """Room in a `Batcher`'s line, for as many things as it was taken for."""

    def __init__(self, batcher: "Batcher[Ask, Got]", size: int) -> None:
        self._batcher = batcher
        self._size = size
        self.used = False
        """They were asked: the place is theirs until they are begun."""

    async def ask(self, *asks: Ask) -> Outcomes[Got]:
        """
        The outcomes of `asks`, all from one batch, and the seconds they waited to be begun.

        Cancelled while it waits, it gives its place back and is not worked on.

        Raises: DeadlinePassed; whatever the `Batcher`'s work itself raises; ValueError for more or fewer than there is
            room for.
        """
        if len(asks) != self._size:
            raise ValueError(f"a place for {self._size} was taken, not for {len(asks)}")
        self.used = True
        return await self._batcher._wait(asks)


class Batcher(Generic[Ask, Got]):
    """
    Answers many callers with one function that runs in one thread, off the event loop.

    There is no time window: who comes while the thread is idle is served at once and alone, and who comes while it
    works is served with everybody else who did.

    Args:
        work: one outcome per thing asked, in order, an exception where one failed; runs in the thread.
        max_waiting: while so many things wait, nobody else is let in; a caller who asks several comes in whole. What is
            being worked on does not count.
        max_batch: how many things one call of `work` gets, but for a caller who alone asks more.
        deadline: seconds a caller may wait to be begun with.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Ask]], Sequence[Got | Exception]],
        *,
        max_waiting: int,
        max_batch: int,
        deadline: float,
    ) -> None:
        self._work = work
        self._max_waiting = max_waiting
        self._max_batch = max_batch
        self._deadline = deadline
        self._line: deque[_Ticket[Ask, Got]] = deque()
        self._waiting = 0
        self._idle: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition(threading.Lock())  # guards the line and the idle work
        self._seconds = 0.0  # running mean of the work on one thing asked
        self._serving = 0  # things being worked on
        self._open = True
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Things let in and not begun."""
        return self._waiting

    @property
    def wait(self) -> float:
        """About how many seconds somebody who comes now has to wait."""
        return (self._waiting + self._serving) * self._seconds

    def full(self) -> int | None:
        """Seconds after which to try again while nobody is let in, else None."""
        return self._retry_after() if self._waiting >= self._max_waiting else None

    @contextmanager
    def place(self, size: int) -> Iterator["Place[Ask, Got]"]:
        """
        Room in the line for `size` things, kept while they are made ready and given back unless they are asked.

        Who is let in is not refused later, and no more are made ready than can wait.

        Raises: Overloaded when the line is full.
        """
        with self._changed:
            if self._waiting >= self._max_waiting:
                raise Overloaded(self._retry_after())
            self._waiting += size
        place = Place(self, size)
        try:
            yield place
        finally:
            if not place.used:
                with self._changed:
                    self._waiting -= size

    async def ask(self, *asks: Ask) -> Outcomes[Got]:
        """`Place.ask` in a place of its own. Raises: also Overloaded when the line is full."""
        with self.place(len(asks)) as place:
            return await place.ask(*asks)

    async def _wait(self, asks: Sequence[Ask]) -> Outcomes[Got]:
        ticket = _Ticket[Ask, Got](asks, asyncio.get_running_loop().create_future())
        with self._changed:
            self._line.append(ticket)
            self._changed.notify()
        try:
            return await ticket.future
        except asyncio.CancelledError:
            self._leave(ticket)
            raise

    def when_idle(self, work: Callable[[], None]) -> bool:
        """Has `work` done once nobody waits; False, and it is not, where too much such work is left over already."""
        with self._changed:
            if len(self._idle) >= BACKLOG:
                return False
            self._idle.append(work)
            self._changed.notify()
        return True

    def close(self) -> None:
        """Waits for the batch at hand, which its bound keeps short; what waits is cancelled."""
        with self._changed:
            self._open = False
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        for ticket in tuple(self._line):
            ticket.future.cancel()

    def _leave(self, ticket: _Ticket[Ask, Got]) -> None:
        with self._changed:
            if ticket in self._line:
                self._line.remove(ticket)
                self._waiting -= len(ticket.asks)

    def _run(self) -> None:
        while (turn := self._next()) is not None:
            turn()

    def _next(self) -> Callable[[], None] | None:
        """What to do next: serve whoever waits, else idle work; waits for either. None once closed."""
        with self._changed:
            while self._open and not self._line and not self._idle:
                self._changed.wait()
            if not self._open:
                return None
            return partial(self._serve, self._take()) if self._line else partial(_do, self._idle.popleft())

    def _take(self) -> list[_Ticket[Ask, Got]]:
        """Takes the callers of the next batch out of the line."""
        batch, size = [self._line.popleft()], 0
        while True:
            size += len(batch[-1].asks)
            if not self._line or size + len(self._line[0].asks) > self._max_batch:
                break
            batch.append(self._line.popleft())
        self._waiting -= size
        self._serving = size
        return batch

    def _serve(self, batch: list[_Ticket[Ask, Got]]) -> None:
        begun = time.perf_counter()
        in_time = [ticket for ticket in batch if begun - ticket.arrived <= self._deadline]
        asks = [ask for ticket in in_time for ask in ticket.asks]
        failed: Exception | None = None
        outcomes: Iterator[Got | Exception] = iter(())
        if asks:
            try:
                outcomes = iter(self._work(asks))
            except Exception as error:  # noqa: BLE001 - its callers get it, and the thread goes on
                failed = error
            each = (time.perf_counter() - begun) / len(asks)
            self._seconds += (each - self._seconds) * (0.1 if self._seconds else 1.0)
        results: list[tuple[_Ticket[Ask, Got], _Result[Got]]] = []
        for ticket in batch:
            waited = begun - ticket.arrived
            if waited > self._deadline:
                results.append((ticket, DeadlinePassed(self._retry_after(), waited)))
            else:
                results.append((ticket, failed or (list(islice(outcomes, len(ticket.asks))), waited)))
        self._serving = 0  # before a caller can come again
        batch[0].future.get_loop().call_soon_threadsafe(_deliver, results)

    def _retry_after(self) -> int:
        return min(LONGEST_RETRY, max(1, math.ceil(self.wait)))


def _deliver(results: list[tuple[_Ticket[Ask, Got], _Result[Got]]]) -> None:
    """Hands a batch's results to its callers, on their event loop: one wake-up for all of them."""
    for ticket, result in results:
        if ticket.future.done():  # its caller has left
            continue
        if isinstance(result, Exception):
            ticket.future.set_exception(result)
        else:
            ticket.future.set_result(result)


def _do(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:
        log.exception("work in idle time failed")
