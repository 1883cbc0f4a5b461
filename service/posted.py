"""Bodies of POST /v1/recommendations and of its batch."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
)

from service.events import EventType
from service.planning import Pin, Wanted
from service.rules import Boost, Cap
from service.schemas import MAX_CANDIDATES, MAX_K, ONE, SEVERAL, Finite, ItemId, Listing, UserId

MAX_BATCH = 64
MAX_LAMBDA2 = 16
MAX_HISTORY = 200
MAX_PINS = 100
MAX_BOOSTS = 8

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True, strict=True)

OneOrSeveral = Annotated[
    Annotated[Finite, Tag(ONE)] | Annotated[list[Finite], Field(min_length=1, max_length=MAX_LAMBDA2), Tag(SEVERAL)],
    Discriminator(lambda value: SEVERAL if isinstance(value, list) else ONE),
]


def _single(value: object) -> object:
    if isinstance(value, list):
        raise ValueError("takes one value in a batch; a list is for POST /v1/recommendations")  # noqa: TRY004
    return value


def _form(value: object) -> str:
    """An id by itself, or an object that has one."""
    return ONE if isinstance(value, str) else SEVERAL


class Done(BaseModel):
    """What was done with one item."""

    model_config = STRICT

    item_id: ItemId
    type: EventType = "click"
    """A purchase says most, then rating, cart and click; an impression says nothing."""


class Pinned(BaseModel):
    """One item with its place."""

    model_config = STRICT

    item_id: ItemId
    position: int = Field(ge=1, le=MAX_K)
    """From 1; at most k."""


class Boosted(BaseModel):
    """What is added to the score of some items before they are ranked."""

    model_config = STRICT

    filter: dict[str, Any]
    """Which items; written as the request's `filter`."""
    by: Annotated[Finite, Field(ge=-10, le=10)]
    """How much; negative buries. Scores lie between −λ2 and 1 (for a cold_user below 0.04), in the additive form
    anywhere."""


class MaxPerCategory(BaseModel):
    """No more than so many alike."""

    model_config = STRICT

    field: str = "category"
    """The attribute that makes items alike; items without one are not counted."""
    max: int = Field(ge=1, le=MAX_K)
    """How many items of one list may have the same value of it; pinned ones count, and stay."""


PinOrId = Annotated[Annotated[ItemId, Tag(ONE)] | Annotated[Pinned, Tag(SEVERAL)], Discriminator(_form)]
DoneOrId = Annotated[Annotated[ItemId, Tag(ONE)] | Annotated[Done, Tag(SEVERAL)], Discriminator(_form)]


