"""Request and response bodies. Answers are declared for the documentation and encoded by `service.answers`."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from causalrec.ids import MAX_ID_LENGTH, problem_with

MAX_K = 500
MAX_CANDIDATES = 10_000
MAX_EXCLUDED = 1000
MAX_BATCH = 64

DESCRIBED = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _acceptable(user_id: str) -> str:
    if reason := problem_with(user_id):
        raise ValueError(f"the id {reason}")
    return user_id


UserId = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH), AfterValidator(_acceptable), Field(examples=["ann"])
]
ItemId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]


class Options(BaseModel):
    """What may be asked of a ranking, as query parameters."""

    model_config = DESCRIBED

    k: int = Field(10, ge=1, le=MAX_K)
    """How many items."""
    lambda2: float | None = Field(None, allow_inf_nan=False, examples=[0.6])
    """How much of the picture's direct pull to remove: 0 nothing, 1 all of it, more over-removes. Within the bundle's
    range (at most 0 to 3 unless it says otherwise); left out, the bundle's default."""
    exclude_seen: bool = True
    """Leave out what the user has interacted with in the training data."""
    exclude_item_ids: list[ItemId] = Field([], max_length=MAX_EXCLUDED, fail_fast=True)
    """Items that must not be returned; ids that are no items are passed over."""
    candidates: int | None = Field(None, ge=1, le=MAX_CANDIDATES)
    """How many items one search of the index may return before exact ranking; left out, the service's default."""
    explain: bool = False
    """Give every item's causal terms."""


class RecommendationRequest(Options):
    """One user's request."""

    model_config = ConfigDict(
        strict=True,
        json_schema_extra={"examples": [{"user_id": "ann", "k": 2, "lambda2": 0.6, "exclude_item_ids": ["item-007"]}]},
    )

    user_id: UserId
    """Whom to recommend to. Somebody unknown gets the cold answer, not an error."""
    candidate_item_ids: list[ItemId] | None = Field(None, max_length=MAX_CANDIDATES, fail_fast=True)
    """Rank only these (less the excluded). Ids that are no items are listed in the answer's unknown_item_ids."""


class BatchRequest(BaseModel):
    """Several requests in one; λ2, k and exclusions may differ between them."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, strict=True)

    requests: list[RecommendationRequest] = Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)
    """All of them are answered, or none: an error names its index."""


class Explanation(BaseModel):
    """
    One item's score taken apart (to 12 decimals). With a = γᵤ·γᵢ, b = γᵤ·(γᵢ∘eᵢ), n = θᵤ·eᵢ and σ the logistic
    function; for a cold_user the terms are the mean user's, and the score is not made of them.
    """

    model_config = DESCRIBED

    match: float
    """The item fits the user: σ(a) in the paper's form; σ(m), m = a + b, in the authors'; a in the additive form."""
    visual_match: float
    """The picture fits the user's taste: σ(b); b in the additive form. In the authors' form it is a part of match and
    not a factor of its own."""
    notice: float
    """The picture catches the user's eye: σ(n); n in the additive form."""
    undebiased: float
    """The score at λ2 = 0: match·visual_match·notice (paper), match·notice·σ(m+n) (authors), the sum (additive)."""
    removed: float
    """The picture's direct effect, times λ2: score = undebiased − removed."""
    rank_at_zero: int
    """The rank this item has in the same request at λ2 = 0."""


class RecommendedItem(BaseModel):
    model_config = DESCRIBED

    item_id: str
    rank: int
    """From 1, without gaps; equal scores stand in the order of their ids."""
    score: float
    """Debiased score; comparable within one answer. For a cold_user: 1/(60 + rank for the mean user) + 1/(60 + rank by
    popularity)."""
    explain: Explanation | None = None
    """Only where it was asked for."""


class RecommendationAnswer(BaseModel):
    """A pure function of bundle and request."""

    model_config = DESCRIBED

    bundle_id: str
    """Content id of the bundle that answered."""
    lambda2: float
    """The λ2 ranked at."""
    lambda2_source: Literal["request", "default"]
    items: list[RecommendedItem]
    """Best first; shorter than k only when nothing eligible is left."""
    source: Literal["personal", "cold_user"]
    """cold_user: the user is not in the bundle, so the mean user's ranking is fused with the most popular."""
    exact: bool
    """Whether the list is proved to be the true top k, by certificate or by scoring every item."""
    unknown_item_ids: list[str] | None = None
    """With candidate_item_ids only: those of them that are no items."""


class BatchAnswer(BaseModel):
    model_config = DESCRIBED

    answers: list[RecommendationAnswer]
    """One per request, in their order."""


class Health(BaseModel):
    model_config = DESCRIBED

    status: Literal["alive", "ready"]
    bundle_id: str | None = None
    """Of the bundle being served, once ready."""


ANSWER_EXAMPLE: dict[str, Any] = {
    "bundle_id": "0f343b0931126a20f133d67c2b018a3b5f1f3d8f2c1e4b7a9d6c5e8f7a1b2c3d",
    "lambda2": 0.6,
    "lambda2_source": "request",
    "items": [
        {"item_id": "item-115", "rank": 1, "score": 0.496126012101},
        {"item_id": "item-185", "rank": 2, "score": 0.487209315998},
    ],
    "source": "personal",
    "exact": True,
}
EXPLAINED_EXAMPLE: dict[str, Any] = {
    **ANSWER_EXAMPLE,
    "items": [
        {
            "item_id": "item-115",
            "rank": 1,
            "score": 0.4352,
            "explain": {
                "match": 0.9,
                "visual_match": 0.8,
                "notice": 0.8,
                "undebiased": 0.576,
                "removed": 0.1408,
                "rank_at_zero": 3,
            },
        }
    ],
}
