"""Long work in a thread that nobody's end waits for."""

import asyncio
import threading

import pytest

from service.aside import aside


def test_what_the_work_returns_or_raises_arrives() -> None:
    """As if it had been called."""

    async def scenario() -> int:
        with pytest.raises(ZeroDivisionError):
            await aside(lambda: 1 // 0)
        returned = await aside(lambda: ValueError("an answer like any other"))
        assert isinstance(returned, ValueError)
        return await aside(lambda: 6 * 7)

    assert asyncio.run(scenario()) == 42


def test_the_end_of_the_loop_does_not_wait_for_it() -> None:
    """Work that goes on finds nobody to tell, and says nothing."""
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert may_end.wait(30)

    async def scenario() -> None:
        task = asyncio.create_task(aside(work))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())  # returns while the work goes on

    (thread,) = [each for each in threading.enumerate() if each.name == "aside"]
    assert thread.daemon
    may_end.set()
    thread.join(30)
    assert not thread.is_alive()
