"""New items from their pictures: the notice of what can be seen, the match that trained items like them have."""

from dataclasses import replace
from operator import itemgetter

import numpy as np
import pytest
import torch

from causalrec.bundle import Bundle
from causalrec.equations import Form, ItemArrays
from causalrec.errors import ShapeError
from causalrec.placing import RIDGES, Floats, Placer
from causalrec.weights import Weights
from tests.bundles import FEATURES, make_bundle
from tests.causalrec.conftest import FORMS
from tests.causalrec.oracle import dot

PICTURES = torch.randn(3, FEATURES, generator=torch.Generator().manual_seed(5))


@pytest.fixture(params=FORMS)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    form: Form = request.param
    return make_bundle(form, users=8, items=30, retrieval="scan")


def _embedded(bundle: Bundle, matrix: torch.Tensor, picture: list[float]) -> list[float]:
    mean, scale = (part.tolist() for part in bundle.visual.scaling)
    seen = [(value - mean[f]) / scale[f] for f, value in enumerate(picture)]
    return [dot(seen, column) for column in matrix.T.tolist()]


def test_a_new_item_scores_as_the_formulas_say(bundle: Bundle) -> None:
    """a = γᵤ·γ + β, b = γᵤ·(γ∘e), n = θᵤ·e + b′·f: plain loops from the raw feature, for every user."""
    placed = Placer(bundle.weights, bundle.visual).place(PICTURES)
    weights = _weights_of(bundle.weights, placed)

    for row in range(8):
        terms = weights.terms(bundle.weights.user(row))
        gamma_u, theta_u = bundle.weights.gamma_u[row].tolist(), bundle.weights.theta_u[row].tolist()
        for item, picture in enumerate(PICTURES.tolist()):
            visual = bundle.visual
            e = _embedded(bundle, visual.E, picture)
            e_match = e if visual.E_match is None else _embedded(bundle, visual.E_match, picture)
            bias = 0.0 if visual.visual_bias is None else _embedded(bundle, visual.visual_bias[:, None], picture)[0]
            gamma = placed.gamma[item].tolist()
            beta = 0.0 if placed.beta is None else float(placed.beta[item])
            assert float(terms.a[item]) == pytest.approx(dot(gamma_u, gamma) + beta, abs=1e-5)
            assert float(terms.b[item]) == pytest.approx(dot(gamma_u, gamma, e_match), abs=1e-5)
            assert float(terms.n[item]) == pytest.approx(dot(theta_u, e) + bias, abs=1e-5)


def test_the_match_is_the_ridge_of_the_trained_items(bundle: Bundle) -> None:
    """γ (and β) as the minimum of Σ(γᵢ − γ̅ − W(eᵢ − e̅))² + ridge·|W|² says, the ridge by cross-validation in loops."""
    weights = bundle.weights
    trained = (weights.popularity > 0).numpy()
    x = weights.e.double().numpy()[trained]
    y = weights.gamma_i.double().numpy()[trained]
    if weights.beta is not None:
        y = np.column_stack([y, weights.beta.double().numpy()[trained]])
    n, d = x.shape
    centred, sought = x - x.mean(0), y - y.mean(0)
    scatter = centred.T @ centred

    def fitted(ridge: float) -> tuple[float, Floats]:
        slopes = np.linalg.solve(scatter + ridge * np.eye(d), centred.T @ sought)
        hat = centred @ np.linalg.solve(scatter + ridge * np.eye(d), centred.T)
        return float(((sought - centred @ slopes) ** 2).sum() / (n - 1 - np.trace(hat)) ** 2), slopes

    _, slopes = min((fitted(power * np.trace(scatter) / d) for power in RIDGES), key=itemgetter(0))

    placed = Placer(weights, bundle.visual).place(PICTURES)

    guess = y.mean(0) + (placed.e.double().numpy() - x.mean(0)) @ slopes
    np.testing.assert_allclose(placed.gamma.numpy(), guess[:, :8], atol=1e-5)
    if placed.beta is not None:
        np.testing.assert_allclose(placed.beta.numpy(), guess[:, 8], atol=1e-5)


def test_a_picture_that_says_nothing_gets_the_mean_items_match(bundle: Bundle) -> None:
    """Where no trained item's picture differs from another's there is nothing to guess by."""
    weights = replace(bundle.weights, e=torch.zeros_like(bundle.weights.e))

    placed = Placer(weights, bundle.visual).place(PICTURES)

    mean = weights.gamma_i[weights.popularity > 0].double().mean(0)
    torch.testing.assert_close(placed.gamma.double(), mean.expand(3, -1), atol=1e-6, rtol=0)