class Posted(Listing):
    """One user's request as a body."""

    model_config = ConfigDict(strict=True)

    history: list[DoneOrId] | None = Field(None, max_length=MAX_HISTORY, fail_fast=True, examples=[["item-007"]])
    """What the user did, newest first: item ids (taken for clicks), or objects with item_id and type. It moves the
    answer, is left out of it where exclude_seen says so, and is not remembered. Unknown items are passed over."""
    user_id: UserId | None = Field(None, validate_default=True)
    """Whom to recommend to. Somebody unknown gets the cold answer, not an error; may be left out where history is
    given."""
    candidate_item_ids: list[ItemId] | None = Field(None, max_length=MAX_CANDIDATES, fail_fast=True)
    """Rank only these (less the excluded). Ids that are no items are listed in the answer's unknown_item_ids."""
    filter: dict[str, Any] | None = Field(None, examples=[{"category": ["shoe", "hat"], "price": {"lt": 50}}])
    """Only items whose attributes match, however far down the ranking they stand. {"category": "shoe"} equals; a list
    is any of its values; {"price": {"gte": 10, "lt": 50}} compares: eq, ne, in, gt, gte, lt, lte, exists. All fields of
    one object must match; {"all": [...]}, {"any": [...]}, {"not": {...}} combine objects, 8 deep at most, with 64
    conditions and 1,000 values in all. An absent attribute matches {"exists": false} alone; a list matches by any of
    its elements."""
    pin: list[PinOrId] | None = Field(None, max_length=MAX_PINS, examples=[["item-007"]])
    """Items that stand at given positions: objects with item_id and position, or ids alone, which take the position at
    which they stand here. A pin that may not be in the answer (hidden, excluded, seen, no match of the filter, no
    candidate) is passed over, and named in the answer's pins_passed_over."""
    boost: list[Boosted] = Field([], max_length=MAX_BOOSTS)
    """Items that match are ranked by score + by; those that match several, by the sum. Scores stay as they are."""
    max_per_category: MaxPerCategory | None = None
    """Variety: how many items of one list may be alike."""

    @field_validator("user_id")
    @classmethod
    def _somebody(cls, user_id: str | None, info: ValidationInfo) -> str | None:
        if user_id is None and info.data.get("history", ()) is None:
            raise ValueError("field required: whom to recommend to; or give history, for somebody without an id")
        return user_id

    @field_validator("pin")
    @classmethod
    def _distinct(cls, pin: list[str | Pinned] | None, info: ValidationInfo) -> list[str | Pinned] | None:
        k, pins = info.data.get("k", MAX_K), _pins(pin) or ()
        for kind, values in (("item", [each.item_id for each in pins]), ("position", [each.position for each in pins])):
            if twice := next((value for place, value in enumerate(values) if value in values[:place]), None):
                raise ValueError(f"has {kind} {twice!r} twice; an item stands at one position, and has it for itself")
        if beyond := next((each.position for each in pins if each.position > k), None):
            raise ValueError(f"has position {beyond}, beyond the end of a list of k={k}")
        return pin

    def _wanted(self, lambda2: float | list[float] | None) -> Wanted:
        cap = self.max_per_category
        done = [Done(item_id=each) if isinstance(each, str) else each for each in self.history or ()]
        return Wanted(
            user_id=self.user_id,
            k=self.k,
            lambda2=None if lambda2 is None else tuple(lambda2) if isinstance(lambda2, list) else (lambda2,),
            exclude_seen=self.exclude_seen,
            exclude_item_ids=self.exclude_item_ids,
            candidates=self.candidates,
            explain=self.explain,
            candidate_item_ids=self.candidate_item_ids,
            listed=isinstance(lambda2, list),
            history=[(each.item_id, each.type) for each in done],
            filter=self.filter,
            pins=_pins(self.pin),
            boosts=[Boost(each.filter, each.by) for each in self.boost],
            cap=None if cap is None else Cap(cap.field, cap.max),
        )


class RecommendationRequest(Posted):
    """One user's request, at one λ2 or at several."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "ann", "k": 2, "lambda2": 0.6, "exclude_item_ids": ["item-007"]},
                {"user_id": "ann", "k": 2, "lambda2": [0.0, 0.6, 1.2]},
                {"history": ["item-007", {"item_id": "item-030", "type": "purchase"}], "k": 2},
                {
                    "user_id": "ann",
                    "k": 6,
                    "filter": {"price": {"gte": 10, "lt": 50}, "not": {"category": "coat"}},
                    "pin": [{"item_id": "item-007", "position": 2}],
                    "boost": [{"filter": {"category": "hat"}, "by": 0.1}],
                    "max_per_category": {"field": "category", "max": 3},
                },
            ]
        },
    )

    lambda2: OneOrSeveral | None = Field(None, examples=[0.6, [0.0, 0.6, 1.2]])
    """How much of the picture's direct pull to remove: 0 nothing, 1 all of it, more over-removes. Within the bundle's
    range (at most 0 to 3 unless it says otherwise); left out, the λ2 of an experiment that the user is in, else the
    bundle's default. A list of 1 to 16 values is answered by {"answers": [...]}, one answer per value in their
    order."""

    def wanted(self) -> Wanted:
        """The request."""
        return self._wanted(self.lambda2)


class BatchedRequest(Posted):
    """One user's request among several."""

    lambda2: Annotated[Finite | None, BeforeValidator(_single)] = Field(None, examples=[0.6])
    """How much of the picture's direct pull to remove; one value. Left out, that of an
    experiment that the user is in, else the bundle's default."""

    def wanted(self) -> Wanted:
        """The request."""
        return self._wanted(self.lambda2)


class BatchRequest(BaseModel):
    """Several requests in one; λ2, k, exclusions and rules may differ between them."""

    model_config = STRICT

    requests: list[BatchedRequest] = Field(min_length=1, max_length=MAX_BATCH, fail_fast=True)
    """All of them are answered, or none: an error names its index."""


def _pins(pin: list[str | Pinned] | None) -> list[Pin] | None:
    if pin is None:
        return None
    return [
        Pin(each, place) if isinstance(each, str) else Pin(each.item_id, each.position)
        for place, each in enumerate(pin, start=1)
    ]
