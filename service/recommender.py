"""The use cases: a request in, an encoded answer out, with one wait for the scoring thread."""

from collections.abc import Sequence

from causalrec.errors import RequestError
from service.answers import Answer, encode_several, entity_tag
from service.batching import Batcher
from service.engine import Ask, Encoded
from service.live import Live
from service.planning import Wanted, WantedPath
from service.shadow import Shadow
from service.telemetry import Telemetry


class Recommender:
    """
    Answers requests from what is live.

    Args:
        live: the bundle being served.
        batcher: the line before the thread in which an `Engine` answers.
        telemetry: told how long each request waited.
        shadow: offered every list that is served.
    """

    def __init__(self, live: Live, batcher: Batcher[Ask, Encoded], telemetry: Telemetry, shadow: Shadow) -> None:
        self._live = live
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
        (encoded,), waited = await self._ask(wanted)
        return _answer(encoded.body, encoded, waited)

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
        every, waited = await self._ask(*requests)
        return _answer(encode_several([encoded.body for encoded in every]), every[0], waited)

    async def lambda2_path(self, wanted: WantedPath) -> Answer:
        """A user's exact λ2 path. Raises: as `recommend`."""
        self._live.ranker.check_path(wanted)  # refused before it waits
        (encoded,), waited = await self._ask(wanted)
        return _answer(encoded.body, encoded, waited)

    async def _ask(self, *asks: Ask) -> tuple[list[Encoded], float]:
        outcomes, waited = await self._batcher.ask(*asks)
        self._telemetry.waited(waited)
        every: list[Encoded] = []
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            for ranked in outcome.ranked:
                self._shadow.offer(outcome.ranker, ranked)
            every.append(outcome)
        return every, waited


def _answer(body: bytes, encoded: Encoded, waited: float) -> Answer:
    return Answer(body, entity_tag(body), {"queue": waited, **encoded.seconds})