def test_without_visual_matrices_a_new_item_is_the_mean_item() -> None:
    """BPR-MF's bundle: e = 0 for every item and E = 0, so that whatever the picture, γ and β are the trained items'."""
    made = make_bundle("authors", users=8, items=30, retrieval="scan")
    nothing = {name: torch.zeros_like(getattr(made.weights, name)) for name in ("e", "e_match", "theta_u")}
    weights = replace(made.weights, form="additive", m_null=None, visual_bias=None, **nothing)
    E = torch.zeros_like(made.visual.E)

    placed = Placer(weights, replace(made.visual, E=E, E_match=E, visual_bias=None)).place(PICTURES)

    trained = weights.popularity > 0
    assert weights.beta is not None
    assert placed.beta is not None
    torch.testing.assert_close(placed.gamma, weights.gamma_i[trained].mean(0).expand(3, -1), atol=1e-6, rtol=0)
    torch.testing.assert_close(placed.beta, weights.beta[trained].mean().expand(3), atol=1e-6, rtol=0)
    assert not bool(placed.e.any() or placed.e_match.any())


def test_an_offset_moves_e_and_the_guess_of_the_match(bundle: Bundle) -> None:
    """A new picture stands where e less the offset is, in the notice and in what γ is guessed from."""
    visual = bundle.visual
    offset = torch.linspace(-1, 1, 8)
    weights = replace(bundle.weights, e_match=torch.zeros_like(bundle.weights.e))
    plain = replace(visual, E_match=torch.zeros_like(visual.E))

    moved = Placer(weights, replace(plain, offset=offset)).place(PICTURES)
    shifted = Placer(replace(weights, e=weights.e + offset), plain).place(PICTURES)

    torch.testing.assert_close(moved.e, shifted.e - offset)
    torch.testing.assert_close(moved.gamma, shifted.gamma, atol=1e-5, rtol=1e-4)


def test_an_item_is_placed_alike_whatever_stands_beside_it(bundle: Bundle) -> None:
    """To the bit, so that replicas agree that heard of items in another order."""
    placer = Placer(bundle.weights, bundle.visual)

    together = placer.place(PICTURES)
    alone = Placer(bundle.weights, bundle.visual).place(PICTURES[1:2])

    assert together.gamma[1].numpy().tobytes() == alone.gamma[0].numpy().tobytes()


def test_no_items_are_no_rows(bundle: Bundle) -> None:
    """Arrays of the form's own kinds, float32, without rows."""
    placed = Placer(bundle.weights, bundle.visual).place(torch.empty(0, FEATURES))

    assert placed.gamma.shape == placed.e.shape == placed.e_match.shape == (0, 8)
    assert (placed.beta is None) == (bundle.weights.beta is None)
    assert (placed.visual_bias is None) == (bundle.weights.visual_bias is None)
    assert {part.dtype for part in placed if part is not None} == {torch.float32}


def test_one_visual_matrix_is_one_array(bundle: Bundle) -> None:
    """e_match is e itself exactly where the form has no matrix of the match's own."""
    placed = Placer(bundle.weights, bundle.visual).place(PICTURES)

    assert (placed.e_match is placed.e) == (bundle.weights.e_match is None)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (torch.zeros(2, FEATURES + 1), "against scaling of width"),
        (torch.zeros(FEATURES), "expected"),
        (torch.full((1, FEATURES), torch.nan), "NaN"),
        (torch.full((1, FEATURES), torch.inf), "infinity"),
    ],
)
def test_features_that_cannot_be_placed_are_refused(bundle: Bundle, features: torch.Tensor, said: str) -> None:
    """The message names the shape."""
    with pytest.raises(ShapeError, match=said):
        Placer(bundle.weights, bundle.visual).place(features)


def _weights_of(weights: Weights, placed: ItemArrays) -> Weights:
    gamma, e, e_match, beta, visual_bias = placed
    match = None if weights.e_match is None else e_match
    return replace(
        weights,
        gamma_i=gamma,
        e=e,
        e_match=match,
        beta=beta,
        visual_bias=visual_bias,
        popularity=torch.zeros(len(gamma)),
    )
