"""Items that come, change and go while serving."""

import asyncio
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, HTTPException, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from service.item_schemas import ITEM_EXAMPLE, ItemAnswer, ItemBody, ItemChange, ItemMetadata, NewItemId
from service.items import Item, Items
from service.problem_kinds import (
    CATALOGUE_FULL,
    INVALID,
    NO_SUCH_ITEM,
    NOT_READY,
    STATE_AWAY,
    TOO_LARGE,
    UNREADABLE,
    WRONG_MEDIA_TYPE,
    documented,
    shortened,
)
from service.routes.delivery import part
from service.routes.direct import DirectRoute, json_body, parse_json
from service.routes.multipart import MEDIA_TYPE, is_multipart, parts_of

B = TypeVar("B", bound=BaseModel)

router = APIRouter(tags=["items"], route_class=DirectRoute)

PATH = "/v1/items/{item_id:path}"
ItemPath = Annotated[NewItemId, Path(description="Which item; percent-encode anything but letters.")]
ONE: dict[str, Any] = {"model": ItemAnswer, "content": {"application/json": {"example": ITEM_EXAMPLE}}}
BODY_PROBLEMS = documented(UNREADABLE, TOO_LARGE, WRONG_MEDIA_TYPE, INVALID, STATE_AWAY)
PUT_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": ItemBody.model_json_schema()},
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "properties": {
                    "metadata": {**ItemMetadata.model_json_schema(), "description": "As JSON."},
                    "picture": {
                        "type": "string",
                        "format": "binary",
                        "description": "JPEG, PNG, WebP, GIF or BMP; the first frame counts.",
                    },
                },
            }
        },
    },
}


@router.get(
    PATH,
    summary="What is known of an item",
    response_class=Response,
    responses={200: ONE, **documented(NO_SUCH_ITEM, INVALID, NOT_READY)},
)
async def get_item(request: Request, item_id: ItemPath) -> Response:
    """As this process knows it, also while Redis is away."""
    return _response(items(request).get(item_id))


@router.put(
    PATH,
    summary="Make an item, or replace what was said of it",
    response_class=Response,
    responses={
        200: {**ONE, "description": "There was such an item; what was said of it is replaced."},
        201: {**ONE, "description": "It is new."},
        **BODY_PROBLEMS,
        **documented(CATALOGUE_FULL),
    },
    openapi_extra={"requestBody": PUT_BODY},
)
async def put_item(request: Request, item_id: ItemPath) -> Response:
    """
    With a picture (multipart/form-data: metadata, picture), or with its feature (JSON). An item that the bundle was not
    trained with is placed by its picture alone, and answers may hold it as soon as this one has come back; on other
    replicas within a second. One that the bundle was trained with keeps its vectors, and gets new attributes. A hidden
    item stays hidden, a deleted one is there again.
    """
    body, picture = await _read(request)
    item, is_new = await items(request).put(item_id, body.attributes, picture=picture, feature=body.feature)
    return _response(item, 201 if is_new else 200)


@router.patch(
    PATH,
    summary="Hide an item, or show it again",
    response_class=Response,
    responses={200: ONE, **documented(NO_SUCH_ITEM), **BODY_PROBLEMS},
)
async def patch_item(request: Request, item_id: ItemPath, change: ItemChange) -> Response:
    """A hidden item is in no answer, on this replica from now on and on others within a second."""
    return _response(await items(request).patch(item_id, hidden=change.hidden))


@router.delete(
    PATH,
    summary="Delete an item",
    response_class=Response,
    status_code=204,
    responses={204: {"description": "It is in no answer any more."}, **documented(NO_SUCH_ITEM, INVALID, STATE_AWAY)},
)
async def delete_item(request: Request, item_id: ItemPath) -> Response:
    """Also one that the bundle was trained with, and whatever bundle is served later, until it is PUT again."""
    await items(request).delete(item_id)
    return Response(status_code=204)


def items(request: Request) -> Items:
    """The use cases of the application that `request` came to."""
    found: Items = part(request, "items")
    return found


async def _read(request: Request) -> tuple[ItemBody, bytes | None]:
    """What is said of the item, and its picture. Raises: HTTPException (400, 413, 415), RequestValidationError."""
    declared = request.headers.get("content-type", "")
    if not is_multipart(declared):
        try:
            return _validated(ItemBody, await json_body(request)), None
        except HTTPException as error:
            if error.status_code == 415:
                detail = f"send the body as application/json or {MEDIA_TYPE}, not {shortened(declared)!r}"
                raise HTTPException(415, detail) from error
            raise
    body = await request.body()
    parts = await asyncio.to_thread(parts_of, body, declared)  # 10 MiB take some 30 ms
    if "metadata" not in parts:
        raise RequestValidationError(
            [_problem("missing", "metadata", "a part of this name is needed: the item's JSON")]
        )
    if unknown := sorted(set(parts) - {"metadata", "picture"}):
        raise RequestValidationError(
            [_problem("unknown_part", unknown[0], "there is no such part; metadata and picture are")]
        )
    metadata = _validated(ItemMetadata, parse_json(parts["metadata"], "the part metadata"), "metadata")
    return ItemBody(attributes=metadata.attributes), parts.get("picture")


def _validated(model: type[B], value: object, *place: str) -> B:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise RequestValidationError([{**each, "loc": ("body", *place, *each["loc"])} for each in found]) from error


def _problem(kind: str, part: str, message: str) -> dict[str, Any]:
    return {"type": kind, "loc": ("body", part), "msg": message, "input": None}


def _response(item: Item, status: int = 200) -> Response:
    body = orjson.dumps(item._asdict(), default=str)
    return Response(body, status, {"Cache-Control": "no-store"}, "application/json")
