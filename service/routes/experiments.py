"""Experiments on λ2: made, changed, started and ended; who gets what; what they say."""

from contextlib import suppress
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from causalrec.errors import RequestError
from service import experiment_answers as answers
from service.experiment_answers import (
    AssignmentAnswer,
    ExperimentAnswer,
    ExperimentsAnswer,
    HoldoutAnswer,
)
from service.experiment_schemas import (
    ExperimentBody,
    HoldoutBody,
    Key,
    ReadOptions,
    StartBody,
    StopBody,
    VersionBody,
)
from service.experimenting import Experiments
from service.experiments.model import Experiment
from service.problem_kinds import (
    EXPERIMENT_CONFLICT,
    INVALID,
    NO_SUCH_EXPERIMENT,
    STATE_AWAY,
    TOO_LARGE,
    UNREADABLE,
    WRONG_MEDIA_TYPE,
    documented,
)
from service.routes.delivery import part
from service.routes.direct import DirectRoute, json_body
from service.schemas import UserId

B = TypeVar("B", bound=BaseModel)

router = APIRouter(tags=["experiments"], route_class=DirectRoute)

ALL, ONE, HOLDOUT = "/v1/experiments", "/v1/experiments/{key}", "/v1/experiments-holdout"
LONGEST_ACTOR = 128
UNCACHED = {"Cache-Control": "no-store"}
KeyPath = Annotated[Key, Path(description="Which experiment.")]
ACTOR: dict[str, Any] = {
    "parameters": [
        {
            "name": "X-Actor",
            "in": "header",
            "description": "Who asks, for the audit log; where an API key is asked for, its name counts instead.",
            "schema": {"type": "string", "maxLength": LONGEST_ACTOR, "default": "unknown"},
        }
    ]
}


class AssignmentOptions(ReadOptions):
    """Whose assignment."""

    user_id: UserId
    """Whose; being asked about exposes nobody."""


def shown(model: type[BaseModel], example: object) -> dict[str, Any]:
    """How a successful answer is documented."""
    return {"model": model, "content": {"application/json": {"example": example}}}


READ = documented(NO_SUCH_EXPERIMENT, INVALID, STATE_AWAY)
CHANGE = documented(EXPERIMENT_CONFLICT, INVALID, STATE_AWAY)
CHANGE_ONE = CHANGE | documented(NO_SUCH_EXPERIMENT)
BODY = documented(UNREADABLE, TOO_LARGE, WRONG_MEDIA_TYPE)
SHOWN = shown(ExperimentAnswer, answers.EXPERIMENT)
HELD = answers.EXPERIMENTS["holdout"]


def optional(model: type[BaseModel]) -> dict[str, Any]:
    """How a body that may be left out is documented."""
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {**ACTOR, "requestBody": {"required": False, "content": content}}


@router.get(
    ALL,
    summary="Every experiment",
    response_class=Response,
    responses={200: shown(ExperimentsAnswer, answers.EXPERIMENTS), **documented(STATE_AWAY)},
)
async def list_experiments(request: Request) -> Response:
    """As this process knows them, also while Redis is away."""
    return answered(ExperimentsAnswer.of(await experiments(request).known()))


@router.post(
    ALL,
    summary="Make an experiment",
    response_class=Response,
    status_code=201,
    responses={201: SHOWN, **CHANGE, **BODY},
    openapi_extra=ACTOR,
)
async def create(request: Request, body: ExperimentBody) -> Response:
    """A draft: nobody gets it before it is started. A change of it is a new version; versions do not change."""
    made = await experiments(request).create(body.key, body.said(), actor(request))
    return _one(made, 201)


@router.get(ONE, summary="One experiment", response_class=Response, responses={200: SHOWN, **READ})
async def get(request: Request, key: KeyPath) -> Response:
    """With all its versions, as this process knows it, also while Redis is away."""
    return _one(await experiments(request).get(key))


@router.post(
    f"{ONE}/versions",
    summary="Make a new version",
    response_class=Response,
    status_code=201,
    responses={201: SHOWN, **CHANGE_ONE, **BODY},
    openapi_extra=ACTOR,
)
async def make_version(request: Request, key: KeyPath, body: VersionBody) -> Response:
    """What is left out is as in the newest version. It is in force once it is started; until then the old one is."""
    return _one(await experiments(request).version(key, body.said(), actor(request)), 201)


