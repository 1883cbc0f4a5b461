"""The line before the scoring thread: bounded, in order, and counted rightly."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from causalrec.errors import Overloaded
from service.ranking import Ranker
from service.worker import Worker
from tests.service.conftest import Serve

ANN = "/v1/users/ann/recommendations"


def hold(begun: threading.Event, release: threading.Event) -> None:
    """Work that takes until it is released."""
    begun.set()
    release.wait(30)


def test_work_runs_off_the_event_loop_one_at_a_time_in_order() -> None:
    """One thread, first come first served."""
    done: list[tuple[int, str]] = []

    async def scenario() -> None:
        worker = Worker(max_waiting=100)
        await asyncio.gather(
            *(worker.run(lambda n=n: done.append((n, threading.current_thread().name))) for n in range(20))  # type: ignore[misc]
        )
        worker.close()

    asyncio.run(scenario())

    assert [n for n, _ in done] == list(range(20))
    assert {name for _, name in done} == {"scoring_0"}


def test_a_full_line_refuses_and_says_when_to_come_back() -> None:
    """Refused before work starts; once the line has moved on, admitted again."""

    async def scenario() -> None:
        worker, begun, release = Worker(max_waiting=2), threading.Event(), threading.Event()
        running = asyncio.create_task(worker.run(lambda: hold(begun, release)))
        await asyncio.to_thread(begun.wait)
        waiting = [asyncio.create_task(worker.run(lambda: "done")) for _ in range(2)]
        await asyncio.sleep(0)

        with pytest.raises(Overloaded) as refused:
            await worker.run(lambda: "never")

        assert (worker.waiting, refused.value.retry_after) == (2, 1)
        release.set()
        await running
        assert [(await task)[0] for task in waiting] == ["done", "done"]
        assert ((await worker.run(lambda: "again"))[0], worker.waiting) == ("again", 0)
        worker.close()

    asyncio.run(scenario())


def test_work_whose_caller_left_is_dropped() -> None:
    """A cancelled request gives its place in the line back and is never computed."""
    computed: list[str] = []

    async def scenario() -> None:
        worker, begun, release = Worker(max_waiting=2), threading.Event(), threading.Event()
        running = asyncio.create_task(worker.run(lambda: hold(begun, release)))
        await asyncio.to_thread(begun.wait)
        left = asyncio.create_task(worker.run(lambda: computed.append("left"), 2))
        await asyncio.sleep(0)

        left.cancel()
        await asyncio.gather(left, return_exceptions=True)

        assert worker.waiting == 0
        release.set()
        await running
        worker.close()

    asyncio.run(scenario())

    assert computed == []


def test_an_error_of_the_work_reaches_its_caller() -> None:
    """And only its caller: the thread goes on."""

    def fail() -> None:
        raise ZeroDivisionError

    async def scenario() -> None:
        worker = Worker(max_waiting=2)
        with pytest.raises(ZeroDivisionError):
            await worker.run(fail)
        assert (await worker.run(lambda: 1))[0] == 1
        worker.close()

    asyncio.run(scenario())


def test_too_many_requests_are_a_503_with_retry_after(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Overload is refused at once; those admitted are answered, and health does not wait in line."""
    client, rank = serve(max_waiting=1), Ranker.rank
    begun, release = threading.Event(), threading.Event()

    def slow(self: Ranker, wanted: object) -> object:
        begun.set()
        release.wait(30)
        return rank(self, wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(Ranker, "rank", slow)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(client.get, ANN)
        begun.wait(30)
        waiting = pool.submit(client.get, ANN)
        while "causalrec_waiting 1.0" not in client.get("/metrics").text:
            pass
        refused = client.get(ANN)
        release.set()

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["type"] == "urn:causalrec:problem:overloaded"
    assert (running.result().status_code, waiting.result().status_code) == (200, 200)
