"""Experiments over HTTP: made, versioned, started, paused, stopped; and who did that."""

from typing import Any

from fastapi.testclient import TestClient

from service.experiment_answers import (
    ASSIGNMENT,
    AUDIT,
    EXPERIMENT,
    EXPERIMENTS,
    AssignmentAnswer,
    AuditAnswer,
    ExperimentAnswer,
    ExperimentsAnswer,
)
from service.experiment_schemas import DRAWN, EXAMPLE, VERSION_EXAMPLE
from tests.service.served import START
from tests.service.state.experimenting.world import ALL, ONE, SPLIT, parts, problem, running, visited

HOLDOUT = "/v1/experiments-holdout"


def audit(client: TestClient, path: str = f"{ONE}/audit") -> list[dict[str, Any]]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    AuditAnswer.model_validate(answer.json())
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def test_a_new_experiment_is_a_complete_draft(client: TestClient) -> None:
    """201; what was left out has its default, and nobody gets it."""
    answer = client.post(ALL, json={"key": "dial", **SPLIT}, headers={b"x-actor": "Zoë".encode()})

    assert answer.status_code == 201
    ExperimentAnswer.model_validate(answer.json())
    assert (answer.json()["state"], answer.json()["running"], answer.json()["changed"]) == ("draft", None, START)
    (version,) = answer.json()["versions"]
    assert version == answer.json()["config"]
    assert [(each["lambda2"], each["weight"]) for each in version["variants"]] == [(0.0, 0.5), (0.8, 0.5)]
    assert (version["control"], version["primary"], version["alpha"]) == ("0", "purchases_per_user", 0.05)
    assert (version["actor"], version["created"], version["window_seconds"]) == ("Zoë", START, None)
    assert parts(client).experiments.decide("ann") is None


def test_every_field_is_kept_as_it_was_said(client: TestClient) -> None:
    """All of them at once."""
    said = {
        "kind": "tuned",
        "description": "why",
        "variants": [
            {"name": "none", "lambda2": 0.0, "weight": 0.25},
            {"name": "all", "lambda2": 1.0, "weight": 0.75},
        ],
        "layer": "home",
        "segment": [0.25, 0.5],
        "allocation": 0.5,
        "salt": "grain",
        "control": "all",
        "overrides": {"ann": "none"},
        "primary": "revenue_per_user",
        "secondary": ["click_through"],
        "guardrails": [{"metric": "latency", "most": 0.2}],
        "alpha": 0.1,
        "window_seconds": 3600.0,
        "planned_units": 1000,
        "tuning": {"floor": 0.1, "every": 600.0},
    }

    version = client.post(ALL, json={"key": "dial", **said}).json()["config"]

    assert {name: version[name] for name in said} == said


def test_the_next_answers_are_by_what_was_started(client: TestClient) -> None:
    """This replica decides by it when the request is answered; by nothing once it is paused or stopped."""
    decide = parts(client).experiments.decide
    decided = []

    running(client)
    decided.append(decide("ann") is not None)
    for act in ("pause", "start", "stop"):
        assert client.post(f"{ONE}/{act}").status_code == 200
        decided.append(decide("ann") is not None)

    assert decided == [True, False, True, False]


def test_a_version_changes_what_it_says_and_nothing_else(client: TestClient) -> None:
    """A ramp is of the same series; it is in force once it is started."""
    running(client, allocation=0.5, description="a ramp", window_seconds=60.0)

    made = client.post(f"{ONE}/versions", json={"allocation": 1.0})
    started = client.post(f"{ONE}/start", json={"version": 2}).json()

    assert (made.status_code, made.json()["running"], made.json()["config"]["allocation"]) == (201, 1, 0.5)
    first, second = started["versions"]
    assert started["config"] == second
    assert {name: value for name, value in second.items() if value != first[name]} == {"version": 2, "allocation": 1.0}


def test_null_takes_a_window_back_and_says_nothing_elsewhere(client: TestClient) -> None:
    """Where there is such a thing as none it can be said."""
    client.post(ALL, json={"key": "dial", **SPLIT, "window_seconds": 60.0, "planned_units": 10, "alpha": 0.1})

    body = {"window_seconds": None, "planned_units": None, "alpha": None, "variants": None}
    version = client.post(f"{ONE}/versions", json=body).json()["versions"][1]

    assert (version["window_seconds"], version["planned_units"], version["alpha"]) == (None, None, 0.1)
    assert len(version["variants"]) == 2


def test_a_version_of_another_kind_takes_over_no_variants(client: TestClient) -> None:
    """Nor anything else that only a kind has."""
    client.post(ALL, json={"key": "dial", **SPLIT, "guardrails": [{"metric": "latency", "most": 0.1}]})

    made = client.post(f"{ONE}/versions", json={"kind": "random", "between": [0, 1.5]})

    version = made.json()["versions"][1]
    assert (version["variants"], version["guardrails"], version["control"]) == ([], [], "")


