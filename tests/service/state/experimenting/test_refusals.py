"""What cannot be is refused as problem+json that says how to mend it, and nothing is changed."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.experiments.checks import Range
from tests.service.state.experimenting.world import ALL, ONE, SPLIT, Start, problem, running

JSON = {"content-type": "application/json"}
TWO = SPLIT["variants"]


def weights(*shares: float) -> dict[str, Any]:
    return {"variants": [{"lambda2": 0.4 * number, "weight": share} for number, share in enumerate(shares)]}


@pytest.mark.parametrize(
    ("said", "field", "mended"),
    [
        (weights(0.5, 0.6), "variants", "the weights should sum to 1; in the same proportions that is 0.454545"),
        (weights(0.5, 0.0), "variants.1.weight", "left out everywhere for equal shares"),
        ({"variants": [{"lambda2": 0}, {"lambda2": 2.5}]}, "variants.1.lambda2", "between 0 and 2"),
        ({"kind": "random", "between": [0, 2.5]}, "between.1", "between 0 and 2"),
        ({"kind": "random"}, "between", "give [low, high]"),
        ({**SPLIT, "primary": "happiness"}, "primary", "one of purchases_per_user, revenue_per_user"),
        ({**SPLIT, "secondary": ["sales"]}, "secondary.0", "one of purchases_per_user"),
        ({**SPLIT, "guardrails": [{"metric": "speed", "most": 0.1}]}, "guardrails.0.metric", "latency"),
        ({**SPLIT, "segment": [0.6, 0.4]}, "segment", "0 <= from < to <= 1"),
        ({**SPLIT, "allocation": 0.0}, "allocation", "pause an experiment"),
        ({**SPLIT, "control": "none"}, "control", "one of 0, 0.8"),
        ({**SPLIT, "overrides": {"ann": "none"}}, "overrides.ann", "one of 0, 0.8"),
        ({**SPLIT, "kind": "tuned"}, "tuning", '{"floor": 0.05, "every": 3600}'),
        ({**SPLIT, "kind": "tuned", "tuning": {"floor": 0.5, "every": 60.0}}, "tuning.floor", "less than 1/2"),
        ({"kind": "interleaving", **weights(0.5, 0.25, 0.25)}, "variants", "exactly two"),
        ({"variants": [{"lambda2": 0}]}, "variants", "at least two"),
        ({**SPLIT, "kind": "bandit"}, "kind", "'split', 'interleaving', 'random' or 'tuned'"),
        ({**SPLIT, "alpha": 0.7}, "alpha", "less than or equal to 0.5"),
        ({**SPLIT, "allocation": "half"}, "allocation", "valid number"),
        ({**SPLIT, "allocation": 1.5}, "allocation", "less than or equal to 1"),
        ({**SPLIT, "segment": [0, 0.5, 1]}, "segment", "at most 2"),
        ({**SPLIT, "variants": []}, "variants", "at least 1"),
        ({**SPLIT, "variants": TWO * 11}, "variants", "at most 20"),
        ({**SPLIT, "window_seconds": 0}, "window_seconds", "greater than 0"),
        ({**SPLIT, "tuning": {"floor": 0.1, "every": 1}}, "tuning.every", "greater than or equal to 60"),
        ({**SPLIT, "units": 7}, "units", "no such field"),
        ({**SPLIT, "key": "No Spaces"}, "key", "match pattern"),
        ({**SPLIT, "key": "lambda2"}, "key", "take another"),
        ({**SPLIT, "layer": "a b"}, "layer", "match pattern"),
        ({**SPLIT, "salt": "a\nb"}, "salt", "unprintable"),
    ],
)
def test_a_bad_configuration_is_refused_by_its_field(
    client: TestClient, said: dict[str, Any], field: str, mended: str
) -> None:
    """As a new experiment, and as a version of one that is fine; the detail says what would be right."""
    client.post(ALL, json={"key": "fine", **SPLIT})

    refused = problem(client.post(ALL, json={"key": "dial", **said}), 422, "invalid-request")
    versions = {name: value for name, value in said.items() if name != "key"}
    again = client.post(f"{ALL}/fine/versions", json=versions)

    assert [(error.field, mended in error.detail) for error in refused.errors] == [(field, True)], refused
    assert mended in refused.detail
    assert field == "key" or again.json()["errors"][0]["field"] == field
    assert [each["key"] for each in client.get(ALL).json()["experiments"]] == ["fine"]
    assert len(client.get(f"{ALL}/fine").json()["versions"]) == 1 or field == "key"


def test_numbers_that_are_none_are_refused(client: TestClient) -> None:
    """JSON of some writers has them."""
    body = '{"key": "dial", "variants": [{"lambda2": NaN}, {"lambda2": 1}], "alpha": Infinity}'

    refused = problem(client.post(ALL, content=body, headers=JSON), 422, "invalid-request")

    assert {error.field for error in refused.errors} == {"variants.0.lambda2", "alpha"}


def test_segments_of_a_layer_do_not_overlap(client: TestClient) -> None:
    """Said when the second one is started, with what is free."""
    running(client, "first", segment=[0.0, 0.6])
    client.post(ALL, json={"key": "dial", **SPLIT, "segment": [0.5, 1.0]})

    refused = problem(client.post(f"{ONE}/start"), 409, "experiment-conflict")

    assert "[0.6, 1) is free: make a version with a segment in it, or stop 'first'" in refused.detail
    assert client.get(ONE).json()["state"] == "draft"


def test_a_running_version_cannot_be_edited(client: TestClient) -> None:
    """PUT and PATCH are answered 405, a key that is taken 409, which names the way to a new version."""
    running(client)

    put, patch = client.put(ONE, json=SPLIT), client.patch(ONE, json={"allocation": 0.5})
    again = problem(client.post(ALL, json={"key": "dial", **SPLIT}), 409, "experiment-conflict")

    assert (put.status_code, patch.status_code) == (405, 405)
    assert "POST /v1/experiments/dial/versions changes it" in again.detail
    assert len(client.get(ONE).json()["versions"]) == 1


def test_nobody_leaves_a_series_that_is_counted(client: TestClient) -> None:
    """A smaller allocation would take units out."""
    running(client, allocation=0.5)
    client.post(f"{ONE}/versions", json={"allocation": 0.25})

    refused = problem(client.post(f"{ONE}/start"), 409, "experiment-conflict")

    assert "pause it, or give the smaller version a salt" in refused.detail
    assert client.get(ONE).json()["running"] == 1


@pytest.mark.parametrize("act", ["start", "pause", "stop"])
def test_what_is_stopped_stays_so(client: TestClient, act: str) -> None:
    """409 with the way out."""
    running(client)
    client.post(f"{ONE}/stop")

    refused = problem(client.post(f"{ONE}/{act}"), 409, "experiment-conflict")

    assert "make another experiment" in refused.detail


def test_a_version_that_is_not_there_cannot_be_started(client: TestClient) -> None:
    """422 names those that are."""
    client.post(ALL, json={"key": "dial", **SPLIT})

    refused = problem(client.post(f"{ONE}/start", json={"version": 7}), 422, "invalid-request")

    assert refused.detail == "version: 'dial' has the versions 1 to 1"


def test_a_bundle_of_another_range_does_not_start_what_it_cannot_serve(start: Start) -> None:
    """What was made when another bundle was served is checked again."""
    start().post(ALL, json={"key": "dial", **SPLIT})
    now = start(limits=Range(0.0, 0.5))

    refused = problem(now.post(f"{ONE}/start"), 422, "invalid-request")

    assert "has λ2 = 0.8, and the bundle served now allows 0 to 0.5; make a new version" in refused.detail


def test_a_model_that_cannot_be_debiased_starts_no_experiment_on_lambda2(start: Start) -> None:
    """The reason is that of the model."""
    start().post(ALL, json={"key": "dial", **SPLIT})
    now = start(limits=Range(0.0, 0.0, "it looks at no picture"))

    refused = problem(now.post(f"{ONE}/start"), 422, "invalid-request")

    assert "has λ2 = 0.8, and the bundle served now allows only 0: it looks at no picture" in refused.detail


@pytest.mark.parametrize("name", ["", "x" * 129, "a\tb"])
def test_who_asks_has_a_name_that_can_be_kept(client: TestClient, name: str) -> None:
    """1 to 128 printable characters, or none said."""
    answer = client.post(ALL, json={"key": "dial", **SPLIT}, headers={"x-actor": name})

    assert "1 to 128 printable characters, or left out" in problem(answer, 422, "invalid-request").detail
    assert client.get(ONE).status_code == 404


@pytest.mark.parametrize("act", ["start", "stop"])
def test_a_body_that_may_be_left_out_is_read_where_it_is_there(client: TestClient, act: str) -> None:
    """As strictly as any other."""
    client.post(ALL, json={"key": "dial", **SPLIT})
    path = f"{ONE}/{act}"

    unknown = problem(client.post(path, json={"why": "so"}), 422, "invalid-request")
    broken = client.post(path, content=b"{", headers=JSON)
    other = client.post(path, content=b"{}", headers={"content-type": "text/plain"})

    assert unknown.errors[0].field == "why"
    assert (problem(broken, 400, "unreadable-body").status, other.status_code) == (400, 415)
    assert client.get(ONE).json()["state"] == "draft"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{ONE}/assignment", "user_id"),
        (f"{ONE}/assignment?user_id=", "user_id"),
        (f"{ONE}/report?format=pdf", "format"),
        (f"{ONE}/audit?most=0", "most"),
        (f"{ALL}/No-Such", "key"),
        ("/v1/experiments-audit?most=x", "most"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(client: TestClient, path: str, field: str) -> None:
    """422."""
    refused = problem(client.get(path), 422, "invalid-request")

    assert [error.field for error in refused.errors] == [field]
