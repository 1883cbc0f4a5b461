"""Experiments for a shop's own flag tooling, by the OpenFeature Remote Evaluation Protocol. Asking is no exposure."""

from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError

from causalrec.errors import NotReady
from service.answers import entity_tag
from service.experimenting import FLAG, Experiments
from service.flags import FlagError, flag, flags, targeting_key
from service.live import Live
from service.problem_kinds import TOO_LARGE, documented, shortened
from service.routes.delivery import names, part
from service.routes.direct import DirectRoute, json_body

router = APIRouter(tags=["ofrep"], route_class=DirectRoute)

ONE, ALL = "/ofrep/v1/evaluate/flags/{key}", "/ofrep/v1/evaluate/flags"
FLAG_EXAMPLE = {
    "key": FLAG,
    "value": 0.8,
    "reason": "SPLIT",
    "variant": "0.8",
    "metadata": {
        "experiment": "dial-2026-01",
        "version": 1,
        "why": "the hash of the unit chose '0.8' of 'dial-2026-01'",
    },
}
MISSING_EXAMPLE = {
    "key": FLAG,
    "errorCode": "TARGETING_KEY_MISSING",
    "errorDetails": "context.targetingKey is needed: the user's id",
}
UNKNOWN_EXAMPLE = {
    "key": "dial",
    "errorCode": "FLAG_NOT_FOUND",
    "errorDetails": "there is no such experiment; lambda2 is what a user is served by any",
}
REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"example": {"context": {"targetingKey": "ann"}}, "schema": {"type": "object"}}
        },
    }
}
KEY = {  # not of the signature: for that FastAPI would document a 422, which the protocol does not have
    "name": "key",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "lambda2, or the key of an experiment.",
}
IF_NONE_MATCH = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}, "description": "A known ETag."}


def _shown(description: str, example: object) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


AWAY = _shown("No bundle is being served", {"errorDetails": "this process is stopping; send requests to another one"})


@router.post(
    ONE,
    summary="One flag of one user",
    response_class=Response,
    responses={
        200: _shown("The flag's value: a λ2", FLAG_EXAMPLE),
        400: _shown("The request cannot be evaluated", MISSING_EXAMPLE),
        404: _shown("There is no such flag", UNKNOWN_EXAMPLE),
        503: AWAY,
        **documented(TOO_LARGE),
    },
    openapi_extra={**REQUEST, "parameters": [KEY]},
)
async def evaluate(request: Request) -> Response:
    """
    `lambda2`: what the user is served where a request names no λ2. The key of an experiment: what that one gives them,
    or the bundle's default. SPLIT: by an experiment; TARGETING_MATCH: by an override; DEFAULT: in none; DISABLED: it is
    not running, or switched off here. Of an interleaving the value is the first λ2.
    """
    key = request.path_params["key"]
    user_id = await _user(request)
    if isinstance(user_id, FlagError):
        return _failure(400, user_id, key)
    try:
        experiments, default = _served(request)
    except NotReady as error:
        return _json({"errorDetails": str(error)}, 503)
    book = experiments.book
    if key != FLAG and key not in book.experiments:
        detail = f"there is no experiment {shortened(key)!r}; {FLAG} is what a user is served by any"
        return _failure(404, FlagError("FLAG_NOT_FOUND", detail), key)
    return _json(flag(key, book, experiments.explained(user_id), experiments.off, default)._asdict(), 200)


@router.post(
    ALL,
    summary="Every flag of one user",
    response_class=Response,
    responses={
        200: {
            **_shown("Every flag's value", {"flags": [FLAG_EXAMPLE]}),
            "headers": {"ETag": {"schema": {"type": "string"}, "description": "Changes with any of the values."}},
        },
        304: {"description": "They are as If-None-Match says."},
        400: _shown("The request cannot be evaluated", {k: v for k, v in MISSING_EXAMPLE.items() if k != "key"}),
        503: AWAY,
        **documented(TOO_LARGE),
    },
    openapi_extra={**REQUEST, "parameters": [IF_NONE_MATCH]},
)
async def evaluate_all(request: Request) -> Response:
    """`lambda2`, and every experiment that was ever started."""
    user_id = await _user(request)
    if isinstance(user_id, FlagError):
        return _failure(400, user_id)
    try:
        experiments, default = _served(request)
    except NotReady as error:
        return _json({"errorDetails": str(error)}, 503)
    every = flags(experiments.book, experiments.explained(user_id), experiments.off, default)
    body = orjson.dumps({"flags": [each._asdict() for each in every]})
    headers = {"ETag": entity_tag(body), "Cache-Control": "private, no-cache"}
    if names(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _served(request: Request) -> tuple[Experiments, float]:
    """The use cases, and the default λ2 of the bundle being served. Raises: NotReady."""
    experiments: Experiments = part(request, "experiments")
    live: Live = part(request, "live")
    return experiments, live.ranker.bundle.manifest.lambda2.default


async def _user(request: Request) -> str | FlagError:
    try:
        return targeting_key(await json_body(request))
    except HTTPException as error:
        if error.status_code == 413:
            raise
        return FlagError("PARSE_ERROR", str(error.detail))
    except RequestValidationError:
        return FlagError("PARSE_ERROR", 'there is no body; send {"context": {"targetingKey": "<user id>"}}')


def _failure(status: int, error: FlagError, key: str | None = None) -> Response:
    named = {} if key is None else {"key": shortened(key)}
    return _json({**named, "errorCode": error.code, "errorDetails": error.details}, status)


def _json(content: object, status: int) -> Response:
    return Response(orjson.dumps(content), status, {"Cache-Control": "no-store"}, "application/json")
