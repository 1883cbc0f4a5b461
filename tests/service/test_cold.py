"""Somebody unknown: an answer, not an error."""

import pytest
from fastapi.testclient import TestClient

from causalrec.equations import Form
from tests.service.conftest import FORMS
from tests.service.oracle import Oracle
from tests.service.test_recommendations import pairs, same

NOBODY = "/v1/users/nobody/recommendations"


@pytest.mark.parametrize("lambda2", [0.0, 0.8, 2.0])
@pytest.mark.parametrize("form", FORMS)
def test_an_unknown_user_gets_the_fused_ranking(
    clients: dict[Form, TestClient], oracles: dict[Form, Oracle], form: Form, lambda2: float
) -> None:
    """Reciprocal rank fusion of the mean user's debiased ranking and popularity, marked as such."""
    answer = clients[form].get(NOBODY, params={"lambda2": lambda2, "k": 40})

    assert answer.status_code == 200
    assert (answer.json()["source"], answer.json()["exact"]) == ("cold_user", True)
    assert same(pairs(answer.json()), oracles[form].cold(lambda2, 40, set()))


def test_exclusions_and_candidates_hold_for_unknown_users(client: TestClient, oracles: dict[Form, Oracle]) -> None:
    """They restrict the fused ranking and leave the other items' scores alone."""
    first = client.get(NOBODY, params={"lambda2": 0.4, "k": 1}).json()["items"][0]["item_id"]
    given = [first, "item-004", "item-005", "item-006"]
    body = {"user_id": "nobody", "lambda2": 0.4, "candidate_item_ids": given, "exclude_item_ids": [first]}

    without = client.get(NOBODY, params={"lambda2": 0.4, "exclude_item_ids": first}).json()
    among = client.post("/v1/recommendations", json=body).json()

    assert same(pairs(without), oracles["paper"].cold(0.4, 10, {first}))
    others = set(oracles["paper"].items) - set(given[1:])
    assert same(pairs(among), oracles["paper"].cold(0.4, 10, others))


def test_many_lambda2_values_do_not_mix(client: TestClient, oracles: dict[Form, Oracle]) -> None:
    """More λ2 values than fused rankings are kept: each answer is still its own."""
    for lambda2 in [n / 10 for n in range(12)] * 2:
        answer = client.get(NOBODY, params={"lambda2": lambda2, "k": 5}).json()

        assert same(pairs(answer), oracles["paper"].cold(lambda2, 5, set()))
