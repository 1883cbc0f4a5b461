"""What an experiment gives a user, over HTTP, or why nothing."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.experiment_answers import AssignmentAnswer
from service.experiments.checks import Range
from tests.service.state.experimenting.world import ALL, ONE, SPLIT, Start, parts, running

HOLDOUT = "/v1/experiments-holdout"


def assignment(client: TestClient, user: str = "ann", key: str = "dial") -> dict[str, Any]:
    answer = client.get(f"{ALL}/{key}/assignment", params={"user_id": user})
    assert answer.status_code == 200, answer.text
    AssignmentAnswer.model_validate(answer.json())
    found: dict[str, Any] = answer.json()
    return found


def test_an_assignment_is_what_would_be_served(client: TestClient) -> None:
    """Being asked about exposes nobody: nothing is tallied."""
    running(client)

    said = assignment(client)

    decision = parts(client).experiments.decide("ann")
    assert decision
    assert (said["variant"], said["lambda2"], said["propensity"], said["version"]) == (
        decision.variant,
        list(decision.lambda2),
        0.5,
        1,
    )
    assert client.get(f"{ONE}/report").json()["units"] == 0


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"allocation": 1e-9}, "not allocated"),
        ({"segment": [0.0, 1e-9]}, "segment"),
    ],
)
def test_who_gets_nothing_is_told_why(client: TestClient, said: dict[str, Any], words: str) -> None:
    """In words, with nothing of an assignment."""
    running(client, **said)

    answer = assignment(client)

    assert words in answer["reason"]
    assert {answer[name] for name in ("version", "variant", "propensity")} == {None}


def test_a_reason_is_of_the_experiment_asked_about(client: TestClient) -> None:
    """A draft is one; the holdout; an experiment of an earlier layer has the unit; an override."""
    client.post(ALL, json={"key": "draft", **SPLIT})
    running(client, "first", layer="a", allocation=0.9)
    running(client, "second", layer="b", overrides={"zoe": "0.8"})
    taken = next(f"u{number}" for number in range(100) if assignment(client, f"u{number}", "first")["variant"])

    reasons = [assignment(client, key=key, user=user) for key, user in (("draft", "ann"), ("second", taken))]
    override = assignment(client, "zoe", "second")
    client.put(HOLDOUT, json={"share": 1.0})

    assert "draft" in reasons[0]["reason"]
    assert "'first' comes first" in reasons[1]["reason"]
    assert (override["variant"], override["propensity"]) == ("0.8", None)
    assert "holdout" in assignment(client, key="first")["reason"]


def test_a_replica_that_was_started_again_decides_the_same(start: Start) -> None:
    """The book is in Redis."""
    running(first := start(), allocation=0.7)
    before = [parts(first).experiments.decide(f"u{number}") for number in range(200)]

    again = start()

    assert [parts(again).experiments.decide(f"u{number}") for number in range(200)] == before
    assert None in before


def test_of_what_cannot_be_served_whole_nobody_gets_anything(start: Start) -> None:
    """Also who would get a λ2 that the bundle allows: counted alone, they would be compared with nobody."""
    running(start(), variants=[{"lambda2": 0.0}, {"lambda2": 0.8}])
    reason = "there is no pull to take out"

    client = start(limits=Range(0.0, 0.0, reason))

    given = [assignment(client, user=f"u{number}") for number in range(20)]
    assert {answer["variant"] for answer in given} == {None}
    assert all(f"allows λ2 from 0 to 0 only: {reason}" in answer["reason"] for answer in given)


@pytest.mark.parametrize("kind", ["split", "interleaving"])
def test_what_the_bundle_does_not_allow_is_not_served(start: Start, kind: str) -> None:
    """A bundle of a smaller range came after the start: on its replica the user gets the default, and is told why."""
    running(start(), kind=kind, variants=[{"lambda2": 0.7}, {"lambda2": 0.8}])

    answer = assignment(start(limits=Range(0.0, 0.5)))

    assert (answer["variant"], answer["lambda2"]) == (None, None)
    assert "'dial' has the unit, but the bundle served here allows λ2 from 0 to 0.5 only" in answer["reason"]
