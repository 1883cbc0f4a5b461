"""Whatever is sent, the answer is well formed: a value that cannot be answered is named, shortly, and never a 500."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from service.problem_kinds import MEDIA_TYPE, Problem
from service.schemas import MAX_EXCLUDED

ANN = "/v1/users/ann/recommendations"
POST = "/v1/recommendations"
BATCH = "/v1/recommendations/batch"
JSON = {"content-type": "application/json"}


def problem(answer: Response, status: int) -> dict[str, Any]:
    """The problem document, checked for what every one of them must be."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert len(answer.content) < 10_000
    document: dict[str, Any] = answer.json()
    parsed = Problem.model_validate(document)
    assert parsed.status == status
    assert parsed.instance.endswith(answer.headers["x-request-id"])
    return document


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("lambda2", value) for value in ("-0.1", "3.01", "nan", "inf", "-inf", "1e400", "abc", "", "0.5;", "０x")),
        *(("k", value) for value in ("0", "-7", "501", "abc", "1.5", "", "9" * 5000, "nan")),
        *(("candidates", value) for value in ("0", "10001", "many")),
        *(("exclude_seen", value) for value in ("perhaps", "2")),
        ("explain", "maybe"),
        ("lamda2", "0.5"),
        ("x" * 10_000, "1"),
        ("\x00", "\x00"),
    ],
)
def test_a_query_value_that_cannot_be_answered_is_named(client: TestClient, field: str, value: str) -> None:
    """422 with the field and the value; a misspelt parameter is an error and not silently ignored."""
    answer = client.get(ANN, params={field: value})

    errors = problem(answer, 422)["errors"]
    assert errors[0]["field"].startswith(field[:100])
    assert str(errors[0]["value"])[:20] == value[:20]


def test_every_wrong_value_is_named_at_once(client: TestClient) -> None:
    """A caller with three mistakes learns of all three."""
    answer = client.get(ANN, params={"k": "abc", "lambda2": "nan", "lamda2": "1"})

    assert [error["field"] for error in problem(answer, 422)["errors"]] == ["k", "lambda2", "lamda2"]


@pytest.mark.parametrize(
    "user", ["", "u" * 257, "u" * 10_000, "%00", "a%07b", "%20ann", "%E2%80%AE", "%ED%A0%80%0D"], ids=lambda u: u[:12]
)
def test_an_id_that_cannot_be_one_is_refused(client: TestClient, user: str) -> None:
    """Ids are 1 to 256 printable characters, in a path and in a body."""
    answer = client.get(f"/v1/users/{user}/recommendations")

    assert problem(answer, 422)["errors"][0]["field"] == "user_id"


