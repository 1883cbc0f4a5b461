"""Models whose score is an inner product, by every way to search: biases, no match, no picture, one user vector."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch

from causalrec.index import Kind, build_index
from causalrec.joint import Joint, places
from causalrec.kernels.device import DeviceScan
from causalrec.path import middles
from causalrec.search import Searcher
from causalrec.topk import Query, Rows
from causalrec.weights import Weights
from tests.causalrec import oracle
from tests.causalrec.conftest import LAMBDA2
from tests.causalrec.test_joint import part
from training.models.model import inner_product_weights

USERS, ITEMS, DIM, K = 3, 300, 6, 12
EXCLUDED: Rows = np.arange(0, 60, 4)
SHAPES = ("bpr", "vbpr", "amr", "deepstyle", "dvbpr")
PROVED: tuple[Kind, ...] = ("scan", "int8", "flat", "sq8")
UNPROVED: tuple[Kind, ...] = ("pq", "ivf")


@cache
def shaped(name: str) -> Weights:
    """Weights as the model of that name exports them, every fifth item the twin of the one before it."""
    generator = torch.Generator().manual_seed(SHAPES.index(name))
    draw: Callable[..., torch.Tensor] = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    parts = {
        "gamma_u": draw(USERS, DIM),
        "theta_u": draw(USERS, DIM),
        "gamma_i": draw(ITEMS, DIM),
        "e": draw(ITEMS, DIM),
    }
    if name == "bpr":
        parts |= {"theta_u": torch.zeros(USERS, DIM), "e": torch.zeros(ITEMS, DIM), "beta": draw(ITEMS)}
    elif name == "vbpr":
        parts |= {"beta": draw(ITEMS), "visual_bias": draw(ITEMS)}
    elif name == "dvbpr":
        parts |= {"gamma_u": torch.zeros(USERS, DIM), "gamma_i": torch.zeros(ITEMS, DIM)}
    else:
        parts["theta_u"] = parts["gamma_u"]
        if name == "deepstyle":
            parts["e"] = parts["e"] - draw(4, DIM)[torch.arange(ITEMS) % 4]
    for each in ("gamma_i", "e", "beta", "visual_bias"):
        if each in parts:
            parts[each][1::5] = parts[each][0::5]
    return inner_product_weights(torch.ones(ITEMS), parts)


@cache
def ranking(name: str, user: int, lambda2: float) -> list[int]:
    """The oracle's whole list outside EXCLUDED."""
    return oracle.ranking(shaped(name), user, lambda2, EXCLUDED.tolist())


def asked(name: str, lambda2: tuple[float, ...] = LAMBDA2, **options: object) -> list[Query]:
    return [Query(shaped(name).user(user), lambda2, K, EXCLUDED, **options) for user in range(USERS)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("kind", "kernel"), [*((kind, "auto") for kind in PROVED), ("scan", "numba")])
def test_answers_are_the_ranking_of_plain_loops(name: str, kind: Kind, kernel: str) -> None:
    """Ids, order and scores at every λ2, ties by id, whichever kind proves them."""
    weights = shaped(name)

    found = Searcher(weights, kind, kernel=kernel).batch(asked(name, candidates=100))  # type: ignore[arg-type]

    for user, lists in enumerate(found):
        for lambda2, best in zip(LAMBDA2, lists, strict=True):
            assert best.exact
            assert best.rows.tolist() == ranking(name, user, lambda2)[:K]
            expected = [oracle.score(weights, user, row, lambda2) for row in best.rows]
            assert best.scores.tolist() == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("name", SHAPES)
def test_a_device_leaves_what_is_best(name: str) -> None:
    """Half precision, blocks of 32: the survivors hold the list and nothing excluded."""
    scan = DeviceScan("additive", shaped(name).items, "cpu", "torch", 32)

    for user, lists in enumerate(scan.survivors(asked(name))):
        for lambda2, rows in zip(LAMBDA2, lists, strict=True):
            assert set(ranking(name, user, lambda2)[:K]) <= set(rows.tolist())
            assert not set(EXCLUDED) & set(rows)


