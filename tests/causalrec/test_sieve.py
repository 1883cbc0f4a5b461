"""The sieve of 8-bit codes: what it certifies is the float64 ranking, whatever the model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from causalrec.equations import Form
from causalrec.kernels import compiled
from causalrec.kernels.codes import encode_planes, encode_users
from causalrec.kernels.fused import blocked
from causalrec.search import Searcher
from causalrec.topk import Query
from causalrec.weights import Weights
from tests.causalrec.conftest import LAMBDA2, MakeWeights

SIZE = {"users": 9, "items": 3001, "dim": 10, "width": 12}
pytestmark = pytest.mark.skipif(compiled.library() is None, reason="needs the compiled kernels: a C++ compiler")
LEVELS = [level for level in compiled.LEVELS if level <= compiled.level()]


def _queries(weights: Weights, k: int = 20) -> list[Query]:
    rng = np.random.default_rng(1)
    items = len(weights.gamma_i)
    return [
        Query(weights.user(user), LAMBDA2, k, np.sort(rng.choice(items, size=50 * user, replace=False)))
        for user in range(len(weights.gamma_u))
    ]


def _share_certified(weights: Weights, queries: list[Query]) -> float:
    """Asserts that every answer is the scan's; returns the share that the certificate proved."""
    scanned = Searcher(weights, "scan").batch(queries)
    sifted = Searcher(weights, "int8").batch(queries)
    proofs = []
    for expected, found in zip(scanned, sifted, strict=True):
        for truth, best in zip(expected, found, strict=True):
            assert best.rows.tolist() == truth.rows.tolist()
            assert best.scores.tobytes() == truth.scores.tobytes()
            proofs.append(best.proof)
    return proofs.count("certificate") / len(proofs)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", ["paper", "additive"])
def test_certified_answers_are_the_scans(
    make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch, form: Form, level: int
) -> None:
    """On every instruction set: same rows, same bits, most of them by certificate."""
    monkeypatch.setattr(compiled, "level", lambda: level)
    weights = make_weights(form, **SIZE)

    assert _share_certified(weights, _queries(weights)) > (0.5 if form == "paper" else 0.99)


def test_the_sieve_scores_few_items(make_weights: MakeWeights) -> None:
    """The certificate leaves most of the catalogue unscored."""
    weights = make_weights("paper", **SIZE)
    queries = [replace(query, lambda2=(0.4,)) for query in _queries(weights)]

    answers = Searcher(weights, "int8").batch(queries)

    assert np.median([best.candidates for (best,) in answers]) < 3001 / 4


@pytest.mark.parametrize("scale", [1e-3, 10.0, 300.0])
def test_any_size_of_the_logits(make_weights: MakeWeights, scale: float) -> None:
    """Tiny and saturated logits keep the answers right."""
    weights = make_weights("paper", **SIZE)
    weights.gamma_u.mul_(scale)
    weights.theta_u.mul_(scale)

    _share_certified(weights, _queries(weights))


def test_ties_and_uneven_items(make_weights: MakeWeights) -> None:
    """Equal items, items of nothing, and one item a thousand times the size of the rest."""
    weights = make_weights("paper", **SIZE)
    weights.gamma_i[100:200] = weights.gamma_i[100]
    weights.e[100:200] = weights.e[100]
    weights.gamma_i[300:320] = 0
    weights.e[300:320] = 0
    weights.gamma_i[400] *= 1000

    _share_certified(weights, _queries(weights))


def test_where_every_score_is_negative_the_scan_answers(make_weights: MakeWeights) -> None:
    """λ2·c_u above every match: no certificate, the scan's answer."""
    weights = make_weights("paper", **SIZE)
    assert weights.M_null is not None
    assert weights.MV_null is not None
    weights.M_null.fill_(0.999)
    weights.MV_null.fill_(0.999)
    queries = [replace(query, lambda2=(3.0,)) for query in _queries(weights)]

    assert _share_certified(weights, queries) == 0


def test_where_codes_rule_out_too_little_the_scan_answers(make_weights: MakeWeights) -> None:
    """Scores that hardly differ would all have to be scored one by one: the sieve gives up, the answers stay right."""
    weights = make_weights("paper", **{**SIZE, "items": 9001})
    weights.gamma_u.mul_(1e-5)
    weights.theta_u.mul_(1e-5)

    assert _share_certified(weights, _queries(weights)) == 0


def test_everything_excluded_and_k_beyond_the_rest(make_weights: MakeWeights) -> None:
    """Short and empty lists, as the scan gives them."""
    weights = make_weights("paper", **SIZE)
    user = weights.user(0)
    queries = [Query(user, (0.5,), 10, np.arange(3001)), Query(user, (0.5,), 10, np.arange(5, 3001))]

    nothing, few = Searcher(weights, "int8").batch(queries)

    assert len(nothing[0].rows) == 0
    assert sorted(few[0].rows.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("form", ["authors", "sum"])
def test_forms_without_a_certificate_are_scanned(make_weights: MakeWeights, form: Form) -> None:
    """No one number per τ bounds what scores τ, so their answers come from the scan."""
    weights = make_weights(form, **SIZE)

    assert _share_certified(weights, _queries(weights)) == 0


def test_items_with_biases_are_scanned(make_weights: MakeWeights) -> None:
    """The codes hold no bias, so a certificate would leave out items that belong in the list."""
    weights = make_weights("additive", **SIZE)
    weights = replace(weights, beta=torch.linspace(-3, 3, 3001))

    assert _share_certified(weights, _queries(weights)) == 0


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", ["paper", "additive"])
def test_codes_bound_every_product(
    form: Form, level: int, make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """|⟨plane, item⟩ − what the codes say| ≤ norm·residual + residual·size, outliers and zeros among the items."""
    weights = make_weights(form, users=20, items=500, dim=6, width=12)
    weights.gamma_i[7] *= 500
    weights.gamma_i[8], weights.e[8] = 0, 0
    gamma, e = weights.gamma_i.numpy(), weights.e.numpy()
    parts = [gamma, gamma * e, e] if form == "paper" else [gamma + gamma * e, e]
    users = [np.random.default_rng(part).normal(size=(20, 6)).astype(np.float32) for part in range(len(parts))]
    slopes = np.random.default_rng(9).normal(size=(20, len(parts)))

    monkeypatch.setattr(compiled, "level", lambda: level)
    codes = compiled.encode(blocked(form, weights.items), weights)
    coded = encode_users(users, codes)
    planes = encode_planes(slopes, coded, np.arange(20))

    exact = sum(
        slopes[:, p, None] * (users[p].astype(np.float64) @ parts[p].T.astype(np.float64)) for p in range(len(parts))
    )
    bytes_of_items = codes.codes.transpose(0, 2, 1, 3).reshape(-1, len(parts), 8)[:500].astype(np.float64) - 128
    bytes_of_users = coded.packed.view(np.int8).reshape(20, len(parts), 8).astype(np.float64)
    sums = np.einsum("ipd,upd->uip", bytes_of_items, bytes_of_users)
    said = (sums * planes.weights[:, None, :]).sum(2) * codes.scales[:500]
    bound = np.outer(planes.norms, codes.residuals[:500]) + np.outer(planes.residuals, codes.sizes[:500])
    assert (np.abs(exact - said) <= bound + 1e-5 * np.abs(exact)).all()
    assert np.median(bound / np.abs(exact).max(1, keepdims=True)) < 0.05
    assert torch.from_numpy(codes.unit).isfinite().all()
