"""
Every model as plain Python loops in float64, written from the papers and independent of causalrec.equations.

A model's parameters, its features and its categories are nested lists by name, as `parameters` reads them.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from causalrec.model import ModelConfig
from tests.causalrec.oracle import dot, sigmoid
from training.config import FitConfig
from training.models.model import Model

Parameters = dict[str, Any]
Triple = tuple[int, int, int]  # user, positive, negative
BIASED = ("bpr", "vbpr")
ONE_USER_VECTOR = ("amr", "deepstyle")


class Item(NamedTuple):
    """What of an item the match sees: γ and β."""

    gamma: list[float]
    beta: float


def parameters(model: Model) -> Parameters:
    """The trained parameters, and what is fixed beside them."""
    fixed = {name: getattr(model, name).tolist() for name in ("features", "category") if hasattr(model, name)}
    return {name: value.tolist() for name, value in model.named_parameters()} | fixed


def embedding(config: ModelConfig, matrix: Sequence[Sequence[float]], feature: Sequence[float]) -> list[float]:
    """Eᵀf, or tanh of it."""
    seen = [sum(f * row[k] for f, row in zip(feature, matrix, strict=True)) for k in range(len(matrix[0]))]
    return [math.tanh(x) for x in seen] if config.tanh else seen


def item(p: Parameters, row: int) -> Item:
    return Item(p["gamma_i"][row], p["beta"][row] if "beta" in p else 0.0)


def terms(config: ModelConfig, p: Parameters, user: int, match: Item, picture: int) -> tuple[float, float, float]:
    """(a, b, n) of a user, an item and the picture of the item in row `picture`, which may be another's."""
    gamma_u = p["gamma_u"][user]
    a = match.beta + dot(gamma_u, match.gamma)
    if config.name == "bpr":
        return a, 0.0, 0.0
    feature = p["features"][picture]
    e = embedding(config, p["E"], feature)
    if config.name in ONE_USER_VECTOR:
        if config.name == "deepstyle":
            e = [x - c for x, c in zip(e, p["c"][p["category"][picture]], strict=True)]
        return a, 0.0, dot(gamma_u, e)
    n = dot(p["theta_u"][user], e) + (dot(feature, p["visual_bias"]) if "visual_bias" in p else 0.0)
    if config.name == "vbpr":
        return a, 0.0, n
    e_match = embedding(config, p["E_match"], feature) if "E_match" in p else e
    return a, dot(gamma_u, match.gamma, e_match), n


def fused(config: ModelConfig, a: float, b: float, n: float) -> float:
    """The score at λ2 = 0."""
    if config.form == "paper":
        return sigmoid(a) * sigmoid(b) * sigmoid(n)
    if config.form == "sum":
        return sigmoid(a) + sigmoid(b) + sigmoid(n)
    if config.form == "authors":
        return sigmoid(a + b + n) * sigmoid(a + b) * sigmoid(n)
    return a + b + n


def score(config: ModelConfig, p: Parameters, user: int, match: Item, picture: int) -> float:
    return fused(config, *terms(config, p, user, match, picture))


def bpr(difference: float) -> float:
    return -math.log(sigmoid(difference))


def ranking_loss(config: ModelConfig, p: Parameters, batch: Sequence[Triple]) -> float:
    """BPR on the scores at λ2 = 0, the mean over the triples."""
    return sum(bpr(score(config, p, u, item(p, i), i) - score(config, p, u, item(p, j), j)) for u, i, j in batch) / len(
        batch
    )


def branch_losses(config: ModelConfig, fit: FitConfig, p: Parameters, batch: Sequence[Triple]) -> float:
    """The losses of N and M in Eq. 23, with their weights."""

    def branches(u: int, i: int) -> tuple[float, float]:
        a, b, n = terms(config, p, u, item(p, i), i)
        if fit.branch_logits or config.form == "additive":
            return n, a + b
        if config.form == "authors":
            return sigmoid(n), sigmoid(a + b)
        whole = sigmoid(a) * sigmoid(b) if config.form == "paper" else sigmoid(a) + sigmoid(b)
        return sigmoid(n), whole

    total = 0.0
    for u, i, j in batch:
        (n, m), (n_j, m_j) = branches(u, i), branches(u, j)
        total += fit.notice_weight * bpr(n - n_j) + fit.match_weight * bpr(m - m_j)
    return total / len(batch)


def penalty(config: ModelConfig, fit: FitConfig, p: Parameters, batch: Sequence[Triple]) -> float:
    """l2 on what each triple touches, and l2_visual on what all pictures share."""
    total = 0.0
    for u, i, j in batch:
        touched: list[list[float]] = [p["gamma_u"][u], p["gamma_i"][i], p["gamma_i"][j]]
        touched += [p["theta_u"][u]] if "theta_u" in p else []
        touched += [[p["beta"][i], p["beta"][j]]] if "beta" in p else []
        touched += [p["c"][p["category"][row]] for row in (i, j)] if "c" in p else []
        total += sum(x * x for vector in touched for x in vector)
    visual: list[float] = [x for name in ("E", "E_match") if name in p for row in p[name] for x in row]
    visual += p.get("visual_bias", [])
    return fit.l2 * total / len(batch) + fit.l2_visual * sum(x * x for x in visual)


def attack(config: ModelConfig, p: Parameters, batch: Sequence[Triple], epsilon: float) -> list[list[float]]:
    """Δ: for each picture ε·g/|g|, g its part of the gradient of BPR in the features by central differences."""
    pictures = range(len(p["features"]))
    gradient = [slopes(lambda changed: ranking_loss(config, changed, batch), p, ("features", row)) for row in pictures]
    lengths = [math.sqrt(dot(g, g)) for g in gradient]
    return [[epsilon * x / max(length, 1e-6) for x in g] for g, length in zip(gradient, lengths, strict=True)]


def slopes(function: Callable[[Parameters], float], p: Parameters, path: tuple[Any, ...], step: float = 1e-5) -> Any:
    """The gradient of `function` in the numbers below `path`, nested as they are, by central differences."""
    found = p
    for key in path:
        found = found[key]
    if isinstance(found, list):
        return [slopes(function, p, (*path, position), step) for position in range(len(found))]
    values = []
    for change in (step, -step):
        changed = copy.deepcopy(p)
        place: Any = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] += change
        values.append(function(changed))
    return (values[0] - values[1]) / (2 * step)


def loss(
    config: ModelConfig,
    fit: FitConfig,
    p: Parameters,
    batch: Sequence[Triple],
    delta: Sequence[Sequence[float]] | None = None,
) -> float:
    """What training minimises; `delta` [I][F]: AMR's attack, which counts as fixed."""
    total = ranking_loss(config, p, batch) + penalty(config, fit, p, batch)
    if config.name == "causalrec":
        total += branch_losses(config, fit, p, batch)
    if delta is not None:
        moved = [[f + x for f, x in zip(*rows, strict=True)] for rows in zip(p["features"], delta, strict=True)]
        total += fit.adversarial_weight * ranking_loss(config, p | {"features": moved}, batch)
    return total
