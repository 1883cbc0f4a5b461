"""A link that leads elsewhere, while requests are answered."""

import gc
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service import engine
from service.candidate import Loader, Reason
from service.models import Models
from service.ranking import Ranker
from service.rehearsal import Rehearsed
from tests.service.conftest import Gate, Serve
from tests.service.lifecycle.conftest import Shelf
from tests.service.lifecycle.world import (
    BAD,
    MODELS,
    USERS,
    bundle,
    id_of,
    is_of,
    lineup,
    look,
    metric,
    models,
    of_less_lambda2,
    point,
    recommended,
    told,
)


def test_what_the_link_leads_to_is_served(serve: Serve, shelf: Shelf) -> None:
    """From the next answer on, by id and content; readiness, the metric and the list of models name it."""
    client = serve(bundle=shelf.link)
    assert all(is_of(recommended(client, user), shelf.one, user) for user in USERS)

    point(shelf.link, shelf.other)
    look(client)

    assert all(is_of(recommended(client, user), shelf.other, user) for user in USERS)
    assert client.get("/health/ready").json()["bundle_id"] == shelf.ids[1]
    assert f'bundle_id="{shelf.ids[1]}"' in client.get("/metrics").text
    assert (told(client, shelf.one)["state"], told(client, shelf.other)["state"]) == ("previous", "serving")
    assert metric(client, "causalrec_model_swaps_total") == 1


def test_it_is_looked_at_by_itself(serve: Serve, shelf: Shelf) -> None:
    """Every watch_seconds; without them never."""
    client = serve(bundle=shelf.link, watch_seconds=0.01)

    point(shelf.link, shelf.other)

    while recommended(client)["bundle_id"] != shelf.ids[1]:
        pass


