"""Frozen ModelConfig and the torch Module over the equations."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Form = Literal["paper", "authors", "additive"]


class ModelConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    form: Form = "paper"
    """paper: σ(a)σ(b)σ(n) − λ2·c_u·σ(n) (Eq. 17-28). authors: σ(m+n)σ(m)σ(n) − λ2·σ(m*+n)σ(m*)σ(n), the authors'
    published code, with item biases and a visual matrix of its own for the match. additive: m + (1−λ2)·n."""
    dim: int = Field(32, ge=1, le=512)
    """Width d of γ, θ and e."""
