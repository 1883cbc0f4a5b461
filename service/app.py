"""The composition root: every part of the service is built here and closed in reverse order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import torch
from fastapi import FastAPI

from service import problems
from service.live import Live
from service.middleware import BodyLimit, RequestContext
from service.recommender import Recommender
from service.routes import health, metrics, recommendations
from service.settings import Settings
from service.telemetry import Telemetry
from service.worker import Worker

DESCRIPTION = """
Recommendations with the picture's pull taken out, λ2 per request.

Every error is `application/problem+json` (RFC 9457): 400 body not JSON, 404 no such path, 405 other method, 413 body
too long, 415 body not declared as JSON, 422 a value that cannot be answered (unknown parameters and fields too), 503
too many requests waiting or not ready. An unknown user is not an error: the answer says `"source": "cold_user"`.
"""


def create_app(settings: Settings) -> FastAPI:
    """
    The service as an ASGI application; its lifespan loads the bundle and raises BundleError when it must not be served.

    `app.state.live.retire()` makes it unready while it goes on answering.
    """
    worker = Worker(settings.max_waiting)
    telemetry = Telemetry(waiting=lambda: worker.waiting)
    live = Live(candidates=settings.candidates, full_scan=settings.full_scan)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        torch.set_num_threads(settings.torch_threads)
        try:
            telemetry.serving(live.load(settings.bundle))
            yield
        finally:
            live.retire()
            worker.close()

    app = FastAPI(title="CausalRec", version="1", description=DESCRIPTION, lifespan=lifespan, redirect_slashes=False)
    app.state.live = live
    app.state.telemetry = telemetry
    app.state.recommender = Recommender(live, worker, telemetry)

    app.include_router(recommendations.router)
    app.include_router(health.router)
    app.include_router(metrics.router)

    problems.register(app)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(RequestContext, telemetry=telemetry)  # added last, so outermost
    return app
