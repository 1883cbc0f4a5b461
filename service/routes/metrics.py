"""What Prometheus scrapes."""

from fastapi import APIRouter, Request, Response

from service import telemetry

router = APIRouter(tags=["health"])


@router.get(
    "/metrics",
    summary="Metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": 'causalrec_answers_total{source="personal"} 3.0\n'}}}},
)
async def metrics(request: Request) -> Response:
    """In Prometheus' text format; no user or item id is ever a label."""
    measured: telemetry.Telemetry = request.app.state.telemetry
    return Response(measured.render(), headers={"Content-Type": telemetry.CONTENT_TYPE})
