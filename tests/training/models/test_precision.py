"""The product of features and visual matrices: the same whichever way it is made, and close enough in bfloat16."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from causalrec.model import ModelConfig
from tests.worlds import write_data
from training.config import FitConfig, RunConfig
from training.models import make_model, projection
from training.models.causalrec import CausalRec
from training.models.model import Inputs, Model, Triples
from training.models.projection import Factors, product_type, project
from training.prepare import prepare
from training.run import fitted

USERS, ITEMS, WIDTH, DIM = 20, 60, 12, 4
BATCH = Triples(torch.tensor([0, 3, 3, 7]), torch.tensor([5, 5, 9, 50]), torch.tensor([9, 1, 2, 5]))


def made(config: ModelConfig) -> Model:
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(ITEMS, WIDTH, generator=generator)
    built = make_model(config, Inputs(USERS, ITEMS, features, (), None), generator)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.normal_(generator=generator)
    return built


def test_a_small_batch_names_each_of_its_items_once() -> None:
    """The items in rising order and the triples as places among them; a batch of most of the catalogue stays as is."""
    rows, places = BATCH.among(ITEMS)

    assert rows is not None
    assert rows.tolist() == [1, 2, 5, 9, 50]
    assert torch.equal(rows[places.positive], BATCH.positive)
    assert torch.equal(rows[places.negative], BATCH.negative)
    assert BATCH.among(20) == (None, BATCH)


@pytest.mark.parametrize("rows", [None, torch.tensor([3, 0, 3])])
def test_several_matrices_at_once_are_one_by_one(rows: Tensor | None) -> None:
    """One product for E, another E and b′ gives each its own product and gradient."""
    x = torch.randn(7, 5, dtype=torch.float64)
    matrices = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 3), (5, 2), (5,))]
    factors = Factors.of(x, torch.float64)

    assert torch.autograd.gradcheck(
        lambda *given: project(factors if rows is None else factors.take(rows), *given), matrices
    )
    for found, matrix in zip(project(factors, *matrices), matrices, strict=True):
        torch.testing.assert_close(found, x @ matrix)


def test_bfloat16_rounds_to_eight_bits() -> None:
    """Product and gradient in bfloat16 differ from the exact ones by 1 % of their size at most, and are float32."""
    generator = torch.Generator().manual_seed(0)
    x, grown = torch.randn(300, 200, generator=generator), torch.randn(300, 8, generator=generator)
    matrix = torch.randn(200, 8, generator=generator, requires_grad=True)

    (found,) = project(Factors.of(x, torch.bfloat16), matrix)
    (gradient,) = torch.autograd.grad(found, matrix, grown)

    for rounded, exact in ((found, x @ matrix), (gradient, x.T @ grown)):
        assert rounded.dtype == torch.float32
        assert 0 < (rounded - exact).norm() / exact.norm() < 0.01


def test_auto_takes_bfloat16_only_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large float32 features where the processor multiplies bfloat16; never small ones, float64, or elsewhere."""
    large, small = torch.zeros(1024, 1024), torch.zeros(8, 8)
    monkeypatch.setattr(projection, "_multiplies_bfloat16", lambda _: True)

    assert product_type("auto", large) == torch.bfloat16
    assert product_type("float32", large) == torch.float32
    assert product_type("auto", small) == torch.float32
    assert product_type("bfloat16", small) == torch.bfloat16
    assert product_type("auto", large.double()) == torch.float64
    monkeypatch.setattr(projection, "_multiplies_bfloat16", lambda _: False)
    assert product_type("auto", large) == torch.float32


def test_what_is_served_is_projected_in_float32() -> None:
    """Training in bfloat16 leaves the weights' e the exact product with the trained E."""
    built = made(ModelConfig(form="paper", dim=DIM))
    assert isinstance(built, CausalRec)
    built.loss(BATCH, FitConfig(precision="bfloat16"))

    weights = built.weights(torch.ones(ITEMS), "mean", "zero")

    torch.testing.assert_close(weights.e, built.features @ built.E.detach())


@pytest.mark.parametrize("config", [{"name": "vbpr"}, {"form": "paper"}], ids=["vbpr", "causalrec"])
def test_bfloat16_trains_to_the_same_quality(tmp_path: Path, config: dict[str, Any]) -> None:
    """Over five seeds validation NDCG@10 differs by less than seeds do, and the weights are not the same ones."""
    data = write_data(tmp_path / "data", users=120, items=80, each=15)
    reached: dict[str, list[float]] = {"float32": [], "bfloat16": []}

    for seed in range(5):
        for precision, found in reached.items():
            fit = {"epochs": 15, "batch_size": 256, "learning_rate": 0.02, "precision": precision}
            fit |= {"device": "cpu", "checkpoints": tmp_path / f"{precision}-{seed}"}
            run = RunConfig.model_validate(
                {"seed": seed, "model": {"dim": 8, **config}, "fit": fit, "evaluate": {"k": 10}}
            )
            found.append(fitted(run, prepare(run, data), quiet=True)[1].best_metric)

    exact, rounded = (np.array(found) for found in reached.values())
    assert (exact != rounded).any()
    assert abs((rounded - exact).mean()) < exact.std(ddof=1)
