"""Scaling: what makes the dial live."""

import pytest
import torch

from causalrec.errors import ShapeError
from causalrec.visual import Scaling
from tests.bundles import make_bundle


def test_features_are_centred_and_rows_have_norm_one() -> None:
    """Non-negative features with a large common mean come out with mean 0 and an average squared norm of 1."""
    features = torch.rand(200, 30, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 31.0) + 40

    seen = Scaling.of(features).apply(features)

    torch.testing.assert_close(seen.mean(0), torch.zeros(30), atol=1e-5, rtol=0)
    assert float(seen.square().sum(1).mean()) == pytest.approx(1.0, abs=1e-4)


def test_a_constant_feature_stays_finite() -> None:
    """A feature that never varies is 0 for everybody, not NaN."""
    features = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    features[:, 2] = 7.0

    seen = Scaling.of(features).apply(features)

    assert torch.isfinite(seen).all()
    assert float(seen[:, 2].abs().max()) < 1e-3


def test_another_width_is_named() -> None:
    """The message holds both widths."""
    with pytest.raises(ShapeError, match=r"\(5, 3\) against scaling of width 4"):
        Scaling.of(torch.rand(9, 4)).apply(torch.rand(5, 3))


@pytest.mark.parametrize("form", ["paper", "authors"])
def test_a_new_picture_is_placed_where_training_would(form: str) -> None:
    """place() on raw features gives e, e of the match and visual bias as the formulas say."""
    visual = make_bundle(form).visual  # type: ignore[arg-type]
    raw = torch.rand(3, len(visual.scaling.mean), generator=torch.Generator().manual_seed(0))
    centred = (raw - visual.scaling.mean) / visual.scaling.scale

    e, e_match, bias = visual.place(raw)

    torch.testing.assert_close(e, centred @ visual.E)
    torch.testing.assert_close(e_match, centred @ (visual.E if visual.E_match is None else visual.E_match))
    assert (bias is None) == (form == "paper")
