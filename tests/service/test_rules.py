"""Every list is the greedy one over the whole ranking: whatever is filtered, hidden, boosted, capped or pinned."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causalrec.bundle import Bundle
from causalrec.equations import Form
from causalrec.index import FAISS_KINDS, Kind
from causalrec.search import Searcher
from causalrec.topk import Query, TopK
from service.catalogue import Catalogue, ItemRecord
from service.events import Act, UserState
from service.listing import rounds, run
from service.planning import Pin, Wanted
from service.ranking import Ranked, Ranker
from service.rules import Boost, Cap
from tests.bundles import FEATURES, make_bundle
from tests.service import brute
from tests.service.conftest import FORMS, INDEXED

ITEMS = 260
EXACT: tuple[Kind, ...] = ("scan", "int8", "flat", "sq8")
SEARCHED = [(form, kind) for form in FORMS for kind in EXACT if form in INDEXED or kind not in FAISS_KINDS]
COLD = ("item-0055", "item-100x", "new-1", "new-2", "new-3")
HIDDEN = ("item-007", "item-200", "new-2", "item-031")


@pytest.fixture(autouse=True, scope="module")
def small_catalogues_are_searched() -> Iterator[None]:
    """Only what is really few is scored one by one, as in a catalogue of thousands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("causalrec.search.FEWEST", 4)
        yield


@cache
def bundle(form: Form) -> Bundle:
    """With equal items, absent attributes and attributes of every type."""
    plain = make_bundle(form, items=ITEMS, retrieval="scan")
    rng = np.random.default_rng(3)
    for part in (plain.weights.gamma_i, plain.weights.e, plain.weights.beta, plain.weights.visual_bias):
        if part is not None:
            part[1:200:5] = part[0:199:5]  # every fifth has a twin
    if plain.weights.e_match is not None:
        plain.weights.e_match[1:200:5] = plain.weights.e_match[0:199:5]
    category = [None if draw < 0.1 else name for draw, name in zip(rng.random(ITEMS), plain.catalogue["category"])]  # noqa: B905
    frame = plain.catalogue.with_columns(
        category=pl.Series(category),
        stock=pl.Series([None if n % 11 == 0 else n % 5 for n in range(ITEMS)]),
        tags=pl.Series([None if n % 13 == 0 else ["new", "sale", "red"][: n % 4] for n in range(ITEMS)]),
        mine=pl.Series([n % 3 == 0 for n in range(ITEMS)]),
    )
    return replace(plain, catalogue=frame)


def record(item_id: str, **said: Any) -> ItemRecord:
    rng = np.random.default_rng(len(item_id) + ord(item_id[-1]))
    feature = rng.random(FEATURES, dtype=np.float32).tobytes()
    fresh = {"category": "hat", "price": 20.0, "tags": ["new"], "stock": 3} if item_id in COLD else {}
    said = {"attributes": fresh, "feature": feature if item_id in COLD else None, "hidden": False, **said}
    return ItemRecord(item_id, backbone="random", deleted=False, **said)


@cache
def live(form: Form) -> Catalogue:
    """Some items hidden, some new: most of these, one of them hidden, equal to what Ann or Bob likes best."""
    records = {item_id: record(item_id, hidden=item_id in HIDDEN) for item_id in {*COLD, *HIDDEN}}
    catalogue = Catalogue.of(bundle(form), records.values(), 1)
    own, cold = bundle(form).weights, catalogue.cold
    assert cold is not None
    for new, user_id in enumerate(("ann", "bob", "ann", "ann")):
        user = bundle(form).users.rows([user_id])[0]
        seen = np.union1d(bundle(form).seen.items(user), catalogue.hidden[catalogue.hidden < ITEMS])
        trained = Searcher(own, "scan").scan(own.user(user), 0.6, 1, seen).rows[0]
        for name in ("gamma_i", "e", "e_match", "beta", "visual_bias"):
            if getattr(own, name) is not None:
                getattr(cold, name)[new] = getattr(own, name)[trained]
    return catalogue


