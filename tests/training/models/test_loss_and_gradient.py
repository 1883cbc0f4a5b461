"""Every model's loss and its gradient against plain loops and central differences."""

import pytest
import torch

from tests.training.models import plain
from tests.training.models.conftest import CONFIGS, TRIPLES, batch, inputs, spread, untrained
from training.config import FitConfig
from training.models import make_model

FIT = FitConfig(l2=0.03, l2_visual=0.02, notice_weight=0.7, match_weight=0.4, adversarial_weight=0.6)
AFTER_THE_SIGMOID = FIT.model_copy(update={"branch_logits": False})
ALONE = FIT.model_copy(update={"notice_weight": 0.0, "match_weight": 0.0})
CASES = [(label, FIT) for label in CONFIGS] + [
    (f"causalrec {form}", fit) for form in ("paper", "sum", "authors") for fit in (AFTER_THE_SIGMOID, ALONE)
]


@pytest.mark.parametrize(("label", "fit"), CASES)
def test_the_loss_and_its_gradient_are_those_of_plain_loops(label: str, fit: FitConfig) -> None:
    """Autograd through the model's loss agrees with central differences of the loss written as loops."""
    config = CONFIGS[label]
    model = spread(config)
    p = plain.parameters(model)
    delta = plain.attack(config, p, TRIPLES, fit.adversarial_epsilon) if config.name == "amr" else None

    loss = model.loss(batch(TRIPLES), fit)
    loss.backward()  # type: ignore[no-untyped-call]

    assert loss.item() == pytest.approx(plain.loss(config, fit, p, TRIPLES, delta), rel=1e-9)
    for name, parameter in model.named_parameters():
        slopes = plain.slopes(lambda changed: plain.loss(config, fit, changed, TRIPLES, delta), p, (name,))
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, torch.tensor(slopes, dtype=torch.float64), atol=1e-8, rtol=1e-6)
        assert bool(parameter.grad.any()), name


@pytest.mark.parametrize("label", CONFIGS)
def test_a_batch_is_the_mean_of_its_triples(label: str) -> None:
    """(vii) A triple's loss does not depend on what stands beside it (the authors' code broadcasts over the batch)."""
    model = spread(CONFIGS[label])
    apart = [(0, 1, 2), (0, 3, 4), (2, 5, 0)]  # no item twice: AMR attacks a picture once for all its triples

    whole = model.loss(batch(apart), FIT)

    alone = torch.stack([model.loss(batch([triple]), FIT) for triple in apart])
    assert whole.item() == pytest.approx(alone.mean().item(), rel=1e-12)


@pytest.mark.parametrize("label", CONFIGS)
def test_a_small_batch_projects_its_own_items_only(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the same loss and gradient as with all of them, items named twice included."""
    model = spread(CONFIGS[label])
    few: list[plain.Triple] = [(0, 1, 2), (3, 1, 4), (0, 2, 1)]
    found = []

    for times in (0, 1_000_000):  # always, never
        monkeypatch.setattr("training.models.model.FEW", times)
        loss = model.loss(batch(few), FIT)
        found.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])

    for own, all_items in zip(*found, strict=True):
        torch.testing.assert_close(own, all_items, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("label", CONFIGS)
def test_the_seed_alone_decides_the_initial_weights(label: str) -> None:
    """Neither PyTorch's own generator nor the pictures do; another seed draws others."""
    config = CONFIGS[label]
    torch.manual_seed(1)
    first = untrained(config, seed=5).state_dict()
    torch.manual_seed(2)
    again = make_model(config, inputs(seed=9), torch.Generator().manual_seed(5)).state_dict()
    other = untrained(config, seed=6).state_dict()

    for name, value in first.items():
        assert torch.equal(again[name], value), name
        assert torch.equal(other[name], value) == (name in ("beta", "visual_bias")), name  # which begin at 0


@pytest.mark.parametrize("label", CONFIGS)
def test_a_step_of_adam_lowers_the_loss(label: str) -> None:
    """From the initial weights the gradient leads down."""
    model, fit = untrained(CONFIGS[label]), FitConfig(adversarial_epsilon=0.01)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []

    for _ in range(20):
        losses.append(model.loss(batch(TRIPLES), fit))
        optimiser.zero_grad()
        losses[-1].backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    assert losses[-1].item() < losses[0].item() - 0.001


@pytest.mark.parametrize("form", ["paper", "sum"])
def test_the_fusions_without_branches_fit_the_score_alone(form: str) -> None:
    """M and A of the paper's Fig. 6 are MML and AML with both branch weights 0: the branches' gradient is gone."""
    model = spread(CONFIGS[f"causalrec {form}"])
    p, config = plain.parameters(model), model.config
    bare = ALONE.model_copy(update={"l2": 0.0, "l2_visual": 0.0})

    found = torch.autograd.grad(model.loss(batch(TRIPLES), bare), list(model.parameters()))

    for (name, _), gradient in zip(model.named_parameters(), found, strict=True):
        slopes = plain.slopes(lambda changed: plain.ranking_loss(config, changed, TRIPLES), p, (name,))
        torch.testing.assert_close(gradient, torch.tensor(slopes, dtype=torch.float64), atol=1e-8, rtol=1e-6)
