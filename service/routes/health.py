"""Whether the process lives, and whether requests should be sent to it."""

from fastapi import APIRouter, Request, Response

from service.live import Live
from service.problem_kinds import NOT_READY, documented
from service.schemas import Health

router = APIRouter(tags=["health"])
UNCACHED = {"Cache-Control": "no-store"}


@router.get(
    "/health/live",
    summary="The process lives",
    response_class=Response,
    responses={200: {"model": Health, "content": {"application/json": {"example": {"status": "alive"}}}}},
)
@router.get("/livez", include_in_schema=False)
async def alive() -> Response:
    """Depends on nothing: restart the process when this fails."""
    return Response(b'{"status":"alive"}', headers=UNCACHED, media_type="application/json")


@router.get(
    "/health/ready",
    summary="Requests may be sent here",
    response_class=Response,
    responses={
        200: {
            "model": Health,
            "content": {"application/json": {"example": {"status": "ready", "bundle_id": "0f343b0931126a20"}}},
        },
        **documented(NOT_READY),
    },
)
@router.get("/readyz", include_in_schema=False)
async def ready(request: Request) -> Response:
    """200 from when the bundle is verified and its golden answers are replayed until stopping begins; else 503."""
    live: Live = request.app.state.live
    manifest = live.check_ready()
    body = Health(status="ready", bundle_id=manifest.content_id).model_dump_json()
    return Response(body, headers=UNCACHED, media_type="application/json")
