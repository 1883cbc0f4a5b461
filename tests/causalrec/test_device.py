"""
The device scan gives the float64 ranking: on the CPU, and on every kernel of a GPU where there is one.

TRITON_INTERPRET=1 runs the Triton kernel on the CPU too, where triton is installed.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from causalrec import search
from causalrec.bundle import read_bundle, write_bundle
from causalrec.equations import APART, Form
from causalrec.errors import DeviceOutOfMemory, InstallationError
from causalrec.kernels import block_maxima, device
from causalrec.kernels.block_maxima import pair_scores, torch_maxima, triton_maxima
from causalrec.kernels.device import DeviceScan, Kernel
from causalrec.search import Searcher
from causalrec.topk import Query, Rows, best_first
from causalrec.weights import UserVectors, Weights
from tests.bundles import make_bundle
from tests.causalrec.conftest import FORMS, LAMBDA2, MakeWeights
from tests.causalrec.exact import exact_scores

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:overflow encountered in exp"),  # of the interpreter: numpy says what a GPU does
]

MakeScan = Callable[..., DeviceScan]
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and block_maxima.INSTALLED
RUNS: list[tuple[str, Kernel]] = [("cpu", "torch")]
RUNS += [("cpu", "triton")] * INTERPRETED
if torch.cuda.is_available():
    RUNS += [("cuda", "torch"), ("cuda", "triton")]
NONE: Rows = np.empty(0, dtype=np.int64)


@pytest.fixture(params=RUNS, ids="-".join)
def make_scan(request: pytest.FixtureRequest) -> MakeScan:
    where, kernel = request.param
    return lambda weights, size=None: DeviceScan(weights.form, weights.items, where, kernel, size)


def answers(scan: DeviceScan, weights: Weights, queries: Sequence[Query]) -> list[list[list[int]]]:
    """The lists: what survives, ranked in float64."""
    return [
        [best(weights, query, at, rows) for at, rows in zip(query.lambda2, lists, strict=True)]
        for query, lists in zip(queries, scan.survivors(queries), strict=True)
    ]


def ranking(weights: Weights, query: Query) -> list[list[int]]:
    """The lists by ranking every eligible item in float64."""
    eligible = np.setdiff1d(np.arange(len(weights.gamma_i)), query.excluded)
    return [best(weights, query, at, eligible) for at in query.lambda2]


def best(weights: Weights, query: Query, lambda2: float, rows: Rows) -> list[int]:
    order = best_first(exact_scores(weights, query.user, lambda2, rows), rows, query.k)
    return [int(row) for row in rows[order]]


def mixed(weights: Weights, number: int, rng: np.random.Generator) -> list[Query]:
    """Requests of all kinds: one to four λ2, k from 0 to beyond the catalogue, from no to all items excluded."""
    users, items = len(weights.gamma_u), len(weights.gamma_i)
    queries = []
    for _ in range(number):
        user = weights.user(int(rng.integers(users))) if rng.random() > 0.1 else weights.mean_user()
        lambda2 = tuple(float(at) for at in rng.choice([*LAMBDA2, 0.37, 1.61], size=rng.integers(1, 5), replace=False))
        k = int(rng.choice([0, 1, 10, 10, 50, items + 7], p=[0.03, 0.2, 0.3, 0.2, 0.25, 0.02]))
        share = rng.choice([0, 0.01, 0.3, 0.99, 1], p=[0.3, 0.3, 0.3, 0.05, 0.05])
        excluded = rng.permutation(items)[: int(share * items)]
        queries.append(Query(user, lambda2, k, excluded))
    return queries


@pytest.mark.parametrize(
    ("form", "size"), [("paper", 32), ("paper", 256), ("authors", 32), ("additive", 32), ("sum", 32)]
)
def test_mixed_requests_get_the_float64_ranking(
    make_weights: MakeWeights, make_scan: MakeScan, form: Form, size: int
) -> None:
    """250 requests of all kinds for each of five scans, batched as they come: ids and order are float64's."""
    weights = make_weights(form, users=20, items=1500, dim=8)
    scan, rng = make_scan(weights, size), np.random.default_rng(1)
    queries = mixed(weights, 250, rng)

    found: list[list[list[int]]] = []
    while len(found) < len(queries):
        found += answers(scan, weights, queries[len(found) : len(found) + int(rng.integers(1, 30))])

    assert found == [ranking(weights, query) for query in queries]


