"""Exactness: what the searcher returns is the float64 ranking of the stored weights."""

from importlib import metadata

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalrec import index
from causalrec.equations import APART, Form
from causalrec.errors import BundleMismatch, InstallationError
from causalrec.index import Kind, build_index
from causalrec.search import Searcher
from causalrec.topk import best_first
from causalrec.vectors import item_vectors, query_vector
from tests.causalrec import oracle
from tests.causalrec.conftest import FORMS, INDEXED, LAMBDA2, MakeWeights

SIZE = {"users": 6, "items": 1500, "dim": 8, "width": 12}
NONE = np.empty(0, dtype=np.int64)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lambda2", LAMBDA2)
def test_an_exact_answer_is_the_ranking_of_plain_loops(make_weights: MakeWeights, form: Form, lambda2: float) -> None:
    """Ids and order equal the float64 loops', with items excluded, at every λ2."""
    weights = make_weights(form, items=400, dim=8)
    searcher = Searcher(weights, "flat" if form in INDEXED else "scan")
    excluded = np.arange(0, 60, 2)

    for user in range(3):
        found = searcher.top_k(weights.user(user), lambda2, 20, excluded, candidates=100)
        expected = oracle.ranking(weights, user, lambda2, excluded.tolist())[:20]
        assert found.exact
        assert found.rows.tolist() == expected
        assert found.scores.tolist() == pytest.approx([oracle.score(weights, user, i, lambda2) for i in expected])


@pytest.mark.parametrize("form", INDEXED)
def test_the_certificate_alone_proves_most_lists(make_weights: MakeWeights, form: Form) -> None:
    """Without the full scan most answers are certified, and every certified one is exact."""
    weights = make_weights(form, **SIZE)
    searcher = Searcher(weights)
    certified = 0

    for user in range(6):
        for lambda2 in (0.0, 0.4, 0.8):
            found = searcher.top_k(weights.user(user), lambda2, 10, NONE, candidates=300, full_scan=False)
            if found.proof == "certificate":
                certified += 1
                assert found.candidates < 1500
                assert found.rows.tolist() == searcher.scan(weights.user(user), lambda2, 10, NONE).rows.tolist()

    assert certified >= 12


def test_without_a_certificate_the_answer_says_so(make_weights: MakeWeights) -> None:
    """When every score is negative nothing can be certified: not exact without the full scan, exact with it."""
    weights = make_weights("paper", **SIZE)
    assert weights.MV_null is not None
    assert weights.M_null is not None
    weights.MV_null.fill_(0.999)
    weights.M_null.fill_(0.999)
    searcher = Searcher(weights)

    alone = searcher.top_k(weights.user(0), 3.0, 10, NONE, candidates=50, full_scan=False)
    scanned = searcher.top_k(weights.user(0), 3.0, 10, NONE, candidates=50)

    assert (alone.proof, alone.exact, scanned.proof) == ("none", False, "scan")
    assert scanned.rows.tolist() == oracle.ranking(weights, 0, 3.0, [])[:10]


@pytest.mark.parametrize("form", FORMS)
def test_the_query_is_the_plane(make_weights: MakeWeights, form: Form) -> None:
    """⟨query, item vector⟩ = w_a·a + w_b·b + w_n·n, in the layout of each form."""
    weights = make_weights(form)
    plane = (0.7, 0.2, -0.4) if form in APART else (0.7, 0.7, -0.4)

    products = item_vectors(weights) @ query_vector(weights, weights.user(1), plane)

    a, b, n = weights.terms(weights.user(1))
    np.testing.assert_allclose(products, plane[0] * a + plane[1] * b + plane[2] * n, atol=1e-5)


@pytest.mark.parametrize(("form", "kind"), [("paper", "flat"), ("sum", "scan")])
def test_excluded_items_never_come_back_and_lists_are_not_short(
    make_weights: MakeWeights, form: Form, kind: Kind
) -> None:
    """With all but 7 items excluded the list has exactly those 7; with all excluded it is empty and exact."""
    weights = make_weights(form, **SIZE)
    searcher = Searcher(weights, kind)
    all_but_seven = np.arange(7, 1500)

    few = searcher.top_k(weights.user(0), 0.5, 10, all_but_seven)
    none = searcher.top_k(weights.user(0), 0.5, 10, np.arange(1500))

    assert sorted(few.rows.tolist()) == list(range(7))
    assert (len(none.rows), none.exact) == (0, True)


