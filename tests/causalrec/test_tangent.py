"""The planes are true bounds: no item at or above τ ever falls below the threshold."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from causalrec import equations
from causalrec.equations import Form, Terms
from causalrec.tangent import SLOPES, Frontier, Point, Slope, Tangent, bound

logit = st.floats(-8, 8)
lambda2s = st.sampled_from([0.0, 0.2, 0.4, 0.8, 1.0, 1.2, 2.0, 3.0])


def _cloud(seed: int, count: int = 4000, scale: float = 3.0) -> Terms:
    generator = torch.Generator().manual_seed(seed)
    return Terms(*(torch.randn(count, generator=generator, dtype=torch.float64) * scale for _ in range(3)))


def _worst_gap(
    form: Form, point: Point, null: float, lambda2: float, terms: Terms, tau: float, guess: float = 0.0
) -> float:
    """Smallest plane value minus threshold among the items at or above τ: negative means one was missed."""
    n_range = (float(terms.n.min()) - 0.1, float(terms.n.max()) + 0.1)
    plane = bound(form, point, guess, null, lambda2, n_range, terms)
    values = sum(weight * part for weight, part in zip(plane.weights, terms, strict=True))
    assert isinstance(values, torch.Tensor)
    scores = equations.score(form, terms, torch.tensor(null, dtype=torch.float64), lambda2)
    kept = values[scores >= tau]
    return float(kept.min()) - plane.threshold(tau) if len(kept) else math.inf


@settings(max_examples=60, deadline=None)
@given(point=st.builds(Point, logit, logit, logit), c=st.floats(0.001, 0.9), lambda2=lambda2s, seed=st.integers(0, 9))
def test_no_item_of_the_papers_form_is_missed(point: Point, c: float, lambda2: float, seed: int) -> None:
    """F9: wherever the tangent touches, every item scoring at least τ > 0 reaches the threshold."""
    terms = _cloud(seed)
    scores = equations.score("paper", terms, torch.tensor(c, dtype=torch.float64), lambda2)

    for share in (0.5, 0.9, 0.99, 1.0):
        tau = float(scores.quantile(share))
        if tau > 0:
            assert _worst_gap("paper", point, c, lambda2, terms, tau) >= -1e-9


@settings(max_examples=60, deadline=None)
@given(point=st.builds(Point, logit, logit, logit), star=st.floats(-4, 4), lambda2=lambda2s, seed=st.integers(0, 9))
def test_no_item_of_the_authors_form_is_missed(point: Point, star: float, lambda2: float, seed: int) -> None:
    """F13: the cell bound is rigorous with any weights and any guess of τ, where log-concavity fails."""
    terms = _cloud(seed)
    scores = equations.score("authors", terms, torch.tensor(star, dtype=torch.float64), lambda2)

    for share in (0.5, 0.9, 0.99, 1.0):
        tau = float(scores.quantile(share))
        if tau > 0:
            for guess in (0.0, tau / 2, tau, min(2 * tau, 0.9)):
                assert _worst_gap("authors", point, star, lambda2, terms, tau, guess) >= -1e-9


@pytest.mark.parametrize("lambda2", [0.0, 0.8, 1.5])
def test_items_on_the_frontier_reach_every_slopes_threshold(lambda2: float) -> None:
    """The tightest case: items scoring exactly τ, all along the notice axis, under every slope there is to choose."""
    tau, null, n_range = 0.2, 0.3, (-7.0, 9.0)
    n = torch.linspace(*n_range, 20_001, dtype=torch.float64)
    star = torch.tensor(null, dtype=torch.float64)
    low, high = torch.full_like(n, -60.0), torch.full_like(n, 60.0)
    for _ in range(80):
        middle = (low + high) / 2
        reached = equations.score("authors", Terms(middle, torch.zeros_like(n), n), star, lambda2) >= tau
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    on = equations.score("authors", Terms(high, torch.zeros_like(n), n), star, lambda2) >= tau

    thresholds = Frontier.of(tau, null, lambda2, n_range).thresholds(SLOPES)

    for slope, threshold in zip(SLOPES, thresholds, strict=True):
        least = float((high + slope * n)[on].min())
        assert least >= float(threshold)
        assert abs(float(slope)) > 1 or least - float(threshold) < 0.2  # and not by being loose


def test_the_slope_chosen_leaves_few_items() -> None:
    """In the authors' form with λ2 above 1, the slope picked from a sample is near the best of all that were tried."""
    terms = _cloud(1, count=20_000, scale=2.0)
    null, lambda2 = -0.5, 1.5
    scores = equations.score("authors", terms, torch.tensor(null, dtype=torch.float64), lambda2)
    tau = float(scores.topk(50).values[-1])
    n_range = (float(terms.n.min()), float(terms.n.max()))
    sample = Terms(*(part[:1000] for part in terms))

    def left(w_n: float) -> int:
        threshold = float(Frontier.of(tau, null, lambda2, n_range).thresholds(torch.tensor([w_n]).double()))
        return int((terms.a + terms.b + w_n * terms.n >= threshold).sum())

    chosen = bound("authors", Point(0, 0, 0), tau, null, lambda2, n_range, sample).weights[2]

    assert 50 <= left(chosen) <= 1.5 * min(left(float(slope)) for slope in SLOPES)
    assert left(chosen) < left(0.0)


