"""The whole service over a real Redis: what is told it, what it answers next, and what it does without."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from causalrec.equations import Form
from service.app import create_app
from service.settings import Settings
from tests.bundles import FEATURES
from tests.service.state.conftest import Running
from tests.service.state.servers import Server, fresh_keys

Replica = Callable[..., TestClient]


class World:
    """A Redis server and services over it, which share a tenant of their own."""

    def __init__(self, redis: Server, bundle: Path, folder: Path, closing: ExitStack) -> None:
        self.redis = redis
        self._bundle, self._folder, self._closing = bundle, folder, closing
        self._prefix = fresh_keys().prefix

    def replica(self, **settings: object) -> TestClient:
        """One more service. The embedded server lives in its data directory, so replicas share that one."""
        embedded = self.redis.url is None
        data_dir = self.redis.data_dir if embedded else self._folder / f"replica-{time.time_ns()}"
        chosen = {
            "bundle": self._bundle,
            "data_dir": data_dir,
            "redis_url": self.redis.url,
            "prefix": self._prefix,
            "state_budget_ms": 1000,
            **settings,
        }
        return self._closing.enter_context(TestClient(create_app(Settings.model_validate(chosen))))


@pytest.fixture
def world(mortal_server: Server, folders: dict[Form, Path], data_dir: Path) -> Iterator[World]:
    with ExitStack() as closing:
        yield World(mortal_server, folders["paper"], data_dir, closing)


def ids(client: TestClient, user: str = "ann", **options: Any) -> list[str]:
    """What the user is recommended."""
    answer = client.get(f"/v1/users/{user}/recommendations", params={"k": 20, **options})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def tell(client: TestClient, item: str, type_: str = "purchase", user: str = "ann", event: str | None = None) -> None:
    """Posts one event."""
    event = event or f"{user}-{item}-{type_}-{time.time_ns()}"
    body = {"event_id": event, "user_id": user, "item_id": item, "type": type_}
    assert client.post("/v1/events", json=body).status_code == 200


def metric(client: TestClient, line: str) -> float:
    """The value of one line of the metrics."""
    return next(
        float(each.rsplit(" ", 1)[1]) for each in client.get("/metrics").text.splitlines() if each.startswith(line)
    )


def until(reached: Callable[[], bool]) -> None:
    """Waits; replicas say within a second, a busy machine gets more."""
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("type_", ["purchase", "click"])
def test_what_was_bought_or_clicked_is_not_in_the_very_next_answer(world: World, type_: str) -> None:
    """Unless seen items may be shown; and what it says of the user moves the list."""
    client = world.replica()
    before = ids(client)

    tell(client, before[0], type_)
    after = ids(client)

    assert before[0] not in after
    assert after != [item for item in before if item != before[0]][: len(after)]
    assert before[0] in ids(client, exclude_seen=False, k=300)


def test_the_policy_says_which_acts_exclude(world: World) -> None:
    """With excluding = purchase a click leaves the item in."""
    client = world.replica(excluding="purchase")
    first, second = ids(client)[:2]

    tell(client, first, "click")
    tell(client, second, "purchase")

    everything = ids(client, k=300)
    assert first in everything
    assert second not in everything


def test_somebody_new_is_answered_by_what_they_did(world: World) -> None:
    """The cold answer before the first event, fold-in from it on; a repeat of the event changes nothing."""
    client = world.replica()
    path = "/v1/users/new/recommendations"
    cold = client.get(path).json()

    tell(client, "item-007", "click", "new", "e1")
    warm = client.get(path)
    tell(client, "item-007", "click", "new", "e1")

    assert (cold["source"], warm.json()["source"]) == ("cold_user", "history")
    assert client.get(path).headers["etag"] == warm.headers["etag"]


def test_replicas_see_each_others_events_hides_and_new_items(world: World) -> None:
    """What one is told, all answer by."""
    one, other = world.replica(), world.replica()
    first, second = ids(other)[:2]

    tell(one, first)
    one.patch(f"/v1/items/{second}", json={"hidden": True})
    made = one.put("/v1/items/brand-new", json={"attributes": {}, "feature": [3.0] * FEATURES})

    assert made.status_code == 201, made.text
    until(lambda: {first, second}.isdisjoint(ids(other)) and "brand-new" in ids(other, k=300))
    assert "brand-new" in ids(one, k=300)


def test_hidden_items_stay_hidden_over_a_restart_and_leave_by_no_route(world: World) -> None:
    """Neither a user's list, nor a cold one, nor a path, nor candidates, nor a batch, nor pins."""
    client = world.replica()
    hidden = ids(client)[0]
    client.patch(f"/v1/items/{hidden}", json={"hidden": True})
    client = world.replica()

    posted = {"user_id": "ann", "k": 300, "exclude_seen": False}
    candidates = {**posted, "candidate_item_ids": [hidden, "item-001"]}
    pinned = {**posted, "pin": [{"item_id": hidden, "position": 1}]}
    answers = [
        client.get("/v1/users/nobody/recommendations", params={"k": 300}).text,
        client.get("/v1/users/ann/lambda2-path", params={"k": 50}).text,
        client.post("/v1/recommendations", json=candidates).text,
        client.post("/v1/recommendations", json={**posted, "explain": True}).text,
        client.post("/v1/recommendations", json={"history": [{"item_id": "item-002"}], "k": 300}).text,
        client.post("/v1/recommendations/batch", json={"requests": [posted, candidates]}).text,
    ]

    assert [hidden in answer for answer in answers] == [False] * 6
    passed_over = client.post("/v1/recommendations", json=pinned).json()
    assert hidden not in [item["item_id"] for item in passed_over["items"]]


