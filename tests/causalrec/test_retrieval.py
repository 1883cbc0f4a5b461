"""Retrieval by an index: certified lists are the float64 ranking, whatever the model looks like."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalrec import retrieval
from causalrec.equations import Form
from causalrec.index import FAISS_KINDS, Index, Kind
from causalrec.retrieval import Retriever
from causalrec.topk import Rows, TopK, best_first
from causalrec.weights import Weights
from tests.causalrec.conftest import INDEXED, LAMBDA2, MakeWeights, _weights
from tests.causalrec.exact import exact_scores

SIZE = {"users": 6, "items": 1500, "dim": 8, "width": 12}
Change = Callable[[Weights], None]
NONE = np.empty(0, dtype=np.int64)


def _ranking(weights: Weights, user: int, lambda2: float, k: int, excluded: Rows) -> list[int]:
    rows = np.setdiff1d(np.arange(len(weights.gamma_i)), excluded)
    scores = exact_scores(weights, weights.user(user), lambda2, rows)
    return [int(row) for row in rows[best_first(scores, rows, k)]]


def _as_drawn(_: Weights) -> None:
    """Random vectors."""


def _ties(weights: Weights) -> None:
    """Five different items, each three hundred times."""
    for part in (weights.gamma_i, weights.e, weights.e_match, weights.beta, weights.visual_bias):
        if part is not None:
            part.copy_(part[torch.arange(len(part)) % 5])


def _saturated(weights: Weights) -> None:
    """Logits in the hundreds."""
    weights.gamma_u.mul_(100)
    weights.theta_u.mul_(100)


def _strongly_removed(weights: Weights) -> None:
    """λ2·c_u above nearly every match."""
    for part in (weights.M_null, weights.MV_null):
        if part is not None:
            part.fill_(0.95)
    if weights.m_null is not None:
        weights.m_null.fill_(8.0)


MODELS = (_as_drawn, _ties, _saturated, _strongly_removed)


@settings(max_examples=120, deadline=None)
@given(
    form=st.sampled_from(INDEXED),
    kind=st.sampled_from(["flat", "sq8"]),
    change=st.sampled_from(MODELS),
    seed=st.integers(0, 20),
    lambda2=st.sampled_from(LAMBDA2),
    k=st.sampled_from([1, 10, 60]),
    excluded=st.sampled_from([0, 30, 1100]),
)
def test_a_certified_list_is_the_float64_ranking(
    form: Form, kind: Kind, change: Change, seed: int, lambda2: float, k: int, excluded: int
) -> None:
    """Ids and order, over random and adversarial models; excluded items never come back, lists are never short."""
    weights = _weights(form, users=6, items=1500, dim=8, width=12, seed=seed)
    change(weights)
    without = np.random.default_rng(seed).permutation(1500)[:excluded]

    found = Retriever(weights, Index(weights, kind)).top_k(weights.user(0), lambda2, k, without, 200)

    assert len(set(found.rows.tolist())) == k
    assert not set(found.rows.tolist()) & set(without.tolist())
    if found.exact:
        assert found.rows.tolist() == _ranking(weights, 0, lambda2, k, without)


@pytest.mark.parametrize("form", INDEXED)
@pytest.mark.parametrize("kind", ["flat", "sq8"])
def test_most_lists_are_certified(make_weights: MakeWeights, form: Form, kind: Kind) -> None:
    """The test above is no empty one: where scores are positive, proofs are the rule."""
    weights = make_weights(form, **SIZE)
    retriever = Retriever(weights, Index(weights, kind))

    proofs = [
        retriever.top_k(weights.user(user), lambda2, 10, NONE, 300).proof
        for user in range(6)
        for lambda2 in (0, 0.4, 0.8)
    ]

    assert proofs.count("certificate") >= 12


@pytest.mark.parametrize("kind", ["pq", "ivf"])
@pytest.mark.parametrize("change", MODELS)
@pytest.mark.parametrize("form", INDEXED)
def test_approximate_kinds_never_claim_to_be_exact(
    make_weights: MakeWeights, kind: Kind, change: Change, form: Form
) -> None:
    """Whatever they find: k items, none excluded, proof "none"; also when every item was a candidate."""
    weights = make_weights(form, **SIZE)
    change(weights)
    retriever = Retriever(weights, Index(weights, kind))

    for lambda2 in (0.0, 1.0, 3.0):
        for candidates, without in ((200, np.arange(40)), (1500, NONE)):
            found = retriever.top_k(weights.user(2), lambda2, 50, without, candidates)
            assert (found.proof, found.exact, len(found.rows)) == ("none", False, 50)
            assert not set(found.rows.tolist()) & set(without.tolist())


@pytest.mark.parametrize("lambda2", [0.0, 0.8, 2.0])
@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_most_of_the_true_list_is_found(make_weights: MakeWeights, kind: Kind, lambda2: float) -> None:
    """Recall@50 with 500 candidates of 6,000, by the λ2-aware query."""
    weights = make_weights("paper", users=10, items=6000, dim=8)
    retriever = Retriever(weights, Index(weights, kind))

    shares = []
    for user in range(10):
        found: TopK = retriever.top_k(weights.user(user), lambda2, 50, NONE, 500)
        shares.append(len(set(found.rows.tolist()) & set(_ranking(weights, user, lambda2, 50, NONE))) / 50)

    assert np.mean(shares) >= (0.7 if kind == "ivf" else 0.9)


def test_a_search_that_proves_nothing_is_widened(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a first search of only k items the second, of the whole budget, brings the proof; without budget none."""
    weights = make_weights("paper", **SIZE)
    monkeypatch.setattr(retrieval, "NARROWEST", 1)
    monkeypatch.setattr(retrieval, "FIRST_WIDTH", 1)
    retriever = Retriever(weights, Index(weights))

    widened = retriever.top_k(weights.user(0), 0.4, 10, NONE, 300)
    narrow = retriever.top_k(weights.user(0), 0.4, 10, NONE, 10)

    assert (widened.proof, narrow.proof) == ("certificate", "none")
    assert narrow.candidates <= 30 < widened.candidates
    assert len(narrow.rows) == 10


@pytest.mark.parametrize("form", INDEXED)
def test_no_positive_score_gives_no_proof_and_no_failure(make_weights: MakeWeights, form: Form) -> None:
    """Where log y is undefined the gradient of y leads the search; the answer says that it is not proved."""
    weights = make_weights(form, **SIZE)
    _strongly_removed(weights)

    found = Retriever(weights, Index(weights)).top_k(weights.user(0), 3.0, 10, NONE, 200)

    assert len(found.rows) == 10
    assert form == "additive" or (found.scores[-1] <= 0 and not found.exact)


def test_a_sample_that_is_excluded_whole_still_gives_an_answer(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guess is a guess: with none of its items eligible the list is right or says that it is not proved."""
    monkeypatch.setattr(retrieval, "SAMPLE", 64)
    weights = make_weights("authors", **SIZE)
    retriever = Retriever(weights, Index(weights))

    found = retriever.top_k(weights.user(0), 0.4, 10, retriever._sample, 300)

    assert not set(found.rows.tolist()) & set(retriever._sample.tolist())
    assert not found.exact or found.rows.tolist() == _ranking(weights, 0, 0.4, 10, retriever._sample)
