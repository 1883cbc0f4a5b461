"""One thread that scores, and the bounded line before it: the event loop never computes."""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from causalrec.errors import Overloaded

T = TypeVar("T")

LONGEST_RETRY = 30  # seconds: a longer guess would only be wrong


class Worker:
    """
    Runs one piece of work at a time, in the order of arrival.

    Args:
        max_waiting: how many requests may wait; the one being worked on does not count.
    """

    def __init__(self, max_waiting: int) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._waiting = 0
        self._seconds = 0.0  # running mean of one request's work

    @property
    def waiting(self) -> int:
        """Requests admitted and not begun."""
        return self._waiting

    async def run(self, work: Callable[[], T], requests: int = 1) -> tuple[T, float]:
        """
        What `work` returns, and the seconds it waited to begin.

        Args:
            requests: how many requests the work answers (a batch); more than may wait are let in only onto an
                empty line.
        Raises: Overloaded when the line is full; whatever `work` raises.
        """
        with self._lock:
            if self._waiting and self._waiting + requests > self._max_waiting:
                raise Overloaded(self._retry_after())
            self._waiting += requests
        arrived = time.perf_counter()

        def job() -> tuple[T, float]:
            self._leave(requests)
            begun = time.perf_counter()
            result = work()
            self._seconds += 0.1 * ((time.perf_counter() - begun) / requests - self._seconds)
            return result, begun - arrived

        future = self._executor.submit(job)
        future.add_done_callback(lambda done: self._never_begun(done, requests))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Waits for the work at hand, which the bound on a batch keeps short; what waits is cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _leave(self, requests: int) -> None:
        with self._lock:
            self._waiting -= requests

    def _never_begun(self, done: "Future[tuple[T, float]]", requests: int) -> None:
        if done.cancelled():
            self._leave(requests)

    def _retry_after(self) -> int:
        return min(LONGEST_RETRY, max(1, math.ceil(self._waiting * self._seconds)))
