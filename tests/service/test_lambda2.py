"""Every λ2 from one request: lists of values, and the exact path between them."""

import itertools
from typing import Any

import pytest
from fastapi.testclient import TestClient

from causalrec.equations import Form
from tests.service.conftest import FORMS, Serve
from tests.service.oracle import Oracle

POST = "/v1/recommendations"
ANN = "/v1/users/ann/lambda2-path"


def post(client: TestClient, **body: object) -> Any:
    return client.post(POST, json={"user_id": "ann", **body})


@pytest.mark.parametrize(
    "extra",
    [{}, {"user_id": "nobody"}, {"explain": True, "k": 30}, {"candidate_item_ids": ["item-007", "item-008", "x"]}],
    ids=["personal", "cold", "explained", "pool"],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_list_is_answered_as_its_values_alone(
    clients: dict[Form, TestClient], form: Form, extra: dict[str, object]
) -> None:
    """In their order, byte for byte, duplicates too; a list of one is a list."""
    values = [1.2, 0.0, 0.4, 0.4, 3.0, 2.0, 0.05]
    single = [post(clients[form], lambda2=value, **extra).content for value in values]

    several = post(clients[form], lambda2=values, **extra)
    one = post(clients[form], lambda2=values[:1], **extra)

    assert several.content == b'{"answers":[' + b",".join(single) + b"]}"
    assert one.content == b'{"answers":[' + single[0] + b"]}"
    assert several.headers["etag"] != one.headers["etag"]


@pytest.mark.parametrize(
    ("lambda2", "field"),
    [
        ([], "lambda2"),
        ([0.1] * 17, "lambda2"),
        ([0.1, 3.5], "lambda2.1"),
        ([-1], "lambda2.0"),
        ([0.1, "0.2"], "lambda2.1"),
        ([0.1, None], "lambda2.1"),
        ([[0.1]], "lambda2.0"),
        ("0.1", "lambda2"),
        ({}, "lambda2"),
    ],
)
def test_a_list_that_cannot_be_answered_is_refused_by_place(client: TestClient, lambda2: object, field: str) -> None:
    """1 to 16 numbers, each in the bundle's range."""
    answer = post(client, lambda2=lambda2)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_lists_are_counted_as_the_answers_they_are(serve: Serve) -> None:
    """One request, one place in a batch, an answer per value."""
    client = serve()
    post(client, lambda2=[0.0, 0.5, 1.0])

    lines = client.get("/metrics").text.splitlines()

    assert "causalrec_batch_size_sum 1.0" in lines
    assert 'causalrec_answers_total{source="personal"} 3.0' in lines


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("user", ["ann", "user-11", "sated"])
def test_the_path_is_the_float64_ranking_at_every_midpoint(
    clients: dict[Form, TestClient], oracles: dict[Form, Oracle], form: Form, user: str
) -> None:
    """Pieces cover [0, max] without gaps, neighbours differ, and each holds the list of its λ2, after exclusions."""
    oracle, excluded = oracles[form], oracles[form].seen[user] | {"item-010"}

    answer = (
        clients[form]
        .get(f"/v1/users/{user}/lambda2-path", params={"k": 4, "max": 2, "exclude_item_ids": "item-010"})
        .json()
    )

    pieces = answer["pieces"]
    assert (answer["k"], answer["max"], answer["truncated"], answer["source"]) == (4, 2.0, False, "personal")
    assert (pieces[0]["from"], pieces[-1]["to"]) == (0.0, 2.0)
    assert [piece["to"] for piece in pieces[:-1]] == [piece["from"] for piece in pieces[1:]]
    assert all(left["item_ids"] != right["item_ids"] for left, right in itertools.pairwise(pieces))
    for piece in pieces:
        if piece["to"] - piece["from"] > 1e-9:
            middle = (piece["from"] + piece["to"]) / 2
            assert piece["item_ids"] == [item for item, _ in oracle.best(user, middle, 4, excluded)]


def test_the_path_agrees_with_the_recommendations(client: TestClient) -> None:
    """The same options give the same lists; without max it covers the bundle's range; ETag and 304 as elsewhere."""
    path = client.get(ANN, params={"exclude_seen": False})
    middles = [(piece["from"] + piece["to"]) / 2 for piece in path.json()["pieces"]]

    lists = [post(client, lambda2=middles[n : n + 16], exclude_seen=False).json() for n in range(0, len(middles), 16)]

    assert (path.json()["k"], path.json()["max"]) == (10, 3.0)
    assert [piece["item_ids"] for piece in path.json()["pieces"]] == [
        [item["item_id"] for item in answer["items"]] for several in lists for answer in several["answers"]
    ]
    assert (
        client.get(ANN, params={"exclude_seen": False}, headers={"if-none-match": path.headers["etag"]}).content == b""
    )


def test_a_path_can_be_a_point(client: TestClient) -> None:
    """max = 0: the list at λ2 = 0."""
    answer = client.get(ANN, params={"max": 0, "k": 3}).json()

    at_zero = client.get("/v1/users/ann/recommendations", params={"lambda2": 0, "k": 3}).json()
    assert answer["pieces"] == [{"from": 0.0, "to": 0.0, "item_ids": [item["item_id"] for item in at_zero["items"]]}]


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        (ANN, {"k": 0}, "k"),
        (ANN, {"k": 101}, "k"),
        (ANN, {"max": -0.1}, "max"),
        (ANN, {"max": 3.1}, "max"),
        (ANN, {"max": "nan"}, "max"),
        (ANN, {"lambda2": 1}, "lambda2"),
        ("/v1/users/nobody/lambda2-path", {}, "user_id"),
    ],
)
def test_a_path_that_cannot_be_traced_is_refused_by_field(
    client: TestClient, path: str, params: dict[str, str | float], field: str
) -> None:
    """422; for somebody unknown too, whose list is made of ranks and has no exact path."""
    answer = client.get(path, params=params)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_a_long_path_is_cut_and_says_so(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last piece given ends before max."""
    monkeypatch.setattr("service.ranking.MOST_PIECES", 3)

    answer = serve().get(ANN, params={"k": 50}).json()

    assert (answer["truncated"], len(answer["pieces"])) == (True, 3)
    assert answer["pieces"][-1]["to"] < answer["max"]
