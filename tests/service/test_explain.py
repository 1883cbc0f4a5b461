"""A score taken apart: the terms make up the score, in every form."""

import math
from typing import Any

import pytest
from fastapi.testclient import TestClient

from causalrec.equations import Form
from tests.service.conftest import FORMS
from tests.service.oracle import Oracle


def explained(client: TestClient, **body: object) -> list[dict[str, Any]]:
    answer = client.post("/v1/recommendations", json={"user_id": "ann", "explain": True, "lambda2": 0.8, **body})
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def undebiased(form: Form, terms: dict[str, float]) -> float:
    match, notice = terms["match"], terms["notice"]
    if form in ("additive", "sum"):
        return match + terms["visual_match"] + notice
    if form == "authors":
        odds = match / (1 - match) * notice / (1 - notice)
        return match * notice * odds / (1 + odds)
    return match * terms["visual_match"] * notice


@pytest.mark.parametrize("form", FORMS)
def test_the_terms_make_up_the_score(clients: dict[Form, TestClient], form: Form) -> None:
    """undebiased is the form's combination of the terms, and score is undebiased less removed."""
    items = explained(clients[form], k=50)

    for item in items:
        terms = item["explain"]

        assert list(terms) == ["match", "visual_match", "notice", "undebiased", "removed", "rank_at_zero"]
        assert math.isclose(undebiased(form, terms), terms["undebiased"], abs_tol=1e-10)
        assert math.isclose(item["score"], terms["undebiased"] - terms["removed"], abs_tol=1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_undebiased_is_the_score_at_zero(
    clients: dict[Form, TestClient], oracles: dict[Form, Oracle], form: Form
) -> None:
    """What would have been scored with nothing removed, and the rank that would have given."""
    ranking = [item for item, _ in oracles[form].best("ann", 0.0, 300, oracles[form].seen["ann"])]

    for item in explained(clients[form]):
        at_zero = oracles[form].score("ann", item["item_id"], 0.0)

        assert math.isclose(item["explain"]["undebiased"], at_zero, abs_tol=1e-11)
        assert item["explain"]["rank_at_zero"] == ranking.index(item["item_id"]) + 1


def test_nothing_is_removed_at_zero(client: TestClient) -> None:
    """At λ2 = 0 the ranks are the ranks at zero."""
    items = explained(client, lambda2=0)

    assert all(item["explain"]["removed"] == 0 and item["explain"]["rank_at_zero"] == item["rank"] for item in items)


@pytest.mark.parametrize("user", ["ann", "nobody"])
def test_rank_at_zero_is_the_rank_of_the_same_request_at_zero(client: TestClient, user: str) -> None:
    """Exclusions and candidates hold for it too, and the cold answer's is the cold answer's."""
    body = {"user_id": user, "candidate_item_ids": [f"item-{n:03d}" for n in range(80)], "k": 30}
    zero = {item["item_id"]: item["rank"] for item in explained(client, **{**body, "lambda2": 0, "k": 80})}

    items = explained(client, **{**body, "lambda2": 1.5})

    assert {item["item_id"]: item["explain"]["rank_at_zero"] for item in items}.items() <= zero.items()
    assert any(item["explain"]["rank_at_zero"] != item["rank"] for item in items)


def test_explanations_come_only_where_asked_for(client: TestClient) -> None:
    """The plain answer is the explained one without its explanations."""
    plain = client.post("/v1/recommendations", json={"user_id": "ann", "lambda2": 0.8}).json()["items"]

    items = explained(client)

    assert plain == [{key: item[key] for key in ("item_id", "rank", "score")} for item in items]
