"""Models that cannot be debiased are asked for λ2 = 0; whatever else is asked is refused with the reason."""

from typing import Any

import pytest

from service.problem_kinds import MEDIA_TYPE
from tests.service.models.conftest import USERS, Served, ask, listed


@pytest.mark.parametrize("lambda2", [0.5, 1.0, -0.1, 1e-9])
def test_another_lambda2_is_refused_with_the_reason(undebiasable: Served, lambda2: float) -> None:
    """422: the value, why the model cannot be debiased, and the way out."""
    answer = ask(undebiasable.client, USERS[0], lambda2=lambda2)

    (problem,) = answer.json()["errors"]
    assert (answer.status_code, answer.headers["content-type"]) == (422, MEDIA_TYPE)
    assert (problem["field"], problem["value"]) == ("lambda2", lambda2)
    assert str(undebiasable.config.model.undebiasable) in answer.json()["detail"]
    assert "must be 0 here" in problem["detail"]
    assert "leave it out, or serve a bundle of another model" in problem["detail"]


def test_lists_of_lambda2_and_batches_are_refused_by_place(undebiasable: Served) -> None:
    """The first value that is not 0 is named; zeros are answered."""
    client, post = undebiasable.client, "/v1/recommendations"
    one = {"user_id": USERS[0], "lambda2": [0, 0.0]}

    fine = client.post(post, json=one)
    several = client.post(post, json={**one, "lambda2": [0, 0.7]})
    batch = client.post(f"{post}/batch", json={"requests": [{"user_id": USERS[0]}, {"user_id": "x", "lambda2": 1}]})

    assert [answer["lambda2"] for answer in fine.json()["answers"]] == [0.0, 0.0]
    assert several.json()["errors"][0]["field"] == "lambda2.1"
    assert batch.json()["errors"][0]["field"] == "requests.1.lambda2"
    assert all("must be 0 here" in answer.json()["detail"] for answer in (several, batch))


@pytest.mark.parametrize("parameters", [{}, {"max": 0}])
def test_the_path_is_one_point(undebiasable: Served, parameters: dict[str, float]) -> None:
    """All of [0, 0]: the one list there is."""
    answer = undebiasable.client.get(f"/v1/users/{USERS[0]}/lambda2-path", params={"k": 5, **parameters}).json()

    items = [item for item, _ in listed(ask(undebiasable.client, USERS[0], k=5).json())]
    assert (answer["max"], answer["truncated"]) == (0.0, False)
    assert answer["pieces"] == [{"from": 0.0, "to": 0.0, "item_ids": items}]


def test_a_longer_path_is_refused_with_the_reason(undebiasable: Served) -> None:
    """422 on max above 0."""
    answer = undebiasable.client.get(f"/v1/users/{USERS[0]}/lambda2-path", params={"max": 0.5})

    (problem,) = answer.json()["errors"]
    assert (answer.status_code, problem["field"], problem["value"]) == (422, "max", 0.5)
    assert str(undebiasable.config.model.undebiasable) in problem["detail"]


def test_nobody_named_lambda2_gets_the_default_0(undebiasable: Served) -> None:
    """In answers and in the OpenFeature flag of λ2."""
    client = undebiasable.client

    answer = ask(client, USERS[0]).json()
    flag = client.post("/ofrep/v1/evaluate/flags/lambda2", json={"context": {"targetingKey": USERS[0]}}).json()

    assert (answer["lambda2"], answer["lambda2_source"]) == (0.0, "default")
    assert (flag["value"], flag["reason"]) == (0.0, "DEFAULT")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"variants": [{"lambda2": 0}, {"lambda2": 0.8}]}, "variants.1.lambda2"),
        ({"kind": "random", "between": [0, 1]}, "between.1"),
    ],
)
def test_an_experiment_on_lambda2_is_refused_with_the_reason(
    undebiasable: Served, said: dict[str, Any], field: str
) -> None:
    """Its null effect would be reported as if it were evidence."""
    answer = undebiasable.client.post("/v1/experiments", json={"key": "dial", **said})

    (problem,) = answer.json()["errors"]
    assert (answer.status_code, problem["field"]) == (422, field)
    assert str(undebiasable.config.model.undebiasable) in problem["detail"]
    assert "serve a bundle of another model" in problem["detail"]


def test_an_a_a_test_may_run(undebiasable: Served) -> None:
    """Two variants of λ2 = 0: assignment can be tried out with any model."""
    same_twice = {"variants": [{"name": "a", "lambda2": 0}, {"name": "b", "lambda2": 0}]}

    answer = undebiasable.client.post("/v1/experiments", json={"key": "a-a", **same_twice})

    assert answer.status_code == 201, answer.text