@pytest.mark.parametrize("name", ["vbpr", "amr", "deepstyle"])
@pytest.mark.parametrize("kind", ["flat", "sq8"])
def test_one_index_answers_every_lambda2(name: str, kind: Kind) -> None:
    """
    [γᵤ; 1; (1−λ2)·θᵤ; (1−λ2)] over [γᵢ; βᵢ; eᵢ; vᵢ]: one file of bytes, which no search changes, proves every list for
    λ2 from 0 to 3 by its certificate alone.
    """
    stored = build_index(shaped(name), kind)
    before = stored.tobytes()
    lambda2 = (*np.linspace(0, 3, 13).tolist(), 0.999999, 1.000001, 1 / 3)

    found = Searcher(shaped(name), kind, stored).batch(asked(name, lambda2, candidates=150, full_scan=False))

    for user, lists in enumerate(found):
        assert {best.proof for best in lists} == {"certificate"}
        assert [best.rows.tolist() for best in lists] == [ranking(name, user, at)[:K] for at in lambda2]
    assert stored.tobytes() == before == build_index(shaped(name), kind).tobytes()


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", UNPROVED)
def test_kinds_that_prove_nothing_find_most_and_say_so(name: str, kind: Kind) -> None:
    """Also where half of the dimensions are zeros: k items, none excluded, most of them right, nothing claimed."""
    shares = []

    found = Searcher(shaped(name), kind).batch(asked(name, (0.0, 0.4, 2.0), candidates=150, full_scan=False))

    for user, lists in enumerate(found):
        for lambda2, best in zip((0.0, 0.4, 2.0), lists, strict=True):
            assert (best.proof, len(set(best.rows.tolist()))) == ("none", K)
            assert not set(EXCLUDED) & set(best.rows)
            shares.append(len(set(best.rows) & set(ranking(name, user, lambda2)[:K])) / K)
    assert np.mean(shares) > 0.7


@pytest.mark.parametrize("kind", [*PROVED, *UNPROVED])
def test_without_a_match_all_items_tie_at_one(kind: Kind) -> None:
    """DVBPR at λ2 = 1: every score is 0, so that exact lists are in the order of ids, and others say what they are."""
    searcher = Searcher(shaped("dvbpr"), kind)

    for query in asked("dvbpr", (1.0,), candidates=100):
        ((best,),) = searcher.batch([query])
        assert best.exact == (kind in PROVED)
        assert not np.any(best.scores)
        assert len(set(best.rows.tolist()) - set(EXCLUDED.tolist())) == K
        assert not best.exact or best.rows.tolist() == np.setdiff1d(np.arange(ITEMS), EXCLUDED)[:K].tolist()


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("kind", [*PROVED, *UNPROVED])
def test_short_and_empty_lists(name: str, kind: Kind) -> None:
    """All excluded: nothing; k beyond what is left: all of that, in order."""
    user, searcher = shaped(name).user(1), Searcher(shaped(name), kind)

    nothing = searcher.top_k(user, 1.2, 5, np.arange(ITEMS))
    rest = searcher.top_k(user, 1.2, 400, EXCLUDED)

    assert (len(nothing.rows), nothing.exact) == (0, True)
    assert rest.rows.tolist() == ranking(name, 1, 1.2)


@pytest.mark.parametrize("name", SHAPES)
def test_a_path_and_a_joint_agree_with_the_ranking(name: str) -> None:
    """In the middle of every piece, over one catalogue and over the same items in two; twins stand on both sides."""
    weights, later = shaped(name), np.arange(ITEMS) % 5 == 1
    own = np.concatenate([np.flatnonzero(~later), np.flatnonzero(later)])
    order = places(np.searchsorted(np.flatnonzero(~later), np.flatnonzero(later)), int((~later).sum()))
    first, second = (Searcher(part(weights, np.flatnonzero(rows)), "flat") for rows in (~later, later))
    joint = Joint(first, second, order)
    inside = np.sort(np.flatnonzero(np.isin(own, EXCLUDED)))

    path = Searcher(weights, "flat").path(weights.user(2), 3.0, K, EXCLUDED)
    both = joint.path(weights.user(2), 3.0, K, inside)

    assert [own[piece.rows].tolist() for piece in both.pieces] == [piece.rows.tolist() for piece in path.pieces]
    assert len(path.pieces) == {"bpr": 1, "dvbpr": 2}.get(name, len(path.pieces))
    for at in middles(3.0).tolist():
        (piece,) = (piece for piece in path.pieces if piece.start < at < piece.end)
        assert piece.rows.tolist() == ranking(name, 2, at)[:K]
