"""The composition root: what answers is built here, on what `remembering` opens, and closed in reverse order."""

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import torch
from fastapi import FastAPI

from causalrec.errors import ConfigError
from service import problems
from service.access import Access, is_loopback
from service.api_keys import KeyFile
from service.batching import Batcher
from service.changeover import first
from service.engine import Engine
from service.live import Live
from service.logs import AccessLog
from service.middleware import BodyLimit, RequestContext
from service.recommender import Recommender
from service.recording import Recorder
from service.refusal import Refusal
from service.registry import Registry
from service.rehearsal import Recent
from service.remembering import LAST, remembering
from service.routes import (
    events,
    experiment_reports,
    experiments,
    health,
    items,
    lambda2_path,
    metrics,
    models,
    ofrep,
    recommendations,
)
from service.settings import Settings
from service.shadow import Shadow
from service.shadow_model import ShadowModel
from service.telemetry import Telemetry
from service.tracing import Tracing

DESCRIPTION = """
Recommendations with the picture's pull taken out, λ2 per request.

Every error is `application/problem+json` (RFC 9457): 400 body cannot be read, 401 an API key is needed, 403 the key may
not do that, 404 no such path or item, 405 other method, 409 no more items may come, 413 body too long, 415 body
declared as something else, 422 a value that cannot be answered (unknown parameters and fields too), 503 too many
requests waiting, one that waited too long, Redis away for what needs it, or not ready. An unknown user is not an error:
the answer says `"source": "cold_user"` (but there is no λ2 path for one).
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
        excluding=frozenset(settings.excluding),
    )
    recent = Recent(settings.rehearsed_requests)
    batcher = Batcher(
        Engine(live, telemetry, recent).answer,
        max_waiting=settings.max_waiting,
        max_batch=settings.max_batch,
        deadline=settings.deadline_ms / 1000,
    )
    access_log = AccessLog(on=settings.access_log, sample=settings.log_sample)
    tracing = Tracing.open(settings.otlp_endpoint, settings.trace_sample) if settings.otlp_endpoint else None
    shadow = Shadow(settings.shadow_rate, batcher.when_idle, telemetry.shadow, random.Random())
    beside = ShadowModel(
        settings.shadow_model_rate if settings.shadow_model else 0.0,
        live.beside,
        batcher.when_idle,
        telemetry.models.shadow,
        random.Random(),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        torch.set_num_threads(settings.torch_threads)
        try:
            registry = Registry(settings.bundle)
            begun = first(live, registry, settings.data_dir / LAST)
            async with remembering(settings, live, registry, begun, recent, telemetry) as state:
                app.state.intake, app.state.items = state.intake, state.items
                app.state.experiments, app.state.models = state.experiments, state.models
                app.state.recommender = Recommender(
                    live,
                    state.users,
                    state.experiments,
                    Recorder(state.intake, telemetry),
                    batcher,
                    telemetry,
                    shadow,
                    beside,
                )
                gc.collect()
                gc.freeze()  # what is loaded stays: no collection walks through it again
                batcher.start()
                yield
                live.retire()
        finally:
            live.retire()
            batcher.close()
            if tracing is not None:
                await asyncio.to_thread(tracing.close)

    app = FastAPI(title="CausalRec", version="1", description=DESCRIPTION, lifespan=lifespan, redirect_slashes=False)
    app.state.live = live
    app.state.telemetry = telemetry
    app.state.refusal = Refusal(telemetry, batcher.full, access_log)

    resources = (
        recommendations,
        lambda2_path,
        events,
        items,
        experiments,
        experiment_reports,
        models,
        ofrep,
        health,
        metrics,
    )
    for each in resources:
        app.router.routes.extend(each.router.routes)  # include_router's routes are matched twice, 30 µs each

    problems.register(app)
    access = admission(settings)
    access.guard(app)
    telemetry.watch({"api_keys_stale": lambda: access.stale})
    larger = {"/v1/items/": settings.max_picture_bytes}
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, larger=larger)
    app.add_middleware(  # added last, so outermost
        RequestContext, telemetry=telemetry, refusal=app.state.refusal, access=access_log, tracing=tracing
    )
    return app


def admission(settings: Settings) -> Access:
    """Who may do what. Raises: ConfigError."""
    if settings.api_keys_file is None and not settings.open_reads:
        raise ConfigError(
            "open_reads=false: nobody could be answered without a key; set api_keys_file, or leave it out"
        )
    keys = None if settings.api_keys_file is None else KeyFile(settings.api_keys_file)
    return Access(keys, open_reads=settings.open_reads, loopback=is_loopback(settings.host))
