"""The composition root: every part of the service is built here and closed in reverse order."""

import gc
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import torch
from fastapi import FastAPI

from service import problems
from service.batching import Batcher
from service.engine import Engine
from service.live import Live
from service.middleware import BodyLimit, RequestContext
from service.recommender import Recommender
from service.refusal import Refusal
from service.routes import health, lambda2_path, metrics, recommendations
from service.settings import Settings
from service.shadow import Shadow
from service.telemetry import Telemetry

DESCRIPTION = """
Recommendations with the picture's pull taken out, λ2 per request.

Every error is `application/problem+json` (RFC 9457): 400 body not JSON, 404 no such path, 405 other method, 413 body
too long, 415 body not declared as JSON, 422 a value that cannot be answered (unknown parameters and fields too), 503
too many requests waiting, one that waited too long, or not ready. An unknown user is not an error: the answer says
`"source": "cold_user"` (but there is no λ2 path for one).
"""


def create_app(settings: Settings) -> FastAPI:
    """
    The service as an ASGI application; its lifespan loads the bundle and raises BundleError when it must not be served.

    `app.state.live.retire()` makes it unready while it goes on answering.
    """
    telemetry = Telemetry(waiting=lambda: batcher.waiting)
    live = Live(
        retrieval=None if settings.retrieval == "auto" else settings.retrieval,
        device=settings.device,
        candidates=settings.candidates,
        full_scan=settings.full_scan,
    )
    batcher = Batcher(
        Engine(live, telemetry).answer,
        max_waiting=settings.max_waiting,
        max_batch=settings.max_batch,
        deadline=settings.deadline_ms / 1000,
    )
    shadow = Shadow(settings.shadow_rate, batcher.when_idle, telemetry.shadow, random.Random())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        torch.set_num_threads(settings.torch_threads)
        try:
            telemetry.serving(live.load(settings.bundle))
            gc.collect()
            gc.freeze()  # what is loaded stays: no collection walks through it again
            batcher.start()
            yield
        finally:
            live.retire()
            batcher.close()

    app = FastAPI(title="CausalRec", version="1", description=DESCRIPTION, lifespan=lifespan, redirect_slashes=False)
    app.state.live = live
    app.state.telemetry = telemetry
    app.state.refusal = Refusal(telemetry, batcher.full)
    app.state.recommender = Recommender(live, batcher, telemetry, shadow)

    for each in (recommendations, lambda2_path, health, metrics):
        app.router.routes.extend(each.router.routes)  # include_router's routes are matched twice, 30 µs each

    problems.register(app)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(RequestContext, telemetry=telemetry, refusal=app.state.refusal)  # added last, so outermost
    return app
