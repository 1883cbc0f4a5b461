"""What callers tell of their users."""

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from service.event_schemas import EXAMPLE, RATED, EventsAnswer, EventsBody
from service.intake import Intake
from service.problem_kinds import EVENTS_REFUSED, INVALID, TOO_LARGE, UNREADABLE, WRONG_MEDIA_TYPE, documented
from service.routes.delivery import part
from service.routes.direct import DirectRoute

router = APIRouter(tags=["events"], route_class=DirectRoute)

STORED: dict[str, Any] = {
    "model": EventsAnswer,
    "content": {"application/json": {"example": {"accepted": 2, "duplicates": 0}}},
}
BODY: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "examples": {
                    "one": {"value": EXAMPLE},
                    "several": {"value": {"events": [EXAMPLE, RATED]}},
                }
            }
        }
    }
}


@router.post(
    "/v1/events",
    summary="Tell what users did",
    response_class=Response,
    responses={
        200: STORED,
        **documented(UNREADABLE, TOO_LARGE, WRONG_MEDIA_TYPE, INVALID, EVENTS_REFUSED),
    },
    openapi_extra=BODY,
)
async def tell(request: Request, posted: EventsBody) -> Response:
    """
    One event, or up to 1,000 as {"events": [...]}: all are stored, or none. 200 means durable: in Redis' append-only
    file, on disk with `durability = strict`, within about a second otherwise; or, while Redis is away, on this
    machine's disk. On anything else send the events again, under the same ids: each counts once.
    """
    intake: Intake = part(request, "intake")
    new = await intake.accept(posted.events())
    accepted = sum(new)
    content = orjson.dumps({"accepted": accepted, "duplicates": len(new) - accepted})
    return Response(content, headers={"Cache-Control": "no-store"}, media_type="application/json")