def test_a_frozen_redis_costs_a_list_its_memory_and_nothing_else(world: World) -> None:
    """Answers go on without what is remembered, hidden items stay hidden, and the fallback is counted."""
    client = world.replica(state_budget_ms=20)
    hidden, bought = ids(client)[:2]
    client.patch(f"/v1/items/{hidden}", json={"hidden": True})
    tell(client, bought)
    without = "causalrec_fallbacks_total"
    before = metric(client, without)

    world.redis.freeze()
    answers = [ids(client) for _ in range(10)]
    counted = metric(client, without)
    world.redis.thaw()

    assert all(hidden not in answer for answer in answers)
    assert counted == before + 10
    until(lambda: bought not in ids(client))


def test_events_told_while_redis_is_away_are_there_when_it_is_back(world: World) -> None:
    """They are acknowledged at once, from the disk; the user's list follows when Redis does."""
    client = world.replica()
    bought = ids(client)[0]

    world.redis.freeze()
    tell(client, bought)
    waiting = metric(client, "causalrec_spool_bytes")
    world.redis.thaw()

    assert waiting > 0
    until(lambda: bought not in ids(client))
    assert metric(client, "causalrec_spool_bytes") == 0


def test_items_cannot_be_changed_without_redis(world: World) -> None:
    """503 that says when to come back: a change that could be lost is not acknowledged."""
    client = world.replica()
    world.redis.freeze()

    answer = client.patch("/v1/items/item-001", json={"hidden": True})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:causalrec:problem:state-unavailable"


@pytest.mark.parametrize(("start_without_state", "status"), [(False, 503), (True, 200)])
def test_who_starts_while_redis_is_away_does_not_know_what_is_hidden(
    folders: dict[Form, Path], running: Running, start_without_state: bool, status: int
) -> None:
    """Not ready, and answers nothing, until Redis is back; or answers at once where the settings say so."""
    named = running("named")
    settings = Settings.model_validate(
        {"bundle": folders["paper"], "redis_url": named.url, "start_without_state": start_without_state}
    )
    paths: Sequence[str] = ("/health/ready", "/v1/users/ann/recommendations")

    named.kill()
    try:
        with TestClient(create_app(settings)) as client:
            found = [client.get(path).status_code for path in paths]
            named.restart()
            until(lambda: client.get(paths[0]).status_code == 200)
    except BaseException:
        named.restart()
        raise

    assert found == [status, status]
