"""The use cases: a request in, an encoded answer out, with one wait for the scoring thread."""

import time
from collections.abc import Sequence
from typing import Protocol, TypeVar

from causalrec.errors import RequestError, StateUnavailable
from service.answers import Answer, encode_several, entity_tag
from service.batching import Batcher, Place
from service.engine import Ask, Encoded
from service.events import UserState
from service.live import Live
from service.planning import Wanted, WantedPath
from service.shadow import Shadow
from service.telemetry import Telemetry

AnyWanted = TypeVar("AnyWanted", Wanted, WantedPath)


class Users(Protocol):
    """What of service.state.users.UserStore is used."""

    async def read(self, user_ids: Sequence[str]) -> Sequence[UserState]: ...


class Recommender:
    """
    Answers requests from what is live.

    Args:
        live: the bundle being served.
        users: what is remembered of them; while it cannot be asked, requests are answered without.
        batcher: the line before the thread in which an `Engine` answers.
        telemetry: told how long each request waited.
        shadow: offered every list that is served.
    """

    def __init__(
        self, live: Live, users: Users, batcher: Batcher[Ask, Encoded], telemetry: Telemetry, shadow: Shadow
    ) -> None:
        self._live = live
        self._users = users
        self._batcher = batcher
        self._telemetry = telemetry
        self._shadow = shadow

    @property
    def wait(self) -> float:
        """About how many seconds somebody who asks now waits before being begun with."""
        return self._batcher.wait

    async def recommend(self, wanted: Wanted) -> Answer:
        """The answer to one request. Raises: RequestError, Overloaded, DeadlinePassed, NotReady."""
        self._live.ranker.planner.check(wanted)  # refused before it waits
        with self._batcher.place(1) as place:
            (known,), asked = await self._remember([wanted])
            (encoded,), waited = await self._ask(place, known)
        return _answer(encoded.body, encoded, asked, waited)

    async def recommend_batch(self, requests: Sequence[Wanted]) -> Answer:
        """
        The answers to several requests from one bundle, each the same as alone.

        Raises: RequestError whose field names the first request that cannot be answered; as `recommend`.
        """
        planner = self._live.ranker.planner
        for index, wanted in enumerate(requests):
            try:
                planner.check(wanted)
            except RequestError as error:
                raise RequestError(f"requests.{index}.{error.field}", error.value, error.detail) from error
        with self._batcher.place(len(requests)) as place:
            known, asked = await self._remember(requests)
            every, waited = await self._ask(place, *known)
        return _answer(encode_several([encoded.body for encoded in every]), every[0], asked, waited)

    async def lambda2_path(self, wanted: WantedPath) -> Answer:
        """A user's exact λ2 path. Raises: as `recommend`."""
        with self._batcher.place(1) as place:
            (known,), asked = await self._remember([wanted])
            self._live.ranker.check_path(known)  # refused before it waits to be scored
            (encoded,), waited = await self._ask(place, known)
        return _answer(encoded.body, encoded, asked, waited)

    async def _remember(self, requests: Sequence[AnyWanted]) -> tuple[Sequence[AnyWanted], float]:
        """The requests with what is remembered of their users, from one call; and the seconds it took."""
        named = list(dict.fromkeys(wanted.user_id for wanted in requests if wanted.user_id is not None))
        if not named:
            return requests, 0.0
        begun = time.perf_counter()
        try:
            states = dict(zip(named, await self._users.read(named), strict=True))
        except StateUnavailable:
            states = {}
        seconds = time.perf_counter() - begun
        self._telemetry.asked_state(seconds, answered=bool(states))
        if not any(state.acts for state in states.values()):
            return requests, seconds
        return [
            wanted._replace(state=states[wanted.user_id]) if wanted.user_id is not None else wanted
            for wanted in requests
        ], seconds

    async def _ask(self, place: Place[Ask, Encoded], *asks: Ask) -> tuple[list[Encoded], float]:
        outcomes, waited = await place.ask(*asks)
        self._telemetry.waited(waited)
        every: list[Encoded] = []
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            for ranked in outcome.ranked:
                self._shadow.offer(outcome.ranker, ranked)
            every.append(outcome)
        return every, waited


def _answer(body: bytes, encoded: Encoded, asked: float, waited: float) -> Answer:
    return Answer(body, entity_tag(body), {"state": asked, "queue": waited, **encoded.seconds})
