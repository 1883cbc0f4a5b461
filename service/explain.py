"""A score taken apart into its causes."""

from typing import TypedDict

import torch

from causalrec import equations
from causalrec.topk import DECIMALS, Rows
from causalrec.weights import UserVectors, Weights


class Terms(TypedDict):
    """The causal terms of one item; `service.schemas.Explanation` says what each is in every form."""

    match: float
    visual_match: float
    notice: float
    undebiased: float
    removed: float
    rank_at_zero: int


def explain(weights: Weights, user: UserVectors, lambda2: float, rows: Rows, ranks_at_zero: Rows) -> list[Terms]:
    """
    The terms of the items in `rows` [C] for one user, rounded as scores are: score = undebiased − removed.

        paper     undebiased = match·visual_match·notice = σ(a)·σ(b)·σ(n),  removed = λ2·c·notice
        authors   match = σ(m) with m = a + b, undebiased = match·notice·σ(m+n); visual_match = σ(b) is m's visual share
        additive  match = a, visual_match = b, notice = n: undebiased is their sum,  removed = λ2·n

    Args:
        ranks_at_zero: [C], the rank each item would have at λ2 = 0.
    """
    form, null = weights.form, user.null.double()
    terms = weights.terms(user, torch.from_numpy(rows))
    match = equations.match_value(form, terms) if form == "authors" else _link(weights, terms.a)
    columns = (
        match,
        _link(weights, terms.b),
        equations.notice_value(form, terms),
        equations.undebiased(form, terms),
        equations.removed(form, terms, null, lambda2),
    )
    values = [torch.round(column, decimals=DECIMALS).tolist() for column in columns]
    return [
        Terms(match=a, visual_match=b, notice=n, undebiased=whole, removed=taken, rank_at_zero=place)
        for a, b, n, whole, taken, place in zip(*values, ranks_at_zero.tolist(), strict=True)
    ]


def _link(weights: Weights, logit: torch.Tensor) -> torch.Tensor:
    return logit if weights.form == "additive" else logit.sigmoid()
