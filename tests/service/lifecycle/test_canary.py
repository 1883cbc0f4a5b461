"""A bundle tried out on a share of the users."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.experiments.assignment import place
from tests.service.conftest import Serve
from tests.service.lifecycle.conftest import Shelf
from tests.service.lifecycle.world import (
    MODELS,
    bundle,
    edited,
    id_of,
    is_of,
    lineup,
    metric,
    of_less_lambda2,
    problem,
    recommended,
    told,
)

EVERYBODY = [*(f"user-{n:02d}" for n in range(34)), "ann", "bob", "nobody", "somebody"]


def try_out(client: TestClient, model_id: str, share: float) -> dict[str, Any]:
    """What is answered then."""
    answer = client.post(f"{MODELS}/{model_id}/canary", json={"share": share})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def served(client: TestClient) -> dict[str, str]:
    """By user, which bundle answers."""
    return {user: recommended(client, user)["bundle_id"] for user in EVERYBODY}


def test_a_share_of_the_users_is_answered_by_it(serve: Serve, shelf: Shelf) -> None:
    """Those whose hash says so; id and content of every answer are of the same bundle."""
    client = serve(bundle=shelf.link)

    changed = try_out(client, shelf.ids[1], 0.4)

    assert changed["canary"] == {"id": shelf.ids[1], "share": 0.4}
    assert changed["serving"] == shelf.ids[0]
    of_canary = {user for user in EVERYBODY if place(f"canary:{shelf.ids[1]}", user) < 0.4}
    assert 5 < len(of_canary) < 25
    assert {user for user, bundle_id in served(client).items() if bundle_id == shelf.ids[1]} == of_canary
    for user in ("user-00", "user-01", "user-02", "user-03", "ann", "bob"):
        path = shelf.other if user in of_canary else shelf.one
        assert is_of(recommended(client, user), path, user)
    assert told(client, shelf.other)["state"] == "canary"
    assert metric(client, "causalrec_model_canary_share") == 0.4


def test_a_growing_share_takes_nobody_back(serve: Serve, shelf: Shelf) -> None:
    """And a share of 0 everybody."""
    client = serve(bundle=shelf.link)
    by_share = []
    for share in (0.1, 0.3, 0.7, 1.0, 0.0):
        try_out(client, shelf.ids[1], share)
        by_share.append({user for user, bundle_id in served(client).items() if bundle_id == shelf.ids[1]})

    assert by_share[0] < by_share[1] < by_share[2] < by_share[3] == set(EVERYBODY)
    assert by_share[4] == set()
    assert lineup(client).canary is None
    assert metric(client, "causalrec_model_resident") == 1


def test_a_batch_request_is_split_by_its_users(serve: Serve, shelf: Shelf) -> None:
    """Each answer is the one that its user gets alone, whoever is in the request; who has no id gets the stable one."""
    client = serve(bundle=shelf.link)
    try_out(client, shelf.ids[1], 0.5)
    bodies = [{"user_id": user, "k": 5} for user in EVERYBODY] + [{"history": ["item-003"], "k": 5}]

    together = client.post("/v1/recommendations/batch", json={"requests": bodies}).json()["answers"]

    assert together == [client.post("/v1/recommendations", json=body).json() for body in bodies]
    assert {answer["bundle_id"] for answer in together} == set(shelf.ids)
    assert together[-1]["bundle_id"] == shelf.ids[0]


def test_answers_are_counted_by_role(serve: Serve, shelf: Shelf) -> None:
    """With what became of them: a λ2 that only the stable bundle allows is the request's fault, for the canary."""
    narrow = of_less_lambda2(shelf.folder)
    client = serve(bundle=shelf.one)
    try_out(client, id_of(narrow), 0.5)
    by_role = [user for user in EVERYBODY if place(f"canary:{id_of(narrow)}", user) < 0.5]

    statuses = {
        user: client.get(f"/v1/users/{user}/recommendations", params={"lambda2": 2}).status_code for user in EVERYBODY
    }
    served(client)

    assert {user for user, status in statuses.items() if status == 422} == set(by_role)
    answered = 'causalrec_model_answers_total{{outcome="answered",role="{}"}}'
    assert metric(client, answered.format("canary")) == len(by_role)
    assert metric(client, answered.format("stable")) == 2 * (len(EVERYBODY) - len(by_role))
    assert metric(client, 'causalrec_model_answers_total{outcome="refused",role="canary"}') == len(by_role)
    assert metric(client, 'causalrec_model_search_seconds_count{role="canary"}') == len(by_role)


