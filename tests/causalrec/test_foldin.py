"""Users from histories: the closed form is the minimum, nothing but the history moves it, and it stays finite."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from causalrec import foldin
from causalrec.errors import ShapeError
from causalrec.foldin import FoldIn, recency
from causalrec.model import Folded, ModelConfig, Name
from causalrec.weights import UserVectors, Weights
from tests.causalrec.conftest import FORMS, MakeWeights
from tests.causalrec.folding import ROWS, STRENGTHS, World, history_loss
from tests.causalrec.oracle import sigmoid


@pytest.fixture(params=[*((form, "branches") for form in FORMS), ("additive", "whole"), ("additive", "shared")])
def world(request: pytest.FixtureRequest, make_weights: MakeWeights) -> World:
    return World(make_weights, *request.param)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("prior", [0.3, 1.0])
def test_the_vectors_minimise_thehistory_loss(world: World, known: bool, prior: float) -> None:
    """γᵤ and θᵤ are what a brute-force optimiser finds for the documented loss, from a stored or the mean user."""
    weights = world.weights(users=12)
    start = weights.user(3) if known else None
    begun = start or weights.mean_user()

    user = world.fold(weights, prior).user(ROWS, STRENGTHS, start)

    for part, before in world.parts(begun).items():
        best = minimize(history_loss(weights, part, before, prior), before, method="BFGS", options={"gtol": 1e-7})
        assert world.parts(user)[part] == pytest.approx(best.x.tolist(), abs=1e-5)


def test_the_gradient_vanishes_there(world: World) -> None:
    """A step to either side in any direction costs, by central differences of the loss in plain loops."""
    weights = world.weights(users=12)
    start = weights.user(5)

    user = world.fold(weights).user(ROWS, STRENGTHS, start)

    for part, before in world.parts(start).items():
        loss, at = history_loss(weights, part, before, foldin.PRIOR), np.array(world.parts(user)[part])
        for step in np.eye(len(at)) * 1e-4:
            slope = (loss((at + step).tolist()) - loss((at - step).tolist())) / 2e-4
            assert slope == pytest.approx(0, abs=1e-7)


def test_the_no_treatment_term_is_that_of_the_new_vectors(world: World) -> None:
    """c_u or m* is computed anew from γᵤ; the other forms have none."""
    weights = world.weights()
    user = world.fold(weights).user(ROWS, STRENGTHS, weights.user(0))

    match = float(user.gamma @ weights.null_gamma.double() + weights.null_beta.double())
    visual = float(user.gamma @ weights.null_gamma_e.double())

    expected = {"paper": sigmoid(match) * sigmoid(visual), "authors": match + visual}.get(world.form, 0.0)
    assert float(user.null) == pytest.approx(expected, abs=1e-12)
    if world.form in ("paper", "authors"):
        assert float(user.null) != pytest.approx(float(weights.user(0).null), abs=1e-3)


def test_without_a_history_nothing_moves(world: World) -> None:
    """A known user keeps the stored vectors, somebody unknown is the mean user."""
    weights = world.weights()
    fold, nothing = world.fold(weights), np.empty(0, dtype=np.int64)

    known = fold.user(nothing, np.empty(0), weights.user(2))
    unknown = fold.user(nothing, np.empty(0))

    assert all(torch.equal(mine, stored) for mine, stored in zip(known, weights.user(2), strict=True))
    assert all(torch.equal(mine, mean) for mine, mean in zip(unknown, weights.mean_user(), strict=True))


def test_the_order_of_the_history_does_not_matter(world: World) -> None:
    """Every order of the same events gives the same bits: an answer is a function of the state, not of its layout."""
    fold = world.fold(world.weights(items=400))
    rng = np.random.default_rng(0)
    rows, strengths = rng.choice(400, 50, replace=False).astype(np.int64), rng.random(50) + 0.1
    first = fold.user(rows, strengths)

    for _ in range(10):
        order = rng.permutation(50)
        _same(fold.user(rows[order], strengths[order]), first)


def test_calls_do_not_affect_each_other(world: World) -> None:
    """A thousand calls later the same question has the same answer, also from another object of the same bundle."""
    weights = world.weights()
    fold, rng = world.fold(weights), np.random.default_rng(1)
    first = fold.user(ROWS, STRENGTHS, weights.user(1))

    for _ in range(1000):
        fold.user(
            rng.choice(40, 3, replace=False).astype(np.int64), rng.random(3) + 0.1, weights.user(int(rng.integers(7)))
        )

    _same(fold.user(ROWS, STRENGTHS, weights.user(1)), first)
    _same(world.fold(weights).user(ROWS, STRENGTHS, weights.user(1)), first)


def test_the_history_gains_on_the_catalogue(world: World) -> None:
    """Whatever was chosen, what is fitted of it rises against the average item's: match and notice, or their sum."""
    weights = world.weights(items=200)
    trained = np.flatnonzero(weights.popularity.numpy() > 0)
    rows = np.random.default_rng(2).choice(trained, 6, replace=False).astype(np.int64)
    before, after = weights.mean_user(), world.fold(weights).user(rows, np.ones(6))

    def leads(user: UserVectors) -> list[float]:
        terms = weights.terms(user)
        match, notice = (terms.a + terms.b).numpy(), terms.n.numpy()
        logits = [match, notice] if world.folded == "branches" else [match + notice]
        return [float(logit[rows].mean() - logit[trained].mean()) for logit in logits]

    assert all(after > before for before, after in zip(leads(before), leads(after), strict=True))


