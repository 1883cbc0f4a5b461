"""Snapshots of the catalogue: what was said of items over what the bundle holds."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalrec.bundle import Bundle
from causalrec.equations import Form
from causalrec.placing import Placer
from service.catalogue import Catalogue, ItemRecord
from tests.bundles import FEATURES, make_bundle
from tests.service.conftest import FORMS

BUNDLES = {form: make_bundle(form, items=30) for form in FORMS}
BUNDLE = BUNDLES["paper"]
TRAINED = "item-03"
COAT = {"title": "Linen coat", "category": "coat", "price": 89.5}


def record(item_id: str, seed: int | None = None, **changes: Any) -> ItemRecord:
    """What is said of an item, with the feature of `seed`."""
    feature = None if seed is None else np.random.default_rng(seed).random(FEATURES).astype("<f4").tobytes()
    said = ItemRecord(item_id, COAT, feature, None if seed is None else "random", hidden=False, deleted=False)
    return said._replace(**changes)


def as_values(catalogue: Catalogue) -> list[Any]:
    """All that answers can depend on, comparable."""
    cold = {} if catalogue.cold is None else catalogue.cold.tensors()
    parts = (catalogue.version, list(catalogue.ids), catalogue.frame.to_dicts(), catalogue.hidden.tolist())
    return [*parts, catalogue.skipped, {name: tensor.numpy().tobytes() for name, tensor in cold.items()}]


def attributes_of(catalogue: Catalogue, item_id: str) -> Mapping[str, Any]:
    row = catalogue.row(item_id)
    assert row is not None
    return catalogue.frame.row(row, named=True)


def test_with_nothing_said_it_is_the_bundle() -> None:
    """Shared, not copied; nothing is hidden, nothing is cold."""
    catalogue = Catalogue.of(BUNDLE)

    assert catalogue.frame is BUNDLE.catalogue
    assert catalogue.ids is BUNDLE.items.ids
    assert (catalogue.version, catalogue.bundle_items, len(catalogue.hidden), catalogue.cold) == (0, 30, 0, None)


def test_new_items_follow_the_bundles_in_the_order_of_their_ids() -> None:
    """Ties by row are then ties by id among them, in whatever order they came."""
    catalogue = Catalogue.of(BUNDLE, [record("zebra", 1), record("a new one", 2)], 7)

    assert catalogue.ids[30:] == ("a new one", "zebra")
    assert (catalogue.row("zebra"), catalogue.row(TRAINED), catalogue.row("nobody")) == (31, 3, None)
    assert catalogue.rows(["zebra", "nobody", "item-00"]).tolist() == [31, 0]
    assert catalogue.frame["item_id"].to_list() == list(catalogue.ids)
    assert catalogue.frame.schema == BUNDLE.catalogue.schema
    assert attributes_of(catalogue, "zebra") == {"item_id": "zebra", **COAT, "image": None}


@pytest.mark.parametrize("form", FORMS)
def test_a_new_item_is_placed_by_its_picture_alone(form: Form) -> None:
    """e = Eᵀφ(V), the match that its picture lets expect, nobody's popularity, and the users that the bundle has."""
    bundle = BUNDLES[form]
    own, visual = bundle.weights, bundle.visual

    cold = Catalogue.of(bundle, [record("new", 5)], 1).cold

    assert cold is not None
    feature = torch.from_numpy(np.random.default_rng(5).random(FEATURES).astype(np.float32))
    seen = (feature - visual.scaling.mean) / visual.scaling.scale
    torch.testing.assert_close(cold.e[0], seen @ visual.E)
    expected = Placer(own, visual).place(feature[None])
    torch.testing.assert_close(cold.gamma_i, expected.gamma)
    torch.testing.assert_close(cold.beta, expected.beta)
    assert cold.popularity.tolist() == [0.0]
    assert cold.gamma_u is own.gamma_u


def test_where_an_item_stands_does_not_depend_on_the_company_it_came_in() -> None:
    """Replicas that heard the same in other portions agree to the bit."""
    many = [record(f"new-{n}", n) for n in range(40)]

    at_once = Catalogue.of(BUNDLE, many, 40)
    by_one = Catalogue.of(BUNDLE)
    for n, each in enumerate(reversed(many)):
        by_one = by_one.changed([each], n + 1)

    assert as_values(at_once) == as_values(by_one)


