"""What outlives a request: Redis and everything that stands on it, built for one event loop and closed in reverse."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import numpy as np

from causalrec.errors import ConfigError, StateUnavailable
from service.backlog import Backlog
from service.changeover import Changeover, First
from service.dial import dial
from service.experimenting import Experiments
from service.intake import Intake
from service.items import Items
from service.killswitch import KillSwitch
from service.limits import memory_limit
from service.live import Live
from service.models import Models
from service.pictures import Pictures
from service.registry import Registry
from service.rehearsal import Recent
from service.reporting import Reports
from service.settings import Settings
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

log = logging.getLogger(__name__)

LAST = "last-bundle"  # in data_dir: which one was served
PATIENCE = 5.0  # seconds for reading the live catalogue before the service says that it is not ready


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
        experimenting = Experiments(trials, reports, switch, lambda: dial(live.loaded.bundle.manifest))
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
        watched(telemetry, settings, live, connection, spool, backlog)
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


def watched(
    telemetry: Telemetry, settings: Settings, live: Live, connection: Connection, spool: Spool, backlog: Backlog
) -> None:
    """Gauges of what outlives a request."""
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
