"""A sample of what is served, found again exactly."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from causalrec.search import Searcher
from causalrec.topk import Query, TopK
from tests.service.conftest import Gate, Serve

ANN = "/v1/users/ann/recommendations"


def until(client: TestClient, line: str) -> None:
    while line not in client.get("/metrics").text.splitlines():
        pass


def test_answers_are_compared_in_idle_time(serve: Serve) -> None:
    """Personal ones that a search found, one comparison per list; cold ones and pools are scored whole already."""
    client = serve(shadow_rate=1.0)
    client.get("/v1/users/nobody/recommendations")
    client.post("/v1/recommendations", json={"user_id": "ann", "candidate_item_ids": ["item-001"]})
    client.post("/v1/recommendations", json={"user_id": "ann", "lambda2": [0.0, 1.0]})
    client.get("/v1/users/sated/recommendations")

    until(client, "causalrec_shadow_recall_count 3.0")

    lines = client.get("/metrics").text.splitlines()
    assert "causalrec_shadow_recall_sum 3.0" in lines
    assert 'causalrec_shadow_answers_total{outcome="equal"} 3.0' in lines
    assert 'causalrec_shadow_answers_total{outcome="different"} 0.0' in lines


def test_without_a_rate_nothing_is_compared(serve: Serve) -> None:
    """0 switches it off."""
    client = serve(shadow_rate=0.0)
    client.get(ANN)
    client.get(ANN)

    assert "causalrec_shadow_recall_count 0.0" in client.get("/metrics").text.splitlines()


@pytest.mark.parametrize(("proof", "warnings"), [("certificate", 1), ("none", 0)])
def test_a_wrong_answer_is_counted_and_a_false_proof_warned_of(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, proof: str, warnings: int
) -> None:
    """Recall is the share of the exact list; one warning a minute where the answer had claimed to be exact."""
    client = serve(shadow_rate=1.0)
    batch: Callable[..., list[tuple[TopK, ...]]] = Searcher.batch

    def wrong(self: Searcher, queries: list[Query]) -> list[tuple[TopK, ...]]:
        """The second best and so on, claimed to be the best."""
        longer = batch(self, [replace(query, k=query.k + 1) for query in queries])
        return [tuple(TopK(top.rows[1:], top.scores[1:], proof, top.candidates) for top in tops) for tops in longer]  # type: ignore[arg-type]

    monkeypatch.setattr(Searcher, "batch", wrong)
    for _ in range(2):
        client.get(ANN, params={"k": 5})
    until(client, "causalrec_shadow_recall_count 2.0")

    lines = client.get("/metrics").text.splitlines()
    assert 'causalrec_shadow_answers_total{outcome="different"} 2.0' in lines
    assert "causalrec_shadow_recall_sum 1.6" in lines
    warned = [record for record in caplog.records if "said exact" in record.message]
    assert [record.levelno for record in warned] == [logging.WARNING] * warnings
    assert "ann" not in "".join(record.message for record in warned)


def test_what_is_left_over_is_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    """Where there is no idle time, comparisons are dropped and counted."""
    monkeypatch.setattr("service.batching.BACKLOG", 0)
    client = serve(shadow_rate=1.0)
    gate.open.set()

    client.get(ANN)

    assert 'causalrec_shadow_answers_total{outcome="dropped"} 1.0' in client.get("/metrics").text.splitlines()
