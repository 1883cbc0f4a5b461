"""Every list a user can get, by λ2."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from service.examples import PATH_EXAMPLE
from service.routes.delivery import deliver, recommender
from service.routes.direct import DirectRoute
from service.routes.recommendations import GET_PROBLEMS, HEADERS, NOT_MODIFIED
from service.schemas import PathAnswer, PathOptions, UserId

router = APIRouter(tags=["recommendations"], route_class=DirectRoute)

PATH: dict[str, Any] = {
    "model": PathAnswer,
    "headers": HEADERS,
    "content": {"application/json": {"example": PATH_EXAMPLE}},
}


@router.get(
    "/v1/users/{user_id:path}/lambda2-path",
    summary="Every list of one user, by λ2",
    response_class=Response,
    responses={200: PATH, **NOT_MODIFIED, **GET_PROBLEMS},
)
async def lambda2_path(
    request: Request,
    user_id: Annotated[UserId, Path(description="Whose lists; percent-encode anything but letters.")],
    options: Annotated[PathOptions, Query()],
) -> Response:
    """
    The exact path of the top k over λ2 from 0 to max: where it changes, and to what. Somebody unknown is a 422: the
    cold answer is made of ranks, which do not change along straight lines in λ2 as scores do.
    """
    return await deliver(request, recommender(request).lambda2_path(options.wanted(user_id)))
