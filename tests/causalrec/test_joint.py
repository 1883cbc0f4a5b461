"""Two catalogues searched as one are one: lists, scores and paths, ties by id across both."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from causalrec.equations import Form
from causalrec.index import Kind
from causalrec.joint import Joint, places, weakest
from causalrec.search import Searcher
from causalrec.topk import Query, Rows
from causalrec.weights import Weights
from tests.causalrec.conftest import FORMS, INDEXED, MakeWeights

ITEMS = ("gamma_i", "e", "e_match", "beta", "visual_bias", "popularity")


def part(weights: Weights, rows: Rows) -> Weights:
    """The weights with some of the items."""
    return replace(weights, **{name: t[rows] for name, t in weights.tensors().items() if name in ITEMS})  # type: ignore[arg-type]


def with_twins(weights: Weights) -> None:
    """Makes every third item equal to the one before it."""
    for name in ITEMS[:-1]:
        if (values := getattr(weights, name)) is not None:
            values[1::3] = values[0:-1:3][: len(values[1::3])]


def split(weights: Weights, later: NDArray[np.bool_]) -> tuple[Joint, Rows]:
    """The joint of the items outside `later` and those in it, and the row in `weights` of each of its rows."""
    first, second = np.flatnonzero(~later), np.flatnonzero(later)
    order = places(np.searchsorted(first, second), len(first))
    own = np.concatenate([first, second])
    assert np.array_equal(np.argsort(own), np.argsort(order))
    kind: Kind = "flat" if weights.form in INDEXED else "scan"
    return Joint(Searcher(part(weights, first), kind), Searcher(part(weights, second), "scan"), order), own


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_a_joint_is_the_searcher_of_all(make_weights: MakeWeights, form: Form, share: float) -> None:
    """Equal items on both sides stand in the order of ids, whichever side they are on; excluded ones on neither."""
    weights = make_weights(form, items=500, dim=8)
    with_twins(weights)
    joint, own = split(weights, np.random.default_rng(0).random(500) < share)
    one = Searcher(weights, "scan")
    banned = np.arange(0, 90, 4)
    excluded = np.sort(np.flatnonzero(np.isin(own, banned)))

    for user in range(3):
        for k in (1, 20, 600):
            query = Query(weights.user(user), (0.0, 0.8, 2.0), k, banned, 60)
            (expected,) = one.batch([query])
            for found in (joint.batch, joint.scans):
                (lists,) = found([replace(query, excluded=excluded)])
                assert [own[best.rows].tolist() for best in lists] == [best.rows.tolist() for best in expected]
                assert [best.scores.tolist() for best in lists] == [best.scores.tolist() for best in expected]


@pytest.mark.parametrize("form", FORMS)
def test_scores_and_terms_come_in_the_order_asked_for(make_weights: MakeWeights, form: Form) -> None:
    """Rows of both sides may be mixed."""
    weights = make_weights(form, items=60)
    joint, own = split(weights, np.arange(60) % 7 == 3)
    rows = np.random.default_rng(1).permutation(60)
    one, user = Searcher(weights, "scan"), weights.user(2)

    assert joint.scores(user, (0.0, 1.1), rows).tolist() == one.scores(user, (0.0, 1.1), own[rows]).tolist()
    for found, expected in zip(joint.terms(user, rows), one.terms(user, own[rows]), strict=True):
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("form", FORMS)
def test_a_path_runs_through_both(make_weights: MakeWeights, form: Form) -> None:
    """The same pieces with the same ends as over one catalogue, equal items in the order of ids."""
    weights = make_weights(form, items=300, dim=8)
    with_twins(weights)
    joint, own = split(weights, np.random.default_rng(2).random(300) < 0.4)
    banned = np.arange(0, 60, 3)

    found = joint.path(weights.user(1), 3.0, 8, np.sort(np.flatnonzero(np.isin(own, banned))))
    expected = Searcher(weights, "scan").path(weights.user(1), 3.0, 8, banned)

    assert len(expected.pieces) > 3
    assert [(p.start, p.end, own[p.rows].tolist()) for p in found.pieces] == [
        (p.start, p.end, p.rows.tolist()) for p in expected.pieces
    ]


def test_a_list_is_as_sure_as_its_parts() -> None:
    """One part that proves nothing leaves nothing proved."""
    assert weakest(["scan", "none", "certificate"]) == "none"
    assert weakest(["scan", "certificate"]) == "certificate"
    assert weakest(["scan", "scan"]) == weakest([]) == "scan"
