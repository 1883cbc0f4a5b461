"""A score taken apart into its causes."""

from typing import TypedDict

import torch

from causalrec import equations
from causalrec.equations import Form
from causalrec.topk import DECIMALS, Rows
from causalrec.weights import UserVectors


class Terms(TypedDict):
    """The causal terms of one item; `service.schemas.Explanation` says what each is in every form."""

    match: float
    visual_match: float
    notice: float
    undebiased: float
    removed: float
    rank_at_zero: int


def explain(form: Form, logits: equations.Terms, user: UserVectors, lambda2: float, ranks_at_zero: Rows) -> list[Terms]:
    """
    The terms of items for one user, rounded as scores are: score = undebiased − removed.

        paper     undebiased = match·visual_match·notice = σ(a)·σ(b)·σ(n),  removed = λ2·c·notice
        sum       match = σ(a), visual_match = σ(b), notice = σ(n): undebiased is their sum,  removed = λ2·notice
        authors   match = σ(m) with m = a + b, undebiased = match·notice·σ(m+n); visual_match = σ(b) is m's visual share
        additive  match = a, visual_match = b, notice = n: undebiased is their sum,  removed = λ2·n

    Args:
        logits: [C], of the items, float64.
        ranks_at_zero: [C], the rank each item would have at λ2 = 0.
    """
    match = equations.match_value(form, logits) if form == "authors" else _link(form, logits.a)
    columns = (
        match,
        _link(form, logits.b),
        equations.notice_value(form, logits),
        equations.undebiased(form, logits),
        equations.removed(form, logits, user.null.double(), lambda2),
    )
    values = [torch.round(column, decimals=DECIMALS).tolist() for column in columns]
    return [
        Terms(match=a, visual_match=b, notice=n, undebiased=whole, removed=taken, rank_at_zero=place)
        for a, b, n, whole, taken, place in zip(*values, ranks_at_zero.tolist(), strict=True)
    ]


def _link(form: Form, logit: torch.Tensor) -> torch.Tensor:
    return logit if form == "additive" else logit.sigmoid()
