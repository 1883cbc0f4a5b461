"""Rankers whose catalogue and users change while they serve."""

from typing import Any

import numpy as np

from causalrec.equations import Form
from causalrec.search import Searcher
from service.catalogue import Catalogue, ItemRecord
from service.events import Act, EventType, UserState
from service.planning import Wanted, WantedPath
from service.ranking import Ranked, Ranker
from tests.bundles import FEATURES, make_bundle

EVERYTHING = Wanted("ann", 300, (0.8,), exclude_seen=False)
PATH = WantedPath("ann", 10, 2.0, exclude_seen=False, exclude_item_ids=())


def make_ranker(form: Form = "paper", **options: Any) -> Ranker:
    """Over a small bundle."""
    bundle = make_bundle(form, retrieval="scan")
    return Ranker(bundle, Searcher(bundle.weights, "scan"), candidates=60, full_scan=True, **options)


def new(item_id: str, seed: int = 0, **said: Any) -> ItemRecord:
    """What is said of a new hat, with a picture of its own."""
    feature = np.random.default_rng(seed).random(FEATURES, dtype=np.float32).tobytes()
    record = ItemRecord(item_id, {"category": "hat"}, feature, "random", hidden=False, deleted=False)
    return record._replace(**said)


def hidden(item_id: str) -> ItemRecord:
    """That an item is hidden."""
    return ItemRecord(item_id, {}, None, None, hidden=True, deleted=False)


def say(ranker: Ranker, *records: ItemRecord) -> None:
    """From now on exactly this has been said of items."""
    ranker.use(Catalogue.of(ranker.bundle, records, ranker.catalogue.version + 1))


def ids(ranked: Ranked) -> list[str]:
    """The list."""
    return [ranked.plan.stock.catalogue.ids[row] for row in ranked.best.rows]


def state(*acts: tuple[str, EventType]) -> UserState:
    """What is remembered of somebody who did this, newest first."""
    return UserState(tuple(Act(item_id, act, 0.0) for item_id, act in acts))
