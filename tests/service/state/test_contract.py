"""What holds of every Redis a Connection can be opened on: embedded, named by URL, Sentinel, Cluster."""

import asyncio
import random
from typing import Any

import pytest

from causalrec.errors import StateUnavailable
from service.events import NO_STATE, Act, Event, EventType
from service.state.users import UserStore
from tests.service.served import a_list, exposure, failure
from tests.service.state.servers import Server, connect

DAY = 24 * 3600
TYPES: tuple[EventType, ...] = ("click", "cart", "purchase", "rating")


def event(item_id: str, at: float, kind: EventType = "click", user_id: str = "ann") -> Event:
    """An event of `user_id` with `item_id`."""
    return Event(f"{user_id}/{item_id}/{at}", user_id, item_id, kind, None, at, None)


def random_events(rng: random.Random, count: int, users: tuple[str, ...] = ("ann",)) -> list[Event]:
    """Events of few items at few times, so that many are of the same act and many at the same time."""
    return [
        event(f"i{rng.randrange(12)}", rng.randrange(1000, 1060) + 0.25, rng.choice(TYPES), rng.choice(users))
        for _ in range(count)
    ]


def newest(events: list[Event], user_id: str, kept: int) -> set[Act]:
    """The oracle: the last time of each act, by plain loops; which of equally old ones are kept is not asked."""
    last: dict[tuple[str, Any], float] = {}
    for each in events:
        if each.user_id == user_id:
            key = each.item_id, each.type
            last[key] = max(each.timestamp, last.get(key, 0.0))
    acts = sorted((Act(*key, at) for key, at in last.items()), key=lambda act: -act.timestamp)
    return set(acts[:kept])


def test_what_was_written_is_read(any_server: Server) -> None:
    """Answers come back as bytes."""

    async def scenario() -> bytes:
        async with connect(any_server) as connection:
            key = connection.keys.user_acts("ann")
            await connection.run(lambda redis: redis.set(key, "ö"))
            found: bytes = await connection.run(lambda redis: redis.get(key))
            return found

    assert asyncio.run(scenario()) == "ö".encode()


def test_more_calls_than_places_are_all_answered(any_server: Server) -> None:
    """Connections are bounded; calls wait for one, each gets its own answer."""

    async def scenario() -> tuple[list[bytes], int]:
        async with connect(any_server, budget=30.0) as connection:

            async def echo(number: int) -> bytes:
                key = connection.keys.user_acts(str(number))
                await connection.run(lambda redis: redis.set(key, number))
                found: bytes = await connection.run(lambda redis: redis.get(key))
                return found

            answers = await asyncio.gather(*map(echo, range(300)))
            clients = await connection.run(lambda redis: redis.client_list())
            return answers, len(clients)

    answers, clients = asyncio.run(scenario())

    assert answers == [str(number).encode() for number in range(300)]
    assert clients < 100


def test_a_refused_command_does_not_open_the_breaker(any_server: Server) -> None:
    """Redis answers, only not what was wanted: others are still asked."""

    async def scenario() -> bool:
        async with connect(any_server) as connection:
            key = connection.keys.user_acts("ann")
            await connection.run(lambda redis: redis.set(key, "text"))
            for _ in range(20):
                with pytest.raises(StateUnavailable, match="refused: WRONGTYPE"):
                    await connection.run(lambda redis: redis.zadd(key, {"a": 1}))
            return connection.available

    assert asyncio.run(scenario())


def test_nobody_known_has_no_state(any_server: Server) -> None:
    """An unknown user is not an error."""

    async def scenario() -> Any:
        async with connect(any_server) as connection:
            return (await UserStore(connection).read(["nobody"]))[0]

    assert asyncio.run(scenario()) is NO_STATE


