"""PUT, GET, PATCH and DELETE of items, over a real Redis."""

import asyncio
from urllib.parse import quote

import pytest
import torch
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.catalogue import Catalogue, NoSuchItem
from service.item_schemas import ItemAnswer
from service.items import Items
from service.pictures import Pictures
from service.state import catalogue as catalogue_module
from service.state.catalogue import CatalogueStore
from tests.service.state.items.world import (
    BODY,
    BUNDLE,
    FEATURE,
    NEW,
    SAID,
    TRAINED,
    Start,
    bundle_of_pictures,
    parts,
    picture,
    problem,
    snapshot,
)
from tests.service.state.servers import Server, connect, fresh_keys


def test_a_new_item_is_there_when_the_answer_is(client: TestClient) -> None:
    """201, and the snapshot that answers are made from has it already."""
    answer = client.put(NEW, json=BODY)

    expected = {"item_id": "new", "attributes": SAID | {"image": None}, "hidden": False, "kind": "cold", "version": 1}
    assert (answer.status_code, answer.json()) == (201, expected)
    assert snapshot(client).row("new") == 30
    assert client.get(NEW).json() == expected
    assert ItemAnswer.model_validate(answer.json())


def test_to_put_again_replaces(client: TestClient) -> None:
    """200; what is left out is null."""
    client.put(NEW, json=BODY)

    answer = client.put(NEW, json={"attributes": {"title": "Wool coat"}, "feature": FEATURE[::-1]})

    assert answer.status_code == 200
    assert answer.json()["attributes"] == {"title": "Wool coat", "category": None, "price": None, "image": None}
    cold = snapshot(client).cold
    assert cold is not None
    reversed_feature = torch.tensor(FEATURE[::-1])
    torch.testing.assert_close(cold.e[0], BUNDLE.visual.place(reversed_feature)[0])


def test_a_trained_item_takes_attributes_alone(client: TestClient) -> None:
    """It was there, so 200; its vectors stay."""
    answer = client.put(TRAINED, json={"attributes": {"price": 1}})

    assert (answer.status_code, answer.json()["kind"]) == (200, "trained")
    assert client.get(TRAINED).json()["attributes"]["price"] == 1.0
    assert client.get("/v1/items/item-04").json()["attributes"]["title"] == "Item 4"


def test_hidden_shown_and_deleted(client: TestClient) -> None:
    """Each holds as soon as it is answered; a hidden item stays hidden when it is put again."""
    client.put(NEW, json=BODY)

    hidden = client.patch(NEW, json={"hidden": True}).json()["hidden"]
    rows = snapshot(client).hidden.tolist()
    still = client.put(NEW, json=BODY).json()["hidden"]
    shown = client.patch(NEW, json={"hidden": False}).json()["hidden"]
    deleted = client.delete(NEW)

    assert (hidden, rows, still, shown) == (True, [30], True, False)
    assert (deleted.status_code, deleted.content) == (204, b"")
    problem(client.get(NEW), 404, "unknown-item")
    assert snapshot(client).row("new") is None


def test_a_deleted_trained_item_is_gone_until_it_is_put(client: TestClient) -> None:
    """Its row stays, hidden; PUT makes it anew."""
    client.delete(TRAINED)

    problem(client.get(TRAINED), 404, "unknown-item")
    rows = snapshot(client).hidden.tolist()
    again = client.put(TRAINED, json={})

    assert rows == [3]
    assert (again.status_code, again.json()["attributes"]["title"]) == (201, "Item 3")
    assert len(snapshot(client).hidden) == 0


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_item_is_a_404(client: TestClient, method: str) -> None:
    """Only PUT makes one."""
    body = {"hidden": True} if method == "PATCH" else None

    found = problem(client.request(method, "/v1/items/nobody", json=body), 404, "unknown-item")

    assert "'nobody'" in found.detail


def test_replicas_and_restarts_know_what_was_said(start: Start) -> None:
    """One hears of the other's changes; a third, started later, of all of them."""
    one, other = start(), start()

    one.put(NEW, json=BODY)
    seen = other.patch(NEW, json={"hidden": False}).json()
    other.patch(TRAINED, json={"hidden": True})
    late = start()
    late.patch("/v1/items/item-04", json={"hidden": True})

    assert seen["version"] == 2
    assert other.get(NEW).json()["kind"] == "cold"
    assert late.get(NEW).json() == one.get(NEW).json() | {"version": 4}
    assert snapshot(late).hidden.tolist() == [3, 4]


