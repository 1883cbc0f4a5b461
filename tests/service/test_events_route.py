"""POST /v1/events: what may be sent, what is stored of it, and what is said where something is wrong."""

import json
import time
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from causalrec.errors import EventLogFull, EventsRefused
from service import problems
from service.event_schemas import EXAMPLE, MAX_EVENTS, RATED, EventsAnswer
from service.events import Event
from service.problem_kinds import MEDIA_TYPE
from service.routes import events as route

PATH = "/v1/events"
JSON = {"content-type": "application/json"}
CLICK = {"event_id": "e1", "user_id": "ann", "item_id": "hat", "type": "click", "timestamp": 1_700_000_000}


class Told:
    """An intake that keeps what it is given in memory; `failure` is raised instead, where there is one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failure: Exception | None = None

    async def accept(self, events: list[Event]) -> list[bool]:
        if self.failure:
            raise self.failure
        known = {event.event_id for event in self.events}
        self.events += events
        return [event.event_id not in known for event in events]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def client(told: Told) -> TestClient:
    app = FastAPI()
    app.state.intake = told
    app.router.routes.extend(route.router.routes)
    problems.register(app)
    return TestClient(app)


def refused(answer: Response, field: str) -> str:
    """What a 422 says is wrong with `field`."""
    assert (answer.status_code, answer.headers["content-type"]) == (422, MEDIA_TYPE)
    (error,) = [error for error in answer.json()["errors"] if error["field"] == field]
    return str(error["detail"])


def test_one_event_is_stored_as_it_was_sent(client: TestClient, told: Told) -> None:
    """200 with how many were new."""
    answer = client.post(PATH, json={**CLICK, "value": 2, "request_id": "4f2a"})

    assert (answer.status_code, answer.json()) == (200, {"accepted": 1, "duplicates": 0})
    assert told.events == [Event("e1", "ann", "hat", "click", 2.0, 1_700_000_000.0, "4f2a")]


def test_several_events_are_stored_in_their_order(client: TestClient, told: Told) -> None:
    """Up to 1,000; repeats are counted."""
    batch = [{**CLICK, "event_id": f"e{number}"} for number in range(MAX_EVENTS)]

    first = client.post(PATH, json={"events": batch}).json()
    again = client.post(PATH, json={"events": batch[:3]}).json()

    assert (first, again) == ({"accepted": 1000, "duplicates": 0}, {"accepted": 0, "duplicates": 3})
    assert [event.event_id for event in told.events[:1000]] == [event["event_id"] for event in batch]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (1_700_000_000.25, 1_700_000_000.25),
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14t22:13:20.5z", 1_700_000_000.5),
        ("2023-11-15 01:13:20.123456789+03:00", 1_700_000_000.123456),
    ],
)
def test_a_time_is_seconds_or_rfc_3339(client: TestClient, told: Told, written: object, seconds: float) -> None:
    """Whatever the zone, the same moment."""
    client.post(PATH, json={**CLICK, "timestamp": written})

    assert told.events[0].timestamp == pytest.approx(seconds, abs=1e-6)


def test_without_a_time_it_is_now(client: TestClient, told: Told) -> None:
    """By the service's clock."""
    before = time.time()

    client.post(PATH, json={name: value for name, value in CLICK.items() if name != "timestamp"})

    assert before <= told.events[0].timestamp <= time.time()


