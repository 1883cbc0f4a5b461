"""Ridge regression: what it minimises, and what chooses its penalty."""

import pytest
import torch
from torch import Tensor

from training.models.ridge import PENALTIES, ridge


def world(rows: int, width: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features, the matrix that makes targets of them, and those with noise."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, width, generator=generator)
    matrix = torch.randn(width, 2, generator=generator)
    return features, matrix, features @ matrix + noise * torch.randn(rows, 2, generator=generator)


def solved(features: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """The minimum for one penalty, by the normal equations."""
    F, T = features.double(), targets.double()
    kappa = penalty * F.square().sum() / min(F.shape)
    found: Tensor = torch.linalg.solve(F.T @ F + kappa * torch.eye(F.shape[1]).double(), F.T @ T)
    return found.float()


@pytest.mark.parametrize(("rows", "width"), [(80, 12), (12, 80)])
def test_it_takes_the_penalty_that_cross_validation_would(rows: int, width: int) -> None:
    """Of all penalties' minima it is the one with the least ‖T − FE‖² / (1 − tr H / I)², H written out."""
    features, _, targets = world(rows, width, 2.0)

    def error(penalty: float) -> float:
        F, E = features.double(), solved(features, targets, penalty).double()
        kappa = penalty * F.square().sum() / min(F.shape)
        hat = F @ torch.linalg.solve(F.T @ F + kappa * torch.eye(width).double(), F.T)
        return float((targets - F @ E).square().sum() / (1 - hat.trace() / rows) ** 2)

    best = min(PENALTIES, key=error)

    torch.testing.assert_close(ridge(features, targets), solved(features, targets, best), atol=1e-4, rtol=1e-3)


def test_a_linear_world_is_found_again() -> None:
    """Without noise hardly anything is shrunk."""
    features, matrix, targets = world(80, 12, 0.0)

    found = ridge(features, targets)

    torch.testing.assert_close(found, matrix, atol=1e-3, rtol=1e-3)


def test_noise_is_not_learned() -> None:
    """Targets that have nothing to do with the features: nearly nothing is said of new rows."""
    features, _, _ = world(60, 50, 0.0)
    targets = torch.randn(60, 2, generator=torch.Generator().manual_seed(5))

    found = ridge(features, targets)

    fresh, _, _ = world(200, 50, 0.0, seed=9)
    assert float((fresh @ found).square().mean()) < 0.2
    assert float((fresh @ solved(features, targets, PENALTIES[0])).square().mean()) > 0.5


def test_features_that_tell_nothing_give_nothing() -> None:
    """All zero, as a constant feature is once centred."""
    assert not ridge(torch.zeros(5, 3), torch.randn(5, 2)).any()
