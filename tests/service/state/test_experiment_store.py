"""Experiments in Redis: one change at a time, with who made it, known to every replica at once."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from service.experiments.changes import created, held_out, started, versioned
from service.experiments.model import ExperimentConflict, Holdout, Tuning
from service.state import experiments
from service.state.experiments import ExperimentStore, Outdated
from tests.service.experiments.books import LIMITS, config, digest, put, running, several
from tests.service.state.experiment_replicas import Replica, entry, look, replica, two_replicas
from tests.service.state.servers import Server, connect, fresh_keys

RICH = config(
    "rich-1",
    kind="tuned",
    tuning=Tuning(0.05, 60.0),
    overrides={"ann ö": "0"},
    window=0.1 + 0.2,
    planned_units=7,
    description='"λ2"\n',
)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is slow, not broken."""
    monkeypatch.setattr(experiments, "WRITE_BUDGET", 20.0)
    monkeypatch.setattr(experiments, "APPLIED_WITHIN", 20.0)


def test_every_replica_hears_of_every_change(any_server: Server) -> None:
    """Create, start, a version, stop, the holdout: what one says is the book of both, to the last digit."""

    async def scenario() -> None:
        async with two_replicas(any_server) as (a, b):
            await a.commit(created(a.store.book, RICH, LIMITS))
            await b.until(lambda book: book.revision == 1)
            await b.commit(started(b.store.book, "rich-1", None, 2.5))
            await b.commit(versioned(b.store.book, "rich-1", RICH, LIMITS))
            await b.commit(held_out(b.store.book, 0.1, "s"))
            await a.until(lambda book: book.revision == 4)

            expected = running(RICH)
            expected = put(expected, expected.experiments["rich-1"]._replace(changed=2.5))
            expected = put(expected, versioned(expected, "rich-1", RICH, LIMITS))
            assert (
                a.store.book == a.told[-1] == b.store.book == expected._replace(holdout=Holdout(0.1, "s"), revision=4)
            )

    asyncio.run(scenario())


def test_who_starts_anew_decides_alike(redis_server: Server) -> None:
    """A replica that comes later, from nothing but Redis, puts everybody where they were."""

    async def scenario() -> None:
        wanted = several()
        keys = fresh_keys()
        async with connect(redis_server, keys=keys) as one, connect(redis_server, keys=keys) as other:
            async with replica(one) as a:
                await a.commit(wanted.holdout)
                for experiment in wanted.experiments.values():
                    await a.commit(experiment)
            async with replica(other) as late:
                assert digest(late.store.book) == digest(wanted)
                assert late.store.book.experiments == wanted.experiments

    asyncio.run(scenario())


def test_of_two_writers_at_once_one_is_told_to_decide_again(redis_server: Server) -> None:
    """Both drafts were free to start by the same book; both started they would overlap."""

    async def scenario() -> None:
        async with two_replicas(redis_server) as (a, b):
            for key in ("x", "y"):
                await a.commit(created(a.store.book, config(key), LIMITS))
            book = await b.until(lambda book: book.revision == 2)
            starting = [
                each.store.commit(2, started(book, key, None, 3.0), entry("start"))
                for each, key in ((a, "x"), (b, "y"))
            ]
            results = await asyncio.gather(*starting, return_exceptions=True)
            newer = await a.until(lambda book: book.revision == 3)

            assert {type(result) for result in results} == {int, Outdated}
            late = "y" if newer.experiments["x"].state == "running" else "x"
            assert newer.experiments[late].state == "draft"
            with pytest.raises(ExperimentConflict):
                started(newer, late, None, 3.0)

    asyncio.run(scenario())


def test_writers_that_decide_again_all_come_through(redis_server: Server) -> None:
    """Nobody's change is lost, and there is a revision and an entry for each."""

    async def scenario() -> None:
        async with two_replicas(redis_server) as (a, b):

            async def write(each: Replica, key: str) -> None:
                while True:
                    book = each.store.book
                    with suppress(Outdated):
                        await each.commit(created(book, config(key), LIMITS), "create")
                        return
                    await each.store.applied(book.revision + 1)

            await asyncio.gather(*(write(each, f"{name}{n}") for each, name in ((a, "a"), (b, "b")) for n in range(10)))
            book = await a.until(lambda book: book.revision == 20)
            entries = await b.store.audit(None, 100)

            assert set(book.experiments) == {f"{name}{n}" for name in "ab" for n in range(10)}
            assert {each.key for each in entries} == set(book.experiments)

    asyncio.run(scenario())


