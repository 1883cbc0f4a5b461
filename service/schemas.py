"""Query parameters and answers. Answers are declared for the documentation and encoded by `service.answers`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from causalrec.ids import MAX_ID_LENGTH, problem_with
from causalrec.model import Name
from service.planning import Wanted, WantedPath

MAX_K = 500
MAX_CANDIDATES = 10_000
MAX_EXCLUDED = 1000
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
ONE, SEVERAL = "<one>", "<several>"  # which of two forms a value has; `problems` leaves them out of field names


class Exclusions(BaseModel):
    model_config = DESCRIBED

    exclude_seen: bool = True
    """Leave out what the user has interacted with: in the training data, and since (clicks, carts, purchases and
    ratings unless the service is set otherwise; seeing an item is no interaction)."""
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
    range (at most 0 to 3 unless it says otherwise; only 0 where the model cannot be debiased); left out, the λ2 of an
    experiment that the user is in, else the bundle's default. Who names it here is in no experiment."""

    def wanted(self, user_id: str) -> Wanted:
        """The request of `user_id` with these options."""
        lambda2 = None if self.lambda2 is None else (self.lambda2,)
        return Wanted(user_id, self.k, lambda2, self.exclude_seen, self.exclude_item_ids, self.candidates, self.explain)


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
    """The item fits the user: σ(a) in the paper's form and in the sum; σ(m), m = a + b, in the authors'; a in the
    additive form, which every model but CausalRec has."""
    visual_match: float
    """The picture fits the user's taste: σ(b); b in the additive form, 0 but in CausalRec. In the authors' form it is a
    part of match and not a factor of its own."""
    notice: float
    """The picture catches the user's eye: σ(n); n in the additive form."""
    undebiased: float
    """The score at λ2 = 0: match·visual_match·notice (paper), match·notice·σ(m+n) (authors), match + visual_match +
    notice (sum, additive)."""
    removed: float
    """The picture's direct effect, times λ2: score = undebiased − removed."""
    rank_at_zero: int
    """The rank this item has in the same request at λ2 = 0; by score alone: pins, boosts and max_per_category are left
    aside."""


class AnsweredExperiment(BaseModel):
    """The experiment that an answer is a part of."""

    model_config = DESCRIBED

    key: str
    version: int
    variant: str
    propensity: float | None
    """How likely this variant was for the user: a probability; a density over λ2 where λ2 is drawn at random; null for
    a user who was given the variant by name, and is not counted."""


class RecommendedItem(BaseModel):
    model_config = DESCRIBED

    item_id: str
    rank: int
    """From 1, without gaps; equal scores (with boosts: equal sums) stand in the order of their ids."""
    score: float
    """Debiased score; comparable within one answer. For a cold_user: 1/(60 + rank for the mean user) + 1/(60 + rank by
    popularity)."""
    boost: float | None = None
    """With boosts only: what the request's boosts add up to for this item. Items are ranked by score + boost."""
    pinned: bool | None = None
    """True where the request pinned the item here; absent otherwise."""
    lambda2: float | None = None
    """Where an experiment mixed the lists of two λ2: the one that put the item here."""
    explain: Explanation | None = None
    """Only where it was asked for."""


class RecommendationAnswer(BaseModel):
    """A pure function of bundle, live catalogue, experiments, what is remembered of the user, and request."""

    model_config = DESCRIBED

    bundle_id: str
    """Content id of the bundle that answered."""
    model: Name
    """Whose scores these are: causalrec, or a model it is compared with."""
    undebiasable: str | None = None
    """Only where the model cannot be debiased: why. λ2 is 0 then, and no other may be asked for."""
    lambda2: float | None
    """The λ2 ranked at; null where the lists of two were mixed: then every item has its own."""
    lambda2_source: Literal["request", "experiment", "default"]
    """Who chose it: the request, an experiment that the user is in, or the bundle."""
    experiment: AnsweredExperiment | None = None
    """Only where an experiment chose λ2: the answer is recorded as a part of it."""
    items: list[RecommendedItem]
    """Best first (pinned items at their positions); shorter than k only when nothing eligible is left, or
    max_per_category lets nothing more in."""
    source: Literal["personal", "history", "cold_user"]
    """personal: from what training learnt of the user, moved by what they did since. history: the user is not in the
    bundle, so from what they did alone. cold_user: nothing is known, so the mean user's ranking is fused with the most
    popular."""
    exact: bool
    """Whether the list is proved to be the true top k, by certificate or by scoring every item."""
    unknown_item_ids: list[str] | None = None
    """With candidate_item_ids only: those of them that are no items."""
    pins_passed_over: list[str] | None = None
    """With pin only: those of them that may not be in the answer (hidden, excluded, seen, no match of the filter, no
    candidate) or are no items."""


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
    """A pure function of bundle, live catalogue, what is remembered of the user, and request."""

    model_config = DESCRIBED

    bundle_id: str
    """Content id of the bundle that answered."""
    model: Name
    """Whose scores these are: causalrec, or a model it is compared with."""
    undebiasable: str | None = None
    """Only where the model cannot be debiased: why. λ2 is 0 then, and no other may be asked for."""
    source: Literal["personal", "history"]
    """As in a recommendation's answer."""
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
