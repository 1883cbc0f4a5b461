"""The pairwise loss, the three-task loss of Eq. 23 made of it, and the size of what a batch touches."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from causalrec import equations
from causalrec.equations import Form, Terms


def three_task_loss(
    form: Form,
    positive: Terms,
    negative: Terms,
    *,
    branch_logits: bool,
    notice_weight: float = 1.0,
    match_weight: float = 1.0,
) -> Tensor:
    """
    −ln σ(Yᵢ−Yⱼ) − w_N·ln σ(Nᵢ−Nⱼ) − w_M·ln σ(Mᵢ−Mⱼ), averaged over the triples [B] (Eq. 23 without its L2 term).

    Args:
        positive, negative: terms of (u, i) and (u, j).
        branch_logits: N and M as their logits n and m (the authors' code; a strong gradient); False: the values
            after the sigmoids, as Eq. 23 reads. Y always is the score at λ2 = 0.
    Returns: a scalar.
    """
    whole = pairwise(equations.undebiased(form, positive), equations.undebiased(form, negative))
    if branch_logits:
        notice = pairwise(positive.n, negative.n)
        match = pairwise(equations.match_logit(positive), equations.match_logit(negative))
    else:
        notice = pairwise(equations.notice_value(form, positive), equations.notice_value(form, negative))
        match = pairwise(equations.match_value(form, positive), equations.match_value(form, negative))
    return whole + notice_weight * notice + match_weight * match


def pairwise(positive: Tensor, negative: Tensor) -> Tensor:
    """−ln σ(yᵢ − yⱼ) averaged over the triples [B] (BPR, Rendle et al. 2009)."""
    return -logsigmoid(positive - negative).mean()


def squares_per_triple(*vectors: Tensor) -> Tensor:
    """Σ‖v‖² over the vectors [B, d] and numbers [B] that a batch touches, averaged over its B triples (for λ1)."""
    return torch.stack([part.square().sum() for part in vectors]).sum() / len(vectors[0])