def test_a_version_is_never_written_twice(redis_server: Server) -> None:
    """Whoever sends another one under its number changes nothing of it."""

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            await a.commit(created(a.store.book, config(), LIMITS))
            first = a.store.book.experiments["dial"]
            forged = first._replace(versions=(first.versions[0]._replace(alpha=0.5),), state="stopped")
            stranger = ExperimentStore(connection)  # follows nothing
            await stranger.commit(1, forged, entry("forge"))

            book = await a.until(lambda book: book.revision == 2)
            assert book.experiments["dial"] == first._replace(state="stopped")

    asyncio.run(scenario())


def test_the_audit_log_says_who_changed_what(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, of one experiment or of all, however far back; of a refused change there is nothing."""
    monkeypatch.setattr(experiments, "AUDIT_AT_ONCE", 3)

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            await a.run("x", "y", "z")
            await a.commit(held_out(a.store.book, 0.1, None), "holdout", at=0.1 + 0.2)
            with pytest.raises(Outdated, match="revision 7, not 3"):
                await a.store.commit(3, Holdout(0.5), entry("holdout"))
            await connection.run(lambda client: client.xadd(connection.keys.experiment_audit, {"entry": "{"}))

            everything = await a.store.audit(None, 100)
            assert everything[0] == entry("holdout", "", 0.1 + 0.2)
            assert [(each.key, each.act) for each in everything[1:]] == [
                (key, act) for key in "zyx" for act in ("start", "create")
            ]
            assert await a.store.audit("x", 100) == everything[-2:]
            assert await a.store.audit(None, 2) == everything[:2]
            assert await a.store.audit("nobody", 9) == []

    asyncio.run(scenario())


async def _length(client: Any, name: str) -> int:
    length: int = await client.xlen(name)
    return length


def test_keys_are_bounded_and_of_one_slot(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much changes: some changes, so many audit entries and looks; all keys are of the tenant's experiments."""
    for name in ("KEPT_CHANGES", "KEPT_AUDIT", "KEPT_LOOKS"):
        monkeypatch.setattr(experiments, name, 100)

    async def scenario() -> None:
        async with connect(redis_server) as connection:
            store, keys = ExperimentStore(connection), connection.keys
            for revision in range(320):
                await store.commit(revision, Holdout(revision / 320), entry("holdout"))
            for number in range(120):
                await store.add_look("dial", 1, look(number))
            await store.keep_report("dial", b"{}")
            await store.lead("me", 60)

            run = connection.run
            lengths = [
                await run(partial(_length, name=name)) for name in (keys.experiment_changes, keys.experiment_audit)
            ]
            looks = await store.looks("dial", 1)
            found: list[bytes] = await run(lambda client: client.keys(f"{keys.prefix}:*"))
            lasting = await run(lambda client: client.ttl(keys.experiment_looks("dial", 1)))
            assert all(100 <= length <= 300 for length in lengths)
            assert [each.at for each in looks] == list(range(20, 120))
            assert 0 < lasting <= experiments.LOOKS_TTL
            assert {key.split(b":")[1:3] == [b"{shop", b"experiments}"] for key in found} == {True}
            assert len(found) == 6

    asyncio.run(scenario())


def test_looks_and_reports_are_kept(redis_server: Server) -> None:
    """By experiment, looks by series too; what is damaged is passed over."""

    async def scenario() -> None:
        async with connect(redis_server) as connection:
            store = ExperimentStore(connection)
            for number in range(3):
                await store.add_look("dial", 1, look(number))
            await connection.run(lambda client: client.rpush(connection.keys.experiment_looks("dial", 1), "{}"))
            await store.keep_report("dial", b"\x00first")
            await store.keep_report("dial", b"\x00last")

            assert await store.looks("dial", 1) == [look(0), look(1), look(2)]
            assert await store.looks("dial", 2) == []
            assert await store.kept_report("dial") == b"\x00last"
            assert await store.kept_report("other") is None

    asyncio.run(scenario())


def test_one_replica_leads(any_server: Server) -> None:
    """Whatever they are called; who leads goes on to, and is followed by another when it does not ask any more."""

    async def scenario() -> None:
        keys = fresh_keys()
        async with connect(any_server, keys=keys) as one, connect(any_server, keys=keys) as other:
            a, b = ExperimentStore(one), ExperimentStore(other)
            first = [await a.lead("replica", 60), await b.lead("replica", 60), await a.lead("replica", 60)]
            shortened = await a.lead("replica", 0.01)
            async with asyncio.timeout(20):
                while not await b.lead("replica", 60):
                    pass

            assert (first, shortened, await a.lead("replica", 60)) == ([True, False, True], True, False)

    asyncio.run(scenario())
