"""What every model is served with: the score against plain loops, and what λ2 takes out of it."""

from typing import get_args

import pytest
import torch

from causalrec import equations
from causalrec.equations import NullMatch, NullVisual
from causalrec.weights import Weights
from tests.causalrec.oracle import dot, sigmoid
from tests.training.models import plain
from tests.training.models.conftest import CONFIGS, ITEMS, USERS, spread
from training.models.model import Model

POPULARITY = torch.tensor([3.0, 1.0, 0.0, 2.0, 5.0, 1.0, 0.0])  # items 2 and 6 have nobody
TRAINED = (0, 1, 3, 4, 5)
LAMBDA2 = (0.0, 0.4, 1.0, 1.2, 2.0)
NULLS = [(match, visual) for match in get_args(NullMatch) for visual in get_args(NullVisual)]
VISUAL = ("vbpr", "deepstyle", "amr")
OTHERS = [label for label in CONFIGS if not label.startswith("causalrec")]
BY_PRODUCT = [label for label in CONFIGS if label.startswith(("causalrec paper", "causalrec authors"))]


def _weights(model: Model, match: NullMatch = "mean", visual: NullVisual = "product_mean") -> Weights:
    return model.weights(POPULARITY, match, visual)


def _served(weights: Weights, user: int, lambda2: float) -> list[float]:
    """The scores of all items, as trainer, evaluation and service compute them."""
    known = weights.user(user)
    return [float(y) for y in equations.score(weights.form, weights.terms(known), known.null, lambda2)]


def _mean(vectors: list[list[float]]) -> list[float]:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


@pytest.mark.parametrize("label", CONFIGS)
def test_the_score_is_that_of_plain_loops(label: str) -> None:
    """What is exported ranks by the model's own formula at λ2 = 0."""
    model = spread(CONFIGS[label])
    p, weights = plain.parameters(model), _weights(model)

    for user in range(USERS):
        expected = [plain.score(model.config, p, user, plain.item(p, row), row) for row in range(ITEMS)]
        assert _served(weights, user, 0.0) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("label", OTHERS)
@pytest.mark.parametrize("lambda2", LAMBDA2)
def test_lambda2_removes_what_the_picture_does_to_an_item_nobody_knows(label: str, lambda2: float) -> None:
    """y(i, v) − λ2·y(i*, v), v the picture of i, up to a constant per user: whatever γ* and β* are."""
    model = spread(CONFIGS[label])
    p, weights = plain.parameters(model), _weights(model)
    nobody = plain.Item([0.3, -1.1], 0.7 if "beta" in p else 0.0)

    for user in range(USERS):
        removed = []
        for row in range(ITEMS):
            whole = plain.score(model.config, p, user, plain.item(p, row), row)
            removed.append(whole - lambda2 * plain.score(model.config, p, user, nobody, row))
        constant = [x - y for x, y in zip(_served(weights, user, lambda2), removed, strict=True)]
        assert constant == pytest.approx([constant[0]] * ITEMS, abs=1e-5)


@pytest.mark.parametrize("label", [label for label in OTHERS if label.startswith(VISUAL)])
def test_at_one_the_match_alone_is_left(label: str) -> None:
    """Eq. 14 (VBPR): βᵢ + γᵤ·γᵢ − β* − γᵤ·γ*; Eq. 15 (AMR, and DeepStyle alike): γᵤ·γᵢ − γᵤ·γ*."""
    model = spread(CONFIGS[label])
    p, weights = plain.parameters(model), _weights(model)
    gamma = _mean([p["gamma_i"][row] for row in TRAINED])
    beta = sum(p["beta"][row] for row in TRAINED) / len(TRAINED) if "beta" in p else 0.0

    for user in range(USERS):
        left = []
        for row in range(ITEMS):
            match = plain.item(p, row)
            left.append(match.beta + dot(p["gamma_u"][user], match.gamma) - beta - dot(p["gamma_u"][user], gamma))
        constant = [x - y for x, y in zip(_served(weights, user, 1.0), left, strict=True)]
        assert constant == pytest.approx([constant[0]] * ITEMS, abs=1e-5)


