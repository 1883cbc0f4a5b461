"""Long work beside the event loop, which the end of the process does not wait for."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def aside(work: Callable[[], T]) -> T:
    """
    What `work` returns or raises, from a thread of its own.

    Unlike the event loop's executor, whose threads are waited for, it does not keep a process that was told to stop:
    loading a bundle can take longer than stopping may.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(outcome: T | BaseException) -> None:
        if future.done():
            return
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def run() -> None:
        try:
            outcome: T | BaseException = work()
        except BaseException as error:  # noqa: BLE001 - whoever awaits it gets it
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody awaits it
            loop.call_soon_threadsafe(deliver, outcome)

    threading.Thread(target=run, name="aside", daemon=True).start()
    return await future
