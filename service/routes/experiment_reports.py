"""What experiments say, who changed them, and what one takes before it starts."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from service import experiment_answers as answers
from service.experiment_answers import AuditAnswer
from service.experiment_plans import PLAN_ANSWER, PlanAnswer, PlanBody, planned
from service.experiment_schemas import ReadOptions
from service.experiments.page import render
from service.experiments.report import Report
from service.problem_kinds import INVALID, STATE_AWAY, documented
from service.routes.direct import DirectRoute
from service.routes.experiments import BODY, ONE, READ, UNCACHED, KeyPath, answered, experiments, shown

router = APIRouter(tags=["experiments"], route_class=DirectRoute)

HEADERS = {**UNCACHED, "Vary": "Accept"}
PAGE_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
}


class AuditOptions(ReadOptions):
    """How far back."""

    most: int = Field(100, ge=1, le=1000)
    """The newest so many changes."""


class ReportOptions(ReadOptions):
    """In which form."""

    format: Literal["json", "html"] | None = None
    """Left out: html for who prefers it (header Accept), as browsers do; else json."""


@router.get(
    f"{ONE}/report",
    summary="What an experiment says",
    response_class=Response,
    responses={
        200: {
            "model": Report,
            "content": {"text/html": {"schema": {"type": "string"}}},
            "description": "As JSON, or as a page with figures.",
        },
        **READ,
    },
)
async def report(request: Request, key: KeyPath, options: Annotated[ReportOptions, Query()]) -> Response:
    """A few seconds old at most. Intervals are always valid: looking often does not make them wrong more often."""
    found = await experiments(request).report(key)
    if options.format == "html" or (options.format is None and _prefers_html(request.headers.get("accept", ""))):
        return Response(render(found), headers=PAGE_HEADERS, media_type="text/html")
    return Response(found.model_dump_json(), headers=HEADERS, media_type="application/json")


@router.get(
    f"{ONE}/audit",
    summary="Who changed an experiment",
    response_class=Response,
    responses={200: shown(AuditAnswer, answers.AUDIT), **READ},
)
async def audit(request: Request, key: KeyPath, options: Annotated[AuditOptions, Query()]) -> Response:
    """Every change: by whom, when, and what is other than before; newest first."""
    return answered(AuditAnswer.of(await experiments(request).audit(key, options.most)))


@router.get(
    "/v1/experiments-audit",
    summary="Who changed anything",
    response_class=Response,
    responses={200: shown(AuditAnswer, answers.AUDIT), **documented(INVALID, STATE_AWAY)},
)
async def audit_of_all(request: Request, options: Annotated[AuditOptions, Query()]) -> Response:
    """The same of all experiments, and of the holdout."""
    return answered(AuditAnswer.of(await experiments(request).audit(None, options.most)))


@router.post(
    "/v1/experiments-plan",
    summary="How many units it takes",
    response_class=Response,
    responses={200: shown(PlanAnswer, PLAN_ANSWER), **documented(INVALID), **BODY},
)
async def plan(request: Request, body: PlanBody) -> Response:  # noqa: ARG001 - routes have it
    """To see an effect of a size; or which effect so many units show. For equal shares."""
    return answered(planned(body))


def _prefers_html(accept: str) -> bool:
    """Whether an Accept header (RFC 9110 §12.5.1) puts text/html before application/json."""
    return _quality(accept, "text/html") > _quality(accept, "application/json")


def _quality(accept: str, media: str) -> float:
    """How much of `media` is wanted: by the most specific range that it is in, nothing where it is in none."""
    ranges = (media, f"{media.partition('/')[0]}/*", "*/*")
    found: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        given = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        try:
            found[name] = float(given)
        except ValueError:
            found[name] = 0.0
    return next((found[each] for each in ranges if each in found), 0.0)
