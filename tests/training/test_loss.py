"""The three-task loss of Eq. 23 against plain loops and finite differences."""

import math
from typing import get_args

import pytest
import torch

from causalrec import equations
from causalrec.equations import Form, Terms
from tests.causalrec.oracle import sigmoid
from training.loss import pairwise, squares_per_triple, three_task_loss

FORMS: tuple[Form, ...] = get_args(Form)


def _terms(seed: int) -> Terms:
    generator = torch.Generator().manual_seed(seed)
    return Terms(*(torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(3)))


def _values(form: Form, terms: Terms, row: int, branch_logits: bool) -> tuple[float, float, float]:
    """(Y, N, M) of one pair as the loss compares them."""
    a, b, n = (float(part[row]) for part in terms)
    m = a + b
    whole = {
        "paper": sigmoid(a) * sigmoid(b) * sigmoid(n),
        "authors": sigmoid(m + n) * sigmoid(m) * sigmoid(n),
        "sum": sigmoid(a) + sigmoid(b) + sigmoid(n),
        "additive": m + n,
    }[form]
    if branch_logits or form == "additive":
        return whole, n, m
    match = {"paper": sigmoid(a) * sigmoid(b), "authors": sigmoid(m), "sum": sigmoid(a) + sigmoid(b)}[form]
    return whole, sigmoid(n), match


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("branch_logits", [True, False])
def test_the_loss_is_that_of_plain_loops(form: Form, branch_logits: bool) -> None:
    """−ln σ of the three differences, averaged; branches on logits or after the sigmoid."""
    positive, negative = _terms(0), _terms(1)
    total = 0.0
    for row in range(6):
        one, other = (_values(form, terms, row, branch_logits) for terms in (positive, negative))
        for weight, better, worse in zip((1.0, 0.5, 0.25), one, other, strict=True):
            total -= weight * math.log(sigmoid(better - worse))

    loss = three_task_loss(form, positive, negative, branch_logits=branch_logits, notice_weight=0.5, match_weight=0.25)

    assert float(loss) == pytest.approx(total / 6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("branch_logits", [True, False])
def test_the_gradient_is_that_of_finite_differences(form: Form, branch_logits: bool) -> None:
    """(vi) Autograd agrees with central differences for all six logits."""
    logits = [part.requires_grad_() for part in (*_terms(2), *_terms(3))]

    def loss(*parts: torch.Tensor) -> torch.Tensor:
        return three_task_loss(form, Terms(*parts[:3]), Terms(*parts[3:]), branch_logits=branch_logits)

    assert torch.autograd.gradcheck(loss, logits)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("branch_logits", [True, False])
def test_without_weights_the_branches_are_gone(form: Form, branch_logits: bool) -> None:
    """A and M of the paper's Fig. 6: loss and gradient are those of the score alone."""
    logits = [part.requires_grad_() for part in (*_terms(4), *_terms(5))]
    positive, negative = Terms(*logits[:3]), Terms(*logits[3:])

    loss = three_task_loss(form, positive, negative, branch_logits=branch_logits, notice_weight=0.0, match_weight=0.0)
    alone = pairwise(equations.undebiased(form, positive), equations.undebiased(form, negative))

    assert torch.equal(loss, alone)
    for found, expected in zip(torch.autograd.grad(loss, logits), torch.autograd.grad(alone, logits), strict=True):
        torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_what_a_batch_touches_is_counted_per_triple() -> None:
    """Vectors and numbers alike: the sum of all squares over the number of rows."""
    vectors, numbers = torch.tensor([[1.0, 2.0], [0.0, 3.0]]), torch.tensor([2.0, 4.0])

    assert squares_per_triple(vectors, numbers).item() == (1 + 4 + 9 + 4 + 16) / 2
