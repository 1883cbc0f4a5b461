"""Users from histories: the closed form is the minimum, nothing but the history moves it, and it stays finite."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from causalrec import foldin
from causalrec.equations import Form
from causalrec.errors import ShapeError
from causalrec.foldin import FoldIn, recency
from causalrec.weights import UserVectors, Weights
from tests.causalrec.conftest import FORMS, MakeWeights
from tests.causalrec.oracle import sigmoid

ROWS = np.array([31, 4, 17, 8], dtype=np.int64)
STRENGTHS = np.array([1.0, 0.5, 2.0, 0.25])
Loss = Callable[[list[float]], float]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    found: Form = request.param
    return found


def _loss(weights: Weights, branch: str, start: list[float], prior: float) -> Loss:
    """The loss of FoldIn's docstring in plain loops; ln E exp of a normal variable: its mean and half its variance."""
    items, d = range(len(weights.gamma_i)), range(len(start))
    e, gamma = weights.e.tolist(), weights.gamma_i.tolist()
    e_match = e if weights.e_match is None else weights.e_match.tolist()
    biases = weights.beta if branch == "match" else weights.visual_bias
    bias = [0.0 for _ in items] if biases is None else biases.tolist()
    x = [[gamma[i][c] * (1 + e_match[i][c]) if branch == "match" else e[i][c] for c in d] for i in items]
    trained = [i for i in items if weights.popularity[i] > 0]
    users = (weights.gamma_u if branch == "match" else weights.theta_u).tolist()
    mean = [sum(user[c] for user in users) / len(users) for c in d]
    spread = [[sum((u[a] - mean[a]) * (u[b] - mean[b]) for u in users) / len(users) for b in d] for a in d]
    floor = foldin.FLOOR * sum(spread[c][c] for c in d) / len(start)
    precision = np.linalg.inv(np.array(spread) + floor * np.eye(len(start))).tolist()

    def logit(vector: list[float], item: int) -> float:
        return float(bias[item]) + float(sum(vector[c] * x[item][c] for c in d))

    def loss(vector: list[float]) -> float:
        logits = [logit(vector, item) for item in trained]
        level = sum(logits) / len(trained)
        catalogue = level + sum((value - level) ** 2 for value in logits) / len(trained) / 2
        shown = sum(s * (catalogue - logit(vector, int(h))) for h, s in zip(ROWS, STRENGTHS, strict=True))
        moved = [vector[c] - start[c] for c in d]
        return float(shown + prior / 2 * sum(moved[a] * precision[a][b] * moved[b] for a in d for b in d))

    return loss


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("prior", [0.3, 1.0])
def test_the_vectors_minimise_the_loss(make_weights: MakeWeights, form: Form, known: bool, prior: float) -> None:
    """γᵤ and θᵤ are what a brute-force optimiser finds for the documented loss, from a stored or the mean user."""
    weights = make_weights(form, users=12)
    start = weights.user(3) if known else None
    begun = start or weights.mean_user()

    user = FoldIn(weights, prior=prior).user(ROWS, STRENGTHS, start)

    for branch, found, before in (("match", user.gamma, begun.gamma), ("notice", user.theta, begun.theta)):
        loss = _loss(weights, branch, before.tolist(), prior)
        best = minimize(loss, before.double().numpy(), method="BFGS", options={"gtol": 1e-7})
        assert found.tolist() == pytest.approx(best.x.tolist(), abs=1e-5)


def test_the_gradient_vanishes_there(make_weights: MakeWeights, form: Form) -> None:
    """A step to either side in any direction costs, by central differences of the loss in plain loops."""
    weights = make_weights(form, users=12)
    start = weights.user(5)

    user = FoldIn(weights).user(ROWS, STRENGTHS, start)

    for branch, found, before in (("match", user.gamma, start.gamma), ("notice", user.theta, start.theta)):
        loss, at = _loss(weights, branch, before.tolist(), foldin.PRIOR), found.numpy()
        for step in np.eye(len(at)) * 1e-4:
            slope = (loss((at + step).tolist()) - loss((at - step).tolist())) / 2e-4
            assert slope == pytest.approx(0, abs=1e-7)


