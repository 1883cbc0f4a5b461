"""The fused scan, compiled for every instruction set and by numba: the float64 top and little else."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from causalrec.equations import APART, Form
from causalrec.errors import InstallationError
from causalrec.kernels import compiled
from causalrec.kernels.fused import FusedScan
from causalrec.search import Searcher
from causalrec.topk import Query, Rows, best_first
from causalrec.weights import Weights
from tests.causalrec import oracle
from tests.causalrec.conftest import FORMS, LAMBDA2, MakeWeights
from tests.causalrec.exact import exact_scores

SIZE = {"users": 6, "items": 1003, "dim": 7, "width": 12}  # neither fills a block nor a vector
NONE = np.empty(0, dtype=np.int64)
COMPILED = [f"native-{level}" for level in compiled.LEVELS if level <= compiled.level()] if compiled.library() else []
KERNELS = [*COMPILED, "numba"]
Scan = Callable[[Weights], FusedScan]


@pytest.fixture(params=KERNELS)
def scan(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Scan:
    """A fused scan by one kernel."""
    kernel, _, level = request.param.partition("-")
    if level:
        monkeypatch.setattr(compiled, "level", lambda: int(level))
    return lambda weights: FusedScan(weights.form, weights.items, kernel)


def _queries(weights: Weights, *, seed: int = 0) -> list[Query]:
    """One per user, of different λ2, k and exclusions."""
    rng = np.random.default_rng(seed)
    items = len(weights.gamma_i)
    return [
        Query(
            weights.user(user),
            tuple(rng.choice(LAMBDA2, size=rng.integers(1, 5)).tolist()),
            int(rng.integers(1, 60)),
            np.sort(rng.choice(items, size=rng.integers(0, items // 2), replace=False)),
        )
        for user in range(len(weights.gamma_u))
    ]


def _top(weights: Weights, query: Query, lambda2: float) -> list[int]:
    rows: Rows = np.setdiff1d(np.arange(len(weights.gamma_i)), query.excluded)
    scores = exact_scores(weights, query.user, lambda2, rows)
    return [int(row) for row in rows[best_first(scores, rows, query.k)]]


@pytest.mark.parametrize("form", FORMS)
def test_survivors_hold_the_top_and_little_else(make_weights: MakeWeights, scan: Scan, form: Form) -> None:
    """For a batch of different users, λ2, k and exclusions: the float64 top k, at most a few more, nothing excluded."""
    weights = make_weights(form, **SIZE)
    queries = _queries(weights)

    found = scan(weights).survivors(queries)

    for query, lists in zip(queries, found, strict=True):
        for lambda2, rows in zip(query.lambda2, lists, strict=True):
            assert set(_top(weights, query, lambda2)) <= set(rows.tolist())
            assert not set(query.excluded.tolist()) & set(rows.tolist())
            assert len(set(rows.tolist())) == len(rows) <= query.k + 5


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1000.0])
def test_scores_are_within_their_error(make_weights: MakeWeights, scan: Scan, form: Form, scale: float) -> None:
    """The bound that lets float32 leave items out holds for every item, at every size of the logits."""
    weights = make_weights(form, **SIZE)
    for part in (weights.gamma_u, weights.theta_u):
        part.mul_(scale)
    queries = [Query(weights.user(user), LAMBDA2, 2000, NONE) for user in range(6)]

    hits, error = scan(weights).hits(queries)

    probes = [(query, lambda2) for query in queries for lambda2 in query.lambda2]
    for (query, lambda2), (rows, scores), most in zip(probes, hits.per_probe(), error, strict=True):
        assert sorted(rows.tolist()) == list(range(1003))
        assert float(np.abs(scores - exact_scores(weights, query.user, lambda2, rows)).max()) <= most


@pytest.mark.parametrize("form", APART)
def test_the_error_is_not_much_too_large(make_weights: MakeWeights, scan: Scan, form: Form) -> None:
    """At logits as trained the bound is a few hundred units of float32, so it leaves next to nothing to float64."""
    weights = make_weights(form, **SIZE)

    _, error = scan(weights).hits([Query(weights.user(0), (0.0, 1.0), 10, NONE)])

    assert error[0] < error[1] < 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_floors_find_what_reaches_them(make_weights: MakeWeights, scan: Scan, form: Form) -> None:
    """With a floor per λ2 every item that scores at least that much comes back, however many there are."""
    weights = make_weights(form, **SIZE)
    query = Query(weights.user(1), (0.0, 0.8, 2.0), 1, np.arange(0, 1003, 3))
    allowed = np.setdiff1d(np.arange(1003), query.excluded)
    exact = [exact_scores(weights, query.user, lambda2, allowed) for lambda2 in query.lambda2]
    floors = np.array([np.quantile(scores, 0.7) for scores in exact])

    (found,) = scan(weights).survivors([query], floors)

    for rows, scores, floor in zip(found, exact, floors, strict=True):
        assert set(allowed[scores >= floor].tolist()) <= set(rows.tolist())
        assert len(rows) <= 0.32 * len(allowed)


@pytest.mark.parametrize("form", ["paper", "sum"])
def test_ties_exclusions_and_k_beyond_the_items(make_weights: MakeWeights, scan: Scan, form: Form) -> None:
    """Equal items all survive; with every item excluded nothing does; k beyond the catalogue gives all of it."""
    weights = make_weights(form, **SIZE)
    weights.gamma_i[:] = weights.gamma_i[0]
    weights.e[:] = weights.e[0]
    user = weights.user(0)
    queries = [
        Query(user, (0.5,), 10, np.array([2])),
        Query(user, (0.5,), 10, np.arange(1003)),
        Query(user, (0.5,), 5000, np.arange(900)),
    ]

    tied, nothing, rest = (lists[0] for lists in scan(weights).survivors(queries))

    assert sorted(tied.tolist()) == [row for row in range(1003) if row != 2]
    assert len(nothing) == 0
    assert sorted(rest.tolist()) == list(range(900, 1003))


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("form", APART)
def test_a_match_matrix_of_its_own_and_biases(make_weights: MakeWeights, scan: Scan, form: Form, biased: bool) -> None:
    """With separate visual matrices, or with biases, forms that keep a and b apart read three vectors an item."""
    weights = make_weights(form, **SIZE)
    noise = torch.randn((3, *weights.e.shape), generator=torch.Generator().manual_seed(3))
    own = {"beta": noise[1, :, 0], "visual_bias": noise[2, :, 0]} if biased else {"e_match": noise[0]}
    weights = replace(weights, **own)  # type: ignore[arg-type]
    queries = _queries(weights)

    for query, lists in zip(queries, scan(weights).survivors(queries), strict=True):
        for lambda2, rows in zip(query.lambda2, lists, strict=True):
            assert set(_top(weights, query, lambda2)) <= set(rows.tolist())


@pytest.mark.parametrize("kernel", ["native", "numba"] if COMPILED else ["numba"])
@pytest.mark.parametrize("form", FORMS)
def test_answers_are_the_ranking_of_plain_loops(make_weights: MakeWeights, form: Form, kernel: str) -> None:
    """`Searcher.batch` over either kernel: ids, order and scores of the float64 loops, all from one batch."""
    weights = make_weights(form, users=4, items=200, dim=6)
    queries = [replace(query, k=12) for query in _queries(weights)]

    answers = Searcher(weights, "scan", kernel=kernel).batch(queries)  # type: ignore[arg-type]

    for user, (query, answer) in enumerate(zip(queries, answers, strict=True)):
        for lambda2, best in zip(query.lambda2, answer, strict=True):
            expected = oracle.ranking(weights, user, lambda2, query.excluded.tolist())[:12]
            assert (best.proof, best.rows.tolist()) == ("scan", expected)
            assert best.scores.tolist() == pytest.approx([oracle.score(weights, user, i, lambda2) for i in expected])


@pytest.mark.parametrize(
    ("form", "kind"), [("paper", "scan"), ("paper", "int8"), ("paper", "flat"), ("sum", "scan"), ("sum", "int8")]
)
def test_batch_mates_change_nothing(make_weights: MakeWeights, form: Form, kind: str) -> None:
    """Rows, scores to the bit and proof are those of the same query asked alone, at one λ2 at a time."""
    weights = make_weights(form, **SIZE)
    searcher = Searcher(weights, kind)  # type: ignore[arg-type]
    queries = _queries(weights) * 3

    together = searcher.batch(queries)

    for query, answer in zip(queries, together, strict=True):
        for lambda2, best in zip(query.lambda2, answer, strict=True):
            ((alone,),) = searcher.batch([replace(query, lambda2=(lambda2,))])
            assert best.rows.tolist() == alone.rows.tolist()
            assert best.scores.tobytes() == alone.scores.tobytes()
            assert best.proof == alone.proof


def test_a_kernel_that_is_not_there_is_said(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiled kernel "auto" takes numba, and asking for it by name says the way out."""
    monkeypatch.setattr(compiled, "library", lambda: None)
    weights = make_weights("paper")

    assert FusedScan(weights.form, weights.items).kernel == "numba"
    with pytest.raises(InstallationError, match=r"compiled kernel is not there; install a C\+\+ compiler"):
        FusedScan(weights.form, weights.items, "native")
