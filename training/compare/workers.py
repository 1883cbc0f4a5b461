"""Pieces done one after the other, or by several processes at a time that may die."""

import logging
import multiprocessing
import signal
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

import torch

from causalrec.errors import CausalRecError
from training.compare.work import News, Piece, Tell, Workplace, named_seed

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""How often a piece is begun whose worker died: the second time goes on from the checkpoint of the first."""


@dataclass(frozen=True)
class _Done:
    """A piece is over; `problem` says why it gave nothing."""

    problem: str | None


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    piece: Piece | None = field(default=None)


class Crew:
    """
    Does pieces one after the other in this process, or in several processes at a time.

    Every worker computes on one thread, so that what is found does not depend on how many there are.

    Args:
        place: where pieces are done.
        jobs: workers; 1: this process itself.
    """

    def __init__(self, place: Workplace, jobs: int) -> None:
        self._place, self._jobs = place, jobs
        self._workers: list[_Worker] = []
        self._waiting: deque[Piece] = deque()
        self._begun: Counter[int] = Counter()
        self._problems: list[str] = []

    def do(self, pieces: Sequence[Piece], tell: Tell) -> list[str]:
        """
        Does every piece; one that cannot be done is passed over.

        Returns: what went wrong, a line for each piece that was passed over.
        """
        if self._jobs == 1:
            with one_thread():
                return [problem for piece in pieces if (problem := _attempt(piece, self._place, tell)) is not None]
        self._waiting, self._begun, self._problems = deque(pieces), Counter(), []
        self._hand_out()
        while busy := {worker.connection: worker for worker in self._workers if worker.piece is not None}:
            for connection in wait(list(busy)):
                self._hear(busy[connection], tell)  # type: ignore[index]
            self._hand_out()
        return self._problems

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the workers, whatever ends the work."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()

    def _hand_out(self) -> None:
        while self._waiting:
            idle = next((worker for worker in self._workers if worker.piece is None), None)
            if idle is None and len(self._workers) == self._jobs:
                return
            idle = idle or self._hire()
            idle.piece = self._waiting.popleft()
            self._begun[id(idle.piece)] += 1
            try:
                idle.connection.send(idle.piece)
            except OSError:  # it died while it had nothing to do
                self._bury(idle)

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._place.alone()), daemon=True)
        process.start()
        theirs.close()  # only the worker holds it now, so that its death is heard
        self._workers.append(_Worker(process, ours))
        return self._workers[-1]

    def _hear(self, worker: _Worker, tell: Tell) -> None:
        try:
            said = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker)
            return
        if isinstance(said, News):
            tell(said)
            return
        worker.piece = None
        if said.problem is not None:
            self._problems.append(said.problem)

    def _bury(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.join()
        piece = worker.piece
        assert piece is not None  # noqa: S101 - only those at work are listened to
        how = f"{_named(piece)}: its worker died (exit status {worker.process.exitcode})"
        if self._begun[id(piece)] < ATTEMPTS:
            log.warning("%s; another one goes on", how)
            self._waiting.appendleft(piece)
        else:
            self._problems.append(f"{how}, {ATTEMPTS} times; out of memory? fewer --jobs may help")


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread, and afterwards on as many as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _attempt(piece: Piece, place: Workplace, tell: Tell) -> str | None:
    try:
        place.do(piece, tell)
    except CausalRecError as error:
        return f"{_named(piece)}: {error}"
    return None


def _named(piece: Piece) -> str:
    seed = named_seed(piece)
    return f"{piece.entry.label}, {'search' if seed is None else f'seed {seed}'}"


def _serve(connection: Connection, place: Workplace) -> None:
    """A worker's life: pieces in, news and ends out, until nobody is there to talk to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends its workers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that what Python and its libraries hold is given back
    torch.set_num_threads(1)
    try:
        while True:
            piece = connection.recv()
            connection.send(_Done(_attempt(piece, place, connection.send)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