def test_without_watching_nothing_moves(serve: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """0, the default: a process serves what it was started with until it is told otherwise."""
    watched: list[float] = []

    async def watch(_: Models, every: float) -> None:
        watched.append(every)

    monkeypatch.setattr(Models, "watch", watch)
    serve(bundle=shelf.link)
    assert watched == []

    serve(bundle=shelf.link, watch_seconds=3)

    assert watched == [3]


def test_a_batch_under_way_ends_with_the_bundle_it_began_with(
    serve: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what queues behind it gets the new one; no request fails."""
    client, gate, ranked = serve(bundle=shelf.link), Gate(), engine._ranked

    def held(ranker: Ranker, asks: Sequence[engine.Ask]) -> list[engine.Found]:
        gate.wait(len(asks))
        return ranked(ranker, asks)

    monkeypatch.setattr(engine, "_ranked", held)
    with ThreadPoolExecutor(2) as pool:
        begun = pool.submit(recommended, client)
        assert gate.reached.wait(30)
        behind = pool.submit(recommended, client)

        point(shelf.link, shelf.other)
        look(client)
        gate.open.set()

    assert is_of(begun.result(), shelf.one, "ann")
    assert is_of(behind.result(), shelf.other, "ann")


def test_answers_stay_whole_while_bundles_change(serve: Serve, shelf: Shelf) -> None:
    """Clients all the time, swaps all the time: every answer is of one bundle, from its id to its scores."""
    client = serve(bundle=shelf.link)
    with ThreadPoolExecutor(4) as pool:
        running = [
            pool.submit(lambda: [recommended(client, user, lambda2=0.4) for user in USERS * 8]) for _ in range(4)
        ]
        for turn in range(10):
            point(shelf.link, shelf.one if turn % 2 else shelf.other)
            look(client)
        answers = [answer for each in running for answer in zip(USERS * 8, each.result(), strict=True)]

    truth = {id_: dict.fromkeys(USERS, path) for id_, path in zip(shelf.ids, (shelf.one, shelf.other), strict=True)}
    assert {answer["bundle_id"] for _, answer in answers} <= set(truth)
    assert all(is_of(answer, truth[answer["bundle_id"]][user], user) for user, answer in answers)
    assert metric(client, "causalrec_model_swaps_total") == 10


@pytest.mark.parametrize(("made", "reason"), BAD.items(), ids=[made.__name__ for made in BAD])
def test_a_bad_bundle_leaves_the_old_one_serving(
    serve: Serve, shelf: Shelf, made: Callable[[Path], Path], reason: Reason
) -> None:
    """It is refused with its reason, remembered and counted once, and not loaded again while it stays as it is."""
    client = serve(bundle=shelf.link)
    bad = made(shelf.folder)
    point(shelf.link, bad)

    for _ in range(3):
        look(client)

    assert is_of(recommended(client), shelf.one, "ann")
    assert client.get("/health/ready").json()["bundle_id"] == shelf.ids[0]
    assert metric(client, f'causalrec_model_load_failures_total{{reason="{reason}"}}') == 1
    assert metric(client, "causalrec_model_refused") == 1
    found = told(client, bad)
    assert (found["state"], found["reason"]) == ("refused", reason)
    assert found["detail"].startswith(f"{reason}: {bad}")


def test_one_that_was_refused_is_tried_again_once_it_is_another(serve: Serve, shelf: Shelf) -> None:
    """As after a copy that was not whole yet."""
    client = serve(bundle=shelf.link)
    file = shelf.other / "golden.json"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    point(shelf.link, shelf.other)
    look(client)
    assert is_of(recommended(client), shelf.one, "ann")

    file.write_bytes(whole)
    look(client)

    assert is_of(recommended(client), shelf.other, "ann")
    assert metric(client, "causalrec_model_refused") == 0


def test_what_fails_at_requests_that_were_asked_is_refused(
    serve: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle that passes every other check must also answer what callers really ask."""
    client = serve(bundle=shelf.link)
    recommended(client, "ann", k=7)
    load = Loader.load

    def failing(self: Loader, path: Path) -> Any:
        resident = load(self, path)
        monkeypatch.setattr(resident.ranker, "rank_many", lambda _: [ZeroDivisionError("of all things")])
        return resident

    monkeypatch.setattr(Loader, "load", failing)
    point(shelf.link, shelf.other)
    look(client)

    assert is_of(recommended(client), shelf.one, "ann")
    found = told(client, shelf.other)
    assert found["reason"] == "rehearsal"
    assert "ZeroDivisionError" in found["detail"]
    assert "ann" not in found["detail"].replace(str(shelf.folder), "")


def test_the_last_requests_are_rehearsed(serve: Serve, shelf: Shelf) -> None:
    """As many as are kept, the newest; those that are wrong for the new bundle are counted and no reason against it."""
    client = serve(bundle=shelf.link, rehearsed_requests=3)
    for k in (1, 2, 3, 4):
        recommended(client, k=k)

    point(shelf.link, shelf.other)
    look(client)

    rehearsal = told(client, shelf.other)["rehearsal"]
    assert (rehearsal["requests"], rehearsal["refused"]) == (3, 0)
    assert rehearsal["slower"] > 0
    assert metric(client, "causalrec_model_rehearsal_slower") == pytest.approx(rehearsal["slower"])


def parts_of(client: TestClient) -> list[weakref.ref[Any]]:
    """What takes memory of the bundle that is served."""
    ranker = lineup(client).stable.ranker
    stock = ranker._stock
    return [weakref.ref(part) for part in (ranker.bundle, ranker._searcher, stock.cold, stock.filters)]


def test_bundles_that_went_before_the_previous_one_are_freed(serve: Serve, shelf: Shelf) -> None:
    """At once, without waiting for a collection of garbage; the previous one stays only where it is to."""
    client = serve(bundle=shelf.link, keep_previous=False)
    third = bundle(shelf.folder, 3)
    client.post("/v1/recommendations", json={"user_id": "nobody", "filter": {"category": "hat"}})
    served = [parts_of(client)]
    gc.collect()
    gc.disable()
    try:
        for path in (shelf.other, third):
            point(shelf.link, path)
            look(client)
            recommended(client, "nobody")
            served.append(parts_of(client))
    finally:
        gc.enable()

    assert [{part() is None for part in parts} for parts in served] == [{True}, {True}, {False}]
    assert metric(client, "causalrec_model_resident") == 1


def test_of_a_refused_bundle_nothing_stays_in_memory(
    serve: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it is offered: what was loaded of it goes with the refusal."""
    client = serve(bundle=shelf.link)
    loaded: list[weakref.ref[Ranker]] = []

    def kept(ranker: Ranker, *_: object) -> Rehearsed:
        loaded.append(weakref.ref(ranker))
        raise ZeroDivisionError

    monkeypatch.setattr("service.candidate.rehearse", kept)
    for path in (shelf.other, bundle(shelf.folder, 3)):
        point(shelf.link, path)
        look(client)

    assert [each() for each in loaded] == [None, None]
    assert told(client, shelf.other)["reason"] == "rehearsal"


def test_the_previous_one_stays_and_no_other(serve: Serve, shelf: Shelf) -> None:
    """With keep_previous, so that going back takes no time."""
    client = serve(bundle=shelf.link)
    third = bundle(shelf.folder, 3)
    for path in (shelf.other, third):
        point(shelf.link, path)
        look(client)

    assert metric(client, "causalrec_model_resident") == 2
    assert [each["state"] for each in client.get(MODELS).json()["models"] if each["loaded_at"]].count("previous") == 1
    assert told(client, shelf.one)["state"] == "available"


def test_a_new_bundle_knows_what_was_said_of_items(serve: Serve, shelf: Shelf) -> None:
    """Hidden before the swap or after it, an item is in no answer, nor after going back; new ones are there."""
    client = serve(bundle=shelf.link)
    first = [item["item_id"] for item in recommended(client)["items"]]
    client.put("/v1/items/new", json={"attributes": {"category": "hat"}, "feature": [0.5] * 6})
    client.patch(f"/v1/items/{first[0]}", json={"hidden": True})

    point(shelf.link, shelf.other)
    look(client)
    client.patch(f"/v1/items/{first[1]}", json={"hidden": True})
    there = client.post(
        "/v1/recommendations", json={"user_id": "ann", "candidate_item_ids": [*first[:2], "new"]}
    ).json()
    client.post(f"{MODELS}/rollback")
    again = client.post(
        "/v1/recommendations", json={"user_id": "ann", "candidate_item_ids": [*first[:2], "new"]}
    ).json()

    assert [item["item_id"] for item in there["items"]] == ["new"]
    assert [item["item_id"] for item in again["items"]] == ["new"]
    assert (there["bundle_id"], again["bundle_id"]) == (shelf.ids[1], shelf.ids[0])


def test_experiments_go_by_the_limits_of_what_is_served(serve: Serve, shelf: Shelf) -> None:
    """A λ2 that the new bundle does not allow starts no experiment."""
    client = serve(bundle=shelf.link)
    made = client.post("/v1/experiments", json={"key": "dial", "variants": [{"lambda2": 0.0}, {"lambda2": 2.0}]})
    assert made.status_code == 201, made.text

    of_less_lambda2(shelf.folder)
    look(client)

    refused = client.post("/v1/experiments/dial/start")
    assert refused.status_code == 422
    assert models(client).behind is None


def test_a_folder_of_bundles_names_the_newest(serve: Serve, shelf: Shelf) -> None:
    """The link in it that was made last; it is watched like a link."""
    client = serve(bundle=shelf.folder)
    assert recommended(client)["bundle_id"] == shelf.ids[0]

    third = bundle(shelf.folder, 3)
    look(client)

    assert recommended(client)["bundle_id"] == id_of(third)
