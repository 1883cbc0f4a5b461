"""A new item placed from its picture alone: its notice is known, its match is the no-treatment item's."""

from torch import Tensor

from causalrec.equations import ItemArrays
from causalrec.errors import ShapeError
from causalrec.visual import Visual
from causalrec.weights import Weights


def place_items(weights: Weights, visual: Visual, features: Tensor) -> ItemArrays:
    """
    Items without a history, as the score sees them.

        γᵢ = γ*,  eᵢ = Eᵀφ(V),  βᵢ = β*        so that a = γᵤ·γ* (+ β*), b = γᵤ·(γ*∘eᵢ), n = θᵤ·eᵢ (+ b′·φ(V))

    Nobody has matched them yet, so the match knows of them what it knows of no item in particular, and the picture:
    they rank among each other by how the user takes to what can be seen. φ is the bundle's centring and scaling.

    Args:
        features: raw features [n, F] of the backbone named in `visual`; n may be 0.
    Returns: float32 arrays of n rows; e_match, beta and visual_bias where the form has them.
    Raises: ShapeError naming both shapes, also for features that are not finite.
    """
    if features.ndim != 2:
        raise ShapeError(f"features {tuple(features.shape)}: expected [n, {visual.scaling.mean.shape[0]}]")
    e, e_match, visual_bias = visual.place(features)
    if not bool((e + e_match).isfinite().all()):
        raise ShapeError(f"features {tuple(features.shape)}: hold NaN, infinity or values too large to embed")
    gamma = weights.null_gamma.float().expand(len(e), -1).contiguous()
    beta = None if weights.beta is None else weights.null_beta.float().expand(len(e)).contiguous()
    return ItemArrays(gamma, e, e_match, beta, visual_bias)