@cache
def ranker(form: Form, kind: Kind, changed: bool) -> Ranker:
    made = Ranker(bundle(form), Searcher(bundle(form).weights, kind), candidates=40, full_scan=True)
    if changed:
        made.use(live(form))
    return made


def expected(ranked: Ranked, wanted: Wanted) -> list[str]:
    """The ids of the list, by loops over every item."""
    plan, catalogue = ranked.plan, ranked.plan.stock.catalogue
    known = catalogue.bundle
    items = {row["item_id"]: row for row in catalogue.frame.to_dicts()}
    banned = {*wanted.exclude_item_ids, *(catalogue.ids[row] for row in catalogue.hidden)}
    if wanted.exclude_seen:
        row = known.users.row(wanted.user_id) if wanted.user_id else None
        banned |= set() if row is None else {known.items.ids[seen] for seen in known.seen.items(row)}
        banned |= {act.item_id for act in wanted.state.acts if act.type != "impression"}
    cold = plan.stock.cold_scores(ranked.lambda2) if plan.source == "cold_user" else None
    scores = {}
    for row, item_id in enumerate(catalogue.ids):
        only = wanted.candidate_item_ids
        if item_id in banned or (only is not None and item_id not in only):
            continue
        if wanted.filter is not None and not brute.matches(items[item_id], wanted.filter):
            continue
        new = row - catalogue.bundle_items
        weights, place = (known.weights, row) if new < 0 or catalogue.cold is None else (catalogue.cold, new)
        scores[item_id] = brute.scored(weights, plan.user, place, ranked.lambda2) if cold is None else cold[row]
    pins = [(pin.item_id, pin.position) for pin in wanted.pins or ()]
    return brute.ruled(scores, items, wanted.k, pins, wanted.boosts, wanted.cap)


numbers = st.sampled_from([0, 1, 2, 3, 4, 20.0, 50.5, 99])
words = st.sampled_from(["coat", "hat", "shoe", "sock"])
LEAVES = st.one_of(
    st.builds(lambda value: {"category": value}, words | st.lists(words, max_size=3)),
    st.builds(lambda value: {"category": {"ne": value}}, words),
    st.builds(lambda low, high: {"price": {"gte": low, "lt": high}}, numbers, st.sampled_from([30, 110, 200.5])),
    st.builds(
        lambda operator, value: {"stock": {operator: value}}, st.sampled_from(["gt", "lte", "eq", "ne"]), numbers
    ),
    st.builds(lambda value: {"stock": {"exists": value}}, st.booleans()),
    st.builds(lambda operator, value: {"tags": {operator: value}}, st.sampled_from(["eq", "ne"]), st.just("sale")),
    st.builds(lambda value: {"mine": value}, st.booleans()),
    st.builds(lambda ids: {"item_id": ids}, st.lists(st.sampled_from(["item-001", "item-060", "new-1"]), max_size=2)),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda parts: {"any": parts}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda part: {"not": part}, inner)
        | st.builds(lambda parts: {"all": parts}, st.lists(inner, max_size=2))
    ),
    max_leaves=4,
)
IDS = st.sampled_from([f"item-{n:03d}" for n in range(0, ITEMS, 3)] + [*COLD, "no such item"])
ACTS = st.lists(st.builds(Act, IDS, st.sampled_from(["impression", "click", "purchase"]), st.just(0.0)), max_size=4)
BOOSTS = st.lists(st.builds(Boost, FILTERS, st.sampled_from([-10, -0.05, 0.01, 0.1, 0.2, 5])), max_size=4)
CAPS = st.none() | st.builds(Cap, st.sampled_from(["category", "stock", "mine", "title"]), st.sampled_from([1, 2, 9]))


