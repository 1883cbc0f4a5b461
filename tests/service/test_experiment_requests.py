"""Experiments as a shop meets them: made over HTTP, decided in every answer, recorded before it leaves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from causalrec.errors import EventsRefused
from service.intake import Intake
from tests.service.conftest import Serve

USERS = [f"user-{number}" for number in range(40)]
HALVES = {"key": "dial", "variants": [{"lambda2": 0.0, "name": "off"}, {"lambda2": 1.2, "name": "on"}]}
MIX = {"key": "mix", "kind": "interleaving", "variants": [{"lambda2": 0.0}, {"lambda2": 2.0}]}


def begin(client: TestClient, body: dict[str, Any]) -> None:
    """The experiment, made and started."""
    assert client.post("/v1/experiments", json=body).status_code == 201
    assert client.post(f"/v1/experiments/{body['key']}/start", json={}).status_code == 200


def ask(client: TestClient, user: str, **query: Any) -> dict[str, Any]:
    """The answer to a user."""
    answer: dict[str, Any] = client.get(f"/v1/users/{user}/recommendations", params=query).json()
    return answer


def exported(data_dir: Path) -> pl.DataFrame:
    """All that the log held."""
    to = data_dir / "export"
    command = [sys.executable, "-m", "service", "events", "export", "--data-dir", str(data_dir), "--to", str(to)]
    subprocess.run(command, check=True)
    return pl.read_parquet(to / "date=*" / "*.parquet")


def test_users_are_split_and_answers_say_how(serve: Serve) -> None:
    """Each λ2 for about half, the same for a user every time, and the list that this λ2 has."""
    client = serve()
    begin(client, HALVES)

    answers = {user: ask(client, user) for user in USERS}

    variants = [answer["experiment"]["variant"] for answer in answers.values()]
    assert 8 < variants.count("on") < 32
    for user, answer in answers.items():
        assert answer["lambda2"] == {"off": 0.0, "on": 1.2}[answer["experiment"]["variant"]]
        assert answer["experiment"]["propensity"] == 0.5
        assert ask(client, user) == answer
        assert ask(client, user, lambda2=answer["lambda2"])["items"] == answer["items"]


def test_who_names_lambda2_is_in_no_experiment(serve: Serve, data_dir: Path) -> None:
    """And is not recorded: the export has nothing of them."""
    client = serve()
    begin(client, HALVES)

    named = ask(client, "ann", lambda2=0.3)
    ask(client, "bob")

    assert named["lambda2_source"] == "request"
    assert "experiment" not in named
    assert set(exported(data_dir)["user_id"]) == {"bob"}


def test_what_was_answered_is_in_the_export(serve: Serve, data_dir: Path) -> None:
    """The exposure once; every list with its slate, under the request's id; also those of a batch."""
    client = serve()
    begin(client, HALVES)
    first = client.get("/v1/users/ann/recommendations", headers={"X-Request-ID": "r1"}).json()
    body = {"requests": [{"user_id": "ann", "k": 3}, {"user_id": "ann", "lambda2": 0.5}, {"user_id": "bob"}]}
    client.post("/v1/recommendations/batch", json=body, headers={"X-Request-ID": "r2"})

    records = exported(data_dir)

    lists = records.filter(type="list").sort("request_id", "user_id")
    assert sorted(records.filter(type="exposure")["user_id"]) == ["ann", "bob"]
    assert lists.select("request_id", "user_id").rows() == [("r1", "ann"), ("r2", "ann"), ("r2", "bob")]
    assert lists["item_ids"][0].to_list() == [item["item_id"] for item in first["items"]]
    assert lists["bundle_id"][0] == first["bundle_id"]


def test_a_report_counts_what_users_did_after_their_exposure(serve: Serve) -> None:
    """Purchases of a user in the variant they had; twice the same event is one."""
    client = serve()
    begin(client, HALVES)
    variant = {user: ask(client, user)["experiment"]["variant"] for user in USERS}
    buyers = [user for user in USERS if variant[user] == "on"]
    for user in buyers + buyers[:3]:
        bought = {"event_id": f"e-{user}", "user_id": user, "item_id": "item-001", "type": "purchase", "value": 9.5}
        client.post("/v1/events", json=bought)

    report = client.get("/v1/experiments/dial/report").json()

    found = {(each["variant"], each["metric"]): each for each in report["variants"]}
    assert report["units"] == len(USERS)
    assert found["on", "purchases_per_user"]["units"] == len(buyers)
    assert found["on", "purchases_per_user"]["estimate"]["value"] == 1.0
    assert found["off", "purchases_per_user"]["estimate"]["value"] == 0.0
    assert found["on", "revenue_per_user"]["estimate"]["value"] == 9.5


def test_two_lists_in_one_answer(serve: Serve) -> None:
    """Every item says which λ2 put it there, the answer itself has none."""
    client = serve()
    begin(client, MIX)

    answer = ask(client, "ann", k=8)

    assert answer["lambda2"] is None
    assert answer["experiment"]["key"] == "mix"
    assert {item["lambda2"] for item in answer["items"]} <= {0.0, 2.0}
    assert len({item["item_id"] for item in answer["items"]}) == 8


@pytest.mark.parametrize("act", ["pause", "stop"])
def test_an_ended_experiment_serves_the_default_at_once(serve: Serve, act: str) -> None:
    """The next answer carries no block any more."""
    client = serve()
    begin(client, HALVES)
    before = ask(client, "ann")

    client.post(f"/v1/experiments/dial/{act}", json={})
    after = ask(client, "ann")

    assert "experiment" in before
    assert "experiment" not in after
    assert after["lambda2_source"] == "default"


def test_what_cannot_be_recorded_is_no_part_of_an_experiment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """With neither log nor spool the default λ2 is served, without a block, and counted."""
    client = serve()
    begin(client, HALVES)

    async def refuse(self: Intake, events: object) -> None:
        raise EventsRefused("full")

    monkeypatch.setattr(Intake, "record", refuse)
    answer = ask(client, "ann")

    assert answer["lambda2_source"] == "default"
    assert "experiment" not in answer
    assert answer["items"] == ask(client, "ann", lambda2=answer["lambda2"])["items"]
    assert 'causalrec_fallbacks_total{reason="experiment"} 1.0' in client.get("/metrics").text


def test_a_file_switches_off_without_redis(serve: Serve, data_dir: Path) -> None:
    """`experiments-off` in the data directory: this replica serves the default within a moment."""
    client = serve()
    begin(client, HALVES)
    assert "experiment" in ask(client, "ann")

    (data_dir / "experiments-off").write_text("dial\n")

    while "experiment" in ask(client, "ann"):
        pass
    assert json.loads(client.get("/v1/experiments/dial").content)["state"] == "running"
