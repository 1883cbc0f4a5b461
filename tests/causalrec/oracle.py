"""The score as plain Python loops in float64, written from the paper and independent of causalrec.equations."""

import math

from causalrec.weights import Weights


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def dot(*vectors: list[float]) -> float:
    return float(sum(math.prod(factors) for factors in zip(*vectors, strict=True)))


def terms(weights: Weights, user: int, item: int) -> tuple[float, float, float]:
    """(a, b, n) of one pair."""
    gamma_u, theta_u = weights.gamma_u[user].tolist(), weights.theta_u[user].tolist()
    gamma_i, e = weights.gamma_i[item].tolist(), weights.e[item].tolist()
    e_match = e if weights.e_match is None else weights.e_match[item].tolist()
    beta = 0.0 if weights.beta is None else float(weights.beta[item])
    visual_bias = 0.0 if weights.visual_bias is None else float(weights.visual_bias[item])
    return beta + dot(gamma_u, gamma_i), dot(gamma_u, gamma_i, e_match), dot(theta_u, e) + visual_bias


def score(weights: Weights, user: int, item: int, lambda2: float) -> float:
    """The debiased score of one pair, from the stored weights and stored no-treatment terms."""
    a, b, n = terms(weights, user, item)
    if weights.form == "paper":
        assert weights.M_null is not None
        assert weights.MV_null is not None
        c = float(weights.M_null[user]) * float(weights.MV_null[user])
        return sigmoid(a) * sigmoid(b) * sigmoid(n) - lambda2 * c * sigmoid(n)
    if weights.form == "authors":
        assert weights.m_null is not None
        m, null = a + b, float(weights.m_null[user])
        direct = sigmoid(null + n) * sigmoid(null) * sigmoid(n)
        return sigmoid(m + n) * sigmoid(m) * sigmoid(n) - lambda2 * direct
    if weights.form == "sum":
        return sigmoid(a) + sigmoid(b) + (1 - lambda2) * sigmoid(n)
    return a + b + (1 - lambda2) * n


def ranking(weights: Weights, user: int, lambda2: float, excluded: list[int]) -> list[int]:
    """Every item outside `excluded`, best first, ties by row."""
    items = [item for item in range(len(weights.gamma_i)) if item not in set(excluded)]
    return sorted(items, key=lambda item: (-round(score(weights, user, item, lambda2), 12), item))
