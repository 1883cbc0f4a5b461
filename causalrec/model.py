"""Which model a bundle holds: the frozen ModelConfig, and what λ2 can do to it."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from causalrec.equations import Form, NullMatch, NullVisual

Name = Literal["causalrec", "bpr", "vbpr", "deepstyle", "amr", "dvbpr"]
Folded = Literal["branches", "whole", "shared"]

UNDEBIASABLE: dict[Name, str] = {
    "bpr": "BPR-MF looks at no picture, so that there is no pull of a picture to take out",
    "dvbpr": "DVBPR scores by the picture alone: with its pull taken out nothing is left to rank by",
}


class ModelConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Name = "causalrec"
    """causalrec, or a model it is compared with: bpr (no picture), vbpr, deepstyle, amr, dvbpr (its own network over
    the pictures). All are served; λ2 takes out the direct effect of the picture where the model has one."""
    form: Form = "paper"
    """CausalRec's score. paper: σ(a)σ(b)σ(n) − λ2·c_u·σ(n) (Eq. 17-28). authors: σ(m+n)σ(m)σ(n) − λ2·σ(m*+n)σ(m*)σ(n),
    the authors' published code, with item and visual biases. sum: σ(a) + σ(b) + (1−λ2)·σ(n), fusion by addition.
    additive: m + (1−λ2)·n, the form of every other model."""
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
    pixels: int = Field(64, ge=16, le=256)
    """Side of the square pictures that dvbpr's own network sees."""

    @model_validator(mode="before")
    @classmethod
    def _additive_unless_causalrec(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name", "causalrec") != "causalrec":
            return {"form": "additive", **data}
        return data

    @model_validator(mode="after")
    def _form_of_the_model(self) -> Self:
        if self.name != "causalrec" and self.form != "additive":
            raise ValueError(
                f"form = {self.form!r} is CausalRec's alone; leave form out with name = {self.name!r}, "
                "or take name = 'causalrec'"
            )
        return self

    @property
    def two_matrices(self) -> bool:
        """Whether the match has a visual matrix of its own."""
        return self.visual_matrices == "two" or (self.visual_matrices == "form" and self.form == "authors")

    @property
    def folded(self) -> Folded:
        """
        What a history moves (`causalrec.foldin`), as training moved it. branches: γᵤ by the match and θᵤ by the notice,
        each fitted by a loss of its own. whole: both by the sum alone. shared: the one vector that γᵤ and θᵤ are.
        """
        if self.name == "causalrec":
            return "branches"
        return "shared" if self.name in ("amr", "deepstyle") else "whole"

    @property
    def undebiasable(self) -> str | None:
        """Why λ2 means nothing to this model; None where it does."""
        return UNDEBIASABLE.get(self.name)
