"""What experiments say, over HTTP: fresh, at most one analysis for many readers, and kept when the tallies are gone."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service import reporting
from service.experiment_plans import PLAN_ANSWER, PLAN_EXAMPLE, PlanAnswer
from service.experiments import analysis
from service.experiments.report import Report
from tests.service.state.experimenting.world import ALL, ONE, SPLIT, parts, problem, running, visited

REPORT = f"{ONE}/report"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PLAN = "/v1/experiments-plan"


class Analyses:
    """How many were made; each waits until it may."""

    def __init__(self) -> None:
        self.count = 0
        self.begun = threading.Event()
        self.go = threading.Event()
        self.go.set()


@pytest.fixture
def analyses(monkeypatch: pytest.MonkeyPatch) -> Iterator[Analyses]:
    """Counted, and held where a test says so."""
    found, analyse = Analyses(), analysis.analyse

    def counted(*arguments: Any, **named: Any) -> Report:
        found.count += 1
        found.begun.set()
        assert found.go.wait(30)
        return analyse(*arguments, **named)

    monkeypatch.setattr(analysis, "analyse", counted)
    yield found
    found.go.set()


def report(client: TestClient) -> Report:
    """As JSON, in the shape that is documented."""
    answer = client.get(REPORT)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    assert answer.headers["cache-control"] == "no-store"
    return Report.model_validate_json(answer.content)


def test_a_draft_has_a_report_of_nobody(client: TestClient) -> None:
    """Not an error."""
    client.post(ALL, json={"key": "dial", **SPLIT, "guardrails": [{"metric": "latency", "most": 0.1}]})

    found = report(client)

    assert (found.state, found.units, found.source, found.verdict.decision) == ("draft", 0, "live", "continue")


@pytest.mark.parametrize(
    "said",
    [
        {"kind": "random", "between": [0, 1.5]},
        {**SPLIT, "kind": "interleaving"},
        {**SPLIT, "kind": "tuned", "tuning": {"floor": 0.1, "every": 60.0}},
    ],
)
def test_every_kind_has_a_report(client: TestClient, said: dict[str, Any]) -> None:
    """Without units, and with a few; as JSON and as a page."""
    client.post(ALL, json={"key": "dial", **said})
    nobody = report(client)
    client.post(f"{ONE}/start")
    visited(client, 5, "click")

    found = report(client)

    assert (nobody.units, found.units, found.kind) == (0, 5, said["kind"])
    assert client.get(REPORT, params={"format": "html"}).status_code == 200


@pytest.mark.parametrize(
    ("accept", "format_", "html"),
    [
        (BROWSER, None, True),
        ("text/html", None, True),
        ("*/*", None, False),
        ("application/json", None, False),
        ("text/html;q=0.5, application/json", None, False),
        ("application/json;q=0.5, text/html", None, True),
        ("text/*, application/json;q=0.1", None, True),
        ("text/html;q=0, */*", None, False),
        ("text/html;q=much", None, False),
        ("", None, False),
        ("application/json", "html", True),
        (BROWSER, "json", False),
    ],
)
def test_a_browser_gets_a_page(client: TestClient, accept: str, format_: str | None, html: bool) -> None:
    """By what it accepts, or by what the address says; one that runs and loads nothing."""
    client.post(ALL, json={"key": "dial", **SPLIT, "description": "<script>alert(1)</script>"})

    answer = client.get(REPORT, params={"format": format_} if format_ else {}, headers={"accept": accept})

    assert answer.headers["content-type"] == ("text/html; charset=utf-8" if html else "application/json")
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "Accept")
    if html:
        assert answer.text.lstrip().lower().startswith("<!doctype html>")
        assert "<script" not in answer.text
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        assert answer.headers["content-security-policy"] == policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_many_readers_cost_one_analysis(client: TestClient, analyses: Analyses) -> None:
    """Those who come while it is made, and those who come soon after."""
    running(client)
    analyses.go.clear()

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.get, REPORT) for _ in range(8)]
        assert analyses.begun.wait(30)
        analyses.go.set()
        statuses = [answer.result().status_code for answer in answers]
    report(client)

    assert (statuses, analyses.count) == ([200] * 8, 1)


def test_a_report_is_of_the_state_now(client: TestClient, analyses: Analyses) -> None:
    """What was made before the experiment was changed is not shown after it."""
    running(client)
    states = [report(client).state]

    client.post(f"{ONE}/stop")
    states.append(report(client).state)

    assert (states, analyses.count) == (["running", "stopped"], 2)


def test_a_report_is_made_again_after_a_while(
    client: TestClient, analyses: Analyses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown no longer than that."""
    monkeypatch.setattr(reporting, "SHOWN", 0.0)
    monkeypatch.setattr(reporting, "REST", 0)
    running(client)
    units = [report(client).units]

    visited(client, 3)
    units.append(report(client).units)

    assert (units, analyses.count) == ([0, 3], 2)


