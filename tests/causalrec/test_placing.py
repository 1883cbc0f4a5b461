"""New items from their pictures: the match of no item in particular, the notice of what can be seen."""

from dataclasses import replace

import pytest
import torch

from causalrec.bundle import Bundle
from causalrec.equations import Form, ItemArrays
from causalrec.errors import ShapeError
from causalrec.placing import place_items
from causalrec.weights import Weights
from tests.bundles import FEATURES, make_bundle
from tests.causalrec.conftest import FORMS
from tests.causalrec.oracle import dot

PICTURES = torch.randn(3, FEATURES, generator=torch.Generator().manual_seed(5))


@pytest.fixture(params=FORMS)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    form: Form = request.param
    return make_bundle(form, users=8, items=30)


def _embedded(bundle: Bundle, matrix: torch.Tensor, picture: list[float]) -> list[float]:
    mean, scale = (part.tolist() for part in bundle.visual.scaling)
    seen = [(value - mean[f]) / scale[f] for f, value in enumerate(picture)]
    return [dot(seen, column) for column in matrix.T.tolist()]


def test_a_new_item_scores_as_the_formulas_say(bundle: Bundle) -> None:
    """a = γᵤ·γ* + β*, b = γᵤ·(γ*∘e), n = θᵤ·e + b′·f: plain loops from the raw feature, for every user."""
    placed = place_items(bundle.weights, bundle.visual, PICTURES)
    weights = _weights_of(bundle.weights, placed)

    for row in range(8):
        terms = weights.terms(bundle.weights.user(row))
        gamma_u, theta_u = bundle.weights.gamma_u[row].tolist(), bundle.weights.theta_u[row].tolist()
        null = bundle.weights.null_gamma.tolist()
        for item, picture in enumerate(PICTURES.tolist()):
            visual = bundle.visual
            e = _embedded(bundle, visual.E, picture)
            e_match = e if visual.E_match is None else _embedded(bundle, visual.E_match, picture)
            bias = 0.0 if visual.visual_bias is None else _embedded(bundle, visual.visual_bias[:, None], picture)[0]
            beta = 0.0 if bundle.weights.beta is None else float(bundle.weights.null_beta)
            assert float(terms.a[item]) == pytest.approx(dot(gamma_u, null) + beta, abs=1e-5)
            assert float(terms.b[item]) == pytest.approx(dot(gamma_u, null, e_match), abs=1e-5)
            assert float(terms.n[item]) == pytest.approx(dot(theta_u, e) + bias, abs=1e-5)


def test_no_items_are_no_rows(bundle: Bundle) -> None:
    """Arrays of the form's own kinds, float32, without rows."""
    placed = place_items(bundle.weights, bundle.visual, torch.empty(0, FEATURES))

    assert placed.gamma.shape == placed.e.shape == placed.e_match.shape == (0, 8)
    assert (placed.beta is None) == (bundle.weights.beta is None)
    assert (placed.visual_bias is None) == (bundle.weights.visual_bias is None)
    assert {part.dtype for part in placed if part is not None} == {torch.float32}


def test_one_visual_matrix_is_one_array(bundle: Bundle) -> None:
    """e_match is e itself exactly where the form has no matrix of the match's own."""
    placed = place_items(bundle.weights, bundle.visual, PICTURES)

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
        place_items(bundle.weights, bundle.visual, features)


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
