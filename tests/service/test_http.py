"""HTTP manners: entity tags, request ids, timings, and an answer even to the unforeseen."""

import re

import pytest
from fastapi.testclient import TestClient

from service.ranking import Ranker

ANN = "/v1/users/ann/recommendations"


def test_a_known_answer_is_not_sent_again(client: TestClient) -> None:
    """If-None-Match with the answer's tag, alone, weak, among others or as *, is 304 without a body."""
    tag = client.get(ANN).headers["etag"]

    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get(ANN, headers={"if-none-match": known})

        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
        assert answer.headers["cache-control"] == "private, no-cache"


def test_another_answer_has_another_tag(client: TestClient) -> None:
    """A tag names the bytes: another λ2 is another answer, sent whole."""
    tag = client.get(ANN, params={"lambda2": 0.2}).headers["etag"]

    answer = client.get(ANN, params={"lambda2": 0.3}, headers={"if-none-match": tag})

    assert answer.status_code == 200
    assert answer.headers["etag"] != tag
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)


def test_the_callers_request_id_comes_back(client: TestClient) -> None:
    """Logs of caller and service can be joined, on success and on error."""
    answers = [client.get(path, headers={"x-request-id": "shop-1:42/ä".replace("ä", "a")}) for path in (ANN, "/no")]

    assert [answer.headers["x-request-id"] for answer in answers] == ["shop-1:42/a"] * 2


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"two words", b"tab\there", b"\xff\xfe", b"del\x7f"])
def test_a_request_id_that_could_harm_a_log_is_replaced(client: TestClient, given: bytes) -> None:
    """At most 128 printable ASCII characters are taken over."""
    answer = client.get(ANN, headers={b"x-request-id": given})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_an_answer_says_where_its_time_went(client: TestClient) -> None:
    """Server-Timing names the stages; the body, which must not vary, does not."""
    answer = client.get(ANN)

    stages = [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert stages == ["state", "queue", "search", "encode"]


def test_an_unexpected_error_is_a_500_without_internals(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the error under the request's id; the caller has the id only."""

    def fail(*_: object) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr(Ranker, "rank_many", fail)

    answer = client.get(ANN, headers={"x-request-id": "abc"})

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert answer.json()["instance"] == "urn:causalrec:request:abc"
    assert "abc" in caplog.text
    assert "secret of the house" in caplog.text