def test_the_no_treatment_term_is_that_of_the_new_vectors(make_weights: MakeWeights, form: Form) -> None:
    """c_u or m* is computed anew from γᵤ; the additive form has none."""
    weights = make_weights(form)
    user = FoldIn(weights).user(ROWS, STRENGTHS, weights.user(0))

    match = float(user.gamma @ weights.null_gamma.double() + weights.null_beta.double())
    visual = float(user.gamma @ weights.null_gamma_e.double())

    expected = {"paper": sigmoid(match) * sigmoid(visual), "authors": match + visual, "additive": 0.0}[form]
    assert float(user.null) == pytest.approx(expected, abs=1e-12)
    if form != "additive":
        assert float(user.null) != pytest.approx(float(weights.user(0).null), abs=1e-3)


def test_without_a_history_nothing_moves(make_weights: MakeWeights, form: Form) -> None:
    """A known user keeps the stored vectors, somebody unknown is the mean user."""
    weights = make_weights(form)
    fold, nothing = FoldIn(weights), np.empty(0, dtype=np.int64)

    known = fold.user(nothing, np.empty(0), weights.user(2))
    unknown = fold.user(nothing, np.empty(0))

    assert all(torch.equal(mine, stored) for mine, stored in zip(known, weights.user(2), strict=True))
    assert all(torch.equal(mine, mean) for mine, mean in zip(unknown, weights.mean_user(), strict=True))


def test_the_order_of_the_history_does_not_matter(make_weights: MakeWeights, form: Form) -> None:
    """Every order of the same events gives the same bits: an answer is a function of the state, not of its layout."""
    fold = FoldIn(make_weights(form, items=400))
    rng = np.random.default_rng(0)
    rows, strengths = rng.choice(400, 50, replace=False).astype(np.int64), rng.random(50) + 0.1
    first = fold.user(rows, strengths)

    for _ in range(10):
        order = rng.permutation(50)
        _same(fold.user(rows[order], strengths[order]), first)


def test_calls_do_not_affect_each_other(make_weights: MakeWeights, form: Form) -> None:
    """A thousand calls later the same question has the same answer, also from another object of the same bundle."""
    weights = make_weights(form)
    fold, rng = FoldIn(weights), np.random.default_rng(1)
    first = fold.user(ROWS, STRENGTHS, weights.user(1))

    for _ in range(1000):
        fold.user(
            rng.choice(40, 3, replace=False).astype(np.int64), rng.random(3) + 0.1, weights.user(int(rng.integers(7)))
        )

    _same(fold.user(ROWS, STRENGTHS, weights.user(1)), first)
    _same(FoldIn(weights).user(ROWS, STRENGTHS, weights.user(1)), first)


def test_the_history_gains_on_the_catalogue(make_weights: MakeWeights, form: Form) -> None:
    """Whatever was chosen, its match and its notice rise against the average item's."""
    weights = make_weights(form, items=200)
    trained = np.flatnonzero(weights.popularity.numpy() > 0)
    rows = np.random.default_rng(2).choice(trained, 6, replace=False).astype(np.int64)
    before, after = weights.mean_user(), FoldIn(weights).user(rows, np.ones(6))

    lead = {}
    for name, user in (("before", before), ("after", after)):
        terms = weights.terms(user)
        match, notice = (terms.a + terms.b).numpy(), terms.n.numpy()
        lead[name] = [float(logit[rows].mean() - logit[trained].mean()) for logit in (match, notice)]

    assert lead["after"][0] > lead["before"][0]
    assert lead["after"][1] > lead["before"][1]


