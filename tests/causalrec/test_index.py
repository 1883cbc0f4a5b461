"""Indices: what a search returns, how far its products are off, and that bytes are reproducible."""

from typing import Any

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalrec import index
from causalrec.equations import Form
from causalrec.errors import BundleMismatch, ConfigError
from causalrec.index import FAISS_KINDS, Index, Kind, build_index, with_probes
from causalrec.vectors import Floats, item_vectors, longest, query_vector, vector_width
from causalrec.weights import Weights
from tests.causalrec.conftest import FORMS, INDEXED, MakeWeights, _weights

SIZE = {"users": 6, "items": 1500, "dim": 8, "width": 12}
NONE = np.empty(0, dtype=np.int64)
PLANE = (0.7, 0.7, -0.4)


def _asked(weights: Weights, user: int = 1) -> tuple[Floats, np.ndarray]:
    """A query, and its exact products with every item."""
    query = query_vector(weights, weights.user(user), PLANE)
    return query, item_vectors(weights).astype(np.float64) @ query.astype(np.float64)


@pytest.mark.parametrize("form", INDEXED)
@pytest.mark.parametrize("kind", FAISS_KINDS)
@pytest.mark.parametrize("excluded", [0, 40, 1200, 1495])
def test_a_search_returns_as_many_as_asked_and_none_excluded(
    make_weights: MakeWeights, form: Form, kind: Kind, excluded: int
) -> None:
    """Whether few items are excluded, most, or all but five; every row comes once."""
    weights = make_weights(form, **SIZE)
    rng = np.random.default_rng(0)
    without = rng.permutation(1500)[:excluded]

    found = Index(weights, kind).search(_asked(weights)[0], 100, without)

    assert len(found.rows) == len(set(found.rows.tolist())) == min(100, 1500 - excluded)
    assert not set(found.rows.tolist()) & set(without.tolist())
    assert found.rows.min() >= 0
    assert found.rows.max() < 1500


@pytest.mark.parametrize("form", INDEXED)
@pytest.mark.parametrize("kind", ["flat", "sq8"])
@pytest.mark.parametrize("excluded", [0, 40, 1200])
def test_nothing_left_out_is_above_the_floor(make_weights: MakeWeights, form: Form, kind: Kind, excluded: int) -> None:
    """The floor and the slack bound the product of every item that was not returned: the certificate's ground."""
    weights = make_weights(form, **SIZE)
    searched = Index(weights, kind)
    without = np.arange(1500)[::-1][:excluded].copy()
    query, products = _asked(weights)

    found = searched.search(query, 100, without)

    left = np.setdiff1d(np.arange(1500), np.concatenate([found.rows, without]))
    assert products[left].max() <= found.floor + searched.slack(query)
    assert found.floor - searched.slack(query) <= products[found.rows].min()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    form=st.sampled_from(INDEXED),
    kind=st.sampled_from(["flat", "sq8"]),
    scale=st.sampled_from([1e-3, 1.0, 300.0]),
    offset=st.sampled_from([0.0, 1.0, 1000.0]),
)
def test_the_slack_bounds_every_product(seed: int, form: Form, kind: Kind, scale: float, offset: float) -> None:
    """Whatever the range of the dimensions: no product of the index is off by more, and the bound is no empty one."""
    weights = _weights(form, items=200, dim=8, seed=seed)
    weights.gamma_i.mul_(scale).add_(offset)
    searched = Index(weights, kind)
    query, products = _asked(weights)

    returned, rows = searched._index.search(query[None], 200)

    off = np.abs(returned[0] - products[rows[0]]).max()
    assert off <= searched.slack(query)
    assert searched.slack(query) < (1e-4 if kind == "flat" else 0.1) * np.abs(query) @ np.abs(
        item_vectors(weights)
    ).max(0)