def test_a_trained_item_gets_new_attributes_and_keeps_its_vectors() -> None:
    """What is left out is null; what the bundle has comes back when nothing is said any more."""
    said = Catalogue.of(BUNDLE).changed([record(TRAINED, 1, attributes={"price": 3})], 1)
    unsaid = said.changed([record(TRAINED, 1, attributes={})], 2)

    expected = {"item_id": TRAINED, "title": None, "category": None, "price": 3.0, "image": None}
    assert attributes_of(said, TRAINED) == expected
    assert said.cold is None
    assert unsaid.frame.equals(BUNDLE.catalogue)


def test_a_new_picture_moves_a_new_item() -> None:
    """And nothing else: the others stand where they stood."""
    catalogue = Catalogue.of(BUNDLE, [record("a", 1), record("b", 2)], 2)

    after = catalogue.changed([record("a", 3)], 3)

    assert as_values(after) == as_values(Catalogue.of(BUNDLE, [record("a", 3), record("b", 2)], 3))
    assert as_values(after)[-1] != as_values(catalogue)[-1]


def test_hidden_and_deleted_items_are_hidden_rows() -> None:
    """A deleted new item is no item any more; a deleted trained one keeps its row, hidden."""
    catalogue = Catalogue.of(BUNDLE, [record("a", 1), record("b", 2), record("c", 3)], 3)

    after = catalogue.changed(
        [record("c", 3, hidden=True), record("a", deleted=True), record(TRAINED, attributes={}, deleted=True)], 6
    )

    assert list(after.ids[30:]) == ["b", "c"]
    assert after.hidden.tolist() == [3, 31]
    assert after.row("a") is None


def test_to_hide_shares_everything_else() -> None:
    """Hiding is the most frequent change and must not cost a rebuild."""
    catalogue = Catalogue.of(BUNDLE, [record("a", 1)], 1)

    after = catalogue.changed([record("a", 1, hidden=True), record(TRAINED, attributes={}, hidden=True)], 3)
    shown = after.changed([record(TRAINED, attributes={})], 4)

    assert (after.frame, after.cold, after.ids) == (catalogue.frame, catalogue.cold, catalogue.ids)
    assert after.frame is catalogue.frame
    assert after.cold is catalogue.cold
    assert (after.hidden.tolist(), shown.hidden.tolist()) == ([3, 30], [30])


def test_to_be_told_the_same_again_shares_everything() -> None:
    """After a reconnection all is read anew, and mostly nothing has changed."""
    catalogue = Catalogue.of(BUNDLE, [record("a", 1), record(TRAINED), record("b", 2, hidden=True)], 3)

    again = catalogue.holding(list(catalogue.records.values()), 3)
    repriced = catalogue.changed([record(TRAINED, attributes={"price": 1})], 4)

    assert again.frame is catalogue.frame
    assert again.cold is catalogue.cold
    assert again.ids is catalogue.ids
    assert again.hidden.tolist() == [31]
    assert repriced.cold is catalogue.cold
    assert repriced.frame is not catalogue.frame


