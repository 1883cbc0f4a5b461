"""Damaged records of experiments: nobody is assigned by them, the others go on, they can be mended."""

import asyncio
from typing import Any

import pytest

from service.experiments.assignment import decide
from service.experiments.changes import held_out, started, versioned
from service.experiments.model import Book, ExperimentConflict
from service.state import experiments
from service.state.experiment_records import DAMAGED, Reader
from tests.service.experiments.books import LIMITS, config
from tests.service.state.experiment_replicas import replica
from tests.service.state.servers import Server, connect


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is slow, not broken."""
    monkeypatch.setattr(experiments, "WRITE_BUDGET", 20.0)
    monkeypatch.setattr(experiments, "APPLIED_WITHIN", 20.0)


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("x", "{"),
        ("x", b"\xff"),
        ("x", '["dancing", 1, 0.0]'),
        ("x", '["running", 7, 0.0]'),
        ("x", '["running", null, 0.0]'),
        ("x", None),
        ("x:1", "{}"),
        ("x:1", None),
        ("x:1", "of y"),
        ("x:1", "of no variants"),
    ],
)
def test_a_damaged_experiment_is_paused(
    redis_server: Server, caplog: pytest.LogCaptureFixture, field: str, content: Any
) -> None:
    """Its state or the version in force: nobody gets it, the others go on, it is said, and it can be mended."""

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            await a.run("x", "y")
            name = connection.keys.experiments
            y = await connection.run(lambda client: client.hget(name, "y:1"))
            x = await connection.run(lambda client: client.hget(name, "x:1"))
            no_variants = x.replace(b'["0",0.0,0.5],["0.8",0.8,0.5]', b"")
            assert no_variants != x
            written = {"of y": y, "of no variants": no_variants}.get(content, content)
            if written is None:
                await connection.run(lambda client: client.hdel(name, field))
            else:
                await connection.run(lambda client: client.hset(name, field, written))
            async with replica(connection) as late:
                book = late.store.book
                assert {key: each.state for key, each in book.experiments.items()} == {"x": "paused", "y": "running"}
                assert any(decide(book, str(unit)) for unit in range(50))
                await late.commit(versioned(book, "x", config("x", layer="x", allocation=0.5, salt="x"), LIMITS))
                await late.commit(started(late.store.book, "x", None, 5.0))
                await a.until(lambda book: book.experiments["x"].state == "running")

                assert (a.told[-1].experiments["x"].running, a.told[-1].revision) == (2, 6)

    asyncio.run(scenario())
    assert "experiment 'x' is paused" in caplog.text


def test_a_damaged_version_cannot_be_started(redis_server: Server) -> None:
    """It says so; one that is not in force harms nobody, and is logged once however often the book is read."""

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            await a.run("x")
            await connection.run(lambda client: client.hset(connection.keys.experiments, "x:3", "{"))
            await a.commit(held_out(a.store.book, 0.1, None))
            await a.commit(held_out(a.store.book, 0.2, None))

            experiment = a.store.book.experiments["x"]
            assert (experiment.state, experiment.config.version) == ("running", 1)
            assert [each.description == DAMAGED for each in experiment.versions] == [False, True, True]
            with pytest.raises(ExperimentConflict, match=r"version 3 of 'x' is damaged.*make a new version"):
                started(a.store.book, "x", None, 3.0)

    asyncio.run(scenario())


def test_what_is_no_experiment_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """Fields that nobody writes: named in the log once, not fatal, and no reason to hold two billion versions."""
    reader = Reader()
    strange = {
        b"\xff\xfe:1": b"1",
        b"x:0": b"1",
        b"x:2001": b"1",
        b"x:2000000000": b"1",
        b"x:one": b"1",
        b":other": b"1",
        b"X": b'["running",1,0.0]',
        b":revision": b"3",
    }

    books = [reader.book(strange) for _ in range(3)]

    assert books == [Book(3)] * 3
    assert len(caplog.records) == 7


def test_a_damaged_holdout_holds_everybody(caplog: pytest.LogCaptureFixture) -> None:
    """Whom it held is not known: nobody who was to be left alone is in an experiment."""
    book = Reader().book({b":holdout": b"[0.1", b":revision": b"1"})

    assert book.holdout.share == 1.0
    assert "damaged at b':holdout'" in caplog.text
