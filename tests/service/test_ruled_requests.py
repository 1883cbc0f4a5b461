"""Rules as callers meet them: what answers say of them, and what is refused."""

from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from service.planning import Pin
from service.rules import Boost
from tests.service.live_world import EVERYTHING, ids, make_ranker


def test_rules_leave_scores_and_explanations_alone() -> None:
    """Score and rank at zero are the item's own; the boost stands beside them."""
    ranker = make_ranker()
    plain = ranker.rank(EVERYTHING._replace(explain=True))[0]
    boosts = [Boost({"category": "hat"}, 0.5), Boost({"price": {"lt": 50}}, -0.2)]

    ruled = ranker.rank(EVERYTHING._replace(explain=True, boosts=boosts, pins=[Pin("item-004", 7)]))[0]

    assert dict(zip(ids(ruled), ruled.best.scores.tolist(), strict=True)) == dict(
        zip(ids(plain), plain.best.scores.tolist(), strict=True)
    )
    assert plain.explanations
    assert ruled.explanations
    assert dict(zip(ids(ruled), ruled.explanations, strict=True)) == dict(
        zip(ids(plain), plain.explanations, strict=True)
    )
    assert ruled.boosts is not None
    assert set(ruled.boosts.tolist()) == {0.0, 0.5, -0.2, 0.3}
    assert ruled.pinned is not None
    assert np.flatnonzero(ruled.pinned).tolist() == [6]
    assert ids(ruled)[6] == "item-004"


def test_an_answer_says_what_rules_did(client: TestClient) -> None:
    """Boost and pin per item, pins passed over; only where they were asked for."""
    body: dict[str, Any] = {"user_id": "ann", "k": 4, "lambda2": 0.5, "exclude_item_ids": ["item-009"]}
    rules = {"pin": ["no such item", "item-010", "item-009"], "boost": [{"filter": {}, "by": -0.25}]}

    plain = client.post("/v1/recommendations", json=body).json()
    ruled = client.post("/v1/recommendations", json={**body, **rules}).json()

    assert list(plain) == ["bundle_id", "model", "lambda2", "lambda2_source", "items", "source", "exact"]
    assert list(ruled) == [*plain, "pins_passed_over"]
    assert ruled["pins_passed_over"] == ["no such item", "item-009"]
    assert [list(item) for item in ruled["items"]] == [
        ["item_id", "rank", "score", "boost", *(["pinned"] if place == 1 else [])] for place in range(4)
    ]
    others = [item["item_id"] for item in ruled["items"] if "pinned" not in item]
    assert others == [item["item_id"] for item in plain["items"]][:3]


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({}, "user_id", "or give history"),
        ({"user_id": None}, "user_id", "or give history"),
        ({"user_id": "ann", "filter": {"x": 1}}, "filter.x", "there is no such field"),
        ({"user_id": "ann", "filter": []}, "filter", "dict"),
        ({"user_id": "ann", "boost": [{"filter": {"price": "x"}, "by": 1}]}, "boost.0.filter.price", "number"),
        ({"user_id": "ann", "boost": [{"filter": {}, "by": 11}]}, "boost.0.by", "less than or equal to 10"),
        ({"user_id": "ann", "boost": [{"filter": {}, "by": 1}] * 9}, "boost", "at most 8"),
        ({"user_id": "ann", "pin": ["a", {"item_id": "a", "position": 3}]}, "pin", "item 'a' twice"),
        ({"user_id": "ann", "pin": ["a", {"item_id": "b", "position": 1}]}, "pin", "position 1 twice"),
        ({"user_id": "ann", "k": 2, "pin": ["a", "b", "c"]}, "pin", "position 3, beyond the end of a list of k=2"),
        ({"user_id": "ann", "pin": [{"item_id": "a"}]}, "pin.0.position", "required"),
        ({"user_id": "ann", "pin": [7]}, "pin.0", "valid dictionary"),
        ({"user_id": "ann", "max_per_category": {"field": "x", "max": 2}}, "max_per_category.field", "no such field"),
        ({"user_id": "ann", "max_per_category": {"max": 0}}, "max_per_category.max", "greater than or equal to 1"),
        ({"history": ["a"] * 201}, "history", "at most 200"),
        ({"history": [{"item_id": "a", "type": "theft"}]}, "history.0.type", "'click'"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_named(client: TestClient, body: dict[str, Any], field: str, detail: str) -> None:
    """422 with the field, and what would be right; in a batch with the request's index."""
    alone = client.post("/v1/recommendations", json=body)
    batch = client.post("/v1/recommendations/batch", json={"requests": [{"user_id": "bob"}, body]})

    assert (alone.status_code, batch.status_code) == (422, 422)
    assert alone.json()["errors"][0]["field"] == field
    assert detail in alone.json()["errors"][0]["detail"]
    assert batch.json()["errors"][0]["field"] == f"requests.1.{field}"
