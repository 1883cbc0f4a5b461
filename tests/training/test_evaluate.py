"""The sweep against plain loops; the default λ2; the dial's diagnostics."""

import math
from itertools import product

import numpy as np
import pytest
import torch

from causalrec.bundle import Seen
from causalrec.equations import Form
from causalrec.errors import DataError
from causalrec.manifest import Diagnostics
from tests.bundles import make_bundle
from tests.causalrec import oracle
from tests.causalrec.conftest import FORMS
from training.choice import choose_lambda2
from training.diagnostics import diagnose
from training.evaluate import MATCH_ALONE, POPULARITY, Evaluation, evaluate, evaluate_scores, sweep_rows
from training.metrics import Bootstrap, Relevant

LAMBDA2 = (0.0, 0.6, 1.0, 2.0)


def _world(form: Form) -> tuple[object, Seen, dict[str, Relevant]]:
    bundle = make_bundle(form, users=12, items=60)
    rng = np.random.default_rng(3)
    user, item = rng.integers(0, 12, 40), rng.integers(0, 60, 40)
    new = [i not in bundle.seen.items(int(u)) for u, i in zip(user, item, strict=True)]
    return bundle, bundle.seen, {"clicks": Relevant.of(user[new], item[new], 12)}


@pytest.mark.parametrize("form", FORMS)
def test_the_sweep_is_that_of_plain_loops(form: Form) -> None:
    """NDCG and MRR at every λ2, training positives masked, equal those of float64 rankings made item by item."""
    bundle = make_bundle(form, users=12, items=60)
    _, seen, sets = _world(form)
    clicks = sets["clicks"]

    found = evaluate(bundle.weights, seen, sets, LAMBDA2, 10, users_per_block=5, quiet=True)

    for lambda2 in LAMBDA2:
        for place, user in enumerate(clicks.users.tolist()):
            ranking = oracle.ranking(bundle.weights, user, lambda2, seen.items(user).tolist())
            wanted = set(clicks.pairs.items(user).tolist())
            gains = [1 / math.log2(rank + 2) for rank, item in enumerate(ranking[:10]) if item in wanted]
            ideal = sum(1 / math.log2(rank + 2) for rank in range(min(10, len(wanted))))
            first = next(rank for rank, item in enumerate(ranking, start=1) if item in wanted)
            assert found.values[lambda2]["NDCG@10"][place] == pytest.approx(sum(gains) / ideal)
            assert found.values[lambda2]["MRR"][place] == pytest.approx(1 / first)


def test_overlap_is_the_shared_part_of_the_lists() -> None:
    """1 at λ2 = 0, and elsewhere the share of the top k that was there at 0."""
    bundle = make_bundle("paper", users=12, items=60)
    _, seen, sets = _world("paper")

    found = evaluate(bundle.weights, seen, sets, LAMBDA2, 10, quiet=True)

    assert found.overlap[0.0].tolist() == [1.0] * len(sets["clicks"].users)
    for place, user in enumerate(sets["clicks"].users.tolist()):
        excluded = seen.items(user).tolist()
        zero, one = (set(oracle.ranking(bundle.weights, user, at, excluded)[:10]) for at in (0.0, 1.0))
        assert found.overlap[1.0][place] == pytest.approx(len(zero & one) / 10)


def test_the_references_are_match_alone_and_popularity() -> None:
    """M alone ranks by σ(a)σ(b); popularity ranks everybody alike, equal counts by row."""
    bundle = make_bundle("paper", users=12, items=60)
    _, seen, sets = _world("paper")
    popularity = bundle.weights.popularity.tolist()

    found = evaluate(bundle.weights, seen, sets, LAMBDA2, 10, quiet=True)

    for place, user in enumerate(sets["clicks"].users.tolist()):
        free = [item for item in range(60) if item not in set(seen.items(user).tolist())]
        wanted = set(sets["clicks"].pairs.items(user).tolist())
        by_match = sorted(
            free, key=lambda i: -math.prod(map(oracle.sigmoid, oracle.terms(bundle.weights, user, i)[:2]))
        )
        by_popularity = sorted(free, key=lambda i: (-popularity[i], i))
        for name, ranking in ((MATCH_ALONE, by_match), (POPULARITY, by_popularity)):
            hits = len(wanted & set(ranking[:10]))
            assert found.values[name]["Recall@10"][place] == pytest.approx(hits / len(wanted))


