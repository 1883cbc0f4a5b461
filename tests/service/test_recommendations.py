"""The list a user gets: right for every form and λ2, without what must not be in it, and the same every time."""

import itertools
import logging
import math
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from causalrec.equations import Form
from causalrec.index import Kind
from tests.service.conftest import FORMS, Serve
from tests.service.oracle import Oracle

ANN = "/v1/users/ann/recommendations"


def pairs(answer: dict[str, Any]) -> list[tuple[str, float]]:
    return [(item["item_id"], item["score"]) for item in answer["items"]]


def same(found: list[tuple[str, float]], expected: list[tuple[str, float]]) -> bool:
    return [item for item, _ in found] == [item for item, _ in expected] and all(
        math.isclose(left, right, abs_tol=1e-11) for (_, left), (_, right) in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("lambda2", [0.0, 0.4, 0.8, 1.2, 2.0])
@pytest.mark.parametrize("form", FORMS)
def test_the_list_is_the_float64_ranking_of_the_stored_weights(
    clients: dict[Form, TestClient], oracles: dict[Form, Oracle], form: Form, lambda2: float
) -> None:
    """Retrieval and approximation never show: ids, order and scores are those of scoring everything."""
    oracle = oracles[form]

    for user in ("ann", "bob", "user-03", "user-17"):
        answer = clients[form].get(f"/v1/users/{user}/recommendations", params={"lambda2": lambda2, "k": 20}).json()

        assert same(pairs(answer), oracle.best(user, lambda2, 20, oracle.seen[user]))
        assert answer["exact"] is True


def test_both_ways_to_an_exact_answer_are_taken(client: TestClient) -> None:
    """These tests speak of certificates and of full scans: the service under test does both."""
    for lambda2 in (0, 1, 2, 3):
        client.get(ANN, params={"lambda2": lambda2, "k": 5})

    counted = re.findall(r'^causalrec_proofs_total{proof="(\w+)"} [1-9]', client.get("/metrics").text, re.MULTILINE)

    assert set(counted) == {"certificate", "scan"}


def test_an_answer_says_who_answered_and_at_which_lambda2(client: TestClient) -> None:
    """Keys stand in a fixed order; without λ2 in the request the bundle's default is used and said to be."""
    answer = client.get(ANN, params={"k": 3}).json()

    asked = client.get(ANN, params={"k": 3, "lambda2": 0.6}).json()

    assert list(answer) == ["bundle_id", "model", "lambda2", "lambda2_source", "items", "source", "exact"]
    assert (answer["lambda2"], answer["lambda2_source"], asked["lambda2_source"]) == (0.6, "default", "request")
    assert answer["items"] == asked["items"]
    assert [list(item) for item in answer["items"]] == [["item_id", "rank", "score"]] * 3
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3]


@pytest.mark.parametrize("user", ["a/b", "100%", "zoë"])
def test_any_user_id_works_in_a_path(client: TestClient, oracles: dict[Form, Oracle], user: str) -> None:
    """Percent-encoded ids reach their user, with slashes, per cent signs and letters beyond ASCII."""
    escaped = user.replace("%", "%25").replace("/", "%2F").replace("ë", "%C3%AB")

    answer = client.get(f"/v1/users/{escaped}/recommendations", params={"lambda2": 0.4}).json()

    assert answer["source"] == "personal"
    assert same(pairs(answer), oracles["paper"].best(user, 0.4, 10, oracles["paper"].seen[user]))


def test_the_same_request_twice_is_the_same_answer(client: TestClient) -> None:
    """Scoring is pure: neither repetition nor other users' requests change a byte."""
    first = client.get(ANN, params={"lambda2": 0.6, "explain": True}).content

    client.get("/v1/users/bob/recommendations", params={"lambda2": 1.2})
    client.get("/v1/users/nobody/recommendations", params={"lambda2": 0.6})
    again = client.get(ANN, params={"lambda2": 0.6, "explain": True}).content

    assert again == first


def test_parallel_requests_get_the_bytes_of_sequential_ones(client: TestClient) -> None:
    """Fifty requests at once, cold ones among them, do not disturb each other."""
    requests = [
        (f"/v1/users/{user}/recommendations", {"lambda2": lambda2, "k": 30})
        for user, lambda2 in itertools.product(("ann", "bob", "zoë", "user-01", "nobody"), [n / 5 for n in range(10)])
    ]
    sequential = [client.get(path, params=params).content for path, params in requests]

    with ThreadPoolExecutor(16) as pool:
        parallel = list(pool.map(lambda request: client.get(request[0], params=request[1]).content, requests))

    assert parallel == sequential


def test_seen_items_are_returned_only_when_asked_for(client: TestClient, oracles: dict[Form, Oracle]) -> None:
    """exclude_seen is on by default and holds for the whole list; off, the whole catalogue is ranked."""
    oracle = oracles["paper"]

    default = pairs(client.get(ANN, params={"k": 300, "lambda2": 0.8}).json())
    everything = pairs(client.get(ANN, params={"k": 300, "lambda2": 0.8, "exclude_seen": False}).json())

    assert not {item for item, _ in default} & oracle.seen["ann"]
    assert same(everything, oracle.best("ann", 0.8, 300, set()))