@pytest.mark.parametrize(
    ("changed", "field", "detail"),
    [
        ({"event_id": ""}, "event_id", "at least 1 character"),
        ({"event_id": "e" * 129}, "event_id", "at most 128 characters"),
        ({"event_id": "a\nb"}, "event_id", "the id holds an unprintable character"),
        ({"event_id": " a"}, "event_id", "begins or ends with a space"),
        ({"event_id": 7}, "event_id", "valid string"),
        ({"user_id": "u" * 257}, "user_id", "at most 256"),
        ({"item_id": "\ud83d"}, "item_id", "unicode"),
        ({"type": "view"}, "type", "'impression', 'click', 'cart', 'purchase' or 'rating'"),
        ({"value": "5"}, "value", "valid number"),
        ({"value": True}, "value", "valid number"),
        ({"value": float("inf")}, "value", "finite"),
        ({"type": "rating"}, "value", "a rating needs its value"),
        ({"type": "rating", "value": None}, "value", "a rating needs its value"),
        ({"timestamp": "2023-11-14T22:13:20"}, "timestamp", "with its zone"),
        ({"timestamp": "yesterday"}, "timestamp", "with its zone"),
        ({"timestamp": "2023-02-30T00:00:00Z"}, "timestamp", "there is no such time"),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp", "1970"),
        ({"timestamp": -1}, "timestamp", "lies before 1970"),
        ({"timestamp": float("nan")}, "timestamp", "1970"),
        ({"timestamp": True}, "timestamp", "seconds since 1970"),
        ({"timestamp": None}, "timestamp", "seconds since 1970"),
        ({"timestamp": 1_700_000_000_000}, "timestamp", "not milliseconds"),
        ({"timestamp": 10**400}, "timestamp", "a day ahead"),
        ({"timestamp": time.time() + 90_000}, "timestamp", "more than a day ahead"),
        ({"request_id": "r" * 129}, "request_id", "at most 128"),
        ({"when": 1}, "when", "no such field"),
    ],
)
def test_a_value_that_cannot_be_stored_is_named(
    client: TestClient, told: Told, changed: dict[str, Any], field: str, detail: str
) -> None:
    """Alone and in a batch, of which nothing is stored then."""
    spoiled = {**CLICK, **changed}

    alone = client.post(PATH, content=json.dumps(spoiled), headers=JSON)
    batch = client.post(PATH, content=json.dumps({"events": [CLICK, CLICK, CLICK, spoiled]}), headers=JSON)

    assert detail in refused(alone, field)
    assert detail in refused(batch, f"events.3.{field}")
    assert told.events == []


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({"events": []}, "events", "at least 1 item"),
        ({"events": [CLICK] * 1001}, "events", "at most 1000 items"),
        ({"events": CLICK}, "events", "valid list"),
        ({"events": [CLICK], "user_id": "ann"}, "user_id", "no such field"),
        ({"events": [CLICK, 7]}, "events.1", "valid dictionary"),
        ([CLICK], "body", "valid dictionary"),
        ({}, "event_id", "required"),
    ],
)
def test_a_body_that_is_neither_one_event_nor_several(
    client: TestClient, told: Told, body: object, field: str, detail: str
) -> None:
    """Says what it should be."""
    assert detail in refused(client.post(PATH, json=body), field)
    assert told.events == []


@pytest.mark.parametrize(
    ("failure", "kind", "seconds"),
    [(EventsRefused("the spool is full"), "events-refused", "1"), (EventLogFull("full", 30), "event-log-full", "30")],
)
def test_events_that_nobody_takes_are_a_503(
    client: TestClient, told: Told, failure: Exception, kind: str, seconds: str
) -> None:
    """With Retry-After: send them again."""
    told.failure = failure

    answer = client.post(PATH, json=CLICK)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, seconds)
    assert answer.json()["type"] == f"urn:causalrec:problem:{kind}"


def test_the_examples_can_be_sent_and_every_field_is_described(client: TestClient) -> None:
    """The documentation shows both forms, and what comes back."""
    openapi = client.get("/openapi.json").json()
    documented = openapi["paths"][PATH]["post"]
    shown = documented["requestBody"]["content"]["application/json"]["examples"]

    answers = [client.post(PATH, json=example["value"]) for example in shown.values()]

    assert [shown["one"]["value"], shown["several"]["value"]] == [EXAMPLE, {"events": [EXAMPLE, RATED]}]
    assert [answer.status_code for answer in answers] == [200, 200]
    EventsAnswer.model_validate(documented["responses"]["200"]["content"]["application/json"]["example"])
    assert set(documented["responses"]) == {"200", "400", "413", "415", "422", "503"}
    for name, field in openapi["components"]["schemas"]["PostedEvent"]["properties"].items():
        assert field.get("description"), name
