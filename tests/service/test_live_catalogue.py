"""What is said of items while serving, in the very next answer; and what nobody must notice of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from causalrec.bundle import read_bundle
from causalrec.equations import Form
from causalrec.errors import BundleMismatch
from causalrec.search import Searcher
from service.catalogue import Catalogue
from service.planning import Wanted
from service.ranking import Ranker
from tests.bundles import make_bundle
from tests.service import brute
from tests.service.conftest import FORMS, Serve
from tests.service.live_world import EVERYTHING, PATH, hidden, ids, make_ranker, new, say


def names(body: Any) -> Iterable[str]:
    """Every item id in an answer's items and pieces."""
    for answer in body.get("answers", [body]):
        for item in answer.get("items", []):
            yield item["item_id"]
        for piece in answer.get("pieces", []):
            yield from piece["item_ids"]


def test_a_hidden_item_never_leaves_by_any_route(serve: Serve) -> None:
    """For anybody, by search, pool, pin, boost, path, history or batch, explained or not."""
    client = serve()
    ranker: Ranker = client.app.state.live.ranker  # type: ignore[attr-defined] # a plain ASGI callable
    first = client.get("/v1/users/ann/recommendations", params={"k": 3}).json()["items"]
    banned = {item["item_id"] for item in first} | {"new-1"}
    say(ranker, *map(hidden, banned - {"new-1"}), new("new-1", hidden=True))
    body = {"k": 300, "exclude_seen": False, "lambda2": [0.0, 2.0], "explain": True}
    rules = {"pin": sorted(banned), "boost": [{"filter": {"item_id": sorted(banned)}, "by": 9}]}
    posted = [
        {"user_id": user, **body, **more}
        for user in ("ann", "nobody")
        for more in ({}, rules, {"candidate_item_ids": [*banned, "item-001"]}, {"history": [*banned, "item-001"]})
    ]

    answers = [client.post("/v1/recommendations", json=each) for each in posted]
    answers.append(client.get("/v1/users/ann/recommendations", params={"k": 300}))
    answers.append(client.get("/v1/users/ann/lambda2-path", params={"k": 100, "exclude_seen": False}))
    answers.append(client.post("/v1/recommendations/batch", json={"requests": [{"user_id": "bob", "k": 300}]}))

    assert all(answer.status_code == 200 for answer in answers)
    assert not any(set(names(answer.json())) & banned for answer in answers)
    assert set(answers[1].json()["answers"][0]["pins_passed_over"]) == banned


def test_what_is_shown_again_comes_back() -> None:
    """The answer is then the very first one."""
    ranker = make_ranker()
    before = ids(ranker.rank(EVERYTHING)[0])

    say(ranker, hidden(before[0]))
    without = ids(ranker.rank(EVERYTHING)[0])
    say(ranker)

    assert without == before[1:]
    assert ids(ranker.rank(EVERYTHING)[0]) == before


@pytest.mark.parametrize("form", FORMS)
def test_new_items_are_ranked_by_their_score(form: Form) -> None:
    """Among all others, exactly, and with their terms."""
    ranker = make_ranker(form)
    say(ranker, *(new(f"new-{n}", n) for n in range(5)), new("item-0005"))

    (ranked,) = ranker.rank(EVERYTHING._replace(k=400, explain=True))

    scores = {}
    for row, item_id in enumerate(ranker.catalogue.ids):
        cold = ranker.catalogue.cold if row >= 300 else ranker.bundle.weights
        assert cold is not None
        scores[item_id] = brute.scored(cold, ranked.plan.user, row % 300, 0.8)
    assert ids(ranked) == sorted(scores, key=lambda item_id: (-scores[item_id], item_id))
    assert ranked.explanations
    for score, terms in zip(ranked.best.scores, ranked.explanations, strict=True):
        assert terms["undebiased"] - terms["removed"] == pytest.approx(score, abs=1e-11)
    assert len({terms["rank_at_zero"] for terms in ranked.explanations}) == 306


