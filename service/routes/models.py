"""The bundles of this replica: which is served, tried out, gone back to."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import StringConstraints

from service.live import Live
from service.model_schemas import (
    CHANGED,
    EXAMPLE,
    CanaryBody,
    CanaryShown,
    ChangedAnswer,
    ModelsAnswer,
    models_shown,
)
from service.models import Models
from service.problem_kinds import (
    INVALID,
    MODEL_CONFLICT,
    MODEL_REFUSED,
    NO_SUCH_MODEL,
    NOT_READY,
    TOO_LARGE,
    UNREADABLE,
    WRONG_MEDIA_TYPE,
    documented,
)
from service.routes.delivery import part
from service.routes.direct import DirectRoute
from service.routes.experiments import ACTOR, actor, answered, shown

router = APIRouter(tags=["models"], route_class=DirectRoute)

ALL, ONE = "/v1/models", "/v1/models/{model_id}"
ModelId = Annotated[
    str,
    StringConstraints(max_length=64),
    Path(description="Its content id, or the 12 or more first characters of it, as its folder's name has them."),
]
DONE: dict[str, Any] = shown(ChangedAnswer, CHANGED)


@router.get(
    ALL,
    summary="The bundles of this replica",
    response_class=Response,
    responses={200: shown(ModelsAnswer, EXAMPLE), **documented(NOT_READY)},
)
async def list_models(request: Request) -> Response:
    """Those beside the one that the service was started with, and what became of each; also while Redis is away."""
    return answered(ModelsAnswer(**await _state(request)))


@router.post(
    f"{ONE}/activate",
    summary="Serve a bundle",
    response_class=Response,
    responses={200: DONE, **documented(NO_SUCH_MODEL, MODEL_REFUSED, NOT_READY)},
    openapi_extra=ACTOR,
)
async def activate(request: Request, model_id: ModelId) -> Response:
    """
    Loaded beside the one that is served, verified, its golden answers replayed, warmed with what was asked lately: it
    is served here when this is answered, and then by every replica that has it. One that cannot be served is a 422 that
    says why, and nothing changes. One that is served already is a 200.
    """
    return await _changed(request, await models(request).activate(model_id, actor(request)))


@router.post(
    f"{ALL}/rollback",
    summary="Serve the bundle before",
    response_class=Response,
    responses={200: DONE, **documented(MODEL_CONFLICT, MODEL_REFUSED, NOT_READY)},
    openapi_extra=ACTOR,
)
async def roll_back(request: Request) -> Response:
    """At once, from memory, with keep_previous; here when this is answered, then on every replica that has it."""
    return await _changed(request, await models(request).roll_back(actor(request)))


@router.post(
    f"{ONE}/canary",
    summary="Try a bundle out on a share of the users",
    response_class=Response,
    responses={
        200: DONE,
        **documented(NO_SUCH_MODEL, MODEL_CONFLICT, UNREADABLE, TOO_LARGE, WRONG_MEDIA_TYPE, INVALID, NOT_READY),
    },
    openapi_extra=ACTOR,
)
async def canary(request: Request, model_id: ModelId, body: CanaryBody) -> Response:
    """
    Always the same users, and more of them as the share grows; bundle_id in their answers says so. A share of 0 ends
    it; activate makes it what everybody gets. Experiments on λ2 are decided apart from it.
    """
    return await _changed(request, await models(request).try_out(model_id, body.share, actor(request)))


def models(request: Request) -> Models:
    """The use cases of the application that `request` came to."""
    found: Models = part(request, "models")
    return found


async def _changed(request: Request, all_replicas: bool) -> Response:
    return answered(ChangedAnswer(**await _state(request), all_replicas=all_replicas))


async def _state(request: Request) -> dict[str, Any]:
    live: Live = part(request, "live")
    every = await models(request).every()
    lineup, wanted = live.loaded_lineup, models(request).wanted
    tried = lineup.canary
    return {
        "serving": lineup.stable.id,
        "canary": None if tried is None else CanaryShown(id=tried.resident.id, share=tried.share),
        "wanted": wanted.serving,
        "behind": models(request).behind is not None,
        "models": models_shown(every),
    }
