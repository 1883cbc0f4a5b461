"""AMR's adversary: how far it goes, where to, and what training sees of it."""

import pytest
import torch

from tests.training.models import plain
from tests.training.models.conftest import CONFIGS, TRIPLES, batch, spread
from training.config import FitConfig
from training.models.amr import AMR

LABELS = ("amr", "amr, tanh")
FIT = FitConfig(adversarial_weight=0.6, adversarial_epsilon=0.3)


def _amr(label: str, seed: int = 0) -> AMR:
    model = spread(CONFIGS[label], seed)
    assert isinstance(model, AMR)
    return model


def _attack(model: AMR, epsilon: float) -> torch.Tensor:
    """Δ [I, F] on the batch TRIPLES."""
    seen = (model.features @ model.E).detach().requires_grad_()
    plain_loss = model.ranking_loss(batch(TRIPLES), model.gamma_i + model.embedded(seen))
    (upward,) = torch.autograd.grad(plain_loss, seen)
    return (model.attack(upward, epsilon) @ model.E.T).detach()


@pytest.mark.parametrize("label", LABELS)
def test_the_attack_goes_up_the_gradient(label: str) -> None:
    """Δᵢ = ε·gᵢ/|gᵢ|, gᵢ the gradient of BPR in the feature by central differences over plain loops."""
    model = _amr(label)

    delta = _attack(model, 0.3)

    expected = plain.attack(model.config, plain.parameters(model), TRIPLES, 0.3)
    torch.testing.assert_close(delta, torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("label", LABELS)
def test_every_picture_of_the_batch_is_moved_by_epsilon(label: str) -> None:
    """However strong its gradient; a picture in no triple is left alone."""
    model = _amr(label)

    lengths = _attack(model, 0.3).norm(dim=1)

    torch.testing.assert_close(lengths[:6], torch.full((6,), 0.3, dtype=torch.float64))
    assert float(lengths[6]) == 0.0


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("seed", range(5))
def test_the_attack_hurts(label: str, seed: int) -> None:
    """The loss under attack is above the loss, and above it after any other move of the same length."""
    model = _amr(label, seed)
    p, delta = plain.parameters(model), _attack(model, 0.02)
    other = torch.randn(delta.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def after(move: torch.Tensor) -> float:
        moved = torch.tensor(p["features"], dtype=torch.float64) + move
        return plain.ranking_loss(model.config, p | {"features": moved.tolist()}, TRIPLES)

    assert after(delta) > after(torch.zeros_like(delta)) > after(-delta)
    assert after(delta) > after(0.02 * other / other.norm(dim=1, keepdim=True))


def test_an_attack_of_no_length_counts_the_loss_twice() -> None:
    """With ε = 0 the second term is the first, and with weight 0 it is not there."""
    model = _amr("amr")
    bpr = model.ranking_loss(batch(TRIPLES), model.gamma_i + model.pictures())
    penalty = model.penalty(batch(TRIPLES), FIT)

    twice = model.loss(batch(TRIPLES), FIT.model_copy(update={"adversarial_epsilon": 0.0}))
    once = model.loss(batch(TRIPLES), FIT.model_copy(update={"adversarial_weight": 0.0}))

    torch.testing.assert_close(twice, 1.6 * bpr + penalty)
    torch.testing.assert_close(once, bpr + penalty)


def test_a_picture_that_moves_nobody_is_not_attacked() -> None:
    """E = 0 gives no direction: no NaN, and the loss under attack is the loss."""
    model = _amr("amr")
    with torch.no_grad():
        model.E.zero_()

    loss = model.loss(batch(TRIPLES), FIT)
    loss.backward()  # type: ignore[no-untyped-call]

    torch.testing.assert_close(
        loss,
        1.6 * model.ranking_loss(batch(TRIPLES), model.gamma_i + model.pictures()) + model.penalty(batch(TRIPLES), FIT),
    )
    assert model.E.grad is not None
    assert bool(model.E.grad.isfinite().all())


def test_training_against_the_adversary_makes_its_attack_weaker() -> None:
    """After the same steps the loss under attack is lower than where training never saw an attack."""
    under_attack = {}
    for weight in (0.0, 1.0):
        model = _amr("amr")
        fit = FitConfig(adversarial_weight=weight, adversarial_epsilon=1.0, l2=0.0)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(60):
            optimiser.zero_grad()
            model.loss(batch(TRIPLES), fit).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        p = plain.parameters(model)
        moved = (torch.tensor(p["features"], dtype=torch.float64) + _attack(model, 1.0)).tolist()
        under_attack[weight] = plain.ranking_loss(model.config, p | {"features": moved}, TRIPLES)

    assert under_attack[1.0] < under_attack[0.0]
