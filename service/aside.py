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

    def returned(outcome: T) -> None:
        if not future.done():
            future.set_result(outcome)

    def failed(error: BaseException) -> None:
        if not future.done():
            future.set_exception(error)

    def run() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody awaits it
            try:
                outcome = work()
            except BaseException as error:  # noqa: BLE001 - whoever awaits it gets it
                loop.call_soon_threadsafe(failed, error)
            else:
                loop.call_soon_threadsafe(returned, outcome)

    threading.Thread(target=run, name="aside", daemon=True).start()
    return await future
