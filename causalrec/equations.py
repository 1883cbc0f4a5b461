"""
The debiased score as pure functions of torch tensors: terms, forms, the no-treatment item, λ2.

The one implementation used by trainer, evaluation and service; any float dtype, any device.

    a = γᵤ·γᵢ (+ βᵢ)      match            β, v: item and visual bias, in the authors' form only
    b = γᵤ·(γᵢ∘eᵢ)        visual match     eᵢ = Eᵀfᵢ, fᵢ the centred and scaled picture feature
    n = θᵤ·eᵢ (+ vᵢ)      notice           m = a + b

Source: Qiu et al. 2021 (CausalRec), Eq. 17-28; the authors' form after their published code.
"""

from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding

from causalrec.errors import ShapeError

Form = Literal["paper", "authors", "additive", "sum"]
NullMatch = Literal["mean", "zero"]
NullVisual = Literal["feature_mean", "product_mean", "zero"]

APART: Final[tuple[Form, ...]] = ("paper", "sum")  # the score needs a and b by themselves; other forms only m = a + b


class Terms(NamedTuple):
    """The three logits of user-item pairs, of one broadcastable shape: match a, visual match b, notice n."""

    a: Tensor
    b: Tensor
    n: Tensor


class NullItem(NamedTuple):
    """
    The no-treatment item: what the match sees when neither item nor picture is given.

    gamma [d] is γ*, e [d] the picture's embedding e*, gamma_e [d] stands for γ*∘e*, beta [] is β*.
    """

    gamma: Tensor
    e: Tensor
    gamma_e: Tensor
    beta: Tensor


class ItemArrays(NamedTuple):
    """
    Items as the score sees them, one row each.

    gamma, e, e_match [..., d]: γᵢ, the notice's eᵢ and the match's (the same tensor unless the form has two visual
    matrices); beta, visual_bias [...] in the authors' form.
    """

    gamma: Tensor
    e: Tensor
    e_match: Tensor
    beta: Tensor | None = None
    visual_bias: Tensor | None = None

    def take(self, rows: Tensor) -> "ItemArrays":
        """The items in `rows`, differentiable (rows may repeat)."""
        beta = None if self.beta is None else self.beta[rows]
        visual_bias = None if self.visual_bias is None else self.visual_bias[rows]
        gamma, e = embedding(rows, self.gamma), embedding(rows, self.e)
        e_match = e if self.e_match is self.e else embedding(rows, self.e_match)
        return ItemArrays(gamma, e, e_match, beta, visual_bias)

    def double(self) -> "ItemArrays":
        """The same in float64."""
        beta = None if self.beta is None else self.beta.double()
        visual_bias = None if self.visual_bias is None else self.visual_bias.double()
        return ItemArrays(self.gamma.double(), self.e.double(), self.e_match.double(), beta, visual_bias)


def embed(features: Tensor, matrix: Tensor, *, tanh: bool) -> Tensor:
    """e = Eᵀf, or tanh(Eᵀf): features [..., F] centred and scaled, matrix E [F, d] → [..., d]."""
    e = features @ matrix
    return e.tanh() if tanh else e


def pair_terms(gamma_u: Tensor, theta_u: Tensor, items: ItemArrays) -> Terms:
    """
    Terms of aligned pairs: row r of the users with row r of the items (Eq. 17-19).

    Args:
        gamma_u, theta_u: [B, d] against items of B rows, or [d] for one user against all rows.
    Returns: Terms [B].
    Raises: ShapeError naming both shapes when widths differ.
    """
    for user, item in ((gamma_u, items.gamma), (theta_u, items.e), (items.gamma, items.e_match)):
        if user.shape[-1] != item.shape[-1]:
            raise ShapeError(f"widths differ: {tuple(user.shape)} against {tuple(item.shape)}")
    match = gamma_u * items.gamma
    return _with_biases(match.sum(-1), (match * items.e_match).sum(-1), (theta_u * items.e).sum(-1), items)


def grid_terms(gamma_u: Tensor, theta_u: Tensor, items: ItemArrays) -> Terms:
    """Terms of every user with every item, [U, I]: `pair_terms` as three matrix products."""
    products = items.gamma * items.e_match
    return _with_biases(gamma_u @ items.gamma.T, gamma_u @ products.T, theta_u @ items.e.T, items)


def _with_biases(a: Tensor, b: Tensor, n: Tensor, items: ItemArrays) -> Terms:
    return Terms(
        a if items.beta is None else a + items.beta, b, n if items.visual_bias is None else n + items.visual_bias
    )


