"""Several requests in one: each as if it were alone."""

from fastapi.testclient import TestClient

BATCH = "/v1/recommendations/batch"


def test_batch_answers_are_the_single_answers(client: TestClient) -> None:
    """λ2, k, exclusions, explanations and cold users mix freely and do not influence each other."""
    requests = [
        {"user_id": "ann", "lambda2": 0.2},
        {"user_id": "nobody", "k": 3},
        {"user_id": "ann", "lambda2": 1.7, "explain": True},
        {"user_id": "bob", "exclude_item_ids": ["item-001"], "candidate_item_ids": ["item-001", "item-002", "x"]},
    ] * 4
    singles = [client.post("/v1/recommendations", json=request).content for request in requests]

    batch = client.post(BATCH, json={"requests": requests})

    assert batch.content == b'{"answers":[' + b",".join(singles) + b"]}"


def test_an_error_in_a_batch_names_its_request(client: TestClient) -> None:
    """Nothing is answered, and the caller learns which request to mend, whatever is wrong with it."""
    requests = [{"user_id": "ann"}, {"user_id": "bob", "lambda2": 99}, {"user_id": "zoë"}]

    beyond = client.post(BATCH, json={"requests": requests})
    invalid = client.post(BATCH, json={"requests": [*requests[:1], {"user_id": "bob", "k": 0}]})
    listed = client.post(BATCH, json={"requests": [*requests[:1], {"user_id": "bob", "lambda2": [0.4]}]})

    assert (beyond.status_code, invalid.status_code, listed.status_code) == (422, 422, 422)
    assert beyond.json()["errors"][0]["field"] == "requests.1.lambda2"
    assert invalid.json()["errors"][0]["field"] == "requests.1.k"
    assert listed.json()["errors"] == [
        {
            "field": "requests.1.lambda2",
            "detail": "takes one value in a batch; a list is for POST /v1/recommendations",
        }
    ]


def test_a_batch_has_between_1_and_64_requests(client: TestClient) -> None:
    """Bounded, so that one caller cannot hold the scoring thread for long."""
    most = client.post(BATCH, json={"requests": [{"user_id": "ann", "k": 1}] * 64})
    wrong = [client.post(BATCH, json={"requests": [{"user_id": "ann"}] * n}) for n in (0, 65)]

    assert len(most.json()["answers"]) == 64
    assert [answer.status_code for answer in wrong] == [422, 422]
