"""The line before the scoring thread: a batch is what queued while the last one ran, bounded, in order, fair."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence

import pytest

from causalrec.errors import Overloaded
from service.batching import Batcher, DeadlinePassed

Batch = list[int]


class Held:
    """Work on numbers that begins when told to: doubles each, and fails for negative ones. batches: what it got."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.begun = threading.Event()
        self.release = threading.Event()

    def __call__(self, asks: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(asks))
        self.begun.set()
        assert self.release.wait(30)
        if 13 in asks:
            raise ZeroDivisionError
        return [2 * ask if ask >= 0 else ValueError(ask) for ask in asks]


def run(scenario: Callable[[Batcher[int, int], Held], Awaitable[None]], **limits: float) -> Held:
    """Plays `scenario` with a batcher over held work; the first thing asked, 0, is being worked on when it begins."""
    work = Held()
    settings = {"max_waiting": 100, "max_batch": 64, "deadline": 30.0, **limits}
    batcher: Batcher[int, int] = Batcher(work, **settings)  # type: ignore[arg-type]

    async def play() -> None:
        batcher.start()
        first = asyncio.create_task(batcher.ask(0))
        await asyncio.to_thread(work.begun.wait, 30)
        try:
            await scenario(batcher, work)
        finally:
            work.release.set()
            await first
            batcher.close()

    asyncio.run(play())
    return work


async def queued(batcher: Batcher[int, int], *asks: Sequence[int]) -> list[asyncio.Task[tuple[object, float]]]:
    """A task for each caller, all of them in the line."""
    tasks = [asyncio.create_task(batcher.ask(*each)) for each in asks]
    await asyncio.sleep(0)
    return tasks  # type: ignore[return-value]


def test_a_batch_is_what_queued_meanwhile() -> None:
    """Everybody who came while the last batch ran is in the next one, in order, and gets their own outcome."""

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        tasks = await queued(batcher, *([n] for n in range(1, 9)))
        assert (batcher.waiting, batcher.full()) == (8, None)
        work.release.set()

        assert [(await task)[0] for task in tasks] == [[2 * n] for n in range(1, 9)]
        assert batcher.waiting == 0

    work = run(scenario)

    assert work.batches == [[0], list(range(1, 9))]


def test_a_batch_has_its_bound_and_a_caller_is_never_split() -> None:
    """At most max_batch together, but for a caller who alone asks more."""

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        tasks = await queued(batcher, [1], [2, 3], [4, 5], [6, 7, 8, 9], [10])
        work.release.set()

        assert (await tasks[3])[0] == [12, 14, 16, 18]
        await asyncio.gather(*tasks)

    work = run(scenario, max_batch=3)

    assert work.batches == [[0], [1, 2, 3], [4, 5], [6, 7, 8, 9], [10]]


def test_work_runs_in_one_thread_off_the_event_loop() -> None:
    """The event loop never computes."""
    threads = set()

    def work(asks: Sequence[int]) -> list[int | Exception]:
        threads.add(threading.current_thread().name)
        return list(asks)

    async def scenario() -> None:
        batcher: Batcher[int, int] = Batcher(work, max_waiting=100, max_batch=4, deadline=30.0)
        batcher.start()
        await asyncio.gather(*(batcher.ask(n) for n in range(50)))
        batcher.close()

    asyncio.run(scenario())

    assert threads == {"scoring"}


def test_one_error_is_one_callers() -> None:
    """An outcome that is an exception comes back as one; where the work itself fails, its batch does, and no other."""

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        tasks = await queued(batcher, [1], [-1], [13], [2])
        work.release.set()

        outcomes = (await tasks[1])[0]
        assert isinstance(outcomes, list)
        assert isinstance(outcomes[0], ValueError)
        for task in tasks[2:]:
            with pytest.raises(ZeroDivisionError):
                await task
        assert (await tasks[0])[0] == [2]
        assert (await batcher.ask(5))[0] == [10]

    run(scenario, max_batch=2)


