"""The use cases: a request in, an encoded answer out, with one wait for the scoring thread."""

import logging
import time
from collections.abc import Sequence
from typing import Protocol, TypeVar

from causalrec.errors import EventsRefused, RequestError, StateUnavailable
from service.answers import Answer, encode_several, entity_tag
from service.batching import Batcher, Place
from service.engine import Ask, Encoded
from service.events import UserState
from service.experiments.model import Decision
from service.live import Lineup, Live
from service.planning import Wanted, WantedPath
from service.recording import Given, Recorder
from service.shadow import Shadow
from service.shadow_model import ShadowModel
from service.telemetry import Telemetry

log = logging.getLogger(__name__)

AnyWanted = TypeVar("AnyWanted", Wanted, WantedPath)


class Users(Protocol):
    """What of service.state.users.UserStore is used."""

    async def read(self, user_ids: Sequence[str]) -> Sequence[UserState]: ...


class Trials(Protocol):
    """What of service.experimenting.Experiments is used."""

    def decide(self, user_id: str) -> Decision | None: ...


class Recommender:
    """
    Answers requests from what is live.

    Args:
        live: the bundle being served.
        users: what is remembered of them; while it cannot be asked, requests are answered without.
        trials: the experiments that users are in.
        recorder: what became of answers in experiments; while it can record nothing, there are none.
        batcher: the line before the thread in which an `Engine` answers.
        telemetry: told how long each request waited.
        shadow: offered every list that is served; beside: every request with its lists.
    """

    def __init__(
        self,
        live: Live,
        users: Users,
        trials: Trials,
        recorder: Recorder,
        batcher: Batcher[Ask, Encoded],
        telemetry: Telemetry,
        shadow: Shadow,
        beside: ShadowModel,
    ) -> None:
        self._live = live
        self._users = users
        self._trials = trials
        self._recorder = recorder
        self._batcher = batcher
        self._telemetry = telemetry
        self._shadow = shadow
        self._beside = beside

    @property
    def wait(self) -> float:
        """About how many seconds somebody who asks now waits before being begun with."""
        return self._batcher.wait

    async def recommend(self, wanted: Wanted, request_id: str) -> Answer:
        """The answer to one request. Raises: RequestError, Overloaded, DeadlinePassed, NotReady."""
        self._check(self._live.lineup, wanted)
        (encoded,), asked, waited = await self._recommend([wanted], request_id)
        return _answer(encoded.body, encoded, asked, waited)

    async def recommend_batch(self, requests: Sequence[Wanted], request_id: str) -> Answer:
        """
        The answers to several requests, each the same as alone: from one bundle, or where another is tried out, from
        those two that its users are answered by.

        Raises: RequestError whose field names the first request that cannot be answered; as `recommend`.
        """
        lineup = self._live.lineup
        for index, wanted in enumerate(requests):
            try:
                self._check(lineup, wanted)
            except RequestError as error:
                raise RequestError(f"requests.{index}.{error.field}", error.value, error.detail) from error
        every, asked, waited = await self._recommend(requests, request_id)
        return _answer(encode_several([encoded.body for encoded in every]), every[0], asked, waited)

    def _check(self, lineup: Lineup, wanted: Wanted) -> None:
        """What is wrong is refused before it waits. Raises: RequestError."""
        try:
            lineup.ranker(wanted.user_id).planner.check(wanted)
        except RequestError:
            self._telemetry.models.ended(lineup.role(wanted.user_id), "refused")
            raise

    async def lambda2_path(self, wanted: WantedPath) -> Answer:
        """A user's exact λ2 path. Raises: as `recommend`."""
        with self._batcher.place(1) as place:
            (known,), _, asked = await self._remember([wanted])
            self._live.lineup.ranker(known.user_id).check_path(known)  # refused before it waits to be scored
            (encoded,), waited = await self._ask(place, known)
        return _answer(encoded.body, encoded, asked, waited)

    async def _recommend(self, requests: Sequence[Wanted], request_id: str) -> tuple[Sequence[Encoded], float, float]:
        """The answers, recorded where an experiment chose λ2; the seconds asked of Redis and waited in the line."""
        begun = time.perf_counter()
        with self._batcher.place(len(requests)) as place:
            known, remembered, asked = await self._remember(requests)
            decided = [self._decided(wanted) for wanted in known]
            try:
                every, waited = await self._ask(place, *decided)
            except RequestError:
                raise  # not the service's failure
            except Exception:
                await self._failed(decided, request_id, time.perf_counter() - begun)
                raise
        given = self._given(every, decided, request_id, time.perf_counter() - begun, known=remembered)
        if given:
            try:
                await self._recorder.served(given)
            except EventsRefused as error:
                log.warning("answered without an experiment: %s", error)
                self._telemetry.without_experiment()
                with self._batcher.place(len(requests)) as place:
                    every, waited = await self._ask(place, *known)
        return every, asked, waited

    def _decided(self, wanted: Wanted) -> Wanted:
        """The request as an experiment wants it answered, where its user is in one."""
        if wanted.user_id is None or wanted.lambda2 is not None:
            return wanted
        decision = self._trials.decide(wanted.user_id)
        return wanted if decision is None else wanted._replace(decision=decision)

    def _given(
        self, every: Sequence[Encoded], decided: Sequence[Wanted], request_id: str, seconds: float, *, known: bool
    ) -> list[Given]:
        return [
            Given(
                ranked,
                request_id,
                each.ranker.bundle.manifest.content_id,
                seconds,
                wanted.state.acts if known else None,
            )
            for each, wanted in zip(every, decided, strict=True)
            for ranked in each.ranked
            if ranked.plan.decision is not None
        ]

    async def _failed(self, decided: Sequence[Wanted], request_id: str, seconds: float) -> None:
        lineup = self._live.lineup
        decisions: dict[str, list[Decision]] = {}
        for wanted in decided:
            ranker = lineup.ranker(wanted.user_id)
            if (decision := ranker.planner.decided(wanted)) is not None:
                decisions.setdefault(ranker.bundle.manifest.content_id, []).append(decision)
        for bundle_id, each in decisions.items():
            await self._recorder.failed(each, request_id, bundle_id, seconds)

    async def _remember(self, requests: Sequence[AnyWanted]) -> tuple[Sequence[AnyWanted], bool, float]:
        """The requests with what is remembered of their users, from one call; whether it answered, and its seconds."""
        named = list(dict.fromkeys(wanted.user_id for wanted in requests if wanted.user_id is not None))
        if not named:
            return requests, False, 0.0
        begun = time.perf_counter()
        try:
            states = dict(zip(named, await self._users.read(named), strict=True))
        except StateUnavailable:
            states = {}
        seconds = time.perf_counter() - begun
        self._telemetry.asked_state(seconds, answered=bool(states))
        if not any(state.acts for state in states.values()):
            return requests, bool(states), seconds
        return (
            [
                wanted._replace(state=states[wanted.user_id]) if wanted.user_id is not None else wanted
                for wanted in requests
            ],
            True,
            seconds,
        )

    async def _ask(self, place: Place[Ask, Encoded], *asks: Ask) -> tuple[list[Encoded], float]:
        outcomes, waited = await place.ask(*asks)
        self._telemetry.waited(waited)
        every: list[Encoded] = []
        for ask, outcome in zip(asks, outcomes, strict=True):
            if isinstance(outcome, Exception):
                raise outcome
            for ranked in outcome.ranked:
                self._shadow.offer(outcome.ranker, ranked)
            self._beside.offer(ask, outcome.ranker, outcome.ranked)
            every.append(outcome)
        return every, waited


def _answer(body: bytes, encoded: Encoded, asked: float, waited: float) -> Answer:
    bundle_id = encoded.ranker.bundle.manifest.content_id
    return Answer(body, entity_tag(body), bundle_id, {"state": asked, "queue": waited, **encoded.seconds})