def test_strengths_stand_against_the_prior(world: World) -> None:
    """Events twice as strong under a prior twice as strong change nothing; without strength a history says nothing."""
    weights = world.weights()

    once = world.fold(weights, 0.7).user(ROWS, STRENGTHS, weights.user(4))
    twice = world.fold(weights, 1.4).user(ROWS, 2 * STRENGTHS, weights.user(4))
    faint = world.fold(weights).user(ROWS, 1e-12 * STRENGTHS, weights.user(4))

    torch.testing.assert_close(once.gamma, twice.gamma, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(once.theta, twice.theta, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(faint.gamma, weights.user(4).gamma.double(), rtol=0, atol=1e-9)


def test_untrained_items_are_no_part_of_the_catalogue(world: World) -> None:
    """What an item that nobody chose happens to hold moves no user, not even one who has turned to it."""
    weights = world.weights()
    untrained = weights.popularity == 0
    wild = replace(weights, gamma_i=torch.where(untrained[:, None], 50.0, weights.gamma_i))

    expected = world.fold(weights).user(ROWS, STRENGTHS)
    _same(world.fold(wild).user(ROWS, STRENGTHS), expected)
    _same(world.fold(wild).user(np.append(ROWS, [11, 22]), np.append(STRENGTHS, [1.0, 1.0])), expected)
    _same(world.fold(wild).user(np.array([11, 22]), np.ones(2)), weights.mean_user())


def test_a_large_catalogue_is_sampled_evenly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond SAMPLE, every other item (or third ...) and user stands for all."""
    weights = world.weights(users=60, items=60)
    weights.popularity.fill_(1)
    every_other = torch.arange(0, 60, 2).repeat_interleave(2)
    halved = replace(
        weights,
        popularity=torch.tensor([1.0, 0.0] * 30),
        gamma_u=weights.gamma_u[every_other],
        theta_u=weights.theta_u[every_other],
    )
    even = ROWS - ROWS % 2
    expected = world.fold(halved).user(even, STRENGTHS, weights.user(1))

    monkeypatch.setattr(foldin, "SAMPLE", 30)
    sampled = world.fold(weights).user(even, STRENGTHS, weights.user(1))

    torch.testing.assert_close(sampled.gamma, expected.gamma, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sampled.theta, expected.theta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("strength", [1e-300, 1e-9, 1e9, 1e300])
def test_any_strength_gives_finite_vectors(world: World, strength: float) -> None:
    """However little or much an event counts."""
    user = world.fold(world.weights()).user(ROWS[:1], np.array([strength]))

    assert all(bool(part.isfinite().all()) for part in user)


def test_a_catalogue_without_differences_says_nothing(world: World) -> None:
    """All items the same, or one: the user stays. No difference between users, or nothing trained: still finite."""
    weights = world.weights()
    alike = replace(weights, **{name: part[:1].expand_as(part).clone() for name, part in _of_items(weights)})
    single = replace(weights, popularity=torch.tensor([4.0]), **{name: part[:1] for name, part in _of_items(weights)})
    twins = replace(weights, gamma_u=weights.gamma_u[:1].expand(7, -1), theta_u=weights.theta_u[:1].expand(7, -1))

    for catalogue, row in ((alike, 9), (single, 0)):
        user = world.fold(catalogue).user(np.array([row]), np.array([1e300]), weights.user(3))
        torch.testing.assert_close(user.gamma, weights.user(3).gamma.double(), rtol=0, atol=1e-6)
    for catalogue in (twins, replace(weights, popularity=torch.zeros(40))):
        assert all(bool(part.isfinite().all()) for part in world.fold(catalogue).user(ROWS, STRENGTHS))


@pytest.mark.parametrize("strengths", [[1.0], [1.0, 0.0, 1.0, 1.0], [1.0, -1.0, 1.0, 1.0], [np.nan] * 4, [np.inf] * 4])
def test_strengths_are_numbers_above_zero_one_per_row(make_weights: MakeWeights, strengths: list[float]) -> None:
    """Anything else is refused by name."""
    fold = FoldIn(make_weights("paper"), "branches")

    with pytest.raises(ShapeError, match="fold-in: "):
        fold.user(ROWS, np.array(strengths))


def test_recency_halves() -> None:
    """The newest event counts 1, the one `half_life` events before it one half, and never 0."""
    strengths = recency(31, half_life=10)

    assert strengths[[0, 10, 20, 30]].tolist() == [1.0, 0.5, 0.25, 0.125]
    assert (np.diff(strengths) < 0).all()
    assert recency(0).shape == (0,)
    assert recency(3, half_life=np.inf).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("nothing", [("e", "theta_u"), ("gamma_i", "gamma_u")])
def test_a_model_without_a_part_keeps_it_at_nothing(make_weights: MakeWeights, nothing: tuple[str, str]) -> None:
    """BPR-MF has no θ and no e, DVBPR no γ: those vectors stay 0, and the others are at the minimum."""
    world = World(make_weights, "additive", "whole")
    full = world.weights()
    zeros: dict[str, Any] = {name: torch.zeros_like(getattr(full, name)) for name in nothing}
    weights = replace(full, **zeros)
    before = world.parts(weights.user(2))["whole"]

    user = world.fold(weights).user(ROWS, STRENGTHS, weights.user(2))

    best = minimize(history_loss(weights, "whole", before, foldin.PRIOR), before, method="BFGS", options={"gtol": 1e-7})
    still = user.theta if "e" in nothing else user.gamma
    assert float(still.abs().max()) < 1e-9
    assert world.parts(user)["whole"] == pytest.approx(best.x.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("causalrec", "branches"),
        ("bpr", "whole"),
        ("vbpr", "whole"),
        ("dvbpr", "whole"),
        ("amr", "shared"),
        ("deepstyle", "shared"),
    ],
)
def test_users_are_folded_in_as_the_model_was_trained(name: Name, folded: Folded) -> None:
    """CausalRec has a loss for each branch, the others one for the sum, and two of them one vector for both parts."""
    assert ModelConfig(name=name).folded == folded


def _same(one: UserVectors, other: UserVectors) -> None:
    assert all(torch.equal(mine, its) for mine, its in zip(one, other, strict=True))


def _of_items(weights: Weights) -> list[tuple[str, Any]]:
    names = {"gamma_i", "e", "e_match", "beta", "visual_bias"}
    return [(name, part) for name, part in weights.tensors().items() if name in names]
