"""What the scoring thread does: a batch of requests searched for at once, and encoded one by one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.answers import encode, encode_path, encode_several
from service.live import Live
from service.planning import Wanted, WantedPath
from service.ranking import Ranked, Ranker, Traced, attempt
from service.telemetry import Telemetry

Ask = Wanted | WantedPath


@dataclass(frozen=True, slots=True)
class Encoded:
    """What became of one ask: its body, the lists in it and who ranked them, the seconds its batch took by stage."""

    body: bytes
    ranker: Ranker
    ranked: tuple[Ranked, ...]
    seconds: Mapping[str, float]


class Engine:
    """
    Answers batches.

    Args:
        live: the bundle being served; a whole batch is answered from one.
        telemetry: told what each batch took and what its answers are made of.
    """

    def __init__(self, live: Live, telemetry: Telemetry) -> None:
        self._live = live
        self._telemetry = telemetry

    def answer(self, asks: Sequence[Ask]) -> list[Encoded | Exception]:
        """One outcome per ask, the same bytes as if it had been asked alone, or why it cannot be answered."""
        ranker = self._live.ranker
        begun = time.perf_counter()
        ranked = iter(ranker.rank_many([ask for ask in asks if isinstance(ask, Wanted)]))
        found = [next(ranked) if isinstance(ask, Wanted) else attempt(ranker.path, ask) for ask in asks]
        searched = time.perf_counter()
        bodies = [attempt(_encode, ranker, ask, each) for ask, each in zip(asks, found, strict=True)]
        seconds = {"search": searched - begun, "encode": time.perf_counter() - searched}

        self._telemetry.batch(len(asks), seconds)
        outcomes: list[Encoded | Exception] = []
        for each, body in zip(found, bodies, strict=True):
            lists = each if isinstance(each, tuple) else ()
            self._telemetry.ranked(lists)
            outcomes.append(body if isinstance(body, Exception) else Encoded(body, ranker, lists, seconds))
        return outcomes


def _encode(ranker: Ranker, ask: Ask, found: tuple[Ranked, ...] | Traced | Exception) -> bytes:
    if isinstance(found, Exception):
        raise found
    bundle_id = ranker.bundle.manifest.content_id
    if isinstance(found, Traced):
        return encode_path(found, bundle_id)
    bodies = [encode(ranked, bundle_id) for ranked in found]
    return encode_several(bodies) if isinstance(ask, Wanted) and ask.listed else bodies[0]
