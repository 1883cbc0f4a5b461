"""The score's logits as one inner product: the item's half, which an index holds, and the user's, which searches it."""

import numpy as np
import torch
from numpy.typing import NDArray

from causalrec.equations import APART
from causalrec.weights import UserVectors, Weights

Rows = NDArray[np.int64]
Floats = NDArray[np.float32]

ALL = slice(None)


def vector_width(weights: Weights) -> int:
    """D, how wide `item_vectors` are."""
    parts = 3 if weights.form in APART else 2
    biases = sum(bias is not None for bias in (weights.beta, weights.visual_bias))
    return parts * weights.gamma_i.shape[1] + biases


def item_vectors(weights: Weights, rows: slice | Rows = ALL) -> Floats:
    """
    What the index holds of the items in `rows`, [I, D]: the factors of the score's logits that belong to the item.

    paper and sum [γ; γ∘e; e], authors and additive [γ∘(1+e); e] and, where the form has them, [β; v].
    """
    items = weights.items
    gamma, e = items.gamma[rows], items.e[rows]
    products = gamma * items.e_match[rows]
    parts = [gamma, products, e] if weights.form in APART else [gamma + products, e]
    parts += [bias[rows, None] for bias in (items.beta, items.visual_bias) if bias is not None]
    return np.ascontiguousarray(torch.cat(parts, 1).numpy(), dtype=np.float32)


def query_vector(weights: Weights, user: UserVectors, plane: tuple[float, float, float]) -> Floats:
    """The user's half [D] of w_a·a + w_b·b + w_n·n, in the layout of `item_vectors`; w_a = w_b unless form in APART."""
    w_a, w_b, w_n = plane
    gamma, theta = user.gamma.double().numpy(), user.theta.double().numpy()
    parts = [w_a * gamma, w_b * gamma, w_n * theta] if weights.form in APART else [w_a * gamma, w_n * theta]
    parts += [np.array([w]) for w, bias in ((w_a, weights.beta), (w_n, weights.visual_bias)) if bias is not None]
    return np.concatenate(parts).astype(np.float32)


def longest(weights: Weights) -> float:
    """No item vector is longer: from the parts' norms, so that no vector is formed. |γ∘e| is at most |γ|·max|e|."""
    items = weights.items
    gamma, e = (float(part.norm(dim=1).max()) * (1 + 1e-6) for part in (items.gamma, items.e))
    largest = float(torch.stack(items.e_match.aminmax()).abs().max())
    match = gamma * (1 + largest**2) ** 0.5 if weights.form in APART else gamma * (1 + largest)
    biases = [float(bias.abs().max()) for bias in (items.beta, items.visual_bias) if bias is not None]
    return float(np.linalg.norm([match, e, *biases]))