def test_the_lists_themselves_are_judged_where_features_are_given() -> None:
    """shown counts every list of the users of "clicks", at every λ2; popularity and diversity are theirs too."""
    bundle = make_bundle("paper", users=12, items=60)
    _, seen, sets = _world("paper")
    users = sets["clicks"].users

    plain = evaluate(bundle.weights, seen, sets, LAMBDA2, 10, quiet=True)
    found = evaluate(
        bundle.weights, seen, sets, LAMBDA2, 10, features=torch.randn(60, 7), users_per_block=5, quiet=True
    )

    lists = [oracle.ranking(bundle.weights, user, 1.0, seen.items(user).tolist())[:10] for user in users.tolist()]
    assert found.shown[1.0].tolist() == [sum(item in items for items in lists) for item in range(60)]
    assert {len(found.values[1.0][f"{name}@10"]) for name in ("popularity", "diversity")} == {len(users)}
    assert plain.shown == {}
    assert found.values[1.0].keys() - plain.values[1.0].keys() == {"popularity@10", "diversity@10"}


def test_anybodys_scores_are_judged_as_a_models() -> None:
    """A matrix of float64 scores, made item by item, gets the values of the weights it comes from."""
    bundle = make_bundle("paper", users=12, items=60)
    _, seen, sets = _world("paper")
    features = torch.randn(60, 7)
    scores = {at: torch.zeros(12, 60, dtype=torch.float64) for at in LAMBDA2}
    for at, user, item in product(LAMBDA2, range(12), range(60)):
        scores[at][user, item] = oracle.score(bundle.weights, user, item, at)

    ours = evaluate(bundle.weights, seen, sets, LAMBDA2, 10, references=False, features=features, quiet=True)
    theirs = evaluate_scores(
        lambda block: {at: matrix[torch.from_numpy(block)] for at, matrix in scores.items()}.items(),
        *(seen, sets, 10),
        features=features,
        users_per_block=5,
        quiet=True,
    )

    for at in LAMBDA2:
        assert theirs.shown[at].tolist() == ours.shown[at].tolist()
        assert theirs.overlap[at].tolist() == ours.overlap[at].tolist()
        for metric, values in ours.values[at].items():
            assert theirs.values[at][metric] == pytest.approx(values)


def test_every_set_has_the_values_of_its_own_users_in_order() -> None:
    """Sets of different users in blocks of any size: each gets what it gets alone, and lists are those of "clicks"."""
    bundle = make_bundle("paper", users=12, items=60)
    _, seen, clicks = _world("paper")
    few = {"purchases": Relevant.of(np.array([9, 2]), np.array([_unseen(seen, 9), _unseen(seen, 2)]), 12)}
    fewer = {"clicks": Relevant.of(np.array([3, 7]), np.array([_unseen(seen, 3), _unseen(seen, 7)]), 12)}

    together = evaluate(bundle.weights, seen, clicks | few, LAMBDA2, 10, users_per_block=12, quiet=True)
    alone = evaluate(bundle.weights, seen, few, LAMBDA2, 10, quiet=True)
    mixed = evaluate(bundle.weights, seen, fewer | few, LAMBDA2, 10, features=torch.randn(60, 7), quiet=True)

    assert together.values[1.0]["purchases:MRR"].tolist() == alone.values[1.0]["purchases:MRR"].tolist()
    assert 0 not in alone.values[1.0]["purchases:MRR"]
    assert len(together.values[1.0]["MRR"]) == len(clicks["clicks"].users)
    assert (mixed.shown[1.0].sum(), len(mixed.values[1.0]["diversity@10"])) == (2 * 10, 2)


def _unseen(seen: Seen, user: int) -> int:
    return next(item for item in range(60) if item not in seen.items(user))


