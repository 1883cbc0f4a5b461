"""Top-k for one user or for several."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from service.examples import (
    ANSWER_EXAMPLE,
    EXPLAINED_EXAMPLE,
    RULED_EXAMPLE,
    SEVERAL_EXAMPLE,
    UNDEBIASED_EXAMPLE,
)
from service.planning import Wanted
from service.posted import BatchRequest, RecommendationRequest
from service.problem_kinds import INVALID, OVERLOADED, TOO_LARGE, UNREADABLE, WRONG_MEDIA_TYPE, documented
from service.routes.delivery import deliver, recommender
from service.routes.direct import DirectRoute
from service.schemas import BatchAnswer, Options, RecommendationAnswer, UserId

router = APIRouter(tags=["recommendations"], route_class=DirectRoute)

HEADERS = {
    "ETag": {"description": "Strong tag: a hash of the body.", "schema": {"type": "string"}},
    "X-Request-ID": {"description": "The caller's, or a new one.", "schema": {"type": "string"}},
    "Server-Timing": {
        "description": "Milliseconds in queue, and in search and encode of the batch it was part of.",
        "schema": {"type": "string"},
    },
}
EXAMPLES = {
    "plain": {"value": ANSWER_EXAMPLE},
    "explained": {"value": EXPLAINED_EXAMPLE},
    "a model that cannot be debiased": {"value": UNDEBIASED_EXAMPLE},
}
POSTED_EXAMPLES = {**EXAMPLES, "ruled": {"value": RULED_EXAMPLE}, "several λ2": {"value": SEVERAL_EXAMPLE}}
ONE: dict[str, Any] = {
    "model": RecommendationAnswer,
    "headers": HEADERS,
    "content": {"application/json": {"examples": EXAMPLES}},
}
ONE_OR_SEVERAL: dict[str, Any] = {
    "model": RecommendationAnswer | BatchAnswer,
    "headers": HEADERS,
    "content": {"application/json": {"examples": POSTED_EXAMPLES}},
}
SEVERAL: dict[str, Any] = {
    "model": BatchAnswer,
    "headers": HEADERS,
    "content": {"application/json": {"example": {"answers": [ANSWER_EXAMPLE]}}},
}
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "If-None-Match names the answer's ETag."}}
GET_PROBLEMS = documented(INVALID, OVERLOADED)
POST_PROBLEMS = documented(UNREADABLE, TOO_LARGE, WRONG_MEDIA_TYPE, INVALID, OVERLOADED)


@router.get(
    "/v1/users/{user_id:path}/recommendations",
    summary="Recommend to one user",
    response_class=Response,
    responses={200: ONE, **NOT_MODIFIED, **GET_PROBLEMS},
)
async def recommend(
    request: Request,
    user_id: Annotated[UserId, Path(description="Whom to recommend to; percent-encode anything but letters.")],
    options: Annotated[Options, Query()],
) -> Response:
    """
    The items a user would want had the picture not pulled; somebody unknown gets the cold answer. Filters, history and
    rules are for POST /v1/recommendations.
    """
    return await deliver(request, recommender(request).recommend(options.wanted(user_id), request.scope["request_id"]))


@router.post(
    "/v1/recommendations",
    summary="Recommend to one user, with the request as a body",
    response_class=Response,
    responses={200: ONE_OR_SEVERAL, **POST_PROBLEMS},
)
async def recommend_posted(request: Request, posted: RecommendationRequest) -> Response:
    """
    The same as GET, and more: candidate_item_ids (rank only these), history (what somebody without an id did), filter
    (only items with these attributes), and rules: pin, boost, max_per_category. Where lambda2 is a list, all of its
    values are answered from one pass over the catalogue, each as it would be alone, in {"answers": [...]}.
    """
    return await deliver(request, recommender(request).recommend(posted.wanted(), request.scope["request_id"]))


@router.post(
    "/v1/recommendations/batch",
    summary="Recommend to several users",
    response_class=Response,
    responses={200: SEVERAL, **POST_PROBLEMS},
)
async def recommend_batch(request: Request, batch: BatchRequest) -> Response:
    """Up to 64 requests, each answered as it would be alone, all from one bundle; or one error for all."""
    wanted: list[Wanted] = [each.wanted() for each in batch.requests]
    return await deliver(request, recommender(request).recommend_batch(wanted, request.scope["request_id"]))
