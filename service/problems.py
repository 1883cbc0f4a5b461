"""Errors on their way out: whatever leaves a route becomes an RFC 9457 problem document."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from causalrec.errors import CausalRecError, EventsRefused, Overloaded, RequestError
from service.problem_kinds import (
    BY_ERROR,
    BY_STATUS,
    INTERNAL,
    INVALID,
    MEDIA_TYPE,
    NOT_FOUND,
    WRONG_METHOD,
    Kind,
    declare_media_type,
    document,
    shortened,
    shown,
)
from service.schemas import ONE, SEVERAL

log = logging.getLogger(__name__)

MOST = 20  # errors listed in one problem
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="causalrec"'}


def register(app: FastAPI) -> None:
    """Every error that leaves a route of `app` becomes a problem document, in its answers and in its OpenAPI."""
    app.add_exception_handler(CausalRecError, _on_own_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    described = app.openapi
    app.openapi = lambda: declare_media_type(described())  # type: ignore[method-assign] # FastAPI's documented way


def on_unexpected(request: Request, error: Exception) -> Response:
    """The answer to an error nobody foresaw: the log has it, the caller gets the id to find it by."""
    log.error("request %s failed", request.scope.get("request_id", ""), exc_info=error)
    return _respond(INTERNAL, "an unexpected error; the log has it under this X-Request-ID", request)


async def _on_own_error(request: Request, error: Exception) -> Response:
    kind = BY_ERROR.get(type(error), INTERNAL) if isinstance(error, CausalRecError) else INTERNAL
    if kind.internal:
        return on_unexpected(request, error)
    if isinstance(error, RequestError):
        field = {"field": shortened(error.field), "detail": error.detail, **shown(error.value)}
        return _respond(kind, f"{field['field']}: {error.detail}", request, [field])
    retry_after = error.retry_after if isinstance(error, Overloaded | EventsRefused) else 1
    headers = {401: CHALLENGE, 503: {"Retry-After": str(retry_after)}}.get(kind.status)
    return _respond(kind, str(error), request, headers=headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    found: Sequence[Mapping[str, Any]] = error.errors() if isinstance(error, RequestValidationError) else ()
    fields = [{"field": _field(each["loc"]), "detail": _advice(each), **shown(each["input"])} for each in found[:MOST]]
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    detail = "; ".join(f"{field['field']}: {field['detail']}" for field in fields[:3]) + more
    return _respond(INVALID, detail, request, fields)


async def _on_http_error(request: Request, error: Exception) -> Response:
    status, headers = (error.status_code, error.headers) if isinstance(error, HTTPException) else (500, None)
    kind = BY_STATUS.get(status) or Kind(status, "http", "The request cannot be answered")
    detail = str(getattr(error, "detail", ""))
    if kind is NOT_FOUND:
        detail = f"there is no {shortened(request.url.path)}; /docs lists what there is"
    elif kind is WRONG_METHOD:
        detail = f"{shortened(request.method)} is not among the methods here: {(headers or {}).get('Allow', '')}"
    return _respond(kind, detail, request, headers=headers)


def _respond(
    kind: Kind,
    detail: str,
    request: Request,
    fields: Sequence[dict[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    request.scope["problem"] = kind.name
    content = orjson.dumps(document(kind, detail, request.scope.get("request_id", ""), fields))
    return Response(content, kind.status, {"Cache-Control": "no-store", **(headers or {})}, MEDIA_TYPE)


def _field(where: Sequence[int | str]) -> str:
    inside = where[1:] if where and where[0] in ("body", "query", "path") else where
    return shortened(".".join(str(part) for part in inside if part not in (ONE, SEVERAL))) or "body"


def _advice(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such field or parameter; /docs lists what there is"
    text = str(problem["msg"]).removeprefix("Value error, ")
    return shortened(text[:1].lower() + text[1:])
