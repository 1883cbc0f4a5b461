"""The simulated shop as visitors: who comes, what a visit brings, and that a repeated one brings nothing new."""

from collections import Counter
from collections.abc import Sequence
from threading import Lock

import numpy as np
import pytest

from causalrec.errors import ConfigError, DataError
from tests.training.conftest import SMALL
from training.experiments.progress import Progress, by_variant
from training.experiments.traffic import OUTSIDE, Answer, Crowd, Event, Totals, visitors
from training.shop import (
    Shop,
    expected_clicks_per_list,
    expected_purchases_per_list,
    expected_revenue_per_list,
    make_shop,
    oracle_scores,
    top_lists,
)
from training.shop.catalogue import Rows

K = 8
SHOP = make_shop(SMALL)
ITEM_IDS, USER_IDS = SHOP.item_ids, SHOP.user_ids
LISTS = {name: top_lists(scores, K) for name, scores in oracle_scores(SHOP).items() if name in ("taste", "kappa")}
ROWS = {user_id: row for row, user_id in enumerate(USER_IDS)}
VARIANTS = ("taste", "kappa")


class Fixed:
    """A service in our own hands: even users get the lists of taste, odd ones those of kappa, whenever they ask."""

    def __init__(self, *, experiment: str = "dial", source: str = "personal", breaks: Sequence[str] = ()) -> None:
        self._experiment, self._source, self._breaks, self._guard = experiment, source, set(breaks), Lock()
        self.told: list[Event] = []

    def ask(self, user_ids: Sequence[str], k: int) -> list[Answer]:
        if self._breaks & set(user_ids):
            raise KeyboardInterrupt
        return [self._answer(ROWS[user_id], k) for user_id in user_ids]

    def tell(self, events: Sequence[Event]) -> None:
        with self._guard:
            self.told += events

    def _answer(self, row: int, k: int) -> Answer:
        variant = VARIANTS[row % 2]
        items = [ITEM_IDS[item] for item in LISTS[variant][row, :k]]
        return Answer(items, 0.4, self._experiment, variant, self._source, f"request-{row}", "bundle")


def crowd(order: Rows, *, seed: int = 5, name: str = "dial", shop: Shop = SHOP) -> Crowd:
    return Crowd(shop, order, name=name, key="dial", seed=seed, k=K)


def by_id(events: Sequence[Event]) -> dict[str, Event]:
    found = {event["event_id"]: event for event in events}
    assert len(found) == len(events)
    return found


def test_everybody_comes_equally_often() -> None:
    """In rounds: nobody comes again before everybody came; a round's order is its own; the seed decides all of it."""
    order = visitors(SHOP, 1000, None, 200, seed=5)

    assert len(order) == 1200
    assert sorted(order[200:600]) == sorted(order[600:1000]) == list(range(400))
    assert order[200:600].tolist() != order[600:1000].tolist()
    assert len(set(order[:200].tolist())) == 200
    assert (order == visitors(SHOP, 1000, None, 200, seed=5)).all()
    assert (order != visitors(SHOP, 1000, None, 200, seed=6)).any()


def test_fewer_users_come_more_often() -> None:
    """--visits-per-user: so many visits of each that count, and those before are of the same people."""
    order = visitors(SHOP, 1000, 10, 150, seed=5)

    counts = Counter(order[150:].tolist())

    assert set(counts.values()) == {10}
    assert len(counts) == 100
    assert set(order[:150].tolist()) <= counts.keys()


def test_visits_that_the_shop_has_no_people_for_are_refused() -> None:
    """The message says how many there are and how many visits can be."""
    with pytest.raises(ConfigError, match=r"need 500 users, and the shop has 400; choose at most 800 visits"):
        visitors(SHOP, 1000, 2, 0, seed=5)


def test_sums_agree_with_the_expectations() -> None:
    """What the lists were worth is the expectation to the digit, what they brought is near it, variant by variant."""
    progress = Progress(crowd(visitors(SHOP, 4000, None, 0, seed=5)), Fixed(), threads=1, at_once=40)

    progress.send(range(4000), "visits")

    for place, variant in enumerate(VARIANTS):
        users, sums = np.arange(place, 400, 2), progress.totals.sums[variant]
        exact = [
            10 * expected(SHOP, users, LISTS[variant][users]).sum()
            for expected in (expected_clicks_per_list, expected_purchases_per_list, expected_revenue_per_list)
        ]
        assert sums.visits == 2000
        assert progress.totals.users[variant] == frozenset(users.tolist())
        assert [sums.expected_clicks, sums.expected_purchases, sums.expected_revenue] == pytest.approx(exact)
        assert sums.clicks == pytest.approx(exact[0], abs=4 * 2.0 * 2000**0.5)  # a visit's clicks have an sd below 2
        assert sums.purchases == pytest.approx(exact[1], abs=4 * 2.0 * 2000**0.5)
        assert sums.revenue / sums.purchases == pytest.approx(exact[2] / exact[1], rel=0.1)


