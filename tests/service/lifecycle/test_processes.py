"""Real processes: stopped under load, killed and started again, over a link that is watched."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.lifecycle.conftest import Shelf
from tests.service.lifecycle.world import MODELS, is_of, point, true_list, truncated
from tests.service.test_process import Process

REFUSED = b'causalrec_model_load_failures_total{reason="corrupt"} 1.0'
ANN = "/v1/users/ann/recommendations"
Started = Callable[..., Process]


@pytest.fixture
def start(shelf: Shelf) -> Iterator[Started]:
    """Starts services over the link, and ends those that are left."""
    started: list[Process] = []

    def starter(*flags: str) -> Process:
        flags = ("--bundle", str(shelf.link), "--watch-seconds", "0.02", *flags)
        started.append(Process(*flags))
        return started[-1]

    yield starter
    for process in started:
        process.close()


def serving(process: Process) -> str:
    found: str = json.loads(process.request("/health/ready")[1]).get("bundle_id", "")
    return found


def until_serving(process: Process, bundle_id: str) -> None:
    process.until(lambda: serving(process) == bundle_id)


class Load:
    """Clients that ask until they are told to stop; what they were answered."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._stop = threading.Event()
        self.answers: list[tuple[int, bytes]] = []

    def __enter__(self) -> "Load":
        self._pool = ThreadPoolExecutor(4)
        self._clients = [self._pool.submit(self._ask) for _ in range(4)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def _ask(self) -> None:
        while not self._stop.is_set():
            self.answers.append(self._process.request(ANN))

    def until(self, more: int) -> None:
        """Until so many more are answered."""
        wanted = len(self.answers) + more
        self._process.until(lambda: len(self.answers) >= wanted)


def test_swaps_and_a_bad_bundle_under_load_fail_no_request(start: Started, shelf: Shelf) -> None:
    """Every answer is a 200, and of the bundle whose id it bears."""
    process = start()
    until_serving(process, shelf.ids[0])
    with Load(process) as load:
        for turn in range(4):
            point(shelf.link, shelf.one if turn % 2 else shelf.other)
            until_serving(process, shelf.ids[(turn + 1) % 2])
            load.until(5)
        truncated(shelf.folder)  # the link leads to it
        process.until(lambda: REFUSED in process.request("/metrics")[1])
        load.until(5)

    answers = [json.loads(body) for _, body in load.answers]
    assert {status for status, _ in load.answers} == {200}
    assert {answer["bundle_id"] for answer in answers} == set(shelf.ids)
    lists = {each: true_list(path, "ann", 0.6) for each, path in zip(shelf.ids, (shelf.one, shelf.other), strict=True)}
    for answer in answers:
        assert [(item["item_id"], item["score"]) for item in answer["items"]] == lists[answer["bundle_id"]]


def test_sigterm_under_load_fails_no_request(start: Started, shelf: Shelf) -> None:
    """Who stops asking once it is unready has had an answer to everything; the exit code is 0."""
    process = start("--grace-seconds", "1")
    until_serving(process, shelf.ids[0])
    with Load(process) as load:
        load.until(20)
        process.stop(signal.SIGTERM)
        process.until(lambda: process.request("/health/ready")[0] == 503)

    assert process.exit_code() == 0
    assert {status for status, _ in load.answers} == {200}


def test_a_killed_process_comes_back_with_what_was_served(start: Started, shelf: Shelf) -> None:
    """What was activated, although the link leads elsewhere."""
    process = start()
    until_serving(process, shelf.ids[0])
    assert process.request(f"{MODELS}/{shelf.ids[1]}/activate", {})[0] == 200

    process.stop(signal.SIGKILL)
    process.exit_code()
    again = start()
    until_serving(again, shelf.ids[1])

    assert is_of(json.loads(again.request(ANN)[1]), shelf.other, "ann")


def test_a_process_that_loads_a_bundle_ends_when_it_is_told_to(start: Started, shelf: Shelf) -> None:
    """However long that takes: here for ever, as a file of the bundle is a pipe that nobody writes to."""
    process = start("--grace-seconds", "0")
    until_serving(process, shelf.ids[0])
    pipe = shelf.other / "manifest.json"
    pipe.unlink()
    os.mkfifo(pipe)
    point(shelf.link, shelf.other)
    writer = os.open(pipe, os.O_WRONLY)  # returns once the service reads it

    process.stop(signal.SIGTERM)

    assert process.exit_code() == 0
    os.close(writer)
