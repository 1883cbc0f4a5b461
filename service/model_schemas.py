"""What is said and answered of models, documented field by field."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from service.candidate import Reason
from service.models import Model, ModelState


class Shown(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class CanaryBody(BaseModel):
    """Whom a bundle is tried out on."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        strict=True,
        json_schema_extra={"examples": [{"share": 0.05}, {"share": 0.0}]},
    )

    share: float = Field(ge=0, le=1, allow_inf_nan=False)
    """Of all users; always the same ones, and more of them as it grows. 0 ends it."""


class RehearsalShown(Shown):
    """How it answered what had been asked lately, before it was served."""

    requests: int
    """How many it was asked."""
    refused: int
    """Of those, the ones that are wrong for this bundle: a λ2 beyond its range, a filter over a column it has not."""
    slower: float | None
    """Its time over that of the bundle that was served meanwhile; null where nothing was compared."""


class ModelShown(Shown):
    """One bundle that this replica has."""

    id: str | None
    """Its content id; null where its manifest cannot be read."""
    name: str
    """As it was exported; where its manifest cannot be read, its folder's."""
    model: str | None
    """Whose scores it makes: causalrec, or a model it is compared with."""
    form: str | None
    """Of the score: paper, authors, sum or additive."""
    undebiasable: str | None
    """Why λ2 means nothing to the model, so that 0 is all that may be asked for; null where it means something."""
    users: int | None
    """How many it was trained with."""
    items: int | None
    """How many it was trained with."""
    path: str
    """Its folder."""
    state: ModelState
    """serving; previous: in memory, to go back to; canary; shadow; available; refused: could not be served."""
    reason: Reason | None
    """Why it was refused, as one word."""
    detail: str | None
    """The same in words, and the way out."""
    loaded_at: float | None
    """When, in seconds since 1970; null where it is not in memory."""
    golden: int | None
    """Golden answers that were replayed when it was loaded."""
    rehearsal: RehearsalShown | None
    """What else it had to answer then; null where another bundle was not being served."""


class CanaryShown(Shown):
    """The bundle that is being tried out."""

    id: str
    """Its content id."""
    share: float
    """Of the users, that it answers."""


class ModelsAnswer(Shown):
    """The bundles of this replica."""

    serving: str
    """Content id of what is served."""
    canary: CanaryShown | None
    """What a share of the users is answered by instead."""
    wanted: str | None
    """What all replicas are to serve; null: each what its own path names."""
    behind: bool
    """Whether this one cannot: it has no such bundle, or had to refuse it."""
    models: list[ModelShown]
    """Each of them."""


class ChangedAnswer(ModelsAnswer):
    """The bundles of this replica after a change."""

    all_replicas: bool
    """Whether the others will hear of it; false while Redis is away: then it is of this replica alone."""


def models_shown(models: Sequence[Model]) -> list[ModelShown]:
    """Each of them."""
    return [_shown(each) for each in models]


def _shown(model: Model) -> ModelShown:
    manifest, resident, refusal = model.manifest, model.resident, model.refusal
    rehearsed = resident.rehearsed if resident is not None else None
    return ModelShown(
        id=model.id,
        name=model.path.name if manifest is None else manifest.name,
        model=None if manifest is None else manifest.model.name,
        form=None if manifest is None else manifest.form,
        undebiasable=None if manifest is None else manifest.model.undebiasable,
        users=None if manifest is None else manifest.users,
        items=None if manifest is None else manifest.items,
        path=str(model.path),
        state=model.state,
        reason=None if refusal is None else refusal.reason,
        detail=None if refusal is None else refusal.detail,
        loaded_at=None if resident is None else resident.loaded_at,
        golden=None if resident is None else len(resident.ranker.bundle.golden),
        rehearsal=None if rehearsed is None else RehearsalShown(**rehearsed._asdict()),
    )


SERVED: Final[dict[str, Any]] = {
    "id": "0f343b0931126a20d5a1b6e6ad3cbf1c5dbb1d3e0ad35d6e26d0a4b1e4b5c6a7",
    "name": "shop",
    "model": "causalrec",
    "form": "paper",
    "undebiasable": None,
    "users": 2000,
    "items": 1200,
    "path": "/bundles/shop-0f343b093112",
    "state": "serving",
    "reason": None,
    "detail": None,
    "loaded_at": 1_767_229_200.0,
    "golden": 6,
    "rehearsal": {"requests": 100, "refused": 0, "slower": 1.02},
}
REFUSED: Final[dict[str, Any]] = {
    **SERVED,
    "id": "7be1c2a90d44e6f0b8a2c1d3e4f5061728394a5b6c7d8e9f00112233445566aa",
    "path": "/bundles/shop-7be1c2a90d44",
    "state": "refused",
    "reason": "golden",
    "detail": "golden: /bundles/shop-7be1c2a90d44/golden.json: golden answer of user 'ann' at lambda2=0.8: place 1 "
    "scores 0.31, expected 0.42; export the bundle again with this version",
    "loaded_at": None,
    "golden": None,
    "rehearsal": None,
}
EXAMPLE: Final[dict[str, Any]] = {
    "serving": SERVED["id"],
    "canary": None,
    "wanted": SERVED["id"],
    "behind": False,
    "models": [SERVED, REFUSED],
}
CHANGED: Final[dict[str, Any]] = {**EXAMPLE, "all_replicas": True}