@router.post(
    f"{ONE}/start",
    summary="Start, go on, or put another version in force",
    response_class=Response,
    responses={200: SHOWN, **CHANGE_ONE, **BODY},
    openapi_extra=optional(StartBody),
)
async def start(request: Request, key: KeyPath) -> Response:
    """On this replica from now on, on others within a second."""
    body = await _optional(request, StartBody)
    return _one(await experiments(request).start(key, body.version, actor(request)))


@router.post(
    f"{ONE}/pause",
    summary="Pause",
    response_class=Response,
    responses={200: SHOWN, **CHANGE_ONE},
    openapi_extra=ACTOR,
)
async def pause(request: Request, key: KeyPath) -> Response:
    """Everybody gets the bundle's default λ2, until it is started again; what they do still counts."""
    return _one(await experiments(request).pause(key, actor(request)))


@router.post(
    f"{ONE}/stop",
    summary="Stop for good",
    response_class=Response,
    responses={200: SHOWN, **CHANGE_ONE, **BODY},
    openapi_extra=optional(StopBody),
)
async def stop(request: Request, key: KeyPath) -> Response:
    """Everybody gets the bundle's default λ2, on this replica from now on, on others within a second."""
    body = await _optional(request, StopBody)
    return _one(await experiments(request).stop(key, body.reason, actor(request)))


@router.get(
    f"{ONE}/assignment",
    summary="What a user gets of an experiment",
    response_class=Response,
    responses={200: shown(AssignmentAnswer, answers.ASSIGNMENT), **READ},
)
async def assignment(request: Request, key: KeyPath, options: Annotated[AssignmentOptions, Query()]) -> Response:
    """Now, or why nothing. Being asked about exposes nobody."""
    assigned = await experiments(request).assignment(key, options.user_id)
    return answered(AssignmentAnswer.of(key, options.user_id, assigned.decision, assigned.words))


@router.get(
    HOLDOUT,
    summary="The units that no experiment gets",
    response_class=Response,
    responses={200: shown(HoldoutAnswer, HELD), **documented(STATE_AWAY)},
)
async def get_holdout(request: Request) -> Response:
    """As this process knows it, also while Redis is away."""
    return answered(HoldoutAnswer.model_validate((await experiments(request).known()).holdout))


@router.put(
    HOLDOUT,
    summary="Keep units out of every experiment",
    response_class=Response,
    responses={200: shown(HoldoutAnswer, HELD), **CHANGE, **BODY},
    openapi_extra=ACTOR,
)
async def put_holdout(request: Request, body: HoldoutBody) -> Response:
    """A share of all users, chosen before any experiment is: what experiments have brought is seen against them."""
    held = await experiments(request).hold_out(body.share, body.salt, actor(request))
    return answered(HoldoutAnswer.model_validate(held))


def experiments(request: Request) -> Experiments:
    """The use cases of the application that `request` came to."""
    found: Experiments = part(request, "experiments")
    return found


def actor(request: Request) -> str:
    """Who asks: the name of their API key, else what they say. Raises: RequestError."""
    if (known := request.scope.get("api_key")) is not None:
        return str(known)
    said = request.headers.get("x-actor", "unknown")
    with suppress(UnicodeDecodeError):
        said = said.encode("latin-1").decode()  # what Starlette reads as Latin-1 mostly is UTF-8
    if not said or len(said) > LONGEST_ACTOR or not said.isprintable():
        raise RequestError("X-Actor", said, f"should be 1 to {LONGEST_ACTOR} printable characters, or left out")
    return said


def answered(content: BaseModel, status: int = 200) -> Response:
    """The response with `content`."""
    return Response(content.model_dump_json(), status, UNCACHED, "application/json")


def _one(experiment: Experiment, status: int = 200) -> Response:
    return answered(ExperimentAnswer.model_validate(experiment), status)


async def _optional(request: Request, model: type[B]) -> B:
    """The body, or its defaults where there is none. Raises: HTTPException (400, 413, 415), RequestValidationError."""
    if not await request.body():
        return model()
    try:
        return model.model_validate(await json_body(request))
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error