def test_scores_that_are_no_numbers_are_refused() -> None:
    """A peer that diverged has no ranking; the message names which and for whom."""
    _, seen, sets = _world("paper")
    scores = torch.zeros(12, 60)
    scores[sets["clicks"].users[1], 3] = torch.nan

    with pytest.raises(
        DataError, match=rf"the ranking 0\.0 of the user in row {sets['clicks'].users[1]}: .*not a number"
    ):
        evaluate_scores(lambda block: [(0.0, scores[torch.from_numpy(block)])], seen, sets, 10, quiet=True)


def test_the_sweep_carries_both_parts_with_intervals() -> None:
    """One row per λ2 and reference, each with validation and test metrics."""
    bundle = make_bundle("paper", users=12, items=60)
    _, seen, sets = _world("paper")
    found = evaluate(bundle.weights, seen, sets, LAMBDA2, 10, quiet=True)

    rows = sweep_rows(found, found, Bootstrap(100, 0))

    assert [row.lambda2 for row in rows] == [*LAMBDA2, None, None]
    assert [row.ranking for row in rows[-2:]] == [MATCH_ALONE, POPULARITY]
    assert rows[1].test["NDCG@10"].mean == pytest.approx(found.mean(0.6, "NDCG@10"))


def _valid(**means: list[float]) -> Evaluation:
    tried = (0.0, 0.5, 1.0, 1.5)
    return Evaluation({at: {k: np.array([v[i]]) for k, v in means.items()} for i, at in enumerate(tried)})


def test_purchases_choose_lambda2_before_ratings_and_clicks() -> None:
    """The best evidence decides, and the basis says which it was."""
    clicks, liked, bought = [0.9, 0.5, 0.2, 0.1], [0.1, 0.4, 0.3, 0.2], [0.1, 0.2, 0.3, 0.2]
    everything = {"NDCG@50": clicks, "liked:NDCG@50": liked, "purchases:NDCG@50": bought}

    by_purchases = choose_lambda2(_valid(**everything), 50)
    by_ratings = choose_lambda2(_valid(**{"NDCG@50": clicks, "liked:NDCG@50": liked}), 50)

    assert (by_purchases.default, by_purchases.basis) == (1.0, "purchases")
    assert (by_ratings.default, by_ratings.basis) == (0.5, "ratings")


def test_clicks_alone_fall_under_the_one_percent_rule() -> None:
    """With nothing but clicks: the largest λ2 whose click-NDCG is within 1 % of the best."""
    chosen = choose_lambda2(_valid(**{"NDCG@50": [0.200, 0.1999, 0.1985, 0.19]}), 50)

    assert (chosen.default, chosen.basis) == (1.0, "clicks, 1 % rule")


def test_the_smallest_of_equals_is_chosen() -> None:
    """A flat curve removes nothing."""
    assert choose_lambda2(_valid(**{"purchases:NDCG@50": [0.3, 0.3, 0.3, 0.3]}), 50).default == 0.0


def _diagnosed(form: Form, *, dead: bool = False) -> Diagnostics:
    bundle = make_bundle(form, users=12, items=60)
    _, seen, sets = _world(form)
    if dead:
        bundle.weights.e.zero_()
    return diagnose(bundle.weights, evaluate(bundle.weights, seen, sets, LAMBDA2, 10, quiet=True))


def test_a_live_dial_is_described() -> None:
    """c_u, n and overlap are those of the weights; no warning."""
    weights = make_bundle("paper", users=12, items=60).weights
    n = torch.cat([weights.terms(weights.user(row)).n for row in range(12)])

    dial = _diagnosed("paper")

    assert dial.null is not None
    assert dial.null.mean == pytest.approx(float(weights.null.double().mean()), abs=1e-6)
    assert dial.notice.sd == pytest.approx(float(n.std(correction=0)), abs=1e-4)
    assert dial.overlap["0.0"] == 1.0
    assert (dial.dead, dial.warnings()) == (False, [])


def test_a_dead_dial_is_a_loud_warning() -> None:
    """Without pictures λ2 removes a constant: overlap 1, and the warning says what to look at."""
    dial = _diagnosed("paper", dead=True)

    assert dial.dead
    assert "THE DIAL IS DEAD" in dial.warnings()[0]


def test_the_additive_form_has_no_null_term() -> None:
    """Its diagnostics leave c_u out."""
    assert _diagnosed("additive").null is None
