"""Several replicas of one service: what one is told all do within a second, and what holds while Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from causalrec.errors import StateUnavailable
from service.experiments.drafting import drafted
from service.experiments.model import AuditEntry, Decision, Experiment, ExperimentConflict
from service.state import experiments, tallies
from service.state.experiments import Outdated
from service.state.keys import Keys
from tests.service.state.experimenting.world import (
    ALL,
    ONE,
    SAID,
    SPLIT,
    Replica,
    Start,
    parts,
    problem,
    replica,
    running,
)
from tests.service.state.servers import Server

USERS = [f"u{number}" for number in range(300)]


@asynccontextmanager
async def two(server: Server, keys: Keys) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two replicas of one tenant."""
    async with replica(server, keys) as one, replica(server, keys) as other:
        yield one, other


def decided(by: Replica) -> list[Decision | None]:
    return [by.experiments.decide(user) for user in USERS]


async def followed(by: Replica, of: Replica) -> None:
    """Until the one has what the other has."""
    await by.store.applied(of.experiments.book.revision)


def test_all_replicas_decide_alike(server: Server, keys: Keys) -> None:
    """And so does one that comes later."""

    async def scenario() -> list[list[Decision | None]]:
        async with two(server, keys) as (one, other):
            await one.experiments.create("dial", {**SAID, "allocation": 0.6}, "ann")
            await one.experiments.start("dial", None, "ann")
            await followed(other, one)
            async with replica(server, keys) as third:
                return [decided(each) for each in (one, other, third)]

    first, second, third = asyncio.run(scenario())

    assert first == second == third
    assert {each is None for each in first} == {True, False}


def test_stopping_takes_effect_on_every_replica(server: Server, keys: Keys) -> None:
    """Here from when the stop is answered, on the other as soon as it has heard of it, by itself."""

    async def scenario() -> tuple[list[Decision | None], list[Decision | None]]:
        async with two(server, keys) as (one, other):
            await one.experiments.create("dial", SAID, "ann")
            await one.experiments.start("dial", None, "ann")
            await followed(other, one)
            assert None not in decided(other)

            await one.experiments.stop("dial", "", "ann")
            here = decided(one)
            await followed(other, one)
            return here, decided(other)

    here, there = asyncio.run(scenario())

    assert set(here) == set(there) == {None}


def test_changes_at_the_same_moment_are_all_made(server: Server, keys: Keys) -> None:
    """Those that were beaten are made again of the newer book; each has its audit entry."""

    async def scenario() -> tuple[set[str], list[AuditEntry]]:
        async with two(server, keys) as (one, other):
            await asyncio.gather(
                *(
                    each.experiments.create(f"{name}{n}", SAID, name)
                    for n in range(2)
                    for name, each in (("a", one), ("b", other))
                )
            )
            await followed(one, other)
            return set(one.experiments.book.experiments), await one.experiments.audit(None, 100)

    keys_made, entries = asyncio.run(scenario())

    assert keys_made == {"a0", "a1", "b0", "b1"}
    assert {(each.key, each.actor) for each in entries} == {("a0", "a"), ("a1", "a"), ("b0", "b"), ("b1", "b")}


def test_who_stops_what_another_replica_stopped_just_now_is_told(server: Server, keys: Keys) -> None:
    """Not that it is done: somebody else did it."""

    async def scenario() -> tuple[list[Experiment | BaseException], int]:
        async with two(server, keys) as (one, other):
            await one.experiments.create("dial", SAID, "ann")
            await followed(other, one)
            both = (each.experiments.stop("dial", "", "ann") for each in (one, other))
            outcomes = await asyncio.gather(*both, return_exceptions=True)
            return outcomes, len(await one.experiments.audit("dial", 100))

    outcomes, entries = asyncio.run(scenario())

    assert [type(each) for each in outcomes if isinstance(each, Exception)] == [ExperimentConflict]
    assert entries == 2


def test_who_is_always_beaten_is_told_in_the_end(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """409: send it again."""
    store = parts(client).store
    commit = store.commit

    async def beaten(expected: int, change: Experiment, entry: AuditEntry) -> int:
        other = Experiment(
            f"other{expected}", "draft", (drafted(SAID)._replace(key=f"other{expected}", version=1),), None, 0.0
        )
        await commit(expected, other, entry)
        raise Outdated(expected, expected + 1)

    monkeypatch.setattr(store, "commit", beaten)

    refused = problem(client.post(ALL, json={"key": "dial", **SPLIT}), 409, "experiment-conflict")

    assert "send it again" in refused.detail
    assert "dial" not in {each["key"] for each in client.get(ALL).json()["experiments"]}


def test_while_redis_is_away_the_book_can_be_read_and_not_changed(
    start: Start, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decisions and what is known go on; changes and reports are 503 with Retry-After."""
    client = start(budget=0.2)
    running(client)
    before = [client.get(ALL).json(), client.get(ONE).json(), decided(parts(client))]
    monkeypatch.setattr(experiments, "WRITE_BUDGET", 0.2)
    monkeypatch.setattr(tallies, "BUDGET", 0.2)
    server.freeze()

    now = [client.get(ALL).json(), client.get(ONE).json(), decided(parts(client))]
    answers = [
        client.post(ALL, json={"key": "other", **SPLIT}),
        client.post(f"{ONE}/stop"),
        client.put("/v1/experiments-holdout", json={"share": 0.1}),
        client.get(f"{ONE}/audit"),
        client.get(f"{ONE}/report"),
    ]
    server.thaw()

    assert now == before
    for answer in answers:
        assert problem(answer, 503, "state-unavailable")
        assert answer.headers["retry-after"] == "1"


def test_what_was_never_read_is_not_said_to_be_empty(
    server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that began while Redis was away knows nothing, and gives everybody the default."""
    monkeypatch.setattr(experiments, "APPLIED_WITHIN", 0.05)

    async def scenario() -> Decision | None:
        async with replica(server, keys) as one:
            one.store._revision = -1  # as before the first reading
            with pytest.raises(StateUnavailable, match="could not be read yet"):
                await one.experiments.get("dial")
            return one.experiments.decide("ann")

    assert asyncio.run(scenario()) is None


def test_a_file_switches_off_on_this_replica_alone(start: Start, tmp_path: Path) -> None:
    """Whether or not Redis is there; what it says of it is why."""
    (off := tmp_path / "experiments-off").write_text("dial\n")
    running(start())
    switched = start(off=off)

    reason = switched.get(f"{ONE}/assignment", params={"user_id": "ann"}).json()["reason"]

    assert parts(switched).experiments.decide("ann") is None
    assert "kill-switch of this replica" in reason
    assert switched.get(ONE).json()["state"] == "running"