def test_a_stopped_experiment_says_what_was_kept_once_its_tallies_are_gone(client: TestClient) -> None:
    """They expire in the end; what it said does not."""
    running(client)
    visited(client, 10, "purchase")
    client.post(f"{ONE}/stop")
    before = report(client)
    replica = parts(client)

    async def kept_and_gone() -> None:
        await replica.store.keep_report("dial", before.model_dump_json().encode())
        name = replica.connection.keys.units("dial", 1)
        await replica.connection.run(lambda redis: redis.delete(name))

    assert client.portal
    client.portal.call(kept_and_gone)
    replica.reports._made.clear()

    assert (before.units, report(client)) == (10, before)
    assert report(client) == before  # from what is shown for a while, too


def test_a_plan_says_how_many_units_it_takes(client: TestClient) -> None:
    """For one look, and for any; more of them for the latter; and the days of traffic."""
    answer = client.post(PLAN, json=PLAN_EXAMPLE)

    found = PlanAnswer.model_validate(answer.json())
    assert answer.json() == PLAN_ANSWER
    assert found.fixed.units < found.always_valid.units
    assert found.fixed.units_per_variant * 3 == pytest.approx(found.fixed.units, abs=3)
    assert found.metric == "purchases per user"


def test_a_plan_of_given_units_says_what_they_show(client: TestClient) -> None:
    """The other way round it comes to the same."""
    baseline = {"baseline_mean": 2.0, "baseline_sd": 5.0, "metric": "clicks_per_user"}
    needed = client.post(PLAN, json={**baseline, "mde": 0.1}).json()

    found = client.post(PLAN, json={**baseline, "units": needed["fixed"]["units"]}).json()

    # by hand: two arms, (z(0.975) + z(0.8))² · 2 · (sd / (0.1 · mean))² = 7.849 · 2 · 625
    assert needed["fixed"]["units_per_variant"] == pytest.approx(9811, abs=2)
    assert found["fixed"]["mde"] == pytest.approx(0.1, rel=1e-3)
    assert found["fixed"]["days"] is None


@pytest.mark.parametrize(
    ("said", "field", "mended"),
    [
        ({"mde": 0.1}, "baseline_mean", "baseline_mean and baseline_sd, or baseline_rate"),
        ({"mde": 0.1, "baseline_sd": 1}, "baseline_mean", "is needed with the other"),
        ({"mde": 0.1, "baseline_mean": 1}, "baseline_sd", "is needed with the other"),
        ({"mde": 0.1, "baseline_rate": 0.1, "baseline_sd": 1}, "baseline_rate", "give it, or"),
        ({"baseline_rate": 0.1}, "mde", "either"),
        ({"baseline_rate": 0.1, "mde": 0.1, "units": 7}, "mde", "not both"),
        ({"baseline_rate": 0.1, "mde": 0}, "mde", "greater than 0"),
        ({"baseline_rate": 0.1, "mde": 0.1, "metric": "joy"}, "metric", "one of purchases_per_user"),
        ({"baseline_rate": 0.1, "mde": 0.1, "variants": 1}, "variants", "greater than or equal to 2"),
        ({"baseline_rate": 1.0, "mde": 0.1}, "baseline_rate", "less than 1"),
    ],
)
def test_a_plan_of_too_little_says_what_is_missing(
    client: TestClient, said: dict[str, Any], field: str, mended: str
) -> None:
    """422 by field."""
    refused = problem(client.post(PLAN, json=said), 422, "invalid-request")

    assert [(error.field, mended in error.detail) for error in refused.errors] == [(field, True)], refused
