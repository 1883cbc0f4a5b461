"""What the service records of its own answers in experiments, durable before the answer leaves."""

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol
from uuid import uuid4

from causalrec.errors import EventsRefused
from service.events import Act, Event, EventType, RecordType, Served
from service.experiments.model import Decision
from service.ranking import Ranked

EXPOSED = 100_000  # exposures remembered, so that they are not sent again; the log knows them all
COUNTED: Final[tuple[EventType, ...]] = ("click", "cart", "purchase", "rating")


class Log(Protocol):
    """What of service.intake.Intake is used."""

    async def record(self, events: Sequence[Event]) -> None: ...


class Told(Protocol):
    """What is counted."""

    def recorded(self, experiment: str, variant: str, *, exposure: bool) -> None: ...


class Given(NamedTuple):
    """
    One answer in an experiment: the request's id, the bundle that made it, the seconds it took, and what was known of
    the user; None where that could not be asked.
    """

    ranked: Ranked
    request_id: str
    bundle_id: str
    seconds: float
    acts: Sequence[Act] | None


class Recorder:
    """
    Records exposures, lists and failures.

    Args:
        log: where they become durable.
        telemetry: told of each that is.
        clock: seconds since 1970.
    """

    def __init__(self, log: Log, telemetry: Told, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._telemetry = telemetry
        self._clock = clock
        self._exposed: OrderedDict[tuple[str, int, str], None] = OrderedDict()

    async def served(self, every: Sequence[Given]) -> None:
        """
        Records the lists of answers, and the exposure of each unit that may not have been exposed yet; all of them, or
        none.

        Raises: EventsRefused.
        """
        decisions = [decision for given in every if (decision := given.ranked.plan.decision) is not None]
        exposures: dict[tuple[str, int, str], Event] = {}
        lists = []
        for given, decision in zip(every, decisions, strict=True):
            unit = decision.key, decision.version, decision.unit
            if unit not in self._exposed and unit not in exposures:
                exposures[unit] = self._event("exposure", decision, given)
            lists.append(self._event("list", decision, given))
        await self._log.record([*exposures.values(), *lists])
        for event in exposures.values():
            self._remember(event)
        for decision in decisions:
            self._telemetry.recorded(decision.key, decision.variant, exposure=False)

    async def failed(self, decisions: Sequence[Decision], request_id: str, bundle_id: str, seconds: float) -> None:
        """Records, as well as can be, that there was an error where answers should have been."""
        events = [
            self._made("failure", each, request_id, _served(each, bundle_id)._replace(seconds=seconds))
            for each in decisions
        ]
        with contextlib.suppress(EventsRefused):  # the caller is told of the error itself
            await self._log.record(events)

    def _event(self, type_: RecordType, decision: Decision, given: Given) -> Event:
        served = _served(decision, given.bundle_id)
        if type_ == "exposure":
            served = served._replace(before=None if given.acts is None else _counts(given.acts))
        else:
            ids = given.ranked.plan.stock.catalogue.ids
            item_ids = tuple(ids[row] for row in given.ranked.best.rows.tolist())
            served = served._replace(item_ids=item_ids, teams=given.ranked.teams, seconds=given.seconds)
        return self._made(type_, decision, given.request_id, served)

    def _made(self, type_: RecordType, decision: Decision, request_id: str, served: Served) -> Event:
        event_id = f"{type_}:{decision.key}:{decision.version}:{decision.unit}"
        if type_ != "exposure":
            event_id += f":{uuid4().hex}"
        return Event(event_id, decision.unit, "", type_, None, self._clock(), request_id, served)

    def _remember(self, exposure: Event) -> None:
        assert exposure.served is not None  # noqa: S101 - it was made here
        served = exposure.served
        self._exposed[served.experiment, served.version, exposure.user_id] = None
        while len(self._exposed) > EXPOSED:
            self._exposed.popitem(last=False)
        self._telemetry.recorded(served.experiment, served.variant, exposure=True)


def _served(decision: Decision, bundle_id: str) -> Served:
    return Served(
        experiment=decision.key,
        version=decision.version,
        series=decision.series,
        variant=decision.variant,
        lambda2=decision.lambda2,
        propensity=decision.propensity,
        bundle_id=bundle_id,
    )


def _counts(acts: Sequence[Act]) -> tuple[int, int, int, int]:
    types = [act.type for act in acts]
    clicks, carts, purchases, ratings = (types.count(each) for each in COUNTED)
    return clicks, carts, purchases, ratings