def test_a_full_line_refuses_and_says_when_to_come_back() -> None:
    """Refused before work starts; a caller who asks several comes in whole; once the line moves, all are let in."""

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        tasks = await queued(batcher, [1], [2, 3])

        assert batcher.full() == 1
        with pytest.raises(Overloaded) as refused:
            await batcher.ask(4)
        assert (batcher.waiting, refused.value.retry_after) == (3, 1)
        work.release.set()
        await asyncio.gather(*tasks)
        assert (await batcher.ask(4, 5, 6))[0] == [8, 10, 12]

    run(scenario, max_waiting=2)


def test_a_place_is_kept_while_what_is_asked_is_made_ready() -> None:
    """It counts as waiting, so that nobody who was let in is refused later; unused, it is given back."""

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        with batcher.place(2) as place:
            with pytest.raises(Overloaded):
                await batcher.ask(4)
            assert batcher.waiting == 2
            with pytest.raises(ValueError, match="a place for 2 was taken, not for 1"):
                await place.ask(1)
        assert batcher.waiting == 0
        with batcher.place(1) as place:
            work.release.set()
            assert (await place.ask(5))[0] == [10]
        assert batcher.waiting == 0

    run(scenario, max_waiting=2)


def test_a_caller_who_left_is_not_worked_for() -> None:
    """Cancelled while waiting, it gives its place back at once and is in no batch; cancelled later, nobody is hurt."""

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        left, stays = await queued(batcher, [1, 2], [3])

        left.cancel()
        await asyncio.gather(left, return_exceptions=True)

        assert batcher.waiting == 1
        work.release.set()
        assert (await stays)[0] == [6]

    work = run(scenario)

    assert work.batches == [[0], [3]]


def test_a_caller_who_leaves_while_worked_for_hurts_nobody() -> None:
    """The others of the batch get their outcomes."""

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        (task,) = await queued(batcher, [1])
        work.begun.clear()
        work.release.set()
        await asyncio.to_thread(work.begun.wait, 30)

        task.cancel()

        assert (await batcher.ask(2))[0] == [4]

    run(scenario)


def test_who_waited_past_the_deadline_is_told_so_and_not_worked_for() -> None:
    """503 is better than an answer nobody waits for."""

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        tasks = await queued(batcher, [1], [2])
        await asyncio.sleep(0.02)
        work.release.set()

        for task in tasks:
            with pytest.raises(DeadlinePassed, match=r"waited 0\.\d+ s, past its deadline; try again in 1 s"):
                await task

    work = run(scenario, deadline=0.01)

    assert work.batches == [[0]]


def test_idle_work_is_done_when_nobody_waits_and_bounded() -> None:
    """Behind everybody in the line; more than its bound is not taken; its failure stops nothing."""
    done = threading.Event()

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        order: list[Batch] = []

        def fail() -> None:
            order.extend(work.batches)
            raise ZeroDivisionError

        assert batcher.when_idle(fail)
        assert all(batcher.when_idle(lambda: None) for _ in range(62))
        assert batcher.when_idle(done.set)
        assert not batcher.when_idle(lambda: None)
        (task,) = await queued(batcher, [1])
        work.release.set()
        await task
        assert await asyncio.to_thread(done.wait, 30)
        assert order == [[0], [1]]
        assert (await batcher.ask(2))[0] == [4]

    run(scenario)


def test_closing_cancels_who_waits() -> None:
    """The batch at hand is finished, what waits is not begun, and the thread ends."""

    async def scenario(batcher: Batcher[int, int], work: Held) -> None:
        (task,) = await queued(batcher, [1])

        def release() -> None:
            while batcher._open:
                pass
            work.release.set()

        releasing = asyncio.create_task(asyncio.to_thread(release))
        await asyncio.sleep(0)
        batcher.close()
        await releasing
        await asyncio.gather(task, return_exceptions=True)

        assert task.cancelled()
        assert not batcher._thread.is_alive()

    work = run(scenario)

    assert work.batches == [[0]]
