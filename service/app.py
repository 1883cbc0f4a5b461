"""The composition root: every part of the service is built here and closed in reverse order."""

import asyncio
import gc
import logging
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import numpy as np
import torch
from fastapi import FastAPI

from causalrec.errors import ConfigError, StateUnavailable
from service import problems
from service.access import Access, is_loopback
from service.api_keys import KeyFile
from service.backlog import Backlog
from service.batching import Batcher
from service.changeover import Changeover, First, first
from service.engine import Engine
from service.experimenting import Experiments
from service.experiments.changes import Range
from service.intake import Intake
from service.items import Items
from service.killswitch import KillSwitch
from service.limits import memory_limit
from service.live import Live
from service.logs import AccessLog
from service.middleware import BodyLimit, RequestContext
from service.models import Models
from service.pictures import Pictures
from service.recommender import Recommender
from service.recording import Recorder
from service.refusal import Refusal
from service.registry import Registry
from service.rehearsal import Recent
from service.reporting import Reports
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
from service.spool import Spool
from service.state.catalogue import CatalogueStore
from service.state.connection import Connection
from service.state.events import EventLog
from service.state.experiments import ExperimentStore
from service.state.keys import Keys
from service.state.models import ModelStore
from service.state.tallies import Tallies
from service.state.users import UserStore
from service.steward import Steward
from service.telemetry import Telemetry
from service.tracing import Tracing

log = logging.getLogger(__name__)

LAST = "last-bundle"  # in data_dir: which one was served
PATIENCE = 5.0  # seconds for reading the live catalogue before the service says that it is not ready

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


class State(NamedTuple):
    """What outlives a request."""

    users: UserStore
    intake: Intake
    items: Items
    experiments: Experiments
    models: Models


@asynccontextmanager
async def remembering(
    settings: Settings, live: Live, registry: Registry, begun: First, recent: Recent, telemetry: Telemetry
) -> AsyncIterator[State]:
    """Redis, and everything that stands on it, for one event loop. Raises: ConfigError, InstallationError."""
    connection = await Connection.open(
        settings.redis_url.get_secret_value() if settings.redis_url else None,
        data_dir=settings.data_dir,
        durability=settings.durability,
        budget=settings.state_budget_ms / 1000,
        keys=Keys(settings.prefix, settings.tenant),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(connection.close)
        users = UserStore(connection, settings.user_acts, settings.user_days * 86_400)
        spool = Spool(settings.data_dir / "spool", settings.max_spool_bytes)
        trials = ExperimentStore(connection)
        reports = Reports(trials, Tallies(connection))
        switch = KillSwitch(settings.data_dir / "experiments-off")
        experimenting = Experiments(trials, reports, switch, lambda: dial(live))
        log_ = EventLog(connection, settings.max_events, open_series=experimenting.open_series)
        intake = Intake(log_, users, spool, telemetry)
        try:
            await intake.open()
        except OSError as error:
            detail = f"data directory {settings.data_dir} cannot be written ({error.strerror}); name one that can be"
            raise ConfigError(detail) from error
        stack.push_async_callback(intake.close)
        pictures = Pictures()
        stack.callback(pictures.close)
        store = CatalogueStore(connection, most_items=settings.max_live_items)
        known = Items(store, pictures, lambda: live.loaded.catalogue, live.use)
        lifecycle = lifecycle_of(settings, live, registry, begun, recent, ModelStore(connection), telemetry)
        steward = Steward(experimenting, reports, trials, np.random.default_rng(), told=telemetry.sample_ratios)
        backlog = Backlog(log_)
        watching = [lifecycle.watch(settings.watch_seconds)] if settings.watch_seconds else []
        for endless in (
            known.follow(),
            experimenting.follow(),
            steward.run(),
            lifecycle.follow(),
            backlog.follow(),
            *watching,
        ):
            stack.push_async_callback(ended, asyncio.create_task(endless))
        telemetry.watch(
            {
                "state_available": lambda: connection.available,
                "embedded_restarts": lambda: connection.restarts,
                "ready": lambda: live.ready,
                "spool_bytes": lambda: spool.size,
                "spool_limit_bytes": lambda: settings.max_spool_bytes,
                "event_log_events": lambda: backlog.events,
                "event_log_limit": lambda: settings.max_events,
                "memory_limit_bytes": memory_limit,
                "catalogue_version": lambda: live.loaded.catalogue.version,
                "items_live": lambda: len(live.loaded.catalogue.ids) - live.loaded.catalogue.bundle_items,
                "items_hidden": lambda: len(live.loaded.catalogue.hidden),
                "items_skipped": lambda: live.loaded.catalogue.skipped,
            }
        )
        if settings.start_without_state and not connection.available:
            live.complete()
        completing = asyncio.create_task(completed(live, known, experimenting, lifecycle))
        stack.push_async_callback(ended, completing)
        if settings.shadow_model:
            comparing = asyncio.create_task(compared(completing, lifecycle, settings.shadow_model))
            stack.push_async_callback(ended, comparing)
        if connection.available:
            await asyncio.wait({completing}, timeout=PATIENCE)
        yield State(users, intake, known, experimenting, lifecycle)


def lifecycle_of(
    settings: Settings,
    live: Live,
    registry: Registry,
    begun: First,
    recent: Recent,
    store: ModelStore,
    telemetry: Telemetry,
) -> Models:
    """What changes which bundle is served."""
    changeover = Changeover(
        live,
        recent,
        telemetry.models,
        telemetry.serving,
        last=settings.data_dir / LAST,
        keep_previous=settings.keep_previous,
    )
    if begun.refused is not None:
        changeover.refuse(begun.pointed, begun.refused)
    lifecycle = Models(live, registry, begun.pointed, store, changeover, least_known=settings.least_known)
    telemetry.models.watch(lifecycle.gauges())
    return lifecycle


def dial(live: Live) -> Range:
    """The λ2 that the bundle being served can be asked for."""
    allowed = live.loaded.bundle.manifest.lambda2
    return Range(allowed.minimum, allowed.maximum)


async def completed(live: Live, items: Items, experiments: Experiments, lifecycle: Models) -> None:
    """Lets answers be made once it is known what is hidden, who is in which experiment, and which bundle is wanted."""
    while True:
        try:
            await items.loaded(PATIENCE)
            await experiments.known()
            await lifecycle.catch_up()
        except StateUnavailable as error:
            log.warning("%s: what is hidden, and who is in which experiment, is not known", error)
        else:
            live.complete()
            return


async def compared(completing: "asyncio.Task[None]", lifecycle: Models, name: str) -> None:
    """Loads the second bundle once the first one may answer."""
    await asyncio.wait({completing})
    await lifecycle.compare_with(name)


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancels a task that runs as long as the process, and waits for its end."""
    task.cancel()
    await asyncio.wait({task})
