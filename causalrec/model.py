"""Frozen ModelConfig and the torch Module over the equations."""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from causalrec import equations
from causalrec.equations import Form, ItemArrays, NullMatch, NullVisual
from causalrec.weights import Weights


class ModelConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    form: Form = "paper"
    """paper: σ(a)σ(b)σ(n) − λ2·c_u·σ(n) (Eq. 17-28). authors: σ(m+n)σ(m)σ(n) − λ2·σ(m*+n)σ(m*)σ(n), the authors'
    published code, with item and visual biases. additive: m + (1−λ2)·n."""
    dim: int = Field(32, ge=1, le=512)
    """Width d of γ, θ and e."""
    visual_matrices: Literal["form", "one", "two"] = "form"
    """one: the same E for notice and match (the paper). two: the match has its own (the authors' code).
    form: one, except two in the authors' form."""
    tanh: bool = False
    """e = tanh(Eᵀf) instead of Eᵀf (an option of the authors' code)."""
    null_match: NullMatch = "mean"
    """The no-treatment item's γ* and β*: averages over the trained items, or zero."""
    null_visual: NullVisual = "product_mean"
    """The no-treatment picture in the match: feature_mean γ*∘e(mean f), product_mean (average of γᵢ∘eᵢ) or zero."""

    @property
    def two_matrices(self) -> bool:
        """Whether the match has a visual matrix of its own."""
        return self.visual_matrices == "two" or (self.visual_matrices == "form" and self.form == "authors")


class CausalRec(nn.Module):
    """
    The trainable model: γᵤ, γᵢ, θᵤ, E (and the authors' E of the match, β, b′) over fixed picture features.

    Minimises Eq. 23 through `training.fit`; every score comes from causalrec.equations.

    Args:
        config: the model's shape and form.
        users, items: how many.
        features: [I, F] float32, centred and scaled (`causalrec.visual.Scaling`); kept, not trained.
        generator: draws the initial weights.
    """

    def __init__(
        self, config: ModelConfig, users: int, items: int, features: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.config = config
        self.features: Tensor
        self.register_buffer("features", features, persistent=False)
        d, width = config.dim, features.shape[1]

        def normal(*shape: int, std: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * std)

        self.gamma_u = normal(users, d, std=0.1)
        self.gamma_i = normal(items, d, std=0.1)
        self.theta_u = normal(users, d, std=0.1)
        self.E = normal(width, d, std=0.1)
        self.E_match = normal(width, d, std=0.1) if config.two_matrices else None
        biased = config.form == "authors"
        self.beta = nn.Parameter(torch.zeros(items)) if biased else None
        self.visual_bias = nn.Parameter(torch.zeros(width)) if biased else None

    def items(self) -> ItemArrays:
        """Every item as the score sees it, its picture projected once: differentiable."""
        e = equations.embed(self.features, self.E, tanh=self.config.tanh)
        e_match = e if self.E_match is None else equations.embed(self.features, self.E_match, tanh=self.config.tanh)
        visual_bias = None if self.visual_bias is None else self.features @ self.visual_bias
        return ItemArrays(self.gamma_i, e, e_match, self.beta, visual_bias)

    @torch.no_grad()
    def weights(self, popularity: Tensor, null_match: NullMatch, null_visual: NullVisual) -> Weights:
        """
        The arrays to serve, with the no-treatment terms of every user precomputed.

        Args:
            popularity: [I] training interactions per item; the no-treatment item averages over those above 0.
            null_match, null_visual: the null treatment; training does not depend on it, so any may be asked for.
        """
        items = self.items()
        trained = (popularity > 0).nonzero().squeeze(1).to(self.features.device)
        matrix = self.E if self.E_match is None else self.E_match
        e_mean = equations.embed(self.features[trained].mean(0), matrix, tanh=self.config.tanh)
        null = equations.null_item(items.take(trained), e_mean, match=null_match, visual=null_visual)
        match, visual = equations.null_logits(self.gamma_u, null)
        form = self.config.form
        parts = {
            "gamma_u": self.gamma_u,
            "theta_u": self.theta_u,
            "gamma_i": items.gamma,
            "e": items.e,
            "null_gamma": null.gamma,
            "null_e": null.e,
            "null_gamma_e": null.gamma_e,
            "null_beta": null.beta,
            "popularity": popularity,
            "M_null": match.sigmoid() if form == "paper" else None,
            "MV_null": visual.sigmoid() if form == "paper" else None,
            "m_null": match + visual if form == "authors" else None,
            "e_match": None if self.E_match is None else items.e_match,
            "beta": items.beta,
            "visual_bias": items.visual_bias,
        }
        detached = {
            name: part.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, part in parts.items()
            if part is not None
        }
        return Weights(form=form, **detached)
