"""Top-k for one user or for several."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from service.answers import Answer
from service.problem_kinds import INVALID, OVERLOADED, TOO_LARGE, UNREADABLE, WRONG_MEDIA_TYPE, documented
from service.recommender import Recommender
from service.schemas import (
    ANSWER_EXAMPLE,
    EXPLAINED_EXAMPLE,
    BatchAnswer,
    BatchRequest,
    Options,
    RecommendationAnswer,
    RecommendationRequest,
    UserId,
)

router = APIRouter(tags=["recommendations"])

HEADERS = {
    "ETag": {"description": "Strong tag: a hash of the body.", "schema": {"type": "string"}},
    "X-Request-ID": {"description": "The caller's, or a new one.", "schema": {"type": "string"}},
    "Server-Timing": {"description": "Milliseconds in queue, search and encode.", "schema": {"type": "string"}},
}
EXAMPLES = {"plain": {"value": ANSWER_EXAMPLE}, "explained": {"value": EXPLAINED_EXAMPLE}}
ONE: dict[str, Any] = {
    "model": RecommendationAnswer,
    "headers": HEADERS,
    "content": {"application/json": {"examples": EXAMPLES}},
}
SEVERAL: dict[str, Any] = {
    "model": BatchAnswer,
    "headers": HEADERS,
    "content": {"application/json": {"example": {"answers": [ANSWER_EXAMPLE]}}},
}
GET_PROBLEMS = documented(INVALID, OVERLOADED)
POST_PROBLEMS = documented(UNREADABLE, TOO_LARGE, WRONG_MEDIA_TYPE, INVALID, OVERLOADED)


@router.get(
    "/v1/users/{user_id:path}/recommendations",
    summary="Recommend to one user",
    response_class=Response,
    responses={
        200: ONE,
        304: {"description": "If-None-Match names the answer's ETag."},
        **GET_PROBLEMS,
    },
)
async def recommend(
    request: Request,
    user_id: Annotated[UserId, Path(description="Whom to recommend to; percent-encode anything but letters.")],
    options: Annotated[Options, Query()],
) -> Response:
    """The items a user would want had the picture not pulled; somebody unknown gets the cold answer."""
    wanted = RecommendationRequest.model_construct(user_id=user_id, **options.__dict__)
    answer = await _recommender(request).recommend(wanted)
    return _response(answer, request.headers.get("if-none-match"))


@router.post(
    "/v1/recommendations",
    summary="Recommend to one user, with the request as a body",
    response_class=Response,
    responses={200: ONE, **POST_PROBLEMS},
)
async def recommend_posted(request: Request, wanted: RecommendationRequest) -> Response:
    """The same as GET, and candidate_item_ids: rank only the items given."""
    return _response(await _recommender(request).recommend(wanted))


@router.post(
    "/v1/recommendations/batch",
    summary="Recommend to several users",
    response_class=Response,
    responses={200: SEVERAL, **POST_PROBLEMS},
)
async def recommend_batch(request: Request, batch: BatchRequest) -> Response:
    """Up to 64 requests, each answered as it would be alone, all from one bundle; or one error for all."""
    return _response(await _recommender(request).recommend_batch(batch.requests))


def _recommender(request: Request) -> Recommender:
    recommender: Recommender = request.app.state.recommender
    return recommender


def _response(answer: Answer, known: str | None = None) -> Response:
    headers = {
        "ETag": answer.etag,
        "Cache-Control": "private, no-cache",
        "Server-Timing": ", ".join(f"{stage};dur={1000 * seconds:.3f}" for stage, seconds in answer.seconds.items()),
    }
    if known is not None and _names(known, answer.etag):
        return Response(status_code=304, headers=headers)
    return Response(answer.body, headers=headers, media_type="application/json")


def _names(known: str, etag: str) -> bool:
    """Whether an If-None-Match header names `etag` (weak comparison, RFC 9110 §13.1.2)."""
    tags = (tag.strip().removeprefix("W/") for tag in known.split(","))
    return known.strip() == "*" or etag in tags
