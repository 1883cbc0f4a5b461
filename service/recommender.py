"""The use case: a request in, an encoded answer out, with one wait for the scoring thread."""

import time
from collections.abc import Sequence

from causalrec.errors import RequestError
from service.answers import Answer, encode, encode_batch, entity_tag
from service.live import Live
from service.ranking import Ranked, Ranker
from service.schemas import RecommendationRequest
from service.telemetry import Telemetry
from service.worker import Worker


class Recommender:
    """
    Answers requests from what is live.

    Args:
        live: the bundle being served.
        worker: where ranking and encoding run.
        telemetry: told what every answer was made of.
    """

    def __init__(self, live: Live, worker: Worker, telemetry: Telemetry) -> None:
        self._live = live
        self._worker = worker
        self._telemetry = telemetry

    async def recommend(self, wanted: RecommendationRequest) -> Answer:
        """The answer to one request. Raises: RequestError, Overloaded, NotReady."""
        ranker = self._live.ranker
        ranker.lambda2(wanted.lambda2)  # refused before it waits
        return await self._answer(ranker, (wanted,), batch=False)

    async def recommend_batch(self, requests: Sequence[RecommendationRequest]) -> Answer:
        """
        The answers to several requests from one bundle, each the same as alone.

        Raises: RequestError whose field names the first request that cannot be answered; Overloaded; NotReady.
        """
        ranker = self._live.ranker
        for index, wanted in enumerate(requests):
            try:
                ranker.lambda2(wanted.lambda2)
            except RequestError as error:
                raise RequestError(f"requests.{index}.{error.field}", error.value, error.detail) from error
        return await self._answer(ranker, requests, batch=True)

    async def _answer(self, ranker: Ranker, requests: Sequence[RecommendationRequest], *, batch: bool) -> Answer:
        (ranked, body, seconds), waited = await self._worker.run(
            lambda: _work(ranker, requests, batch=batch), len(requests)
        )
        seconds = {"queue": waited, **seconds}
        self._telemetry.stages(seconds)
        for each in ranked:
            self._telemetry.ranked(each)
        return Answer(body, entity_tag(body), seconds)


def _work(
    ranker: Ranker, requests: Sequence[RecommendationRequest], *, batch: bool
) -> tuple[list[Ranked], bytes, dict[str, float]]:
    begun = time.perf_counter()
    ranked = [ranker.rank(wanted) for wanted in requests]
    searched = time.perf_counter()
    bundle = ranker.bundle
    bodies = [encode(each, bundle.manifest.content_id, bundle.items.ids) for each in ranked]
    body = encode_batch(bodies) if batch else bodies[0]
    return ranked, body, {"search": searched - begun, "encode": time.perf_counter() - searched}
