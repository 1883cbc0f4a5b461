"""Request and response bodies. Answers are declared for the documentation and encoded by `service.answers`."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
)

from causalrec.ids import MAX_ID_LENGTH, problem_with
from service.planning import Wanted, WantedPath

MAX_K = 500
MAX_CANDIDATES = 10_000
MAX_EXCLUDED = 1000
MAX_BATCH = 64
MAX_LAMBDA2 = 16
MAX_PATH_K = 100

DESCRIBED = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _acceptable(user_id: str) -> str:
    if reason := problem_with(user_id):
        raise ValueError(f"the id {reason}")
    return user_id


UserId = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH), AfterValidator(_acceptable), Field(examples=["ann"])
]
ItemId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]


Finite = Annotated[float, Field(allow_inf_nan=False)]
ONE, SEVERAL = "<one>", "<several>"  # which of both a λ2 is; `problems` leaves them out of field names
OneOrSeveral = Annotated[
    Annotated[Finite, Tag(ONE)] | Annotated[list[Finite], Field(min_length=1, max_length=MAX_LAMBDA2), Tag(SEVERAL)],
    Discriminator(lambda value: SEVERAL if isinstance(value, list) else ONE),
]


def _single(value: object) -> object:
    if isinstance(value, list):
        raise ValueError("takes one value in a batch; a list is for POST /v1/recommendations")  # noqa: TRY004
    return value


class Exclusions(BaseModel):
    model_config = DESCRIBED

    exclude_seen: bool = True
    """Leave out what the user has interacted with in the training data."""
    exclude_item_ids: list[ItemId] = Field([], max_length=MAX_EXCLUDED, fail_fast=True)
    """Items that must not be returned; ids that are no items are passed over."""


class Listing(Exclusions):
    """What may be asked of a list at any λ2."""

    k: int = Field(10, ge=1, le=MAX_K)
    """How many items."""
    candidates: int | None = Field(None, ge=1, le=MAX_CANDIDATES)
    """How many items one search of an index may return before exact ranking; left out, the service's default."""
    explain: bool = False
    """Give every item's causal terms."""


class Options(Listing):
    """What may be asked of a ranking, as query parameters."""

    lambda2: Finite | None = Field(None, examples=[0.6])
    """How much of the picture's direct pull to remove: 0 nothing, 1 all of it, more over-removes. Within the bundle's
    range (at most 0 to 3 unless it says otherwise); left out, the bundle's default."""

    def wanted(self, user_id: str) -> Wanted:
        """The request of `user_id` with these options."""
        lambda2 = None if self.lambda2 is None else (self.lambda2,)
        return Wanted(user_id, self.k, lambda2, self.exclude_seen, self.exclude_item_ids, self.candidates, self.explain)


class Posted(Listing):
    """One user's request as a body."""

    model_config = ConfigDict(strict=True)

    user_id: UserId
    """Whom to recommend to. Somebody unknown gets the cold answer, not an error."""
    candidate_item_ids: list[ItemId] | None = Field(None, max_length=MAX_CANDIDATES, fail_fast=True)
    """Rank only these (less the excluded). Ids that are no items are listed in the answer's unknown_item_ids."""

    def _wanted(self, lambda2: float | list[float] | None) -> Wanted:
        listed = isinstance(lambda2, list)
        return Wanted(
            user_id=self.user_id,
            k=self.k,
            lambda2=None if lambda2 is None else tuple(lambda2) if isinstance(lambda2, list) else (lambda2,),
            exclude_seen=self.exclude_seen,
            exclude_item_ids=self.exclude_item_ids,
            candidates=self.candidates,
            explain=self.explain,
            candidate_item_ids=self.candidate_item_ids,
            listed=listed,
        )


class RecommendationRequest(Posted):
    """One user's request, at one λ2 or at several."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "ann", "k": 2, "lambda2": 0.6, "exclude_item_ids": ["item-007"]},
                {"user_id": "ann", "k": 2, "lambda2": [0.0, 0.6, 1.2]},
            ]
        },
    )

    lambda2: OneOrSeveral | None = Field(None, examples=[0.6, [0.0, 0.6, 1.2]])
    """How much of the picture's direct pull to remove: 0 nothing, 1 all of it, more over-removes. Within the bundle's
    range (at most 0 to 3 unless it says otherwise); left out, the bundle's default. A list of 1 to 16 values is
    answered by {"answers": [...]}, one answer per value in their order."""

    def wanted(self) -> Wanted:
        """The request."""
        return self._wanted(self.lambda2)


class BatchedRequest(Posted):
    """One user's request among several."""

    lambda2: Annotated[Finite | None, BeforeValidator(_single)] = Field(None, examples=[0.6])
    """How much of the picture's direct pull to remove; one value. Left out, the bundle's default."""

    def wanted(self) -> Wanted:
        """The request."""
        return self._wanted(self.lambda2)


class BatchRequest(BaseModel):
    """Several requests in one; λ2, k and exclusions may differ between them."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, strict=True)

    requests: list[BatchedRequest] = Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)
    """All of them are answered, or none: an error names its index."""


class PathOptions(Exclusions):
    """What may be asked of a λ2 path, as query parameters."""

    k: int = Field(10, ge=1, le=MAX_PATH_K)
    """How many items each list has."""
    max: Finite | None = Field(None, ge=0, examples=[2.0])
    """Where the path ends: it covers λ2 from 0 to here. Left out, the end of the bundle's range."""

    def wanted(self, user_id: str) -> WantedPath:
        """The request of `user_id` with these options."""
        return WantedPath(user_id, self.k, self.max, self.exclude_seen, self.exclude_item_ids)


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
    """One per request, or per λ2 of the one request, in their order."""


class PathPiece(BaseModel):
    model_config = DESCRIBED

    start: float = Field(alias="from")
    """λ2 from which this list holds; at the very end of a piece its list ties with the next one's."""
    to: float
    item_ids: list[str]
    """Best first."""


class PathAnswer(BaseModel):
    """A pure function of bundle and request."""

    model_config = DESCRIBED

    bundle_id: str
    """Content id of the bundle that answered."""
    source: Literal["personal"]
    k: int
    max: float
    """The λ2 asked for as the end."""
    pieces: list[PathPiece]
    """From λ2 = 0 on, without gaps; neighbours differ in their items or in their order."""
    truncated: bool
    """There are more than 2,000 pieces: the last one given ends before max."""


class Health(BaseModel):
    model_config = DESCRIBED

    status: Literal["alive", "ready"]
    bundle_id: str | None = None
    """Of the bundle being served, once ready."""
