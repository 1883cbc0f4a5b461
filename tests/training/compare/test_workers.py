"""Workers that may die: their pieces are begun again, once; what cannot be done is passed over and said."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from causalrec.errors import ConfigError
from tests.training.compare.world import small
from training.compare.config import Entry
from training.compare.search import Quest
from training.compare.work import News, Piece, Tell, Workplace
from training.compare.workers import Crew


@dataclass
class Tried(Workplace):
    """A place where a piece leaves a mark each time it is begun; its label says what becomes of it."""

    def do(self, piece: Piece, tell: Tell) -> None:
        marks = self.out / piece.entry.label
        with marks.open("a") as file:
            file.write("x")
        if piece.entry.label == "dies" or (piece.entry.label == "dies once" and marks.stat().st_size == 1):
            os._exit(3)
        if piece.entry.label == "cannot":
            raise ConfigError("because")
        tell(News("ended", piece.entry.label, None, float(torch.get_num_threads())))

    def alone(self) -> "Tried":
        return self


def piece(label: str) -> Quest:
    return Quest(Entry(label=label), "", {}, ({},), {}, 1, 1.0)


def place(out: Path) -> Tried:
    return Tried(small(), out, out)


def marks(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in out.iterdir()}


def test_a_worker_that_dies_costs_its_piece_one_beginning(tmp_path: Path) -> None:
    """Another one goes on; a piece that kills two is given up, and the others are done."""
    news: list[News] = []
    labels = ("one", "dies once", "dies", "cannot")

    with Crew(place(tmp_path), 2) as crew:
        problems = crew.do([piece(label) for label in labels], news.append)

    assert marks(tmp_path) == {"one": 1, "dies once": 2, "dies": 2, "cannot": 1}
    assert {said.label for said in news} == {"one", "dies once"}
    assert {said.seconds for said in news} == {1.0}, "threads of a worker"
    assert sorted(problems)[0] == "cannot, search: because"
    assert "dies, search: its worker died (exit status 3), 2 times" in sorted(problems)[1]


def test_a_worker_serves_again_and_one_that_died_idle_is_replaced(tmp_path: Path) -> None:
    """Workers outlive a call, as far as they live."""
    with Crew(place(tmp_path), 2) as crew:
        crew.do([piece("one")], lambda _: None)
        first = crew._workers[0].process
        crew.do([piece("two")], lambda _: None)
        again = crew._workers[0].process
        first.kill()
        first.join()
        problems = crew.do([piece("three")], lambda _: None)

    assert again is first
    assert crew._workers[0].process is not first
    assert problems == []
    assert set(marks(tmp_path)) == {"one", "two", "three"}


def test_whatever_ends_the_work_ends_the_workers(tmp_path: Path) -> None:
    """Ctrl-C in the middle leaves no process behind."""

    def interrupted(_: News) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Crew(place(tmp_path), 2) as crew:
        crew.do([piece("one")], interrupted)

    assert [worker.process.exitcode for worker in crew._workers] == [0]


def test_one_worker_is_this_process(tmp_path: Path) -> None:
    """On one thread, like any other; afterwards there are as many threads as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    news: list[News] = []

    problems = Crew(place(tmp_path), 1).do([piece("cannot"), piece("one")], news.append)
    after = torch.get_num_threads()
    torch.set_num_threads(threads)

    assert problems == ["cannot, search: because"]
    assert [said.seconds for said in news] == [1.0]
    assert after == threads + 1
