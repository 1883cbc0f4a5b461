"""Routes declared as FastAPI's are, whose parameters are read by one validation each."""

import json
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.problem_kinds import shortened

BODY = ("body",)


class _Parameter(NamedTuple):
    """One parameter of an endpoint: where in the request its errors lie, how to find it, what it must be."""

    name: str
    place: tuple[str, ...]
    find: Callable[[Request, object], object]
    adapter: TypeAdapter[Any]


class DirectRoute(APIRoute):
    """
    Reads its endpoint's parameters as FastAPI would, which documents them from the same signature.

    FastAPI's reader serves every sort of parameter, and takes 180 µs for what takes 15 here. This one knows the Request
    itself, parameters of the path, one pydantic model of the query (Annotated), and one of the JSON body.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI calls with each request."""
        endpoint, path = self.endpoint, self.param_convertors
        hints = get_type_hints(endpoint, include_extras=True)
        parameters = [_parameter(name, hint, path) for name, hint in hints.items() if name not in ("request", "return")]
        has_body = any(parameter.place == BODY for parameter in parameters)

        async def handle(request: Request) -> Response:
            body = await json_body(request) if has_body else None
            values: dict[str, Any] = {}
            errors: list[Any] = []
            for name, place, find, adapter in parameters:
                try:
                    values[name] = adapter.validate_python(find(request, body))
                except ValidationError as error:
                    errors += [{**each, "loc": (*place, *each["loc"])} for each in error.errors(include_url=False)]
            if errors:
                raise RequestValidationError(errors)
            response: Response = await endpoint(request, **values)
            return response

        return handle


def _parameter(name: str, hint: Any, path: dict[str, Any]) -> _Parameter:
    if name in path:
        return _Parameter(name, ("path", name), lambda request, _: request.path_params[name], TypeAdapter(hint))
    if get_origin(hint) is Annotated:
        model = get_args(hint)[0]
        return _Parameter(name, ("query",), partial(_query, _lists(model)), TypeAdapter(model))
    return _Parameter(name, BODY, lambda _, body: body, TypeAdapter(hint))


def _lists(model: type[BaseModel]) -> frozenset[str]:
    """The fields of `model` that may stand in a query several times."""
    return frozenset(name for name, field in model.model_fields.items() if get_origin(field.annotation) is list)


def _query(lists: frozenset[str], request: Request, _: object) -> dict[str, str | list[str]]:
    found: dict[str, Any] = {}
    for name, value in parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name in lists:
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    return found


async def json_body(request: Request) -> object:
    """The body. Raises: HTTPException (413, 415, 400), RequestValidationError where there is none or it is no JSON."""
    content = await request.body()
    declared = request.headers.get("content-type", "")
    if not _is_json(declared):
        raise HTTPException(415, f"send the body as Content-Type: application/json, not {shortened(declared)!r}")
    if not content:
        raise RequestValidationError([{"type": "missing", "loc": BODY, "msg": "Field required", "input": None}])
    return parse_json(content, "the body")


def parse_json(content: bytes, what: str) -> object:
    """What the JSON `content` says. Raises: HTTPException (400) naming `what` it is."""
    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        raise HTTPException(400, f"{what} is not JSON: {error.msg} at character {error.pos}") from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"{what} is not JSON in UTF-8 of reasonable depth and numbers") from error


def _is_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media == "application/json" or (media.startswith("application/") and media.endswith("+json"))