def test_the_experiment_decides_apart_from_the_canary(serve: Serve, shelf: Shelf) -> None:
    """Who gets which λ2 does not depend on which bundle answers, and every combination occurs."""
    client = serve(bundle=shelf.link)
    made = client.post("/v1/experiments", json={"key": "dial", "variants": [{"lambda2": 0.2}, {"lambda2": 0.9}]})
    assert made.status_code == 201, made.text
    assert client.post("/v1/experiments/dial/start").status_code == 200
    before = {user: recommended(client, user)["lambda2"] for user in EVERYBODY}

    try_out(client, shelf.ids[1], 0.5)
    answers = {user: recommended(client, user) for user in EVERYBODY}

    assert {user: answer["lambda2"] for user, answer in answers.items()} == before
    assert len({(answer["lambda2"], answer["bundle_id"]) for answer in answers.values()}) == 4


def test_what_is_tried_out_can_become_what_everybody_gets(serve: Serve, shelf: Shelf) -> None:
    """Without being loaded again; then nothing is tried out any more, and going back goes to the old stable one."""
    client = serve(bundle=shelf.link)
    try_out(client, shelf.ids[1], 0.2)
    before = lineup(client).canary

    changed = client.post(f"{MODELS}/{shelf.ids[1]}/activate").json()

    assert (changed["serving"], changed["canary"]) == (shelf.ids[1], None)
    assert before is not None
    assert lineup(client).stable is before.resident
    assert client.post(f"{MODELS}/rollback").json()["serving"] == shelf.ids[0]


@pytest.mark.parametrize("share", [-0.1, 1.1, "half", None])
def test_a_share_is_between_0_and_1(serve: Serve, shelf: Shelf, share: object) -> None:
    """Else it is a 422 that names the field."""
    answer = serve(bundle=shelf.link).post(f"{MODELS}/{shelf.ids[1]}/canary", json={"share": share})

    assert problem(answer, 422, "invalid-request").errors[0].field == "share"


def test_what_cannot_be_tried_out_is_said(serve: Serve, shelf: Shelf) -> None:
    """What everybody gets; a second one; a bad one: nothing changes by it."""
    client = serve(bundle=shelf.one)
    bad, third = edited(shelf.folder), bundle(shelf.folder, 3)
    same = client.post(f"{MODELS}/{shelf.ids[0]}/canary", json={"share": 0.1})
    damaged = client.post(f"{MODELS}/{id_of(bad)}/canary", json={"share": 0.1})
    try_out(client, shelf.ids[1], 0.1)

    second = client.post(f"{MODELS}/{id_of(third)}/canary", json={"share": 0.1})

    problem(same, 409, "model-conflict")
    problem(damaged, 422, "model-refused")
    assert shelf.ids[1][:12] in problem(second, 409, "model-conflict").detail
    assert client.get(MODELS).json()["canary"] == {"id": shelf.ids[1], "share": 0.1}


def test_a_hidden_item_is_in_no_answer_of_the_canary(serve: Serve, shelf: Shelf) -> None:
    """What was said of items holds for every bundle that answers."""
    client = serve(bundle=shelf.link)
    try_out(client, shelf.ids[1], 1.0)
    first = recommended(client)["items"][0]["item_id"]

    client.patch(f"/v1/items/{first}", json={"hidden": True})

    assert first not in {item["item_id"] for item in recommended(client)["items"]}
    assert recommended(client)["bundle_id"] == shelf.ids[1]