def test_events_are_what_the_sums_count() -> None:
    """A click or a purchase each, with the price as its value and the answer's request; the service dates them."""
    service = Fixed()

    totals = crowd(visitors(SHOP, 400, None, 0, seed=5)).visit(service, range(400))

    types = Counter(event["type"] for event in service.told)
    assert types["click"] == sum(sums.clicks for sums in totals.sums.values()) > 100
    assert types["purchase"] == sum(sums.purchases for sums in totals.sums.values()) > 50
    for event in by_id(service.told).values():
        row = ITEM_IDS.index(event["item_id"])
        assert event["value"] == (SHOP.items.price[row] if event["type"] == "purchase" else None)
        assert event["request_id"] == f"request-{ROWS[event['user_id']]}"
        assert "timestamp" not in event


def test_a_visit_repeated_is_the_same_events() -> None:
    """However visits are cut into requests and threads: the same ids, the same items, so that nothing counts twice."""
    order = visitors(SHOP, 500, None, 0, seed=5)
    once, again = Fixed(), Fixed()

    Progress(crowd(order), once, threads=1, at_once=1).send(range(500), "once")
    Progress(crowd(order), again, threads=4, at_once=64).send(range(500), "again")

    assert by_id(once.told) == by_id(again.told)


def test_other_simulations_have_other_ids() -> None:
    """Another seed or another experiment tells events of its own, and draws by its own seed."""
    order, told = visitors(SHOP, 300, None, 0, seed=5), []
    for seed, name in ((5, "dial"), (6, "dial"), (5, "other")):
        service = Fixed()
        crowd(order, seed=seed, name=name).visit(service, range(300))
        told.append(by_id(service.told))

    assert not set(told[0]) & set(told[1]) | set(told[0]) & set(told[2])
    acts = [{(each["user_id"], each["item_id"], each["type"]) for each in events.values()} for events in told]
    assert acts[0] == acts[2] != acts[1]


def test_answers_of_no_experiment_are_counted_apart() -> None:
    """What another experiment chose is outside of this one, and no variant of it."""
    totals = crowd(visitors(SHOP, 100, None, 0, seed=5)).visit(Fixed(experiment="else"), range(100))

    assert set(totals.sums) == {OUTSIDE}
    assert (totals.visits, totals.inside) == (100, 0)
    assert by_variant(totals) == ""


def test_another_shops_answers_are_refused() -> None:
    """A user whom the bundle does not know, or an item that the shop does not have, is named with the way out."""
    order = np.array([3])
    smaller = make_shop(SMALL.model_copy(update={"items": 60}))

    with pytest.raises(DataError, match=r"does not know 'user-0004' .*'cold_user'.*serve the bundle"):
        crowd(order).visit(Fixed(source="cold_user"), [0])
    with pytest.raises(DataError, match=r"'item-0\d+', which is no item of this shop of 60"):
        crowd(order, shop=smaller).visit(Fixed(), [0])


def test_what_was_interrupted_goes_on_where_it_was() -> None:
    """Ctrl-C keeps what was counted; going on from `done` tells the rest, and of what is told twice the same ids."""
    order = visitors(SHOP, 400, None, 0, seed=5)
    service, whole = Fixed(breaks=[USER_IDS[order[200]]]), Fixed()
    progress = Progress(crowd(order), service, threads=2, at_once=16)

    with pytest.raises(KeyboardInterrupt):
        progress.send(range(400), "interrupted")

    assert 0 < progress.done <= 192
    assert progress.totals.visits >= progress.done
    rest = Fixed()
    Progress(crowd(order), rest, threads=2, at_once=16).send(range(progress.done, 400), "the rest")
    crowd(order).visit(whole, range(400))
    assert by_id(service.told) | by_id(rest.told) == by_id(whole.told)


def test_progress_counts_by_variant_and_may_be_checked() -> None:
    """Every visit is counted once, and a check that raises ends the traffic with its error."""
    progress = Progress(crowd(visitors(SHOP, 450, None, 0, seed=5)), Fixed(), threads=3, at_once=7)
    seen: list[int] = []

    def enough(totals: Totals) -> None:
        seen.append(totals.visits)
        if totals.visits >= 440:
            raise ConfigError("enough")

    progress.send(range(400), "first")
    assert by_variant(progress.totals) == "kappa: 200, taste: 200"
    assert progress.done == 400

    with pytest.raises(ConfigError, match="enough"):
        progress.send(range(400, 450), "then", enough)
    assert seen == sorted(seen)