def test_a_list_is_never_shorter_than_what_is_left(client: TestClient) -> None:
    """Exclusions are made good from further down; only when nothing eligible is left the list ends."""
    rest = client.get("/v1/users/sated/recommendations", params={"k": 10}).json()["items"]
    wide = client.get(ANN, params={"k": 200, "candidates": 1}).json()["items"]

    assert sorted(item["item_id"] for item in rest) == ["item-297", "item-298", "item-299"]
    assert len(wide) == 200


def test_excluded_items_are_not_returned_and_unknown_ones_are_passed_over(
    client: TestClient, oracles: dict[Form, Oracle]
) -> None:
    """A request may exclude items of its own; an id that is no item excludes nothing."""
    unwanted = [item for item, _ in pairs(client.get(ANN, params={"lambda2": 0.4, "k": 5}).json())]

    answer = client.get(
        ANN, params={"lambda2": 0.4, "exclude_item_ids": [*unwanted, unwanted[0], "no such item"]}
    ).json()

    excluded = oracles["paper"].seen["ann"] | set(unwanted)
    assert same(pairs(answer), oracles["paper"].best("ann", 0.4, 10, excluded))


def test_only_the_given_candidates_are_ranked(client: TestClient, oracles: dict[Form, Oracle]) -> None:
    """candidate_item_ids ranks those alone, less the excluded and the seen; ids that are no items are named."""
    oracle = oracles["paper"]
    seen = min(oracle.seen["ann"])
    given = ["item-009", "nope", "item-003", "item-003", seen, "item-200", "item-201", "neither", "nope"]
    body = {"user_id": "ann", "lambda2": 0.8, "candidate_item_ids": given, "exclude_item_ids": ["item-201"]}

    answer = client.post("/v1/recommendations", json=body).json()

    others = set(oracle.items) - {"item-009", "item-003", "item-200"}
    assert same(pairs(answer), oracle.best("ann", 0.8, 10, others | oracle.seen["ann"]))
    assert answer["unknown_item_ids"] == ["nope", "neither"]
    assert answer["exact"] is True


def test_a_list_can_be_empty(client: TestClient) -> None:
    """Nothing eligible is an answer, not an error."""
    answer = client.post("/v1/recommendations", json={"user_id": "ann", "candidate_item_ids": []})

    assert answer.status_code == 200
    assert answer.json()["items"] == []


def test_get_and_post_are_the_same_answer(client: TestClient) -> None:
    """The body has the query's parameters, with the same meaning."""
    query = "k=7&lambda2=1.2&exclude_seen=false&exclude_item_ids=item-001&exclude_item_ids=item-002&explain=true"
    body = {"k": 7, "lambda2": 1.2, "exclude_seen": False, "exclude_item_ids": ["item-001", "item-002"]}

    got = client.get(f"{ANN}?{query}").content
    posted = client.post("/v1/recommendations", json={"user_id": "ann", "explain": True, **body}).content

    assert posted == got


@pytest.mark.parametrize("retrieval", ["scan", "int8", "flat", "sq8"])
def test_every_retrieval_gives_the_same_answers(
    client: TestClient, serve: Serve, caplog: pytest.LogCaptureFixture, retrieval: Kind
) -> None:
    """The setting changes how a list is found, never what is in it; an index that the bundle lacks is built."""
    caplog.set_level(logging.INFO)
    own = client.app.state.live.check_ready().retrieval.index  # type: ignore[attr-defined] # a plain ASGI callable
    other = serve(retrieval=retrieval, candidates=60)

    for lambda2 in (0, 0.8, 2, 3):
        params = {"lambda2": lambda2, "k": 20, "exclude_item_ids": "item-003"}
        assert other.get(ANN, params=params).content == client.get(ANN, params=params).content
    built = [record.message for record in caplog.records if "retrieval is set to" in record.message]
    assert len(built) == (retrieval != own)


@pytest.mark.parametrize("retrieval", ["pq", "ivf"])
def test_a_retrieval_that_proves_nothing_says_so(client: TestClient, serve: Serve, retrieval: Kind) -> None:
    """Its answers are what it found, and never exact while a score is above 0; most of the true list is there."""
    other = serve(retrieval=retrieval, candidates=150)
    params = {"lambda2": 0.4, "k": 20}

    found, true = other.get(ANN, params=params).json(), client.get(ANN, params=params).json()

    assert (found["exact"], true["exact"]) == (False, True)
    ids = {item["item_id"] for item in found["items"]}
    assert len(ids) == 20
    assert len(ids & {item["item_id"] for item in true["items"]}) >= 15


def test_minus_zero_is_zero(client: TestClient) -> None:
    """One λ2 has one answer, however it is written."""
    plain = client.get(ANN, params={"lambda2": "0"}).content

    signed = client.get(ANN, params={"lambda2": "-0.0"}).content

    assert signed == plain


def test_without_full_scan_an_unproved_answer_says_so(serve: Serve) -> None:
    """exact is false exactly where the certificate failed and scanning was switched off."""
    client = serve(full_scan=False)

    exact = [
        client.get(f"/v1/users/user-{n:02d}/recommendations", params={"lambda2": 3, "candidates": 1}).json()["exact"]
        for n in range(20)
    ]

    assert False in exact
