"""Every model is trained, exported and served: answers are the evaluator's ranking, and say whose they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from causalrec import equations
from causalrec.bundle import read_bundle
from causalrec.foldin import FoldIn, recency
from causalrec.model import UNDEBIASABLE
from causalrec.placing import Placer
from tests.service.models.conftest import DEBIASABLE, EVERY, LAMBDA2, USERS, Served, ask, listed, same


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("label", EVERY)
def test_answers_are_the_evaluators_ranking(served: dict[str, Served], label: str, user: str) -> None:
    """Ids, order and scores, seen items left out, at every λ2 that the model can be asked for."""
    model = served[label]

    for lambda2 in LAMBDA2 if label in DEBIASABLE else (0.0,):
        answer = ask(model.client, user, lambda2=lambda2, k=20).json()

        assert same(listed(answer), model.true_list(model.known(user), lambda2, 20, model.seen[user]))
        assert answer["exact"]


@pytest.mark.parametrize("label", EVERY)
def test_answers_say_whose_they_are(served: dict[str, Served], label: str) -> None:
    """The model's name, and why it cannot be debiased where it cannot: of a list, a λ2 path, and the bundle."""
    model, client = EVERY[label], served[label].client
    path = client.get(f"/v1/users/{USERS[0]}/lambda2-path").json()
    (told,) = client.get("/v1/models").json()["models"]

    for answer in (ask(client, USERS[0]).json(), ask(client, "nobody").json(), path):
        assert answer["model"] == model.name
        assert answer.get("undebiasable") == model.undebiasable
        assert ("undebiasable" in answer) == (model.name in UNDEBIASABLE)
    assert (told["model"], told["form"], told["undebiasable"]) == (model.name, model.form, model.undebiasable)
    assert f'model="{model.name}"' in client.get("/metrics").text


@pytest.mark.parametrize("label", EVERY)
def test_a_history_is_folded_in_as_the_model_was_trained(served: dict[str, Served], label: str) -> None:
    """Somebody unknown is answered by the vectors that causalrec.foldin makes of what they did, for every model."""
    model, rows = served[label], np.array([3, 44, 60])
    did = [{"item_id": model.items[row], "type": "purchase"} for row in rows]

    body = {"user_id": "nobody", "history": did, "lambda2": 0, "k": 10, "exclude_seen": False}
    answer = model.client.post("/v1/recommendations", json=body).json()

    user = FoldIn(model.weights, EVERY[label].folded).user(rows, recency(3))
    assert answer["source"] == "history"
    assert same(listed(answer), model.true_list(user, 0.0, 10, set()))


@pytest.mark.parametrize("label", EVERY)
def test_a_new_item_is_placed_by_its_picture(served: dict[str, Served], data: Path, label: str) -> None:
    """Of every model, by causalrec.placing: here the picture of an item that training knew."""
    model, item = served[label], "/v1/items/new-coat"
    feature = np.load(data / "features.npy")[5]
    at = 0.5 if label in DEBIASABLE else 0.0
    wanted = {"user_id": USERS[0], "candidate_item_ids": ["new-coat"], "lambda2": at}

    made = model.client.put(item, json={"feature": feature.tolist()})
    (found,) = model.client.post("/v1/recommendations", json=wanted).json()["items"]
    model.client.delete(item)

    visual = read_bundle(model.path).visual
    placed = Placer(model.weights, visual).place(torch.from_numpy(feature)[None]).double()
    user = model.known(USERS[0])
    terms = equations.pair_terms(user.gamma.double(), user.theta.double(), placed)
    score = equations.score(model.weights.form, terms, user.null.double(), at)
    assert made.status_code == 201, made.text
    assert found["score"] == pytest.approx(float(score), abs=1e-11)


@pytest.mark.parametrize("label", [label for label in EVERY if label not in ("deepstyle", "dvbpr")])
def test_pictures_are_placed_where_training_had_them(served: dict[str, Served], data: Path, label: str) -> None:
    """Of a model whose e is a function of the backbone's feature: e and the visual bias of every item."""
    model = served[label]

    e, _, bias = read_bundle(model.path).visual.place(model.features(data))

    torch.testing.assert_close(e, model.weights.e, atol=1e-5, rtol=1e-4)
    if model.weights.visual_bias is not None:
        torch.testing.assert_close(bias, model.weights.visual_bias, atol=1e-5, rtol=1e-4)


def test_deepstyle_places_a_picture_without_its_category(served: dict[str, Served], data: Path) -> None:
    """Off by what the item's category has beyond the mean one: alike in a category, and nothing on average."""
    model = served["deepstyle"]
    bundle = read_bundle(model.path)

    e, _, _ = bundle.visual.place(model.features(data))

    away = e - model.weights.e
    for kind in ("coat", "hat", None):
        alike = away[torch.tensor([each == kind for each in bundle.catalogue["category"]])]
        torch.testing.assert_close(alike, alike[:1].expand_as(alike), atol=1e-5, rtol=0)
    torch.testing.assert_close(away.mean(0), torch.zeros(8), atol=1e-5, rtol=0)
    assert float(away.abs().max()) > 1e-2


@pytest.mark.parametrize("label", DEBIASABLE)
def test_lambda2_does_something_where_it_may(served: dict[str, Served], label: str) -> None:
    """Scores at 1 differ from those at 0: nothing is served with a dial that is not connected."""
    client = served[label].client

    zero, one = (dict(listed(ask(client, USERS[1], lambda2=at, k=40).json())) for at in (0, 1))

    assert any(zero[item] != one[item] for item in zero.keys() & one.keys())