@pytest.mark.parametrize("label", [label for label in OTHERS if label.startswith(VISUAL)])
def test_what_lambda2_takes_out_is_there(label: str) -> None:
    """The order at λ2 = 1 is not the order at 0 for every user."""
    weights = _weights(spread(CONFIGS[label]))

    orders = [
        [sorted(range(ITEMS), key=_served(weights, user, lambda2).__getitem__) for user in range(USERS)]
        for lambda2 in (0.0, 1.0)
    ]

    assert orders[0] != orders[1]


@pytest.mark.parametrize("label", BY_PRODUCT)
@pytest.mark.parametrize(("match", "visual"), NULLS)
def test_lambda2_removes_the_direct_effect_of_eq_28(label: str, match: NullMatch, visual: NullVisual) -> None:
    """CausalRec: y − λ2·c_u·N, c_u by the no-treatment item; the authors': − λ2·σ(m*+n)σ(m*)σ(n)."""
    model = spread(CONFIGS[label])
    config, p, weights = model.config, plain.parameters(model), _weights(model, match, visual)
    matrix = p["E_match"] if "E_match" in p else p["E"]
    e_star = plain.embedding(config, matrix, _mean([p["features"][row] for row in TRAINED]))
    gamma = _mean([p["gamma_i"][row] for row in TRAINED]) if match == "mean" else [0.0, 0.0]
    beta = sum(p["beta"][row] for row in TRAINED) / len(TRAINED) if match == "mean" and "beta" in p else 0.0
    products = [
        [g * x for g, x in zip(p["gamma_i"][row], plain.embedding(config, matrix, p["features"][row]), strict=True)]
        for row in TRAINED
    ]
    star = {
        "product_mean": _mean(products),
        "feature_mean": [g * x for g, x in zip(gamma, e_star, strict=True)],
        "zero": [0.0, 0.0],
    }[visual]

    for user in range(USERS):
        a_star, b_star = beta + dot(p["gamma_u"][user], gamma), dot(p["gamma_u"][user], star)
        for lambda2 in LAMBDA2:
            for row, served in enumerate(_served(weights, user, lambda2)):
                n = plain.terms(config, p, user, plain.item(p, row), row)[2]
                direct = sigmoid(a_star) * sigmoid(b_star) * sigmoid(n)
                if config.form == "authors":
                    direct = sigmoid(a_star + b_star + n) * sigmoid(a_star + b_star) * sigmoid(n)
                whole = plain.score(config, p, user, plain.item(p, row), row)
                assert served == pytest.approx(whole - lambda2 * direct, abs=5e-6)


@pytest.mark.parametrize("label", ["causalrec sum", "causalrec additive"])
def test_fusion_by_addition_loses_the_notice_itself(label: str) -> None:
    """y − λ2·N: nothing of the no-treatment item is in it, and at 1 the match alone is left."""
    model = spread(CONFIGS[label])
    config, p, weights = model.config, plain.parameters(model), _weights(model)

    for user in range(USERS):
        for lambda2 in LAMBDA2:
            for row, served in enumerate(_served(weights, user, lambda2)):
                n = plain.terms(config, p, user, plain.item(p, row), row)[2]
                notice = sigmoid(n) if config.form == "sum" else n
                whole = plain.score(config, p, user, plain.item(p, row), row)
                assert served == pytest.approx(whole - lambda2 * notice, abs=5e-6)


@pytest.mark.parametrize("lambda2", LAMBDA2)
def test_bpr_is_the_same_at_every_lambda2(lambda2: float) -> None:
    """It looks at no picture, not even a new one: θ = 0, and nothing is removed, to the bit."""
    weights = _weights(spread(CONFIGS["bpr"]))

    assert not weights.theta_u.any()
    for user in range(USERS):
        assert _served(weights, user, lambda2) == _served(weights, user, 0.0)


def test_the_other_models_pass_over_the_null_treatment() -> None:
    """Nothing of theirs is removed by way of a no-treatment item, so that all treatments serve the same arrays."""
    for label in OTHERS:
        model = spread(CONFIGS[label])
        first = _weights(model).tensors()

        for match, visual in NULLS:
            again = _weights(model, match, visual).tensors()
            assert again.keys() == first.keys()
            assert all(torch.equal(again[name], value) for name, value in first.items())