def test_acts_come_newest_first(any_server: Server) -> None:
    """The last time of each act, whatever characters an id has; impressions are no acts; users are kept apart."""
    events = [
        event("shirt:1 ü", 1000.125),
        event("shirt:1 ü", 1003.5, "purchase"),
        event("hat", 1001.0),
        event("seen", 1002.0, "impression"),
        event("other", 1004.0, user_id="bob"),
    ]

    async def scenario() -> Any:
        async with connect(any_server) as connection:
            store = UserStore(connection)
            await store.record(events)
            return (await store.read(["ann"]))[0]

    assert asyncio.run(scenario()).acts == (
        Act("shirt:1 ü", "purchase", 1003.5),
        Act("hat", "click", 1001.0),
        Act("shirt:1 ü", "click", 1000.125),
    )


def test_what_the_service_recorded_is_no_act(any_server: Server) -> None:
    """An exposure, a list and a failure are nothing that a user did."""

    async def scenario() -> Any:
        async with connect(any_server) as connection:
            store = UserStore(connection)
            await store.record([exposure("ann", 0), a_list("ann", 0), failure("ann", 0)])
            return (await store.read(["ann"]))[0]

    assert asyncio.run(scenario()) is NO_STATE


def test_who_asks_at_the_same_time_shares_a_round_trip(any_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets their own user's, also when one of them leaves; all are told when Redis cannot be asked."""
    trips = 0

    async def scenario() -> Any:
        async with connect(any_server) as connection:
            store = UserStore(connection)
            await store.record([event("hat", 1.0), event("bag", 2.0, user_id="bob")])
            run = connection.run

            async def counted(*arguments: Any, **named: Any) -> Any:
                nonlocal trips
                trips += 1
                return await run(*arguments, **named)

            monkeypatch.setattr(connection, "run", counted)
            asks = [asyncio.create_task(store.read(users)) for users in (["ann"], ["bob", "ann"], ["cyd"], ["bob"])]
            await asyncio.sleep(0)
            asks[-1].cancel()
            found = await asyncio.gather(*asks, return_exceptions=True)
            connection._breaker.open()
            failed = await asyncio.gather(store.read(["ann"]), store.read(["bob"]), return_exceptions=True)
            return found, failed

    (ann, both, cyd, left), failed = asyncio.run(scenario())

    assert trips == 2
    assert [[act.item_id for act in state.acts] for state in (*ann, *both, *cyd)] == [["hat"], ["bag"], ["hat"], []]
    assert isinstance(left, asyncio.CancelledError)
    assert [type(each) for each in failed] == [StateUnavailable] * 2


@pytest.mark.parametrize("seed", range(3))
def test_order_and_repetition_do_not_matter(any_server: Server, seed: int) -> None:
    """Late and repeated events, in any batches, leave the newest `kept` acts that all of them together have."""
    rng = random.Random(seed)
    users = ("ann", "bob", "cyd", "dan")
    events = random_events(rng, 300, users)
    sent = [*events, *rng.choices(events, k=300)]
    rng.shuffle(sent)

    async def scenario() -> dict[str, set[Act]]:
        async with connect(any_server) as connection:
            store = UserStore(connection, kept=10)
            for begin in range(0, len(sent), 37):
                await store.record(sent[begin : begin + 37])
            return {user: set(state.acts) for user, state in zip(users, await store.read(users), strict=True)}

    found = asyncio.run(scenario())

    for user, acts in found.items():
        wanted = newest(events, user, 10)
        assert {act.timestamp for act in acts} == {act.timestamp for act in wanted}
        assert acts <= newest(events, user, 1000)
        assert len(acts) == len(wanted)


def test_users_are_forgotten(any_server: Server) -> None:
    """Every write sets the time after which a user without acts is forgotten; no more than `kept` acts are held."""

    async def scenario() -> tuple[int, int]:
        async with connect(any_server) as connection:
            await UserStore(connection, kept=3, ttl_seconds=DAY).record([event(f"i{n}", 1000.0 + n) for n in range(9)])
            key = connection.keys.user_acts("ann")
            return await connection.run(lambda redis: redis.ttl(key)), await connection.run(
                lambda redis: redis.zcard(key)
            )

    ttl, held = asyncio.run(scenario())

    assert DAY - 60 < ttl <= DAY
    assert held == 3