def test_the_additive_plane_is_the_score() -> None:
    """The inner product equals y, so the threshold is τ."""
    terms = _cloud(0)
    plane = bound("additive", Point(0, 0, 0), 0.1, 0.0, 1.4, (-9, 9), terms)

    values = plane.weights[0] * terms.a + plane.weights[1] * terms.b + plane.weights[2] * terms.n

    torch.testing.assert_close(values, equations.score("additive", terms, torch.tensor(0.0), 1.4))
    assert plane.threshold(0.37) == 0.37


def test_the_tangent_touches_log_y() -> None:
    """At its own point the plane equals log y up to the offset, and its slope is the gradient of log y."""
    point, c, lambda2 = Point(1.0, 0.5, -0.3), 0.3, 0.8
    logits = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.0, 0.5, -0.3)]
    log_y = equations.score("paper", Terms(*logits), torch.tensor(c, dtype=torch.float64), lambda2).log()
    gradient = torch.autograd.grad(log_y, logits)

    plane = bound("paper", point, 0.1, c, lambda2, (-9, 9), Terms(*logits))

    assert isinstance(plane, Tangent)
    assert plane.weights == pytest.approx([float(part) for part in gradient])
    assert plane.threshold(math.exp(log_y.item())) == pytest.approx(
        plane.weights[0] * 1.0 + plane.weights[1] * 0.5 + plane.weights[2] * -0.3
    )


@pytest.mark.parametrize("form", ["paper", "authors"])
def test_the_slope_is_the_gradient_of_y(form: Form) -> None:
    """Where y ≤ 0 there is no bound, and the weights point along the gradient of y."""
    null, lambda2 = 0.9 if form == "paper" else 2.0, 2.0
    logits = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.2, -0.5, 0.4)]
    y = equations.score(form, Terms(*logits), torch.tensor(null, dtype=torch.float64), lambda2)
    gradient = torch.stack(torch.autograd.grad(y, logits))

    plane = bound(form, Point(0.2, -0.5, 0.4), y.item(), null, lambda2, (-9, 9), _cloud(0))

    weights = torch.tensor(plane.weights, dtype=torch.float64)
    assert y.item() < 0
    assert float(torch.cosine_similarity(weights, gradient, dim=0)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("form", ["paper", "authors"])
def test_without_a_positive_score_nothing_is_proved(form: Form) -> None:
    """τ ≤ 0 gives a threshold of −∞: a full scan is needed."""
    plane = bound(form, Point(0, 0, 0), -0.1, 0.2, 1.0, (-9, 9), _cloud(0))

    assert plane.threshold(0.0) == -math.inf
    assert plane.threshold(-0.1) == -math.inf
    assert Slope((1, 1, 1)).threshold(0.5) == -math.inf
