"""Following experiments through whatever happens to Redis: what was known last stays in force."""

import asyncio
from typing import Any

import pytest

from causalrec.errors import StateUnavailable
from service.experiments.assignment import decide
from service.experiments.changes import created, paused, stopped
from service.experiments.model import NO_EXPERIMENTS, Book, Holdout
from service.state import experiments
from service.state.experiments import ExperimentStore
from service.state.keys import Keys
from tests.service.experiments.books import LIMITS, config
from tests.service.state.experiment_replicas import Replica, entry, replica, two_replicas
from tests.service.state.servers import Server, connect


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is slow, not broken."""
    monkeypatch.setattr(experiments, "WRITE_BUDGET", 20.0)
    monkeypatch.setattr(experiments, "APPLIED_WITHIN", 20.0)


def test_a_change_wakes_who_follows(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping is known everywhere at once, not at the next look at the revision."""
    monkeypatch.setattr(experiments, "BLOCK_MS", 60_000)
    monkeypatch.setattr(experiments, "FOLLOW_BUDGET", 90.0)

    async def scenario() -> None:
        async with two_replicas(redis_server) as (a, b):
            await a.run("x")
            await a.commit(stopped(a.store.book, "x", 3.0))
            book = await b.until(lambda book: book.revision == 3)

            assert (book.experiments["x"].state, decide(book, "ann")) == ("stopped", None)

    asyncio.run(scenario())


def test_the_book_stays_in_force_while_redis_is_away(mortal_server: Server) -> None:
    """A killed server changes no assignment; back again, it is followed again."""

    async def scenario() -> None:
        async with connect(mortal_server) as connection, replica(connection) as a:
            await a.run("x", "y")
            before = a.store.book
            mortal_server.kill()
            with pytest.raises(StateUnavailable):
                await a.store.commit(before.revision, paused(before, "x", 3.0), entry("pause"))
            kept = a.store.book
            told = len(a.told)
            mortal_server.restart()
            again = await a.until(lambda _: len(a.told) > told)
            await a.commit(paused(again, "x", 3.0))

            assert kept == before == again
            assert a.told[-1].experiments["x"].state == "paused"

    asyncio.run(scenario())


def test_a_frozen_server_leaves_the_book_in_force(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing answers, nothing changes; writers are told."""
    monkeypatch.setattr(experiments, "FOLLOW_BUDGET", 0.5)
    monkeypatch.setattr(experiments, "WRITE_BUDGET", 0.5)

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            await a.run("x")
            redis_server.freeze()
            with pytest.raises(StateUnavailable):
                await a.store.commit(2, paused(a.store.book, "x", 3.0), entry("pause"))
            kept, told = a.store.book, len(a.told)
            redis_server.thaw()
            await a.until(lambda _: len(a.told) > told)

            assert kept.experiments["x"].state == "running"

    asyncio.run(scenario())


def test_with_none_known_there_are_no_experiments(redis_server: Server) -> None:
    """A replica that could not read any serves the default, and can wait for a while until it could."""

    async def scenario() -> None:
        async with connect(redis_server) as connection:
            store = ExperimentStore(connection)
            with pytest.raises(StateUnavailable, match="could not be read yet"):
                await store.applied(0, within=0.05)
            assert store.book == NO_EXPERIMENTS
            revision = await store.commit(0, Holdout(0.5), entry("holdout"))
            with pytest.raises(StateUnavailable, match="did not come back in time"):
                await store.applied(revision, within=0.05)

    asyncio.run(scenario())


async def lose_a_revision(client: Any, keys: Keys) -> None:
    await client.hincrby(keys.experiments, ":revision", -1)
    await client.hdel(keys.experiments, "y", "y:1")


async def lose_everything(client: Any, keys: Keys) -> None:
    await client.delete(keys.experiments, keys.experiment_changes, keys.experiment_audit)


async def lose_the_changes(client: Any, keys: Keys) -> None:
    await client.hincrby(keys.experiments, ":revision", 1)
    await client.hdel(keys.experiments, "y", "y:1")
    await client.delete(keys.experiment_changes)


@pytest.mark.parametrize(
    ("damage", "left", "revision"),
    [(lose_a_revision, {"x"}, 3), (lose_everything, set(), 0), (lose_the_changes, {"x"}, 5)],
)
def test_what_redis_has_is_what_holds(redis_server: Server, damage: Any, left: set[str], revision: int) -> None:
    """A revision that went back or a stream that is gone: every replica comes to the same, and can be written to."""

    async def scenario() -> None:
        async with two_replicas(redis_server) as (a, b):
            await a.run("x", "y")
            await b.until(lambda book: book.revision == 4)
            keys = a.store._keys
            await a.store._connection.run(lambda client: damage(client, keys))
            books = [await each.until(lambda book: book.revision == revision) for each in (a, b)]
            await b.commit(created(books[1], config("z"), LIMITS))
            await a.until(lambda book: "z" in book.experiments)

            assert [set(book.experiments) for book in books] == [left, left]
            assert b.store.book == a.store.book

    asyncio.run(scenario())


def test_an_error_while_a_book_is_applied_does_not_end_the_following(
    redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and told again."""

    async def scenario() -> None:
        async with connect(redis_server) as connection:
            a, failures = Replica(connection), [ValueError("once")]

            def failing(book: Book) -> None:
                if failures:
                    raise failures.pop()
                a.apply(book)

            following = asyncio.create_task(a.store.follow(failing))
            await a.store.applied(0, within=20)
            following.cancel()

            assert len(a.told) == 1

    asyncio.run(scenario())
    assert "experiments were not applied" in caplog.text