def test_what_another_replica_deleted_just_now_is_a_404(redis_server: Server) -> None:
    """Also on a replica that has not heard of it: to hide it would be answered as if it were there."""

    async def scenario() -> None:
        async with connect(redis_server) as connection:
            store, pictures = CatalogueStore(connection), Pictures()
            late = Items(store, pictures, lambda: Catalogue.of(BUNDLE), lambda _: None)
            await store.delete("item-03")
            with pytest.raises(NoSuchItem):
                await late.patch("item-03", hidden=True)
            with pytest.raises(NoSuchItem):
                await late.delete("item-03")
            pictures.close()

    asyncio.run(scenario())


def test_a_full_catalogue_refuses_new_items_and_hides_all_the_same(start: Start) -> None:
    """409 with the way out; what changes or goes is never refused."""
    client = start(most_items=2)
    client.put(NEW, json=BODY)
    client.put("/v1/items/newer", json=BODY)

    refused = client.put("/v1/items/newest", json=BODY)

    assert "trained with what is in the shop" in problem(refused, 409, "catalogue-full").detail
    assert refused.headers.get("retry-after") is None
    assert client.put(NEW, json=BODY).status_code == 200
    assert client.patch(TRAINED, json={"hidden": True}).status_code == 200


def test_a_full_catalogue_forgets_what_need_not_be_said(start: Start) -> None:
    """A bundle that was trained with the new items, and deletions of items it does not know, make room."""
    before = start(most_items=3)
    own = {name: value for name, value in BUNDLE.catalogue.row(3, named=True).items() if name != "item_id"}
    before.put("/v1/items/item-03", json={"attributes": own, "feature": FEATURE})
    before.put("/v1/items/a", json=BODY)
    before.put("/v1/items/b", json=BODY)
    before.delete("/v1/items/a")

    made = before.put(NEW, json=BODY)

    assert made.status_code == 201
    assert sorted(snapshot(before).records) == ["b", "new"]


def test_while_redis_is_away_nothing_is_forgotten(
    start: Start, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes are refused with 503 and Retry-After; what was hidden stays hidden, what is known is told."""
    client = start()
    client.put(NEW, json=BODY)
    client.patch(NEW, json={"hidden": True})
    monkeypatch.setattr(catalogue_module, "WRITE_BUDGET", 0.2)
    redis_server.freeze()

    refused = [client.put(NEW, json=BODY), client.patch(NEW, json={"hidden": False}), client.delete(NEW)]

    for answer in refused:
        problem(answer, 503, "state-unavailable")
        assert answer.headers["retry-after"] == "1"
    assert client.get(NEW).json()["hidden"]
    assert snapshot(client).hidden.tolist() == [30]


def test_an_item_for_another_bundle_waits(start: Start) -> None:
    """A replica whose bundle is of another backbone knows the item and can hide it, but not place it."""
    start(bundle_of_pictures()).put(NEW, **parts(data=picture()))
    other = start()
    other.patch(TRAINED, json={"hidden": True})

    found = other.get(NEW).json()

    assert (found["kind"], found["attributes"]) == ("unplaced", SAID)
    assert snapshot(other).row("new") is None
    assert other.delete(NEW).status_code == 204


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "hide", "show", "delete"]), st.sampled_from(["new", "zz/9", "item-03", "item-29"])
    ),
    max_size=10,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_any_sequence_is_answered_as_a_plain_model_says(start: Start, steps: list[tuple[str, str]]) -> None:
    """Status by status, on two replicas in turn, and the hidden rows at the end."""
    keys = fresh_keys()
    replicas = start(keys=keys), start(keys=keys)
    there, hidden = {"item-03", "item-29"}, set[str]()

    for place, (act, item_id) in enumerate(steps):
        client, path = replicas[place % 2], f"/v1/items/{quote(item_id, safe='')}"
        if act == "put":
            assert client.put(path, json=BODY).status_code == (200 if item_id in there else 201)
            there.add(item_id)
        elif act == "delete":
            assert client.delete(path).status_code == (204 if item_id in there else 404)
            there.discard(item_id)
            hidden.discard(item_id)
        else:
            changed = client.patch(path, json={"hidden": act == "hide"})
            assert changed.status_code == (200 if item_id in there else 404)
            if item_id in there:
                hidden = hidden | {item_id} if act == "hide" else hidden - {item_id}

    for client in replicas:
        client.patch("/v1/items/nobody", json={"hidden": True})  # an unknown item makes a replica catch up
        catalogue = snapshot(client)
        assert {i for i in ("new", "zz/9") if catalogue.row(i) is not None} == there - {"item-03", "item-29"}
        out = hidden | {"item-03", "item-29"} - there
        assert catalogue.hidden.tolist() == sorted(catalogue.rows(out).tolist())