@pytest.mark.parametrize(
    "change",
    [
        {"feature": None, "backbone": None},
        {"backbone": "another"},
        {"feature": b"\0" * 4 * (FEATURES + 1)},
        {"feature": b"\0" * 7},
        {"feature": np.full(FEATURES, np.nan, "<f4").tobytes()},
        {"feature": np.full(FEATURES, 3e38, "<f4").tobytes()},
    ],
)
def test_a_new_item_that_the_bundle_cannot_place_is_passed_over(
    change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """And said so: it may be of use to a later bundle."""
    catalogue = Catalogue.of(BUNDLE, [record("new", 1), record("odd", 2, **change)], 2)

    assert list(catalogue.ids[30:]) == ["new"]
    assert (catalogue.skipped, catalogue.row("odd")) == (1, None)
    assert "1 new items have no feature" in caplog.text
    assert "odd" in catalogue.records


def test_what_was_new_is_trained_in_a_bundle_that_knows_it() -> None:
    """Its vectors are the bundle's; attributes and hiding hold on."""
    before = Catalogue.of(BUNDLE, [record("item-30", 1, hidden=True)], 1)

    after = Catalogue.of(make_bundle(items=31), before.records.values(), before.version)

    assert (before.row("item-30"), after.row("item-30"), after.bundle_items) == (30, 30, 31)
    assert (after.cold, after.hidden.tolist()) == (None, [30])
    assert attributes_of(after, "item-30")["title"] == "Linen coat"


def test_only_what_says_nothing_new_is_superfluous() -> None:
    """What a retrained bundle has learnt, and deletions of items it does not know; never a hidden item."""
    own = {name: value for name, value in BUNDLE.catalogue.row(3, named=True).items() if name != "item_id"}
    needless = [record(TRAINED, 1, attributes=own), record("gone", deleted=True), record("item-04", attributes={})]
    needed = [record("item-05"), record("item-06", attributes={}, hidden=True), record("new", 2)]
    needed.append(record("item-07", attributes={}, deleted=True))

    catalogue = Catalogue.of(BUNDLE, [*needless, *needed], 7)

    assert catalogue.superfluous() == needless


def test_attributes_of_every_type_arrive() -> None:
    """Also lists and dates; what does not fit this bundle's column is null and does not stop the rest."""
    items = BUNDLE.catalogue.with_columns(
        pl.Series("sizes", [["S"]] * 30),
        pl.Series("since", [date(2024, 1, 1)] * 30),
        pl.col("category").cast(pl.Categorical),
        pl.Series("stock", [1] * 30, dtype=pl.Int16),
    )
    said = {"sizes": ["M", "L"], "since": "2024-05-31", "category": "gloves", "stock": 70_000, "no column": 1}

    catalogue = Catalogue.of(replace(BUNDLE, catalogue=items), [record("new", 1, attributes=said)], 1)

    found = attributes_of(catalogue, "new")
    assert (found["sizes"], found["since"], found["category"]) == (["M", "L"], date(2024, 5, 31), "gloves")
    assert found["stock"] is None
    assert catalogue.frame.schema == items.schema


RECORDS = st.builds(
    record,
    st.sampled_from(["item-00", TRAINED, "item-29", "new-1", "new-2", "new-3", "zoë/1"]),
    st.sampled_from([None, 1, 2]),
    attributes=st.sampled_from([{}, COAT, {"price": 1}, {"unknown": 1}]),
    hidden=st.booleans(),
    deleted=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(RECORDS, max_size=3), st.lists(st.sampled_from(["new-1", TRAINED]), max_size=1))))
def test_change_by_change_is_as_all_at_once(portions: list[tuple[list[ItemRecord], list[str]]]) -> None:
    """However changes come in, the snapshot is that of what was said last of each item."""
    catalogue, model = Catalogue.of(BUNDLE), dict[str, ItemRecord]()

    for version, (records, gone) in enumerate(portions, 1):
        catalogue = catalogue.changed(records, version, gone)
        model |= {each.item_id: each for each in records}
        model = {item_id: each for item_id, each in model.items() if item_id not in gone}

    afresh = Catalogue.of(BUNDLE, model.values(), len(portions))
    assert as_values(catalogue) == as_values(afresh)
    assert as_values(catalogue.holding(model.values(), len(portions))) == as_values(afresh)
    cold = [i for i, r in model.items() if r.feature and not r.deleted and BUNDLE.items.row(i) is None]
    assert list(afresh.ids[30:]) == sorted(cold)
    out = [afresh.row(i) for i, r in model.items() if (r.hidden or r.deleted) and afresh.row(i) is not None]
    assert afresh.hidden.tolist() == sorted(row for row in out if row is not None)


def test_bundles_are_left_as_they_were() -> None:
    """Nothing that is said changes what the bundle holds."""
    own: Bundle = make_bundle(items=30)
    before = as_values(Catalogue.of(own))

    Catalogue.of(own, [record(TRAINED, 1), record("new", 2)], 2).changed([record("item-00")], 3)

    assert as_values(Catalogue.of(own)) == before
