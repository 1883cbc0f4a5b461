"""From a bundle that λ2 means something to, to one that cannot be debiased, while an experiment on λ2 runs."""

from typing import Any

from fastapi.testclient import TestClient

from causalrec.model import UNDEBIASABLE
from tests.service.conftest import Serve
from tests.service.lifecycle.conftest import Shelf
from tests.service.lifecycle.world import id_of, look, metric, of_no_dial, point, problem, recommended

HALVES = {"key": "dial", "variants": [{"lambda2": 0.0, "name": "off"}, {"lambda2": 1.2, "name": "on"}]}
USERS = [f"user-{number:02d}" for number in range(20)]
RECORDED = 'causalrec_experiment_answers_total{experiment="dial",variant="%s"}'


def begin(client: TestClient) -> None:
    """The experiment, made and started."""
    assert client.post("/v1/experiments", json=HALVES).status_code == 201
    assert client.post("/v1/experiments/dial/start", json={}).status_code == 200


def given(client: TestClient) -> list[dict[str, Any]]:
    """What each user is served."""
    return [recommended(client, user) for user in USERS]


def test_an_experiment_is_passed_over_whole(serve: Serve, shelf: Shelf) -> None:
    """Neither variant's users are in it any more, nor recorded; the default λ2 of 0 is everybody's."""
    client = serve(bundle=shelf.link)
    begin(client)
    before = given(client)
    counted = [metric(client, RECORDED % variant) for variant in ("off", "on")]

    without = of_no_dial(shelf.folder)
    look(client)
    after = given(client)

    assert {answer["experiment"]["variant"] for answer in before} == {"off", "on"}
    assert {answer["bundle_id"] for answer in after} == {id_of(without)}
    assert not any("experiment" in answer for answer in after)
    assert {(answer["lambda2"], answer["lambda2_source"]) for answer in after} == {(0.0, "default")}
    assert [metric(client, RECORDED % variant) for variant in ("off", "on")] == counted


def test_who_asks_what_they_get_is_told_why(serve: Serve, shelf: Shelf) -> None:
    """The assignment and the OpenFeature flag give the default, with the model's reason."""
    client = serve(bundle=shelf.link)
    begin(client)
    of_no_dial(shelf.folder)
    look(client)

    told = client.get("/v1/experiments/dial/assignment", params={"user_id": "ann"}).json()
    body = {"context": {"targetingKey": "ann"}}
    flag = client.post("/ofrep/v1/evaluate/flags/lambda2", json=body).json()

    assert told["variant"] is None
    assert (flag["value"], flag["reason"]) == (0.0, "DEFAULT")
    assert UNDEBIASABLE["bpr"] in told["reason"]
    assert UNDEBIASABLE["bpr"] in flag["metadata"]["why"]


def test_going_back_brings_the_experiment_back(serve: Serve, shelf: Shelf) -> None:
    """Everybody as before."""
    client = serve(bundle=shelf.link)
    begin(client)
    before = [answer["experiment"] for answer in given(client)]
    of_no_dial(shelf.folder)
    look(client)

    point(shelf.link, shelf.one)
    look(client)

    assert [answer["experiment"] for answer in given(client)] == before


def test_a_canary_without_a_dial_is_in_no_experiment(serve: Serve, shelf: Shelf) -> None:
    """Its users get its default; the stable bundle's stay in."""
    client = serve(bundle=shelf.link)
    begin(client)
    without = of_no_dial(shelf.folder)

    answer = client.post(f"/v1/models/{id_of(without)}/canary", json={"share": 0.5})

    assert answer.status_code == 200, answer.text
    every = given(client)
    tried = [each for each in every if each["bundle_id"] == id_of(without)]
    assert 0 < len(tried) < len(USERS)
    assert not any("experiment" in each for each in tried)
    assert all("experiment" in each for each in every if each not in tried)


def test_what_was_asked_with_a_lambda2_is_wrong_for_it_and_no_failure(serve: Serve, shelf: Shelf) -> None:
    """It is served although the last requests named λ2; whoever names one now is refused."""
    client = serve(bundle=shelf.link)
    recommended(client, lambda2=0.8)
    without = of_no_dial(shelf.folder)

    look(client)

    assert recommended(client)["bundle_id"] == id_of(without)
    refused = problem(client.get("/v1/users/ann/recommendations?lambda2=0.8"), 422, "invalid-request")
    assert UNDEBIASABLE["bpr"] in refused.detail
