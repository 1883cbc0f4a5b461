"""What the scoring thread does: a batch of requests searched for at once, and encoded one by one."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from causalrec.errors import RequestError
from service.answers import encode, encode_path, encode_several
from service.live import Lineup, Live
from service.model_telemetry import Ended
from service.planning import Wanted, WantedPath
from service.ranking import Ranked, Ranker, Traced, attempt
from service.rehearsal import Recent
from service.telemetry import Telemetry

Ask = Wanted | WantedPath
Found = tuple[Ranked, ...] | Traced | Exception

NOT_KEPT: Final = Recent(0)


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
        live: what answers whom. It is asked once per batch: all of it is answered by one bundle, or where another is
            being tried out, by that one what its users ask.
        telemetry: told what each batch took and what its answers are made of.
        recent: keeps what was asked.
    """

    def __init__(self, live: Live, telemetry: Telemetry, recent: Recent = NOT_KEPT) -> None:
        self._live = live
        self._telemetry = telemetry
        self._recent = recent

    def answer(self, asks: Sequence[Ask]) -> list[Encoded | Exception]:
        """One outcome per ask, the same bytes as if it had been asked alone, or why it cannot be answered."""
        lineup = self._live.lineup
        rankers = [lineup.ranker(ask.user_id) for ask in asks]
        self._recent.add(asks)
        begun = time.perf_counter()
        found = self._found(lineup, asks, rankers)
        searched = time.perf_counter()
        bodies = [attempt(_encode, *each) for each in zip(rankers, asks, found, strict=True)]
        seconds = {"search": searched - begun, "encode": time.perf_counter() - searched}

        self._telemetry.batch(len(asks), seconds)
        outcomes: list[Encoded | Exception] = []
        for ranker, each, body in zip(rankers, found, bodies, strict=True):
            lists = each if isinstance(each, tuple) else ()
            self._telemetry.ranked(lists)
            outcomes.append(body if isinstance(body, Exception) else Encoded(body, ranker, lists, seconds))
        return outcomes

    def _found(self, lineup: Lineup, asks: Sequence[Ask], rankers: Sequence[Ranker]) -> list[Found]:
        """What each ask's ranker found: one search per bundle."""
        found: dict[int, Found] = {}
        for role, ranker in lineup.roles():
            own = [place for place, each in enumerate(rankers) if each is ranker]
            if own:
                begun = time.perf_counter()
                answers = _ranked(ranker, [asks[place] for place in own])
                failed = sum(isinstance(each, Exception) for each in answers)
                refused = sum(isinstance(each, RequestError) for each in answers)
                outcomes: dict[Ended, int] = {
                    "answered": len(own) - failed,
                    "refused": refused,
                    "failed": failed - refused,
                }
                self._telemetry.models.scored(role, outcomes, time.perf_counter() - begun)
                found |= zip(own, answers, strict=True)
        return [found[place] for place in range(len(asks))]


def _ranked(ranker: Ranker, asks: Sequence[Ask]) -> list[Found]:
    ranked = iter(ranker.rank_many([ask for ask in asks if isinstance(ask, Wanted)]))
    return [next(ranked) if isinstance(ask, Wanted) else attempt(ranker.path, ask) for ask in asks]


def _encode(ranker: Ranker, ask: Ask, found: Found) -> bytes:
    if isinstance(found, Exception):
        raise found
    manifest = ranker.bundle.manifest
    if isinstance(found, Traced):
        return encode_path(found, manifest)
    bodies = [encode(ranked, manifest) for ranked in found]
    return encode_several(bodies) if isinstance(ask, Wanted) and ask.listed else bodies[0]
