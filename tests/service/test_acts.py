"""What a user does, in their very next answer: left out where the policy says so, and learnt from."""

import numpy as np
import pytest
import torch

from causalrec.errors import RequestError
from causalrec.foldin import FoldIn, recency
from service.catalogue import ItemRecord
from service.events import EventType
from service.planning import Wanted
from tests.service.live_world import PATH, hidden, ids, make_ranker, new, say, state


@pytest.mark.parametrize("user", ["ann", "nobody", None])
def test_what_was_bought_or_clicked_is_left_out_at_once(user: str | None) -> None:
    """Also new items; an impression leaves nothing out, and exclude_seen=false leaves everything in."""
    ranker = make_ranker()
    say(ranker, new("new-1"))
    told = state(("item-010", "purchase"), ("item-011", "click"), ("new-1", "cart"), ("item-012", "impression"))
    wanted = Wanted(user, 400, (0.8,), state=told)

    left = set(ids(ranker.rank(wanted)[0]))
    all_of_them = set(ids(ranker.rank(wanted._replace(exclude_seen=False))[0]))

    assert not left & {"item-010", "item-011", "new-1"}
    assert "item-012" in left
    assert all_of_them >= {"item-010", "item-011", "new-1"}


@pytest.mark.parametrize("user", ["ann", "nobody"])
@pytest.mark.parametrize("more", [[], [hidden("item-000"), hidden("item-299")]])
def test_what_is_excluded_is_distinct_and_rises(user: str, more: list[ItemRecord]) -> None:
    """However often and in whatever order it was told: searches count on it."""
    ranker = make_ranker()
    say(ranker, new("new-1"), *more)
    told = state(("item-200", "click"), ("new-1", "click"), ("item-003", "cart"), ("item-200", "purchase"))

    (ranked,) = ranker.rank(Wanted(user, 400, (0.8,), exclude_item_ids=["item-003", "item-002"], state=told))
    alone = ranker.rank(Wanted(user, 400, (0.8,), state=told))[0].plan.excluded

    excluded = ranked.plan.excluded
    assert (np.diff(excluded) > 0).all()
    assert (np.diff(alone) > 0).all()
    assert set(excluded) >= {2, 3, 200, 300, *ranker.catalogue.hidden}
    assert len(ranked.best.rows) == 301 - len(excluded)


def test_the_policy_says_which_acts_leave_out() -> None:
    """A shop may want what was clicked to stay, and what was bought to go."""
    ranker = make_ranker(excluding=frozenset({"purchase"}))
    told = state(("item-010", "purchase"), ("item-011", "click"))

    left = set(ids(ranker.rank(Wanted("ann", 300, (0.8,), state=told))[0]))

    assert {"item-010", "item-011"} & left == {"item-011"}


def test_what_a_user_did_moves_the_answer() -> None:
    """By fold-in from the stored vectors, what they were trained on left out; for others from the mean user's."""
    ranker, acts = (
        make_ranker(),
        state(("item-290", "click"), ("item-291", "purchase"), ("item-290", "rating"), ("item-291", "click")),
    )
    fold_in, rows = FoldIn(ranker.bundle.weights, "branches"), np.array([290, 291])
    strengths = np.array([0.8, 1.0]) * recency(2)
    trained = ranker.bundle.items.ids[ranker.bundle.seen.items(ranker.bundle.users.rows(["ann"])[0])[0]]
    stored = ranker.bundle.weights.user(ranker.bundle.users.rows(["ann"])[0])

    for user, start, source in (("ann", stored, "personal"), ("nobody", None, "history"), (None, None, "history")):
        (ranked,) = ranker.rank(Wanted(user, 5, (0.8,), state=acts))

        assert ranked.plan.source == source
        for found, expected in zip(ranked.plan.user, fold_in.user(rows, strengths, start), strict=True):
            assert torch.equal(found, expected)
    (again,) = ranker.rank(Wanted("ann", 5, (0.8,), state=state((trained, "click"))))
    assert torch.equal(again.plan.user.gamma, stored.gamma)


def test_a_history_is_worth_what_is_remembered() -> None:
    """The same acts give the same list, whether the request tells them or they are remembered; the request's first."""
    ranker = make_ranker()
    did: list[tuple[str, EventType]] = [("item-290", "click"), ("item-001", "purchase"), ("item-140", "click")]

    told = ranker.rank(Wanted(None, 20, (0.8,), history=did))[0]
    remembered = ranker.rank(Wanted("nobody", 20, (0.8,), state=state(*did)))[0]
    both = ranker.rank(Wanted("nobody", 20, (0.8,), history=did[:1], state=state(*did[1:])))[0]

    assert ids(told) == ids(remembered) == ids(both)
    assert told.best.scores.tolist() == both.best.scores.tolist()


def test_acts_that_teach_nothing_leave_the_cold_answer() -> None:
    """Impressions, unknown items and items without learnt vectors."""
    ranker = make_ranker()
    say(ranker, new("new-1"))
    told = state(("item-010", "impression"), ("no such item", "purchase"), ("new-1", "click"))

    (ranked,) = ranker.rank(Wanted("nobody", 5, (0.8,), state=told))

    assert ranked.plan.source == "cold_user"
    with pytest.raises(RequestError, match="unknown"):
        ranker.check_path(PATH._replace(user_id="nobody", state=told))


def test_a_path_of_somebody_known_by_history_alone() -> None:
    """From the same vectors as their answers."""
    ranker, told = make_ranker(), state(("item-290", "purchase"))

    traced = ranker.path(PATH._replace(user_id="nobody", state=told, exclude_seen=True))

    middle = (traced.path.pieces[0].start + traced.path.pieces[0].end) / 2
    (ranked,) = ranker.rank(Wanted("nobody", 10, (middle,), state=told))
    assert traced.source == "history"
    assert [traced.item_ids[row] for row in traced.path.pieces[0].rows] == ids(ranked)
