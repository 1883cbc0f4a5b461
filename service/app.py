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
from service.batching import Batcher
from service.engine import Engine
from service.experimenting import Experiments
from service.experiments.changes import Range
from service.intake import Intake
from service.items import Items
from service.killswitch import KillSwitch
from service.live import Live
from service.middleware import BodyLimit, RequestContext
from service.pictures import Pictures
from service.recommender import Recommender
from service.recording import Recorder
from service.refusal import Refusal
from service.reporting import Reports
from service.routes import (
    events,
    experiment_reports,
    experiments,
    health,
    items,
    lambda2_path,
    metrics,
    ofrep,
    recommendations,
)
from service.settings import Settings
from service.shadow import Shadow
from service.spool import Spool
from service.state.catalogue import CatalogueStore
from service.state.connection import Connection
from service.state.events import EventLog
from service.state.experiments import ExperimentStore
from service.state.keys import Keys
from service.state.tallies import Tallies
from service.state.users import UserStore
from service.steward import Steward
from service.telemetry import Telemetry

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds for reading the live catalogue before the service says that it is not ready

DESCRIPTION = """
Recommendations with the picture's pull taken out, λ2 per request.

Every error is `application/problem+json` (RFC 9457): 400 body cannot be read, 404 no such path or item, 405 other
method, 409 no more items may come, 413 body too long, 415 body declared as something else, 422 a value that cannot be
answered (unknown parameters and fields too), 503 too many requests waiting, one that waited too long, Redis away for
what needs it, or not ready. An unknown user is not an error: the answer says `"source": "cold_user"` (but there is no
λ2 path for one).
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
    batcher = Batcher(
        Engine(live, telemetry).answer,
        max_waiting=settings.max_waiting,
        max_batch=settings.max_batch,
        deadline=settings.deadline_ms / 1000,
    )
    shadow = Shadow(settings.shadow_rate, batcher.when_idle, telemetry.shadow, random.Random())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        torch.set_num_threads(settings.torch_threads)
        try:
            telemetry.serving(live.load(settings.bundle))
            async with remembering(settings, live, telemetry) as state:
                app.state.intake, app.state.items = state.intake, state.items
                app.state.experiments = state.experiments
                app.state.recommender = Recommender(
                    live,
                    state.users,
                    state.experiments,
                    Recorder(state.intake, telemetry),
                    batcher,
                    telemetry,
                    shadow,
                )
                gc.collect()
                gc.freeze()  # what is loaded stays: no collection walks through it again
                batcher.start()
                yield
                live.retire()
        finally:
            live.retire()
            batcher.close()

    app = FastAPI(title="CausalRec", version="1", description=DESCRIPTION, lifespan=lifespan, redirect_slashes=False)
    app.state.live = live
    app.state.telemetry = telemetry
    app.state.refusal = Refusal(telemetry, batcher.full)

    resources = (recommendations, lambda2_path, events, items, experiments, experiment_reports, ofrep, health, metrics)
    for each in resources:
        app.router.routes.extend(each.router.routes)  # include_router's routes are matched twice, 30 µs each

    problems.register(app)
    larger = {"/v1/items/": settings.max_picture_bytes}
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, larger=larger)
    app.add_middleware(RequestContext, telemetry=telemetry, refusal=app.state.refusal)  # added last, so outermost
    return app


class State(NamedTuple):
    """What outlives a request."""

    users: UserStore
    intake: Intake
    items: Items
    experiments: Experiments


@asynccontextmanager
async def remembering(settings: Settings, live: Live, telemetry: Telemetry) -> AsyncIterator[State]:
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
        ranker = live.loaded
        store = CatalogueStore(connection, most_items=settings.max_live_items)
        known = Items(store, pictures, lambda: ranker.catalogue, ranker.use)
        steward = Steward(experimenting, reports, trials, np.random.default_rng())
        for endless in (known.follow(), experimenting.follow(), steward.run()):
            stack.push_async_callback(ended, asyncio.create_task(endless))
        telemetry.watch(
            {
                "state_available": lambda: connection.available,
                "embedded_restarts": lambda: connection.restarts,
                "spool_bytes": lambda: spool.size,
                "catalogue_version": lambda: ranker.catalogue.version,
                "items_live": lambda: len(ranker.catalogue.ids) - ranker.catalogue.bundle_items,
                "items_hidden": lambda: len(ranker.catalogue.hidden),
                "items_skipped": lambda: ranker.catalogue.skipped,
            }
        )
        if settings.start_without_state and not connection.available:
            live.complete()
        completing = asyncio.create_task(completed(live, known, experimenting))
        stack.push_async_callback(ended, completing)
        if connection.available:
            await asyncio.wait({completing}, timeout=PATIENCE)
        yield State(users, intake, known, experimenting)


def dial(live: Live) -> Range:
    """The λ2 that the bundle being served can be asked for."""
    allowed = live.loaded.bundle.manifest.lambda2
    return Range(allowed.minimum, allowed.maximum)


async def completed(live: Live, items: Items, experiments: Experiments) -> None:
    """Lets answers be made once what is hidden is known, and who is in which experiment."""
    while True:
        try:
            await items.loaded(PATIENCE)
            await experiments.known()
        except StateUnavailable as error:
            log.warning("%s: what is hidden, and who is in which experiment, is not known", error)
        else:
            live.complete()
            return


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancels a task that runs as long as the process, and waits for its end."""
    task.cancel()
    await asyncio.wait({task})