def score(form: Form, terms: Terms, null: Tensor, lambda2: Tensor | float) -> Tensor:
    """
    The debiased score: the total indirect effect of item on user at strength λ2.

        paper     y = σ(a)σ(b)σ(n) − λ2·c·σ(n)              c = M_{i*,u}·M_{i*,v*,u}     (Eq. 28)
        authors   y = σ(m+n)σ(m)σ(n) − λ2·σ(m*+n)σ(m*)σ(n)
        additive  y = m + (1 − λ2)·n
        sum       y = σ(a) + σ(b) + (1 − λ2)·σ(n)                    (fusion by addition)

    Linear in λ2; at λ2 = 0 nothing is removed, at 1 the whole direct visual effect is, above 1 it is over-removed.

    Args:
        terms: logits, any one shape, usually [B, I].
        null: what the user's no-treatment item gives, broadcastable to the terms (usually [B, 1]): c in (0, 1)
            for paper, the logit m* for authors; not read by additive and sum.
        lambda2: a number or per row [B, 1]; rows of one batch may differ.
    Returns: y, in [−λ2, 1] for paper and authors, in [−λ2, 3] for sum, a logit for additive;
        comparable within a row, not across users.
    """
    return undebiased(form, terms) - removed(form, terms, null, lambda2)


def undebiased(form: Form, terms: Terms) -> Tensor:
    """The score at λ2 = 0: what training fits (Eq. 22)."""
    a, b, n = terms
    if form == "paper":
        return a.sigmoid() * b.sigmoid() * n.sigmoid()
    if form == "authors":
        m = a + b
        return (m + n).sigmoid() * m.sigmoid() * n.sigmoid()
    if form == "sum":
        return a.sigmoid() + b.sigmoid() + n.sigmoid()
    return a + b + n


def removed(form: Form, terms: Terms, null: Tensor, lambda2: Tensor | float) -> Tensor:
    """λ2 times the picture's direct effect: the second half of `score`."""
    if form == "paper":
        return lambda2 * null * terms.n.sigmoid()
    if form == "authors":
        return lambda2 * (null + terms.n).sigmoid() * null.sigmoid() * terms.n.sigmoid()
    return lambda2 * notice_value(form, terms)


def match_logit(terms: Terms) -> Tensor:
    """m = a + b: the match branch's logit (the authors' branch loss)."""
    return terms.a + terms.b


def match_value(form: Form, terms: Terms) -> Tensor:
    """The match M by itself: σ(a)σ(b) for paper (Eq. 19-20), σ(a) + σ(b) for sum, σ(m) for authors, m for additive."""
    if form == "paper":
        return terms.a.sigmoid() * terms.b.sigmoid()
    if form == "sum":
        return terms.a.sigmoid() + terms.b.sigmoid()
    return match_logit(terms).sigmoid() if form == "authors" else match_logit(terms)


def notice_value(form: Form, terms: Terms) -> Tensor:
    """The notice N by itself: σ(n), or n in the additive form."""
    return terms.n if form == "additive" else terms.n.sigmoid()


def null_item(items: ItemArrays, e_mean: Tensor, *, match: NullMatch, visual: NullVisual) -> NullItem:
    """
    The no-treatment item from the trained ones.

    Args:
        items: those with at least one training interaction only.
        e_mean: [d], the match's embedding of their mean feature (zero where features are centred on them).
        match: "mean" takes γ* and β* as averages, "zero" as nothing.
        visual: what stands for γ*∘e*. "feature_mean": γ*∘e_mean. "product_mean": the average of γᵢ∘eᵢ, what the
            visual match really multiplies. "zero": nothing.
    """
    nothing = torch.zeros_like(e_mean)
    gamma = items.gamma.mean(0) if match == "mean" else nothing
    e = nothing if visual == "zero" else e_mean
    gamma_e = (items.gamma * items.e_match).mean(0) if visual == "product_mean" else gamma * e
    beta = items.beta.mean() if items.beta is not None and match == "mean" else nothing.new_zeros(())
    return NullItem(gamma, e, gamma_e, beta)


def null_logits(gamma_u: Tensor, null: NullItem) -> tuple[Tensor, Tensor]:
    """The no-treatment item's match γᵤ·γ* + β* and visual match γᵤ·(γ*∘e*), each [U], as logits."""
    return gamma_u @ null.gamma + null.beta, gamma_u @ null.gamma_e