@pytest.mark.parametrize("user", ["%FF", "..%2F..%2Fetc%2Fpasswd", "%25", "a//b", "recommendations", "'; DROP--"])
def test_odd_ids_are_users_like_others(client: TestClient, user: str) -> None:
    """An odd id is somebody unknown, not an error."""
    answer = client.get(f"/v1/users/{user}/recommendations")

    assert (answer.status_code, answer.json()["source"]) == (200, "cold_user")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"user_id": "ann", "lambda2": NaN}', "lambda2"),
        ('{"user_id": "ann", "lambda2": Infinity}', "lambda2"),
        ('{"user_id": "ann", "lambda2": 1e999}', "lambda2"),
        ('{"user_id": "ann", "lambda2": 3.5}', "lambda2"),
        ('{"user_id": "ann", "lambda2": "0.5"}', "lambda2"),
        ('{"user_id": "ann", "lambda2": true}', "lambda2"),
        ('{"user_id": "ann", "k": 1e2}', "k"),
        ('{"user_id": "ann", "k": "10"}', "k"),
        ('{"user_id": "ann", "k": true}', "k"),
        ('{"user_id": "ann", "k": NaN}', "k"),
        ('{"user_id": "ann", "k": 1%s}' % ("0" * 4000), "k"),
        ('{"user_id": "ann", "unknown": 1}', "unknown"),
        ('{"user_id": "ann", "\\ud800": 1}', "body"),
        ('{"user_id": "\\ud800"}', "user_id"),
        ('{"user_id": "\\u0000"}', "user_id"),
        ('{"user_id": ""}', "user_id"),
        ('{"user_id": null}', "user_id"),
        ('{"user_id": ["ann"]}', "user_id"),
        ('{"user_id": "ann", "exclude_item_ids": "item-001"}', "exclude_item_ids"),
        ('{"user_id": "ann", "exclude_item_ids": [7]}', "exclude_item_ids.0"),
        ('{"user_id": "ann", "candidate_item_ids": ["\\udfff"]}', "candidate_item_ids.0"),
        ('{"user_id": "ann", "candidate_item_ids": {}}', "candidate_item_ids"),
        ("{}", "user_id"),
        ("[]", "body"),
        ('"ann"', "body"),
        ("null", "body"),
        ("", "body"),
    ],
)
def test_a_body_that_cannot_be_answered_is_refused_by_field(client: TestClient, body: str, field: str) -> None:
    """422 naming the field; JSON types are taken at their word, so "10" and true are no numbers."""
    answer = client.post(POST, content=body, headers=JSON)

    assert problem(answer, 422)["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "body",
    [
        b'{"user_id"',
        b"user_id=ann",
        b'{"user_id": "\xff"}',
        b"[" * 100_000,
        b'{"k":' * 50_000,
        b'{"user_id": "ann", "k": ' + b"9" * 10_000 + b"}",
        b"\x00",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_not_json_is_a_400(client: TestClient, body: bytes) -> None:
    """Broken, too deep, not UTF-8, absurd numbers: the caller's mistake, told as such."""
    answer = client.post(POST, content=body, headers=JSON)

    assert problem(answer, 400)["type"].endswith("unreadable-body")


@pytest.mark.parametrize("path", [POST, BATCH])
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "nonsense", ""])
def test_a_body_not_declared_as_json_is_a_415(client: TestClient, path: str, content_type: str) -> None:
    """The content type is part of the request."""
    answer = client.post(path, content='{"user_id": "ann"}', headers={"content-type": content_type})

    problem(answer, 415)


def test_a_body_too_long_is_a_413(client: TestClient) -> None:
    """Refused by its announced length, and while it arrives where none is announced."""
    body = b'{"user_id": "' + b"a" * (1 << 20) + b'"}'

    def chunks() -> Iterator[bytes]:
        yield from (body[start : start + 65_536] for start in range(0, len(body), 65_536))

    announced = client.post(POST, content=body, headers=JSON)
    streamed = client.post(POST, content=chunks(), headers=JSON)

    assert "1048576" in problem(announced, 413)["detail"]
    problem(streamed, 413)


def test_many_mistakes_make_a_short_problem(client: TestClient) -> None:
    """Neither a megabyte of values nor thousands of unknown fields come back."""
    unknown = client.post(POST, json={"user_id": "ann", **{f"field-{n}": "x" * 50 for n in range(5000)}})
    endless = client.post(POST, json={"user_id": "u" * 500_000})
    excluded = client.post(POST, json={"user_id": "ann", "exclude_item_ids": ["x"] * (MAX_EXCLUDED + 1)})

    assert len(problem(unknown, 422)["errors"]) == 20
    assert problem(endless, 422)["errors"][0]["value"].endswith("(500000 characters)")
    assert problem(excluded, 422)["errors"][0]["field"] == "exclude_item_ids"


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/users/ann", "/v1/recommendations/", "/v1/users", "/%00", "/v1/users/a%0Ab/recommendations"],
)
def test_an_unknown_path_is_a_404(client: TestClient, path: str) -> None:
    """A problem document too, and no redirect."""
    answer = client.get(path, follow_redirects=False)

    problem(answer, 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("POST", ANN, "GET"), ("GET", POST, "POST"), ("DELETE", BATCH, "POST"), ("PUT", "/metrics", "GET")],
)
def test_a_wrong_method_is_a_405_with_allow(client: TestClient, method: str, path: str, allowed: str) -> None:
    """The caller learns which method there is."""
    answer = client.request(method, path)

    problem(answer, 405)
    assert answer.headers["allow"] == allowed


def test_echoed_values_are_well_formed_json(client: TestClient) -> None:
    """Quotes, control characters and half surrogates in a value do not break the document."""
    answer = client.post(POST, content=json.dumps({"user_id": 'a"\\\u0007\ud83d'}), headers=JSON)

    assert problem(answer, 422)["errors"][0]["value"] == 'a"\\\u0007\\ud83d'