@pytest.mark.parametrize(("form", "kind"), [("paper", "flat"), ("sum", "scan")])
def test_equal_scores_are_ordered_by_id(make_weights: MakeWeights, form: Form, kind: Kind) -> None:
    """Items with the same vectors tie, and rows (sorted ids) decide, in the index and in the scan."""
    weights = make_weights(form, **SIZE)
    weights.gamma_i[:] = weights.gamma_i[0]
    weights.e[:] = weights.e[0]
    searcher = Searcher(weights, kind)

    found = searcher.top_k(weights.user(0), 0.5, 10, np.array([2]), candidates=100)

    assert found.rows.tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lambda2", [0.0, 1.0, 3.0])
def test_a_scan_ranks_what_float32_cannot_tell_apart(make_weights: MakeWeights, form: Form, lambda2: float) -> None:
    """1,500 items that differ by less than float32's error: the scan gives the float64 ranking all the same."""
    weights = make_weights(form, **SIZE)
    noise = torch.rand(weights.gamma_i.shape, generator=torch.Generator().manual_seed(1))
    for part in (weights.gamma_i, weights.e, weights.e_match):
        if part is not None:
            part.copy_(part[0] * (1 + (noise - 0.5) * 4e-7))  # neighbouring float32 numbers
    for bias in (weights.beta, weights.visual_bias):
        if bias is not None:
            bias.fill_(bias[0])
    searcher = Searcher(weights, "scan")

    for user in range(3):
        found = searcher.scan(weights.user(user), lambda2, 10, np.arange(5))
        expected = searcher.rank(weights.user(user), lambda2, 10, np.arange(5, 1500))
        assert found.rows.tolist() == expected.rows.tolist()
        assert found.scores.tolist() == expected.scores.tolist()


@pytest.mark.parametrize(("form", "kind"), [("paper", "flat"), ("sum", "scan")])
def test_saturated_logits_do_not_break_the_search(make_weights: MakeWeights, form: Form, kind: Kind) -> None:
    """Logits in the hundreds, many scores equal to the last digit: finite scores, the exact list and no warning."""
    weights = make_weights(form, **SIZE)
    weights.gamma_u.mul_(200)
    weights.theta_u.mul_(200)
    searcher = Searcher(weights, kind)

    found = searcher.top_k(weights.user(0), 0.9, 10, NONE, candidates=50)

    assert np.isfinite(found.scores).all()
    assert found.rows.tolist() == searcher.rank(weights.user(0), 0.9, 10, np.arange(1500)).rows.tolist()


@pytest.mark.parametrize(("form", "kind"), [("additive", "flat"), ("sum", "scan")])
def test_k_above_the_candidates_and_above_the_catalogue(make_weights: MakeWeights, form: Form, kind: Kind) -> None:
    """k widens the search; k beyond the catalogue gives the whole catalogue."""
    weights = make_weights(form, items=40)
    searcher = Searcher(weights, kind)

    assert len(searcher.top_k(weights.user(0), 0.5, 30, NONE, candidates=1).rows) == 30
    assert len(searcher.top_k(weights.user(0), 0.5, 100, NONE).rows) == 40


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, -1.0, 3.0]), min_size=1, max_size=40), st.integers(0, 45))
def test_best_first_is_a_stable_sort(values: list[float], k: int) -> None:
    """Positions come by falling score, ties by row, whatever k."""
    rows = np.arange(100, 100 + len(values))

    order = best_first(np.array(values), rows, k)

    assert order.tolist() == sorted(range(len(values)), key=lambda i: (-values[i], i))[:k]


