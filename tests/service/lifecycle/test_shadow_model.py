"""A second bundle that answers nobody, and what is measured of it."""

import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.shadow_model import compared
from tests.service.conftest import Serve
from tests.service.lifecycle.conftest import Shelf
from tests.service.lifecycle.world import (
    MODELS,
    USERS,
    id_of,
    is_of,
    lineup,
    metric,
    of_less_lambda2,
    recommended,
    told,
    true_list,
    truncated,
)

TAKEN = 'causalrec_shadow_model_requests_total{{outcome="{}"}}'


def beside(serve: Serve, shelf: Shelf, shadow: object, **settings: object) -> TestClient:
    """A service with a shadow model, once that is in memory."""
    client = serve(bundle=shelf.one, shadow_model=str(shadow), **{"shadow_model_rate": 1.0, **settings})
    while metric(client, "causalrec_model_resident") < 2:
        pass
    return client


def until(client: TestClient, outcome: str, count: int) -> None:
    while metric(client, TAKEN.format(outcome)) < count:
        pass


@pytest.mark.parametrize("by", ["path", "id"])
def test_what_is_served_is_compared_and_stays_what_it_was(serve: Serve, shelf: Shelf, by: str) -> None:
    """Overlap, order and time of every list; the caller's answers are of the bundle that is served."""
    client = beside(serve, shelf, shelf.other if by == "path" else shelf.ids[1])

    answers = [recommended(client, user) for user in USERS]
    until(client, "compared", len(USERS))

    assert all(is_of(answer, shelf.one, user) for answer, user in zip(answers, USERS, strict=True))
    overlaps = []
    for answer, user in zip(answers, USERS, strict=True):
        other = {item for item, _ in true_list(shelf.other, user, answer["lambda2"])}
        overlaps.append(len(other & {item["item_id"] for item in answer["items"]}) / 10)
    assert metric(client, "causalrec_shadow_model_overlap_sum") == pytest.approx(sum(overlaps))
    assert metric(client, "causalrec_shadow_model_overlap_count") == len(USERS)
    assert metric(client, "causalrec_shadow_model_slower_sum") > 0
    assert told(client, shelf.other)["state"] == "shadow"


def test_a_list_per_lambda2_is_compared(serve: Serve, shelf: Shelf) -> None:
    """At the λ2 that was served."""
    client = beside(serve, shelf, shelf.other)

    client.post("/v1/recommendations", json={"user_id": "ann", "lambda2": [0.0, 0.5, 1.5]})
    until(client, "compared", 1)

    assert metric(client, "causalrec_shadow_model_overlap_count") == 3


def test_what_is_wrong_for_the_shadow_alone_is_counted(serve: Serve, shelf: Shelf) -> None:
    """A λ2 that only the bundle which is served allows."""
    client = beside(serve, shelf, of_less_lambda2(shelf.folder))

    assert recommended(client, lambda2=2.0)["lambda2"] == 2.0
    until(client, "refused", 1)

    assert metric(client, "causalrec_shadow_model_overlap_count") == 0


def test_a_shadow_that_fails_is_counted_and_harms_nobody(
    serve: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With one warning a minute."""
    client = beside(serve, shelf, shelf.other)
    shadow = lineup(client).shadow
    assert shadow is not None

    def failing(_: object) -> list[Exception]:
        return [ZeroDivisionError("of all things")]

    monkeypatch.setattr(shadow.ranker, "rank_many", failing)
    answers = [recommended(client, user) for user in USERS]
    until(client, "failed", len(USERS))

    assert all(is_of(answer, shelf.one, user) for answer, user in zip(answers, USERS, strict=True))
    assert [record.levelno for record in caplog.records if "shadow model failed" in record.message] == [logging.WARNING]


def test_without_idle_time_comparisons_are_dropped(serve: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """And counted."""
    monkeypatch.setattr("service.batching.BACKLOG", 0)
    client = beside(serve, shelf, shelf.other)

    recommended(client)

    assert metric(client, TAKEN.format("dropped")) == 1


def test_a_rate_of_0_compares_nothing(serve: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second bundle is asked nothing."""
    client = beside(serve, shelf, shelf.other, shadow_model_rate=0.0)
    shadow = lineup(client).shadow
    assert shadow is not None
    monkeypatch.setattr(shadow.ranker, "rank_many", lambda _: pytest.fail("asked"))

    recommended(client)

    assert metric(client, TAKEN.format("dropped")) == 0


@pytest.mark.parametrize("bad", ["truncated", "nowhere"])
def test_a_bad_shadow_is_none(serve: Serve, shelf: Shelf, caplog: pytest.LogCaptureFixture, bad: str) -> None:
    """The service goes on without; the log, and where there is such a bundle the list of models, say why."""
    path: Path | str = truncated(shelf.folder) if bad == "truncated" else "no-such-model"
    client = serve(bundle=shelf.one, shadow_model=str(path), shadow_model_rate=1.0)
    while "nothing is compared: shadow_model=" not in caplog.text:
        pass

    assert is_of(recommended(client), shelf.one, "ann")
    assert client.get("/health/ready").status_code == 200
    if isinstance(path, Path):
        assert told(client, path)["reason"] == "corrupt"


def test_a_shadow_can_become_what_is_served(serve: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """From memory; then it is compared with nothing."""
    client = beside(serve, shelf, shelf.other)
    monkeypatch.setattr("service.candidate.read_bundle", lambda _: pytest.fail("read again"))

    client.post(f"{MODELS}/{id_of(shelf.other)}/activate")
    answer = recommended(client)

    assert is_of(answer, shelf.other, "ann")
    assert metric(client, TAKEN.format("compared")) == 0


def test_interleaved_lists_are_not_compared(serve: Serve, shelf: Shelf) -> None:
    """They are of two λ2 at once."""
    client = beside(serve, shelf, shelf.other)
    body = {"key": "mix", "kind": "interleaving", "variants": [{"lambda2": 0.0}, {"lambda2": 1.0}]}
    assert client.post("/v1/experiments", json=body).status_code == 201
    assert client.post("/v1/experiments/mix/start").status_code == 200

    assert recommended(client)["lambda2"] is None
    recommended(client, lambda2=0.3)
    until(client, "compared", 1)

    assert metric(client, "causalrec_shadow_model_overlap_count") == 1


@pytest.mark.parametrize(
    ("one", "other", "overlap", "correlation"),
    [
        ("abcd", "abcd", 1.0, 1.0),
        ("abcd", "dcba", 1.0, -1.0),
        ("abcd", "acbd", 1.0, 2 / 3),  # one of six pairs the other way round
        ("abcd", "abxy", 0.5, 1.0),
        ("abcd", "wxyz", 0.0, None),
        ("abcd", "a", 0.25, None),
        ("", "", 1.0, None),
        ("ab", "", 0.0, None),
    ],
)
def test_overlap_and_rank_correlation(one: str, other: str, overlap: float, correlation: float | None) -> None:
    """The share of the longer list that both have; Kendall's τ of the order of those."""
    found = compared(one, other, 1.0)

    assert found.overlap == pytest.approx(overlap)
    assert found.correlation == (None if correlation is None else pytest.approx(correlation))