@pytest.mark.parametrize("form", FORMS)
def test_a_path_runs_over_new_items_too(form: Form) -> None:
    """In the middle of every piece its list is the answer there."""
    ranker = make_ranker(form)
    say(ranker, *(new(f"new-{n}", n) for n in range(40)), *(hidden(f"item-{n:03d}") for n in range(250)))

    traced = ranker.path(PATH)

    for piece in traced.path.pieces:
        (ranked,) = ranker.rank(EVERYTHING._replace(k=10, lambda2=((piece.start + piece.end) / 2,)))
        assert [traced.item_ids[row] for row in piece.rows] == ids(ranked)
    assert any(traced.item_ids[row].startswith("new") for piece in traced.path.pieces for row in piece.rows)


def test_new_items_take_their_place_for_somebody_unknown_and_move_nobody() -> None:
    """Ranks among the bundle's items: by score for the mean user, by popularity behind all that somebody chose."""
    bundle = make_bundle(retrieval="scan")
    weights, mean = bundle.weights, bundle.weights.mean_user()
    weights.popularity[100:160] = 0
    ranker = Ranker(bundle, Searcher(weights, "scan"), candidates=60, full_scan=True)
    wanted = Wanted("nobody", 400, (0.8,))
    (ranked,) = ranker.rank(wanted)
    before = dict(zip(ids(ranked), ranked.best.scores.tolist(), strict=True))

    say(ranker, new("new-1", 1))
    catalogue = Catalogue.of(bundle, [new("new-1", 1), new("new-2", 2)], 2)
    assert catalogue.cold is not None
    catalogue.cold.gamma_i[1], catalogue.cold.e[1] = weights.gamma_i[10], weights.e[10]
    ranker.use(catalogue)
    (ranked,) = ranker.rank(wanted)

    after = dict(zip(ids(ranked), ranked.best.scores.tolist(), strict=True))
    assert {item_id: score for item_id, score in after.items() if not item_id.startswith("new")} == before
    for row, item_id in enumerate(("new-1", "new-2")):
        own = brute.scored(catalogue.cold, mean, row, 0.8)
        by_score = 1 + sum(brute.scored(weights, mean, item, 0.8) > own for item in range(300))
        by_popularity = 1 + int((weights.popularity > 0).sum())
        assert after[item_id] == pytest.approx(1 / (60 + by_score) + 1 / (60 + by_popularity), rel=0, abs=2e-12)


def test_a_batch_under_way_keeps_its_catalogue() -> None:
    """An answer is from one snapshot, from its plan to its ids."""
    ranker = make_ranker()
    say(ranker, new("new-1"))
    (ranked,) = ranker.rank(EVERYTHING._replace(k=400))

    say(ranker)

    assert "new-1" in ids(ranked)
    assert ranker.scan(ranked).rows.tolist() == ranked.best.rows.tolist()


def test_a_catalogue_of_another_bundle_is_refused() -> None:
    """Rows would mean other items."""
    with pytest.raises(BundleMismatch, match="another bundle"):
        make_ranker().use(make_ranker().catalogue)


def test_hiding_shares_what_it_does_not_change() -> None:
    """Filters evaluated and new items made ready stay so."""
    ranker = make_ranker()
    say(ranker, new("new-1"))
    before = ranker.rank(EVERYTHING)[0].plan.stock

    ranker.use(ranker.catalogue.changed([hidden("item-003")], 9))

    after = ranker.rank(EVERYTHING)[0].plan.stock
    assert (after.search, after.filters, after.cold) == (before.search, before.filters, before.cold)
    assert after.catalogue.hidden.tolist() == [3]


def test_with_nothing_new_answers_are_as_before(serve: Serve, folders: dict[Form, Path]) -> None:
    """Neither an empty set of changes nor a user without acts changes a byte."""
    client = serve()
    ranker: Ranker = client.app.state.live.ranker  # type: ignore[attr-defined] # a plain ASGI callable
    body = {"user_id": "ann", "k": 50, "explain": True}
    before = client.post("/v1/recommendations", json=body).content

    say(ranker)

    assert client.post("/v1/recommendations", json={**body, "history": [], "boost": []}).content == before
    assert read_bundle(folders["paper"]).manifest.content_id.encode() in before