@pytest.mark.parametrize(
    ("form", "kind"),
    [(form, kind) for form in FORMS for kind in ("scan", "int8", "flat") if form in INDEXED or kind != "flat"],
)
def test_a_catalogue_smaller_than_one_block(make_weights: MakeWeights, form: Form, kind: Kind) -> None:
    """Three new items are searched as three thousand are."""
    weights = make_weights(form, items=3)

    found = Searcher(weights, kind).top_k(weights.user(2), 0.7, 5, np.array([1]))

    assert found.rows.tolist() == oracle.ranking(weights, 2, 0.7, [1])


@pytest.mark.parametrize(
    ("form", "kind"), [("paper", "scan"), ("paper", "int8"), ("paper", "flat"), ("paper", "sq8"), ("sum", "int8")]
)
@pytest.mark.parametrize("left", [60, 400, 800])
def test_most_items_excluded(make_weights: MakeWeights, form: Form, kind: Kind, left: int) -> None:
    """As after a filter: the best of what is left, whatever part of the catalogue that is."""
    weights = make_weights(form, **SIZE)
    kept = np.sort(np.random.default_rng(0).choice(1500, left, replace=False))
    excluded = np.setdiff1d(np.arange(1500), kept)
    searcher = Searcher(weights, kind)

    for lambda2 in (0.0, 0.8, 3.0):
        found = searcher.top_k(weights.user(0), lambda2, 20, excluded, candidates=50)
        assert found.rows.tolist() == searcher.rank(weights.user(0), lambda2, 20, kept).rows.tolist()
        assert found.exact


@pytest.mark.parametrize("kind", ["scan", "int8", "flat"])
def test_excluded_rows_may_come_in_any_order(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    """Many or few of them."""
    monkeypatch.setattr("causalrec.kernels.questions.LONG", 100)
    weights = make_weights("paper", **SIZE)
    shuffled = np.random.default_rng(0).permutation(1500)[:700]
    searcher = Searcher(weights, kind)

    found = searcher.top_k(weights.user(0), 0.4, 20, shuffled)

    assert found.rows.tolist() == searcher.top_k(weights.user(0), 0.4, 20, np.sort(shuffled)).rows.tolist()
    assert not set(found.rows) & set(shuffled)


def test_the_same_model_gives_the_same_index(make_weights: MakeWeights) -> None:
    """Index bytes are reproducible, and a stored index answers like a fresh one."""
    weights = make_weights("paper", **SIZE)
    stored = build_index(weights)

    answers = [Searcher(weights, data=data).top_k(weights.user(1), 0.4, 10, NONE) for data in (stored, None)]

    assert np.array_equal(stored, build_index(weights))
    assert answers[0].rows.tolist() == answers[1].rows.tolist()


def test_an_index_of_other_items_is_refused(make_weights: MakeWeights) -> None:
    """The message says both sizes and the way out."""
    stored = build_index(make_weights("paper", items=30))

    with pytest.raises(BundleMismatch, match=r"index.faiss holds 30 vectors .* 40 .* export"):
        Searcher(make_weights("paper", items=40), data=stored)


def test_two_faiss_flavours_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """faiss-cpu and faiss-gpu in one environment stop the start with the way out."""
    monkeypatch.setattr(metadata, "version", lambda _: "1.0")

    with pytest.raises(InstallationError, match=r"faiss-cpu 1.0 and .* uninstall"):
        index.check_flavour()


def test_no_faiss_is_said_with_the_way_out(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without either extra gets an instruction instead of an import error."""
    monkeypatch.setattr(index, "faiss", None)

    with pytest.raises(InstallationError, match=r"faiss is not installed; install causalrec\[cpu\]"):
        Searcher(make_weights("paper"))


def test_unknown_users_are_the_mean_user(make_weights: MakeWeights) -> None:
    """The mean user's no-treatment term comes from the mean vectors, not from the mean of the terms."""
    weights = make_weights("paper")
    gamma = weights.gamma_u.double().mean(0)
    match, visual = float(gamma @ weights.null_gamma.double()), float(gamma @ weights.null_gamma_e.double())

    user = weights.mean_user()

    assert torch.equal(user.gamma, gamma)
    assert float(user.null) == pytest.approx(oracle.sigmoid(match) * oracle.sigmoid(visual))