def test_other_variants_get_a_control_of_their_own(client: TestClient) -> None:
    """The old one, where it is still there."""
    client.post(ALL, json={"key": "dial", **SPLIT, "control": "0.8"})

    kept = client.post(f"{ONE}/versions", json={"variants": [{"lambda2": 0.4}, {"lambda2": 0.8}]}).json()
    gone = client.post(f"{ONE}/versions", json={"variants": [{"lambda2": 0.2}, {"lambda2": 0.4}]}).json()

    assert [kept["versions"][1]["control"], gone["versions"][2]["control"]] == ["0.8", "0.2"]


def test_the_list_has_every_experiment_by_key(client: TestClient) -> None:
    """With the revision that all replicas agree on, and the holdout."""
    for key in ("b", "a"):
        client.post(ALL, json={"key": key, **SPLIT})

    listed = client.get(ALL).json()

    ExperimentsAnswer.model_validate(listed)
    assert [each["key"] for each in listed["experiments"]] == ["a", "b"]
    assert (listed["revision"], listed["holdout"]) == (2, {"share": 0.0, "salt": "holdout"})


def test_every_change_is_in_the_audit_log_in_words(client: TestClient) -> None:
    """By whom, when, what; newest first."""
    by = {"headers": {"x-actor": "ann@shop"}}
    client.post(ALL, json={"key": "dial", **SPLIT}, **by)  # type: ignore[arg-type]
    client.post(f"{ONE}/start", **by)  # type: ignore[arg-type]
    client.post(f"{ONE}/versions", json={"primary": "revenue_per_user", "secondary": ["click_through"]})
    client.post(f"{ONE}/start")
    client.post(f"{ONE}/pause")
    client.post(f"{ONE}/stop", json={"reason": "it is decided"}, headers={"x-actor": "bob"})

    entries = audit(client)

    assert [(each["act"], each["version"], each["actor"]) for each in reversed(entries)] == [
        ("create", 1, "ann@shop"),
        ("start", 1, "ann@shop"),
        ("version", 2, "unknown"),
        ("start", 2, "unknown"),
        ("pause", 2, "unknown"),
        ("stop", 2, "bob"),
    ]
    assert {each["at"] for each in entries} == {START}
    assert entries[0]["detail"] == "it is decided"
    assert "primary purchases_per_user → revenue_per_user" in entries[3]["detail"]
    assert "version 2 in force instead of 1" in entries[2]["detail"]
    assert len(audit(client, f"{ONE}/audit?most=2")) == 2


def test_the_holdout_gets_nothing(client: TestClient) -> None:
    """Changed by PUT, kept by salt, audited beside the experiments."""
    running(client)

    held = client.put(HOLDOUT, json={"share": 1.0}, headers={"x-actor": "ann"})

    assert (held.status_code, held.json()) == (200, {"share": 1.0, "salt": "holdout"})
    assert client.get(HOLDOUT).json() == held.json()
    assert parts(client).experiments.decide("ann") is None
    entry = audit(client, "/v1/experiments-audit")[0]
    assert (entry["key"], entry["act"], entry["actor"], entry["detail"]) == ("", "holdout", "ann", "share 0 → 1")


def test_the_examples_can_be_sent_and_are_what_comes_back(client: TestClient) -> None:
    """Copied from the documentation they are answered; answers shown there have the shape of real ones."""
    for example in (EXAMPLE, DRAWN):
        assert client.post(ALL, json=example).status_code == 201, example
    assert client.post(f"{ALL}/{EXAMPLE['key']}/versions", json=VERSION_EXAMPLE).status_code == 201

    ExperimentAnswer.model_validate(EXPERIMENT)
    ExperimentsAnswer.model_validate(EXPERIMENTS)
    AssignmentAnswer.model_validate(ASSIGNMENT)
    AuditAnswer.model_validate(AUDIT)


def test_an_outcome_counts_while_an_experiment_runs_and_a_week_longer(client: TestClient) -> None:
    """Also while it is paused."""
    clock = parts(client).clock
    series = parts(client).experiments.open_series
    client.post(ALL, json={"key": "dial", **SPLIT})
    found = [len(series())]

    for act, later in (("start", 0.0), ("pause", 1e6), ("stop", 0.0)):
        clock.now += later
        client.post(f"{ONE}/{act}")
        found.append(len(series()))
    for later in (7 * 86_400 - 1, 2):
        clock.now += later
        found.append(len(series()))

    assert found == [0, 1, 1, 1, 1, 0]


def test_what_a_user_does_is_tallied(client: TestClient) -> None:
    """From the decision to the report."""
    running(client)

    visited(client, 30, "click", "purchase")

    report = client.get(f"{ONE}/report").json()
    clicks = [each["estimate"]["value"] for each in report["variants"] if each["metric"] == "click_through"]
    assert (report["units"], clicks) == (30, [1.0, 1.0])


def test_nobody_knows_an_experiment_that_was_not_made(client: TestClient) -> None:
    """404 on every path of it, with the way to make it."""
    answers = [
        client.get(ONE),
        client.get(f"{ONE}/assignment?user_id=ann"),
        client.get(f"{ONE}/report"),
        client.get(f"{ONE}/audit"),
        client.post(f"{ONE}/versions", json={"allocation": 0.5}),
        *(client.post(f"{ONE}/{act}") for act in ("start", "pause", "stop")),
    ]

    for answer in answers:
        assert "POST /v1/experiments makes one" in problem(answer, 404, "unknown-experiment").detail