@pytest.mark.parametrize("kind", ["flat", "sq8"])
def test_constant_dimensions_and_a_single_item_have_a_slack_too(make_weights: MakeWeights, kind: Kind) -> None:
    """Where a dimension has no range there is nothing to quantise."""
    weights = make_weights("paper", items=1, dim=8)
    query, products = _asked(weights)

    found = Index(weights, kind).search(query, 1, NONE)

    assert found.floor == pytest.approx(products[0], abs=1e-5)
    assert Index(weights, kind).slack(query) < 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_no_item_vector_is_longer_than_longest(make_weights: MakeWeights, form: Form) -> None:
    """The bound is made of the parts' norms; it holds, and is not far off."""
    weights = make_weights(form, **SIZE)
    lengths = np.linalg.norm(item_vectors(weights).astype(np.float64), axis=1)

    assert lengths.max() <= longest(weights) <= 6 * lengths.max()
    assert item_vectors(weights).shape[1] == vector_width(weights)


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_the_same_model_gives_the_same_bytes(make_weights: MakeWeights, kind: Kind) -> None:
    """However many threads there are, whatever was drawn before, and in blocks of any size."""
    weights = make_weights("authors", **SIZE)
    threads = faiss.omp_get_max_threads()
    first = build_index(weights, kind)

    try:
        faiss.omp_set_num_threads(3)
        np.random.default_rng().random(5)
        again = build_index(weights, kind)
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(threads)

    assert np.array_equal(first, again)


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_an_index_in_blocks_is_the_index_in_one(
    make_weights: MakeWeights, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors are formed a block at a time, for memory only."""
    weights = make_weights("paper", **SIZE)
    whole = build_index(weights, kind)

    monkeypatch.setattr(index, "BLOCK", 64)

    assert np.array_equal(build_index(weights, kind), whole)


@pytest.mark.parametrize("kind", FAISS_KINDS)
@pytest.mark.parametrize("items", [1, 3, 20])
def test_the_smallest_catalogues_have_indices_too(make_weights: MakeWeights, kind: Kind, items: int) -> None:
    """Fewer items than codes or cells are no reason to fail."""
    weights = make_weights("authors", items=items)

    found = Index(weights, kind).search(_asked(weights)[0], items, NONE)

    assert sorted(found.rows.tolist()) == list(range(items))


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_a_query_that_tells_no_items_apart_is_answered(make_weights: MakeWeights, kind: Kind) -> None:
    """A user of zeros: any items, as many as asked."""
    weights = make_weights("paper", **SIZE)

    found = Index(weights, kind).search(np.zeros(24, dtype=np.float32), 10, np.arange(5))

    assert len(set(found.rows.tolist())) == 10
    assert found.rows.min() >= 5


def test_more_cells_find_more_and_all_of_them_everything(make_weights: MakeWeights) -> None:
    """`with_probes` travels in the bytes; every cell visited is the flat index."""
    weights = make_weights("paper", **SIZE)
    data = build_index(weights, "ivf")
    cells = Index(weights, "ivf", data).parameters["nlist"]
    truth = [set(Index(weights).search(_asked(weights, user)[0], 50, NONE).rows.tolist()) for user in range(6)]

    def recall(nprobe: int) -> float:
        searched = Index(weights, "ivf", with_probes(data, nprobe))
        assert searched.parameters == {"nlist": cells, "nprobe": nprobe}
        found = [searched.search(_asked(weights, user)[0], 50, NONE).rows for user in range(6)]
        return float(np.mean([len(true & set(rows.tolist())) / 50 for true, rows in zip(truth, found, strict=True)]))

    few, some, every = recall(cells // 16), recall(cells // 4), recall(cells)

    assert few < some < every
    assert every == 1.0


def test_no_more_cells_are_visited_than_needed(make_weights: MakeWeights) -> None:
    """Where the cells hold too few items, twice as many are visited, and only at last all of them."""
    weights = make_weights("paper", **SIZE)
    searched = Index(weights, "ivf", with_probes(build_index(weights, "ivf"), 20))
    cells = searched.parameters["nlist"]

    visited = [settings.nprobe for settings in searched._settings(None)]

    assert visited == [20, 40, 80, cells]


@pytest.mark.parametrize("kind", ["pq", "ivf"])
def test_approximate_kinds_prove_nothing(make_weights: MakeWeights, kind: Kind) -> None:
    """Their slack is infinite, so no certificate can hold."""
    weights = make_weights("paper", **SIZE)
    searched = Index(weights, kind)

    assert not searched.exhaustive
    assert searched.slack(_asked(weights)[0]) == np.inf
    assert Index(weights, "flat").exhaustive
    assert Index(weights, "sq8").exhaustive


def test_an_index_of_another_kind_or_of_nothing_is_refused(make_weights: MakeWeights) -> None:
    """A bundle whose manifest and index disagree must not be served; bytes that are no index are named."""
    weights = make_weights("paper", **SIZE)

    with pytest.raises(BundleMismatch, match="IndexFlatIP, which is no 'sq8' index; export"):
        Index(weights, "sq8", build_index(weights, "flat"))
    with pytest.raises(BundleMismatch, match=r"index.faiss cannot be read .* export"):
        Index(weights, "flat", np.zeros(64, dtype=np.uint8))
    with pytest.raises(ValueError, match="'scan' has no index; one of flat, sq8, pq, ivf has"):
        build_index(weights, "scan")


@pytest.mark.parametrize("kind", FAISS_KINDS)
def test_a_form_that_no_inner_product_serves_is_refused(make_weights: MakeWeights, kind: Kind) -> None:
    """Neither built nor opened, and the way out is said; the kinds that score every item serve it."""
    weights, of_another_form = make_weights("sum", **SIZE), build_index(make_weights("paper", **SIZE), kind)
    refusal = rf"{kind}' cannot serve the form 'sum', .* set export.retrieval.* \"scan\""

    with pytest.raises(ConfigError, match=refusal):
        build_index(weights, kind)
    with pytest.raises(ConfigError, match=refusal):
        Index(weights, kind, of_another_form)
    for form, every in (("sum", "scan"), ("sum", "int8"), ("additive", kind)):
        index.check_kind(form, every)  # type: ignore[arg-type]


def test_a_stored_index_is_searched_where_it_lies(make_weights: MakeWeights) -> None:
    """Read-only bytes at any address do, and the index keeps them alive."""
    weights = make_weights("paper", **SIZE)
    stored = build_index(weights, "flat").tobytes()
    query, products = _asked(weights)

    searched = Index(weights, "flat", np.frombuffer(b"xyz" + stored, dtype=np.uint8)[3:])
    del stored

    assert searched.search(query, 5, NONE).rows.tolist() == np.argsort(-products)[:5].tolist()


def test_a_flat_index_moves_to_the_gpu_where_faiss_can(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searches the GPU can answer go there; those that are too wide or masked, and other kinds, stay on the CPU."""
    weights = make_weights("paper", items=4000)
    widths = []

    class OnGpu:
        def __init__(self, cpu: Any) -> None:
            self._cpu = cpu

        def search(self, query: Floats, width: int, params: Any) -> Any:
            assert params is None
            widths.append(width)
            return self._cpu.search(query, width)

    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda _resources, _device, cpu: OnGpu(cpu), raising=False)
    query = _asked(weights)[0]
    both = [Index(weights, "flat", device=device) for device in ("cpu", "cuda")]

    for width, excluded in ((10, 0), (10, 700), (10, 1500), (1500, 700)):
        cpu, gpu = (searched.search(query, width, np.arange(excluded)) for searched in both)
        assert gpu.rows.tolist() == cpu.rows.tolist()
        assert gpu.floor == cpu.floor
    Index(weights, "sq8", device="cuda").search(query, 10, NONE)

    assert widths == [10, 710]


def test_without_gpu_support_everything_stays_on_the_cpu(make_weights: MakeWeights) -> None:
    """faiss-cpu with device="cuda" searches on the CPU."""
    weights = make_weights("paper", **SIZE)
    query, products = _asked(weights)

    found = Index(weights, "flat", device="cuda").search(query, 5, NONE)

    assert found.rows.tolist() == np.argsort(-products)[:5].tolist()


def test_codes_of_four_bits_find_most_of_a_clustered_catalogue(make_weights: MakeWeights) -> None:
    """Recall@50 of pq with 500 candidates of 6,000."""
    weights = make_weights("paper", users=6, items=6000, dim=8)
    generator = torch.Generator().manual_seed(0)
    for part in (weights.gamma_i, weights.e):
        centres = torch.randn(20, 8, generator=generator)
        part.copy_(centres[torch.randint(20, (6000,), generator=generator)] + 0.3 * part)
    shares = []

    for user in range(6):
        query, products = _asked(weights, user)
        found = Index(weights, "pq").search(query, 500, NONE)
        shares.append(len(np.intersect1d(found.rows, np.argsort(-products)[:50])) / 50)

    assert np.mean(shares) >= 0.9
