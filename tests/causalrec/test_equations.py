"""The score's invariants (i)-(vii) against plain loops, over every form."""

import math
from typing import get_args

import pytest
import torch

from causalrec import equations
from causalrec.equations import Form, ItemArrays, NullMatch, NullVisual, Terms
from causalrec.errors import ShapeError
from tests.causalrec import oracle
from tests.causalrec.conftest import FORMS, LAMBDA2, MakeModel, MakeWeights

NULLS = [(match, visual) for match in get_args(NullMatch) for visual in get_args(NullVisual)]


def _grid(make_weights: MakeWeights, form: Form, lambda2: float | torch.Tensor) -> torch.Tensor:
    weights = make_weights(form)
    terms = weights.block_terms(torch.arange(len(weights.gamma_u)))
    return equations.score(form, terms, weights.null[:, None], lambda2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lambda2", LAMBDA2)
def test_the_score_is_that_of_plain_loops(make_weights: MakeWeights, form: Form, lambda2: float) -> None:
    """Every form's score equals the float64 loops written from the paper, for every user and item."""
    weights = make_weights(form)

    scores = _grid(make_weights, form, lambda2)

    for user in range(len(weights.gamma_u)):
        for item in range(len(weights.gamma_i)):
            assert float(scores[user, item]) == pytest.approx(oracle.score(weights, user, item, lambda2), abs=3e-6)


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_removed_at_zero(make_weights: MakeWeights, form: Form) -> None:
    """(i) λ2 = 0 is the undebiased score, to the bit."""
    weights = make_weights(form)
    terms = weights.block_terms(torch.arange(len(weights.gamma_u)))

    at_zero = equations.score(form, terms, weights.null[:, None], 0.0)

    assert torch.equal(at_zero, equations.undebiased(form, terms))


@pytest.mark.parametrize("form", FORMS)
def test_the_score_is_a_line_in_lambda2(make_weights: MakeWeights, form: Form) -> None:
    """(ii) y(λ2) = y(0) + λ2·(y(1) − y(0))."""
    at = {value: _grid(make_weights, form, value) for value in (0.0, 1.0, 2.5)}

    line = at[0.0] + 2.5 * (at[1.0] - at[0.0])

    torch.testing.assert_close(at[2.5], line, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(at[1.0], at[0.0])


@pytest.mark.parametrize("form", FORMS)
def test_scoring_is_pure(make_weights: MakeWeights, form: Form) -> None:
    """(iii) Called again, and after other users, the same bytes come back (the authors' code drifts)."""
    weights = make_weights(form)
    first = equations.score(form, weights.terms(weights.user(2)), weights.user(2).null, 0.7)

    equations.score(form, weights.terms(weights.user(5)), weights.user(5).null, 1.3)
    again = equations.score(form, weights.terms(weights.user(2)), weights.user(2).null, 0.7)

    assert torch.equal(again, first)


@pytest.mark.parametrize("lambda2", LAMBDA2)
def test_without_a_picture_only_the_match_is_left(make_model: MakeModel, lambda2: float) -> None:
    """
    (iv) Features of zero make b = n = 0: paper (σ(a) − λ2·σ(γᵤ·γ*))/4, authors (σ(m)² − λ2·σ(m*)²)/2,
    sum σ(a) + ½ + (1 − λ2)/2.
    """
    for form in ("paper", "authors", "sum"):
        model = make_model(form)
        model.features.zero_()
        weights = model.weights(torch.ones(len(model.gamma_i)), "mean", "feature_mean")
        terms = weights.block_terms(torch.arange(len(weights.gamma_u)))
        beta = torch.zeros(len(weights.gamma_i)) if weights.beta is None else weights.beta
        m = weights.gamma_u @ weights.gamma_i.T + beta
        star = (weights.gamma_u @ weights.gamma_i.mean(0) + beta.mean())[:, None]

        scores = equations.score(form, terms, weights.null[:, None], lambda2)

        if form == "paper":
            expected = (m.sigmoid() - lambda2 * star.sigmoid()) / 4
        elif form == "sum":
            expected = m.sigmoid() + 0.5 + (1 - lambda2) / 2
        else:
            expected = (m.sigmoid() ** 2 - lambda2 * star.sigmoid() ** 2) / 2
        torch.testing.assert_close(scores, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(("form", "most"), [("paper", 1.0), ("authors", 1.0), ("sum", 3.0)])
@pytest.mark.parametrize("lambda2", LAMBDA2)
def test_the_score_stays_in_its_range(form: Form, most: float, lambda2: float) -> None:
    """(v) y lies in [−λ2, 1], or [−λ2, 3] where it is a sum, closed: saturated logits included."""
    logits = torch.tensor([-200.0, -30.0, -1.0, 0.0, 1.0, 30.0, 200.0], dtype=torch.float64)
    terms = Terms(*torch.meshgrid(logits, logits, logits, indexing="ij"))

    for null in logits if form == "authors" else logits.sigmoid():
        scores = equations.score(form, terms, null, lambda2)
        assert float(scores.min()) >= -lambda2
        assert float(scores.max()) <= most


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_of_one_is_a_row_of_the_batch(make_weights: MakeWeights, form: Form) -> None:
    """(vii) Batch mates change nothing (the authors' code broadcasts the visual bias over the batch)."""
    weights = make_weights(form)
    users = torch.arange(7)
    items = torch.tensor([3, 1, 4, 1, 5, 9, 2])
    whole = equations.pair_terms(weights.gamma_u[users], weights.theta_u[users], weights.items.take(items))

    for row in range(7):
        one = slice(row, row + 1)
        alone = equations.pair_terms(
            weights.gamma_u[users[one]], weights.theta_u[users[one]], weights.items.take(items[one])
        )
        for part, expected in zip(alone, whole, strict=True):
            assert part.shape == (1,)
            torch.testing.assert_close(part, expected[one], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_a_batch_have_their_own_lambda2(make_weights: MakeWeights, form: Form) -> None:
    """λ2 [B, 1] gives each row what λ2 as a number gives it."""
    lambda2 = torch.tensor([[0.0], [0.2], [0.9], [1.0], [1.7], [2.4], [3.0]])

    mixed = _grid(make_weights, form, lambda2)

    for row, value in enumerate(lambda2.flatten().tolist()):
        torch.testing.assert_close(mixed[row], _grid(make_weights, form, value)[row], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_removed_is_what_the_score_loses(make_weights: MakeWeights, form: Form) -> None:
    """undebiased − removed = score, so that an explanation adds up."""
    weights = make_weights(form)
    terms = weights.block_terms(torch.arange(7))
    null = weights.null[:, None]

    difference = equations.undebiased(form, terms) - equations.removed(form, terms, null, 1.2)

    assert torch.equal(difference, equations.score(form, terms, null, 1.2))


@pytest.mark.parametrize(("match", "visual"), NULLS)
def test_the_null_item_is_the_treatment_asked_for(make_model: MakeModel, match: NullMatch, visual: NullVisual) -> None:
    """γ*, β* and γ*∘e* are averages over the trained items or zero, each as named, by plain loops."""
    model = make_model("authors")
    popularity = torch.arange(len(model.gamma_i), dtype=torch.float32) % 3
    weights = model.weights(popularity, match, visual)
    rows = [row for row in range(len(model.gamma_i)) if row % 3]
    model.requires_grad_(requires_grad=False)
    items = model.items()

    for dimension in range(5):
        gamma = sum(float(items.gamma[row, dimension]) for row in rows) / len(rows) if match == "mean" else 0.0
        product = sum(float(items.gamma[row, dimension] * items.e_match[row, dimension]) for row in rows) / len(rows)
        e_mean = sum(float(items.e_match[row, dimension]) for row in rows) / len(rows)
        expected = {"product_mean": product, "feature_mean": gamma * e_mean, "zero": 0.0}[visual]
        assert float(weights.null_gamma[dimension]) == pytest.approx(gamma, abs=1e-5)
        assert float(weights.null_gamma_e[dimension]) == pytest.approx(expected, abs=1e-5)
    assert model.beta is not None
    beta = sum(float(model.beta[row]) for row in rows) / len(rows) if match == "mean" else 0.0
    assert float(weights.null_beta) == pytest.approx(beta, abs=1e-5)


def test_both_no_treatment_terms_differ_between_users(make_weights: MakeWeights) -> None:
    """The world of these tests is one in which neither M_{i*,u} nor M_{i*,v*,u} is a constant."""
    weights = make_weights("paper")

    assert weights.M_null is not None
    assert weights.MV_null is not None
    assert float(weights.M_null.std()) > 0.05
    assert float(weights.MV_null.std()) > 0.05


def test_centred_features_make_the_feature_mean_a_constant(make_model: MakeModel) -> None:
    """With centred features e* = 0, so M_{i*,v*,u} is 1/2 for everybody: the price of centring."""
    model = make_model("paper")
    model.features -= model.features.mean(0)

    weights = model.weights(torch.ones(len(model.gamma_i)), "mean", "feature_mean")

    assert weights.MV_null is not None
    torch.testing.assert_close(weights.MV_null, torch.full((7,), 0.5), atol=1e-6, rtol=0)


def test_the_gradient_is_that_of_finite_differences(make_model: MakeModel) -> None:
    """The score differentiates: autograd agrees with central differences in float64."""
    items = ItemArrays(*(torch.randn(4, 3, dtype=torch.float64) for _ in range(3)))

    for form in FORMS:

        def scored(gamma_u: torch.Tensor, theta_u: torch.Tensor, form: Form = form) -> torch.Tensor:
            terms = equations.pair_terms(gamma_u, theta_u, items)
            return equations.score(form, terms, torch.tensor(0.3, dtype=torch.float64), 0.8)

        start = [torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
        assert torch.autograd.gradcheck(scored, start)


def test_widths_that_differ_are_named() -> None:
    """A ShapeError shows both shapes."""
    items = ItemArrays(torch.zeros(4, 3), torch.zeros(4, 3), torch.zeros(4, 3))

    with pytest.raises(ShapeError, match=r"\(2,\) against \(4, 3\)"):
        equations.pair_terms(torch.zeros(2), torch.zeros(3), items)


def test_match_and_notice_by_themselves() -> None:
    """M is σ(a)σ(b) in the paper's form, σ(m) in the authors', σ(a) + σ(b) or m where it is a sum; N is σ(n) or n."""
    terms = Terms(torch.tensor([0.3]), torch.tensor([-0.8]), torch.tensor([1.4]))

    assert float(equations.match_value("paper", terms)) == pytest.approx(oracle.sigmoid(0.3) * oracle.sigmoid(-0.8))
    assert float(equations.match_value("authors", terms)) == pytest.approx(oracle.sigmoid(-0.5))
    assert float(equations.match_value("additive", terms)) == pytest.approx(-0.5)
    assert float(equations.match_value("sum", terms)) == pytest.approx(oracle.sigmoid(0.3) + oracle.sigmoid(-0.8))
    assert float(equations.notice_value("sum", terms)) == pytest.approx(oracle.sigmoid(1.4))
    assert float(equations.notice_value("paper", terms)) == pytest.approx(1 / (1 + math.exp(-1.4)))
    assert float(equations.notice_value("additive", terms)) == pytest.approx(1.4)
