"""The arrays a model is served from: one frozen object per model, whatever its form."""

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from torch import Tensor

from causalrec import equations
from causalrec.equations import Form, ItemArrays, NullItem, Terms
from causalrec.errors import ShapeError


class UserVectors(NamedTuple):
    """One user as the score sees them: gamma [d], theta [d], and null [] (c_u, or m* in the authors' form)."""

    gamma: Tensor
    theta: Tensor
    null: Tensor


@dataclass(frozen=True)
class Weights:
    """
    What ranking needs; d wide, U users, I items, float32.

    Fields: gamma_u, theta_u [U, d]; M_null, MV_null [U] (paper) or m_null [U] (authors): the precomputed
    no-treatment terms; gamma_i, e [I, d]; e_match [I, d] where the match has a visual matrix of its own;
    beta, visual_bias [I] in the authors' form; null_* the no-treatment item; popularity [I], training
    interactions per item.
    Raises: ShapeError naming field and both shapes; also when a form's own field is absent or another's present.
    """

    form: Form
    gamma_u: Tensor
    theta_u: Tensor
    gamma_i: Tensor
    e: Tensor
    null_gamma: Tensor
    null_e: Tensor
    null_gamma_e: Tensor
    null_beta: Tensor
    popularity: Tensor
    M_null: Tensor | None = None
    MV_null: Tensor | None = None
    m_null: Tensor | None = None
    e_match: Tensor | None = None
    beta: Tensor | None = None
    visual_bias: Tensor | None = None

    def __post_init__(self) -> None:
        users, d = tuple(self.gamma_u.shape)
        items = self.gamma_i.shape[0]
        own: dict[Form, set[str]] = {"paper": {"M_null", "MV_null"}, "authors": {"m_null"}}
        for name in ("M_null", "MV_null", "m_null"):
            if (getattr(self, name) is not None) != (name in own.get(self.form, set())):
                has = "lacks" if name in own.get(self.form, set()) else "must not have"
                raise ShapeError(f"weights of the form {self.form!r} {has} the field {name!r}")
        expected: dict[str, tuple[int, ...]] = {
            **dict.fromkeys(("gamma_u", "theta_u"), (users, d)),
            **dict.fromkeys(("M_null", "MV_null", "m_null"), (users,)),
            **dict.fromkeys(("gamma_i", "e", "e_match"), (items, d)),
            **dict.fromkeys(("beta", "visual_bias", "popularity"), (items,)),
            **dict.fromkeys(("null_gamma", "null_e", "null_gamma_e"), (d,)),
            "null_beta": (),
        }
        for name, tensor in self.tensors().items():
            if tuple(tensor.shape) != expected[name]:
                raise ShapeError(f"weights {name}: shape {tuple(tensor.shape)}, expected {expected[name]}")

    def tensors(self) -> dict[str, Tensor]:
        """Every array that is present, by field name."""
        present = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "form"}
        return {name: tensor for name, tensor in present.items() if tensor is not None}

    @property
    def null(self) -> Tensor:
        """Per user [U] what `equations.score` takes as null: c_u = M_null·MV_null, m*, or zeros (additive, sum)."""
        if self.M_null is not None and self.MV_null is not None:
            return self.M_null * self.MV_null
        return self.gamma_u.new_zeros(len(self.gamma_u)) if self.m_null is None else self.m_null

    def user(self, row: int) -> UserVectors:
        """The user in `row`."""
        if self.M_null is not None and self.MV_null is not None:
            null = self.M_null[row].double() * self.MV_null[row].double()
        else:
            null = torch.zeros((), dtype=torch.float64) if self.m_null is None else self.m_null[row].double()
        return UserVectors(self.gamma_u[row], self.theta_u[row], null)

    def mean_user(self) -> UserVectors:
        """The average user: stands for somebody unknown. Its no-treatment term is computed from its own vectors."""
        gamma, theta = self.gamma_u.double().mean(0), self.theta_u.double().mean(0)
        return UserVectors(gamma, theta, null_term(self.form, gamma, self.null_item()))

    def null_item(self) -> NullItem:
        """The no-treatment item, in float64."""
        parts = (self.null_gamma, self.null_e, self.null_gamma_e, self.null_beta)
        return NullItem(*(part.double() for part in parts))

    @property
    def items(self) -> ItemArrays:
        """The items as `equations` takes them."""
        e_match = self.e if self.e_match is None else self.e_match
        return ItemArrays(self.gamma_i, self.e, e_match, self.beta, self.visual_bias)

    def terms(self, user: UserVectors, rows: Tensor | None = None) -> Terms:
        """Float64 terms [C] of one user with the items in `rows` (None: all of them)."""
        items = self.items if rows is None else self.items.take(rows)
        return equations.pair_terms(user.gamma.double(), user.theta.double(), items.double())

    def block_terms(self, users: Tensor) -> Terms:
        """Float32 terms [B, I] of the users in rows `users` [B] with every item: evaluation over the catalogue."""
        return equations.grid_terms(self.gamma_u[users], self.theta_u[users], self.items)


def null_term(form: Form, gamma_u: Tensor, item: NullItem) -> Tensor:
    """What `equations.score` takes as null for users γᵤ [..., d]: c_u, m*, or 0, of shape [...]."""
    match, visual = equations.null_logits(gamma_u, item)
    if form == "paper":
        return match.sigmoid() * visual.sigmoid()
    return match + visual if form == "authors" else torch.zeros_like(match)