def test_strengths_stand_against_the_prior(make_weights: MakeWeights, form: Form) -> None:
    """Events twice as strong under a prior twice as strong change nothing; without strength a history says nothing."""
    weights = make_weights(form)

    once = FoldIn(weights, prior=0.7).user(ROWS, STRENGTHS, weights.user(4))
    twice = FoldIn(weights, prior=1.4).user(ROWS, 2 * STRENGTHS, weights.user(4))
    faint = FoldIn(weights).user(ROWS, 1e-12 * STRENGTHS, weights.user(4))

    torch.testing.assert_close(once.gamma, twice.gamma, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(once.theta, twice.theta, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(faint.gamma, weights.user(4).gamma.double(), rtol=0, atol=1e-9)


def test_untrained_items_are_no_part_of_the_catalogue(make_weights: MakeWeights, form: Form) -> None:
    """What an item that nobody chose happens to hold moves no user, not even one who has turned to it."""
    weights = make_weights(form)
    untrained = weights.popularity == 0
    wild = replace(weights, gamma_i=torch.where(untrained[:, None], 50.0, weights.gamma_i))

    expected = FoldIn(weights).user(ROWS, STRENGTHS)
    _same(FoldIn(wild).user(ROWS, STRENGTHS), expected)
    _same(FoldIn(wild).user(np.append(ROWS, [11, 22]), np.append(STRENGTHS, [1.0, 1.0])), expected)
    _same(FoldIn(wild).user(np.array([11, 22]), np.ones(2)), weights.mean_user())


def test_a_large_catalogue_is_sampled_evenly(
    make_weights: MakeWeights, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond SAMPLE, every other item (or third ...) and user stands for all."""
    weights = make_weights(form, users=60, items=60)
    weights.popularity.fill_(1)
    every_other = torch.arange(0, 60, 2).repeat_interleave(2)
    halved = replace(
        weights,
        popularity=torch.tensor([1.0, 0.0] * 30),
        gamma_u=weights.gamma_u[every_other],
        theta_u=weights.theta_u[every_other],
    )
    even = ROWS - ROWS % 2
    expected = FoldIn(halved).user(even, STRENGTHS, weights.user(1))

    monkeypatch.setattr(foldin, "SAMPLE", 30)
    sampled = FoldIn(weights).user(even, STRENGTHS, weights.user(1))

    torch.testing.assert_close(sampled.gamma, expected.gamma, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sampled.theta, expected.theta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("strength", [1e-300, 1e-9, 1e9, 1e300])
def test_any_strength_gives_finite_vectors(make_weights: MakeWeights, form: Form, strength: float) -> None:
    """However little or much an event counts."""
    user = FoldIn(make_weights(form)).user(ROWS[:1], np.array([strength]))

    assert all(bool(part.isfinite().all()) for part in user)


def test_a_catalogue_without_differences_says_nothing(make_weights: MakeWeights, form: Form) -> None:
    """All items the same, or one: the user stays. No difference between users, or nothing trained: still finite."""
    weights = make_weights(form)
    alike = replace(weights, **{name: part[:1].expand_as(part).clone() for name, part in _of_items(weights)})
    single = replace(weights, popularity=torch.tensor([4.0]), **{name: part[:1] for name, part in _of_items(weights)})
    twins = replace(weights, gamma_u=weights.gamma_u[:1].expand(7, -1), theta_u=weights.theta_u[:1].expand(7, -1))

    for catalogue, row in ((alike, 9), (single, 0)):
        user = FoldIn(catalogue).user(np.array([row]), np.array([1e300]), weights.user(3))
        torch.testing.assert_close(user.gamma, weights.user(3).gamma.double(), rtol=0, atol=1e-6)
    for catalogue in (twins, replace(weights, popularity=torch.zeros(40))):
        assert all(bool(part.isfinite().all()) for part in FoldIn(catalogue).user(ROWS, STRENGTHS))


@pytest.mark.parametrize("strengths", [[1.0], [1.0, 0.0, 1.0, 1.0], [1.0, -1.0, 1.0, 1.0], [np.nan] * 4, [np.inf] * 4])
def test_strengths_are_numbers_above_zero_one_per_row(make_weights: MakeWeights, strengths: list[float]) -> None:
    """Anything else is refused by name."""
    fold = FoldIn(make_weights("paper"))

    with pytest.raises(ShapeError, match="fold-in: "):
        fold.user(ROWS, np.array(strengths))


def test_recency_halves() -> None:
    """The newest event counts 1, the one `half_life` events before it one half, and never 0."""
    strengths = recency(31, half_life=10)

    assert strengths[[0, 10, 20, 30]].tolist() == [1.0, 0.5, 0.25, 0.125]
    assert (np.diff(strengths) < 0).all()
    assert recency(0).shape == (0,)
    assert recency(3, half_life=np.inf).tolist() == [1.0, 1.0, 1.0]


def _same(one: UserVectors, other: UserVectors) -> None:
    assert all(torch.equal(mine, its) for mine, its in zip(one, other, strict=True))


def _of_items(weights: Weights) -> list[tuple[str, Any]]:
    names = {"gamma_i", "e", "e_match", "beta", "visual_bias"}
    return [(name, part) for name, part in weights.tensors().items() if name in names]