def test_most_items_are_left_out(make_weights: MakeWeights, make_scan: MakeScan) -> None:
    """The pass does its work: of 20,000 items few are left for float64, excluded items or not."""
    weights = make_weights("paper", users=5, items=20_000, dim=8)
    scan = make_scan(weights, 256)
    excluded = np.random.default_rng(0).permutation(20_000)[:500]

    for query in (Query(weights.user(1), (0.0, 0.8), 10, NONE), Query(weights.user(1), (0.0, 0.8), 10, excluded)):
        (lists,) = scan.survivors([query])
        for rows in lists:
            assert len(rows) < 400
            assert not set(rows) & set(query.excluded)
            assert np.array_equal(rows, np.sort(rows))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0, 1e3])
def test_scores_on_the_device_are_within_their_error(
    make_weights: MakeWeights, make_scan: MakeScan, form: Form, scale: float
) -> None:
    """What half precision and float32 sums are off by is bounded for every item, at every size of the vectors."""
    weights = make_weights(form, users=4, items=700, dim=8)
    for part in (weights.gamma_i, weights.e, weights.e_match):
        if part is not None:
            part.mul_(scale)
    scan = make_scan(weights)
    queries = [Query(weights.user(user), LAMBDA2, 5, NONE) for user in range(4)]
    asked, blocks = scan._ask(queries), scan._blocks

    for probe, error in enumerate(scan.error(queries).tolist()):
        query, lambda2 = queries[probe // len(LAMBDA2)], LAMBDA2[probe % len(LAMBDA2)]
        numbers = torch.arange(len(blocks.values), device=scan.device)
        scores = pair_scores(blocks, asked, torch.full_like(numbers, probe), numbers).flatten()[:700]
        exact = exact_scores(weights, query.user, lambda2, np.arange(700))
        assert np.abs(scores.cpu().double().numpy() - exact).max() <= error


@pytest.mark.parametrize(("form", "slope"), [("additive", 1.0), ("sum", 0.25)])
def test_the_error_is_of_the_size_of_half_precision(
    make_weights: MakeWeights, make_scan: MakeScan, form: Form, slope: float
) -> None:
    """No looser than rounding components by 2⁻¹¹ of themselves, twice in products; at λ2 = 1 e's count for nothing."""
    weights = make_weights(form, items=300, dim=8)
    weights.theta_u.mul_(5)
    user, gamma, products = weights.user(0), weights.gamma_i, weights.gamma_i * weights.e
    parts = (gamma + products,) if form == "additive" else (gamma, 2 * products)
    match = sum(float(part.norm(dim=1).max() * user.gamma.norm()) for part in parts)
    notice = float(weights.e.norm(dim=1).max() * user.theta.norm())

    whole, alone = make_scan(weights).error([Query(user, (0.0, 1.0), 5, NONE)])

    assert 0 < whole <= 1.02 * 2.0**-11 * slope * (match + notice)
    assert 0 < alone <= 0.6 * whole


def test_components_beyond_half_precision_are_kept_in_single(make_weights: MakeWeights, make_scan: MakeScan) -> None:
    """One component above 65,504 makes the scan keep float32, at twice the memory, and the answer stays exact."""
    weights = make_weights("paper", items=300, dim=8)
    plain = make_scan(weights).bytes
    weights.gamma_i[17, 3] = 70_000.0
    scan = make_scan(weights)
    query = Query(weights.user(0), (0.0, 1.2), 10, NONE)

    assert scan.bytes == 2 * plain
    assert answers(scan, weights, [query]) == [ranking(weights, query)]


@pytest.mark.parametrize("form", FORMS)
def test_floors_bring_every_item_that_reaches_them(make_weights: MakeWeights, make_scan: MakeScan, form: Form) -> None:
    """With floors instead of k (the λ2 path) no item whose float64 score reaches its floor is missing."""
    weights = make_weights(form, items=900, dim=8)
    query = Query(weights.user(3), (0.0, 0.5, 2.0), 1, np.arange(0, 900, 3))
    exact = [exact_scores(weights, query.user, at, np.arange(900)) for at in query.lambda2]
    floors = np.array([np.sort(scores)[-40] for scores in exact])

    (lists,) = make_scan(weights).survivors([query], floors)

    for rows, scores, floor in zip(lists, exact, floors, strict=True):
        reached = np.setdiff1d(np.flatnonzero(scores >= floor), query.excluded)
        assert set(reached) <= set(rows)
        assert not set(rows) & set(query.excluded)
        assert len(rows) < 200


@pytest.mark.parametrize("form", FORMS)
def test_each_block_gives_its_best_eligible_score(make_weights: MakeWeights, make_scan: MakeScan, form: Form) -> None:
    """The pass itself, for 11 users: within the error of the best eligible item's score, nothing for the filling."""
    weights = make_weights(form, users=11, items=70, dim=8)
    scan = make_scan(weights, 32)
    queries = [Query(weights.user(user), (0.0, 3.0), 5, np.array([user, 40, 68, 69])) for user in range(11)]
    run = triton_maxima if scan.kernel == "triton" else torch_maxima

    found = run(scan._blocks, scan._ask(queries)).cpu().double().numpy()

    for probe, error in enumerate(scan.error(queries).tolist()):
        query = queries[probe // 2]
        exact = exact_scores(weights, query.user, query.lambda2[probe % 2], np.arange(70))
        exact[query.excluded] = -np.inf
        best_of = [exact[start : start + 32].max() for start in (0, 32, 64)]
        assert np.abs(found[probe] - best_of).max() <= error


def test_excluded_items_are_found_by_block(make_weights: MakeWeights) -> None:
    """Whatever order they are named in, each user's excluded items of a block are one run, which the kernel reads."""
    weights, rng = make_weights("paper", items=500, dim=8), np.random.default_rng(0)
    scan = DeviceScan("paper", weights.items, "cpu", size=32)
    queries = [Query(weights.user(user), (0.0,), 5, rng.permutation(500)[: 60 * user]) for user in range(4)]

    asked = scan._ask(queries)

    for user, query in enumerate(queries):
        for block in range(16):
            run = asked.excluded[asked.starts[user * 16 + block] : asked.starts[user * 16 + block + 1]]
            own = np.sort(query.excluded[query.excluded // 32 == block])
            assert (run - user * 16 * 32).tolist() == own.tolist()


@pytest.mark.parametrize("form", APART)
def test_ties_are_ordered_by_id(make_weights: MakeWeights, make_scan: MakeScan, form: Form) -> None:
    """Items of one vector all survive, and rows decide."""
    weights = make_weights(form, items=300, dim=8)
    weights.gamma_i[:] = weights.gamma_i[0]
    weights.e[:] = weights.e[0]

    found = answers(make_scan(weights), weights, [Query(weights.user(0), (0.5,), 5, np.array([2]))])

    assert found == [[[0, 1, 3, 4, 5]]]


@pytest.mark.parametrize("form", APART)
def test_saturated_and_negative_scores(make_weights: MakeWeights, make_scan: MakeScan, form: Form) -> None:
    """Logits in the hundreds, and λ2·c_u above every match: finite, exact."""
    weights = make_weights(form, items=900, dim=8)
    user = weights.user(0)
    hot = UserVectors(user.gamma * 200, user.theta * 200, user.null)
    sunk = UserVectors(user.gamma, user.theta, torch.tensor(0.999, dtype=torch.float64))
    queries = [Query(hot, (0.0, 0.9), 10, NONE), Query(sunk, (3.0,), 10, NONE)]

    assert answers(make_scan(weights), weights, queries) == [ranking(weights, query) for query in queries]


@pytest.mark.parametrize("form", APART)
def test_a_match_with_a_visual_matrix_of_its_own(make_weights: MakeWeights, make_scan: MakeScan, form: Form) -> None:
    """Where a and b are apart, too, e_match may differ from e; biases are added where there are any."""
    plain = make_weights(form, items=400, dim=8)
    noise = torch.rand(plain.e.shape, generator=torch.Generator().manual_seed(0))
    fields = {**plain.tensors(), "e_match": plain.e + noise, "beta": noise[:, 0], "visual_bias": noise[:, 1]}
    weights = Weights(form=form, **fields)
    queries = [Query(weights.user(user), LAMBDA2, 10, np.arange(20)) for user in range(7)]
    scan = make_scan(weights)

    assert answers(scan, weights, queries) == [ranking(weights, query) for query in queries]
    assert max(len(rows) for lists in scan.survivors(queries) for rows in lists) < 100


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_is_read_alike_on_both_sides(make_scan: MakeScan, tmp_path: Path, form: Form) -> None:
    """One bundle, written and read: the device gives the lists that the CPU's scan gives."""
    bundle = read_bundle(write_bundle(make_bundle(form), tmp_path))
    scan, searcher = make_scan(bundle.weights), Searcher(bundle.weights, "scan")
    queries = [Query(bundle.weights.user(user), (0.6,), 10, bundle.seen.items(user)) for user in range(40)]

    found = answers(scan, bundle.weights, queries)

    assert found == [[searcher.scan(q.user, 0.6, 10, q.excluded).rows.tolist()] for q in queries]


def test_no_questions_are_no_answers(make_weights: MakeWeights, make_scan: MakeScan) -> None:
    """An empty batch is fine, and so is one where nothing is to be found."""
    weights = make_weights("paper", items=40)
    scan = make_scan(weights)

    assert scan.survivors([]) == []
    assert [len(rows) for rows in scan.survivors([Query(weights.user(0), (0.0, 1.0), 5, np.arange(40))])[0]] == [0, 0]


@pytest.mark.parametrize("seam", ["_laid_out", "torch_maxima"])
def test_too_little_memory_is_our_own_error(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch, seam: str
) -> None:
    """Torch's out-of-memory error becomes one the service can answer, at start and in a batch; the next batch works."""
    weights = make_weights("paper", items=40)
    queries = [Query(weights.user(0), (0.0,), 5, NONE)]
    scan = DeviceScan("paper", weights.items, "cpu")

    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    with monkeypatch.context() as patched:
        patched.setattr(device, seam, refuse)
        with pytest.raises(DeviceOutOfMemory, match=r"cpu has too little .* 20.00 GiB"):
            DeviceScan("paper", weights.items, "cpu").survivors(queries)

    assert answers(scan, weights, queries) == [ranking(weights, queries[0])]


def test_triton_asked_for_and_not_there(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says the way out; "auto" takes torch instead."""
    monkeypatch.setattr(block_maxima, "INSTALLED", False)
    weights = make_weights("paper", items=40)

    assert DeviceScan("paper", weights.items, "cpu").kernel == "torch"
    with pytest.raises(InstallationError, match=r"triton is not installed; install a CUDA build"):
        DeviceScan("paper", weights.items, "cpu", "triton")


def test_the_searcher_answers_from_the_device(make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    """device="cuda" (and "auto" where there is one) ranks what the device leaves; the answers are the CPU's."""
    weights = make_weights("paper", users=5, items=700, dim=8)
    where = "cuda" if torch.cuda.is_available() else "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(search, "DeviceScan", lambda form, items, _: DeviceScan(form, items, where, "torch"))
    queries = mixed(weights, 40, np.random.default_rng(5))

    expected = Searcher(weights, "scan").batch(queries)

    for asked in ("cuda", "auto"):
        searcher = Searcher(weights, "int8", device=asked)
        assert searcher.device == "cuda"
        for truth, found in zip(expected, searcher.batch(queries), strict=True):
            assert [best.rows.tolist() for best in found] == [best.rows.tolist() for best in truth]
            assert [best.scores.tobytes() for best in found] == [best.scores.tobytes() for best in truth]