@st.composite
def requests(draw: st.DrawFn) -> Wanted:
    k = draw(st.sampled_from([1, 3, 10, 60]))
    positions = draw(st.lists(st.integers(1, k), max_size=4, unique=True))
    pinned = draw(st.lists(IDS, min_size=len(positions), max_size=len(positions), unique=True))
    state = draw(st.just(()) | ACTS.map(tuple))
    return Wanted(
        user_id=draw(st.sampled_from(["ann", "bob", "sated", "nobody", None])),
        k=k,
        lambda2=draw(st.sampled_from([(0.0,), (0.6,), (0.3, 2.5)])),
        exclude_seen=draw(st.booleans()),
        exclude_item_ids=draw(st.lists(IDS, max_size=3)),
        candidates=draw(st.sampled_from([1, 40, 200])),
        candidate_item_ids=draw(st.none() | st.none() | st.lists(IDS, max_size=30)),
        filter=draw(st.none() | FILTERS),
        pins=draw(st.none() | st.just([Pin(*pair) for pair in zip(pinned, positions, strict=True)])),
        boosts=draw(st.just([]) | BOOSTS),
        cap=draw(CAPS),
        state=UserState(state),
    )


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wanted=requests(), searched=st.sampled_from(SEARCHED), changed=st.booleans())
def test_a_list_is_the_greedy_one_of_the_float64_ranking(
    wanted: Wanted, searched: tuple[Form, Kind], changed: bool
) -> None:
    """Nothing hidden, excluded, seen (if asked) or unmatched; k items where as many may be taken; exact, in order."""
    for ranked in ranker(*searched, changed).rank(wanted):
        ids = ranked.plan.stock.catalogue.ids

        assert [ids[row] for row in ranked.best.rows] == expected(ranked, wanted)
        assert ranked.best.exact


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wanted=requests(), form=st.sampled_from(INDEXED), kind=st.sampled_from(["pq", "ivf"]))
def test_indices_that_prove_nothing_still_keep_every_rule(wanted: Wanted, form: Form, kind: Kind) -> None:
    """Not the best perhaps, and then said not to be exact, but as many as there can be, and none that may not be."""
    for ranked in ranker(form, kind, True).rank(wanted):
        found = [ranked.plan.stock.catalogue.ids[row] for row in ranked.best.rows]
        right = expected(ranked, wanted)

        assert len(found) == len(set(found)) == len(right)
        assert set(found) <= set(expected(ranked, wanted._replace(k=1000, cap=None)))
        assert found == right or not ranked.best.exact


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wanted=st.lists(requests(), min_size=2, max_size=8), kind=st.sampled_from(EXACT))
def test_whoever_shares_a_batch_the_list_is_the_same(wanted: list[Wanted], kind: Kind) -> None:
    """Rounds of several requests are searched for together, and do not mix."""
    own = ranker("paper", kind, True)

    together = own.rank_many(wanted)

    for each, one in zip(together, wanted, strict=True):
        assert isinstance(each, tuple)
        for found, alone in zip(each, own.rank(one), strict=True):
            assert found.best.rows.tolist() == alone.best.rows.tolist()
            assert found.best.scores.tolist() == alone.best.scores.tolist()


def test_a_group_that_is_full_is_not_searched_again() -> None:
    """However far ahead of all others it is, the next search is for the others alone."""
    own = ranker("paper", "scan", False)
    wanted = Wanted("ann", 6, (0.6,), boosts=[Boost({"mine": True}, 5)], cap=Cap("mine", 3))
    plan = own.rank(wanted)[0].plan
    widths: list[list[int]] = []

    def search(queries: Sequence[Query]) -> Sequence[tuple[TopK, ...]]:
        widths.append([query.k for query in queries])
        return plan.stock.search.batch(queries)

    (lists,) = run(rounds(plan), search)

    assert not isinstance(lists, Exception)
    assert lists[0].boosts is not None
    assert lists[0].boosts.tolist() == [5, 5, 5, 0, 0, 0]
    assert widths == [[6, 6], [24]]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wanted=requests(), kind=st.sampled_from(EXACT))
def test_the_shadow_finds_the_same_list_by_scoring_everything(wanted: Wanted, kind: Kind) -> None:
    """Rules and all: what a search found is compared with what must have been found."""
    own = ranker("paper", kind, True)

    for ranked in own.rank(wanted):
        assert own.scan(ranked).rows.tolist() == ranked.best.rows.tolist()
