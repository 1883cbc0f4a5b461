"""The three-task loss of Eq. 23 against plain loops and finite differences."""

import math

import pytest
import torch

from causalrec.equations import Form, Terms
from tests.causalrec.conftest import FORMS
from tests.causalrec.oracle import sigmoid
from training.loss import three_task_loss


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
        "additive": m + n,
    }[form]
    if branch_logits or form == "additive":
        return whole, n, m
    return whole, sigmoid(n), sigmoid(a) * sigmoid(b) if form == "paper" else sigmoid(m)


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
