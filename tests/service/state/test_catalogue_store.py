"""The live catalogue in Redis: whoever writes, every replica comes to the same."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.catalogue import CatalogueFull, ItemRecord
from service.state import catalogue
from service.state.catalogue import CatalogueStore, Written
from tests.service.state.replicas import record, replica, settled, two_replicas
from tests.service.state.servers import Server, connect, fresh_keys


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is slow, not broken."""
    monkeypatch.setattr(catalogue, "WRITE_BUDGET", 20.0)
    monkeypatch.setattr(catalogue, "APPLIED_WITHIN", 20.0)


def test_two_replicas_hear_of_each_others_changes(any_server: Server) -> None:
    """Put, hide, show, delete: what one says is what both know, in one version."""

    async def scenario() -> None:
        async with two_replicas(any_server) as (a, b):
            await a.store.put(record("x"))
            await b.store.put(record("y/ö {z}", "Ein Mantel"))
            await a.store.patch("trained", hidden=True)
            await b.store.patch("x", hidden=True)
            await settled(await a.store.delete("y/ö {z}"), a, b)

            deleted = ItemRecord("y/ö {z}", {}, None, None, hidden=False, deleted=True)
            said = ItemRecord("trained", {}, None, None, hidden=True, deleted=False)
            assert a.known == {"x": record("x", hidden=True), "y/ö {z}": deleted, "trained": said}
            assert (b.known, a.version, b.version) == (a.known, 5, 5)

    asyncio.run(scenario())


def test_who_comes_later_is_told_everything(any_server: Server) -> None:
    """More than one reading's worth, and changed while it reads."""

    async def scenario() -> None:
        keys = fresh_keys()
        async with connect(any_server, keys=keys) as one, connect(any_server, keys=keys) as other:
            store = CatalogueStore(one)
            await asyncio.gather(*(store.put(record(f"item-{n}")) for n in range(500)))
            writing = asyncio.gather(*(store.patch(f"item-{n}", hidden=True) for n in range(500)))
            async with replica(other) as late:
                await writing
                await settled(await store.put(record("last")), late)

                assert late.whole == 1
                assert late.known == {"last": record("last")} | {
                    f"item-{n}": record(f"item-{n}", hidden=True) for n in range(500)
                }

    asyncio.run(scenario())


def test_two_writers_at_once_both_count(redis_server: Server) -> None:
    """Neither undoes the other: versions are distinct, and a PUT does not show what was hidden meanwhile."""

    async def scenario() -> None:
        async with two_replicas(redis_server) as (a, b):
            await a.store.put(record("x"))
            writing = [a.store.patch("x", hidden=True), *(b.store.put(record("x", str(n))) for n in range(50))]
            written = await asyncio.gather(*writing)
            await settled(max(written), a, b)

            assert sorted(each.version for each in written) == list(range(2, 53))
            assert a.known["x"].hidden
            assert a.known == b.known

    asyncio.run(scenario())


def test_put_says_what_was_there_before(redis_server: Server) -> None:
    """A deleted item is there again, shown."""

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection) as a:
            befores = [(await a.store.put(record("x"))).before, (await a.store.put(record("x"))).before]
            await a.store.patch("x", hidden=True)
            await a.store.delete("x")
            nothing = await a.store.patch("x", hidden=False)
            again = await a.store.put(record("x", "new"))
            await settled(again, a)

            assert [*befores, again.before] == ["absent", "there", "deleted"]
            assert nothing == Written(0, "deleted")
            assert a.known == {"x": record("x", "new")}

    asyncio.run(scenario())


def test_a_new_item_beyond_the_bound_is_refused(redis_server: Server) -> None:
    """What is there may change, hide and go; hidden items do not count."""

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection, most_items=2) as a:
            for n in range(5):
                await a.store.patch(f"trained-{n}", hidden=n > 0)
            for item_id in "xy":
                await a.store.put(record(item_id))
            with pytest.raises(CatalogueFull, match="2 items are new, changed or deleted"):
                await a.store.put(record("z"))
            await a.store.put(record("x", "other"))
            await a.store.patch("y", hidden=True)
            await a.store.delete("trained-4")
            with pytest.raises(CatalogueFull):
                await a.store.put(record("trained-3"))
            await settled(await a.store.delete("x"), a)

            deleted = {item_id for item_id, said in a.known.items() if said.deleted}
            assert (deleted, len(a.known), a.known["y"]) == ({"x", "trained-4"}, 7, record("y", hidden=True))

    asyncio.run(scenario())


def test_forgetting_makes_room(redis_server: Server) -> None:
    """Unless something else was said meanwhile: that is not forgotten."""

    async def scenario() -> None:
        async with connect(redis_server) as connection, replica(connection, most_items=2) as a:
            await a.store.put(record("x"))
            await a.store.put(record("y"))
            await a.store.put(record("x", "other"))
            stale, forgotten = await a.store.forget(record("x")), await a.store.forget(record("y"))
            with_room = await a.store.put(record("z"))
            with pytest.raises(CatalogueFull):
                await a.store.put(record("y"))
            await settled(with_room, a)

            assert (stale.version, forgotten.version) == (0, 4)
            assert set(a.known) == {"x", "z"}

    asyncio.run(scenario())


def test_keys_are_bounded_and_of_the_catalogues_slot(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often items change, the stream keeps about so many; nothing is written elsewhere."""
    monkeypatch.setattr(catalogue, "KEPT_CHANGES", 100)

    async def scenario() -> tuple[int, list[bytes]]:
        async with connect(redis_server) as connection:
            store = CatalogueStore(connection)
            for _ in range(40):
                await asyncio.gather(*(store.patch("x", hidden=True) for _ in range(25)))
            keys = connection.keys
            length: int = await connection.run(lambda client: client.xlen(keys.item_changes))
            found: list[bytes] = await connection.run(lambda client: client.keys(f"{keys.prefix}:*"))
            assert sorted(found) == sorted(k.encode() for k in (keys.items, keys.item_version, keys.item_changes))
            return length, found

    length, _ = asyncio.run(scenario())
    assert 100 <= length <= 300


IDS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), IDS, st.sampled_from(["one", "two"])),
        st.tuples(st.sampled_from(["hide", "show", "delete"]), IDS, st.just("")),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_sequence_comes_to_what_a_dict_would_hold(
    redis_server: Server, steps: Sequence[tuple[str, str, str]]
) -> None:
    """Put, hide, show, delete in any order, from two replicas in turn."""
    model: dict[str, ItemRecord] = {}
    nothing = ItemRecord("", {}, None, None, hidden=False, deleted=False)
    for act, item_id, title in steps:
        before = model.get(item_id, nothing._replace(item_id=item_id))
        if act == "put":
            model[item_id] = record(item_id, title, hidden=before.hidden)
        elif act == "delete":
            model[item_id] = nothing._replace(item_id=item_id, deleted=True)
        elif not before.deleted:
            model[item_id] = before._replace(hidden=act == "hide")

    async def scenario() -> None:
        async with two_replicas(redis_server) as (a, b):
            versions = [0]
            for place, (act, item_id, title) in enumerate(steps):
                store = (a, b)[place % 2].store
                if act == "put":
                    versions.append((await store.put(record(item_id, title))).version)
                elif act == "delete":
                    versions.append((await store.delete(item_id)).version)
                else:
                    versions.append((await store.patch(item_id, hidden=act == "hide")).version)
            await settled(Written(max(versions), "there"), a, b)

            assert (a.known, b.known) == (model, model)

    asyncio.run(scenario())
