"""Replicas that are nothing but experiments, over a real Redis, and the visitors that come to them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import Response

from service import problems
from service.events import Event, Served
from service.experimenting import Experiments
from service.experiments.checks import Range
from service.experiments.model import Decision, Experiment, Variant
from service.killswitch import KillSwitch
from service.problem_kinds import MEDIA_TYPE, Problem
from service.reporting import Reports
from service.routes import experiment_reports, ofrep
from service.routes import experiments as routes
from service.state.connection import Connection
from service.state.events import EventLog
from service.state.experiments import ExperimentStore
from service.state.keys import Keys
from service.state.tallies import Tallies
from service.steward import Steward
from tests.service.served import START
from tests.service.state.servers import Server, connect

ALL, ONE = "/v1/experiments", "/v1/experiments/dial"
SPLIT: Mapping[str, Any] = {"variants": [{"lambda2": 0}, {"lambda2": 0.8}]}
SAID: Mapping[str, Any] = {"variants": (Variant("", 0.0, 0.0), Variant("", 0.8, 0.0))}
LIMITS = Range(0.0, 2.0)
NOWHERE = Path("/nonexistent/experiments-off")
Start = Callable[..., TestClient]


class Clock:
    """Seconds since 1970, as tests say."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Replica(NamedTuple):
    """The parts of one."""

    connection: Connection
    store: ExperimentStore
    experiments: Experiments
    reports: Reports
    steward: Steward
    log: EventLog
    clock: Clock

    async def visited(self, count: int, *happened: str, start: int = 0, **answer: Any) -> None:
        """
        So many users come, are shown a list each, and do each of `happened` once.

        Args:
            answer: what the lists are, besides what was decided; functions of the decision are called.
        """
        decided = (self.experiments.decide(f"u{number}") for number in range(start, start + count))
        visits = (visit(each, self.clock.now, happened, answer) for each in decided if each is not None)
        await self.log.append([event for every in visits for event in every])


def visit(decision: Decision, at: float, happened: tuple[str, ...], answer: Mapping[str, Any]) -> list[Event]:
    """What is recorded of one."""
    unit, key = decision.unit, decision.key
    given = {name: value(decision) if callable(value) else value for name, value in answer.items()}
    served = Served(
        key, decision.version, decision.series, decision.variant, decision.lambda2, decision.propensity, "b"
    )
    listed = served._replace(**{"item_ids": ("hat", "bag"), "seconds": 0.02, **given})
    name = f"{key}:{decision.version}:{unit}"
    return [
        Event(f"exposure:{name}", unit, "", "exposure", None, at, None, served._replace(before=(0, 0, 0, 0))),
        Event(f"list:{name}", unit, "", "list", None, at, "r", listed),
        *(Event(f"{act}:{name}", unit, "hat", act, 1.0, at, "r") for act in happened),  # type: ignore[arg-type]
    ]


@asynccontextmanager
async def replica(
    server: Server,
    keys: Keys,
    *,
    limits: Range = LIMITS,
    off: Path = NOWHERE,
    clock: Clock | None = None,
    budget: float = 5.0,
) -> AsyncIterator[Replica]:
    """One that follows, and knows what there is."""
    clock = clock or Clock()
    async with connect(server, keys=keys, budget=budget) as connection:
        store = ExperimentStore(connection)
        reports = Reports(store, Tallies(connection), clock)
        experiments = Experiments(store, reports, KillSwitch(off), lambda: limits, clock)
        steward = Steward(experiments, reports, store, np.random.default_rng(0), clock)
        log = EventLog(connection, clock=clock, budget=budget, open_series=experiments.open_series)
        following = asyncio.create_task(experiments.follow())
        try:
            await store.applied(0, within=20)
            yield Replica(connection, store, experiments, reports, steward, log, clock)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


async def begun(one: Replica, key: str = "dial", **said: Any) -> Experiment:
    """Makes an experiment and starts it."""
    await one.experiments.create(key, {**SAID, **said}, "ann")
    return await one.experiments.start(key, None, "ann")


def application(server: Server, keys: Keys, **options: Any) -> FastAPI:
    """What create_app wires, in small."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with replica(server, keys, **options) as parts:
            app.state.experiments, app.state.replica = parts.experiments, parts
            yield

    app = FastAPI(lifespan=lifespan)
    for each in (routes, experiment_reports, ofrep):
        app.router.routes.extend(each.router.routes)
    problems.register(app)
    return app


def parts(client: TestClient) -> Replica:
    """Of the application behind `client`."""
    found: Replica = client.app.state.replica  # type: ignore[attr-defined] # of the FastAPI application
    return found


def visited(client: TestClient, count: int, *happened: str, **options: Any) -> None:
    """`Replica.visited` of the application behind `client`."""
    assert client.portal
    client.portal.call(lambda: parts(client).visited(count, *happened, **options))


def problem(answer: Response, status: int, kind: str) -> Problem:
    """The problem document that `answer` is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    found = Problem.model_validate(answer.json())
    assert found.type.endswith(f":{kind}")
    return found


def running(client: TestClient, key: str = "dial", **said: Any) -> dict[str, Any]:
    """Makes an experiment and starts it: what it is then."""
    made = client.post(ALL, json={"key": key, **SPLIT, **said})
    assert made.status_code == 201, made.text
    started = client.post(f"{ALL}/{key}/start")
    assert started.status_code == 200, started.text
    found: dict[str, Any] = started.json()
    return found
