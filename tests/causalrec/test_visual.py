"""Scaling: what makes the dial live."""

import json
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from causalrec.bundle import read_bundle, write_bundle
from causalrec.errors import BundleMismatch, ShapeError
from causalrec.manifest import content_id_of
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


def test_an_offset_is_taken_off_the_notice_alone() -> None:
    """DeepStyle's mean category: e less the offset; the match's e and the visual bias are as without."""
    plain = make_bundle("authors").visual
    raw = torch.rand(3, len(plain.scaling.mean), generator=torch.Generator().manual_seed(0))
    offset = torch.arange(8.0)

    placed, without = replace(plain, offset=offset).place(raw), plain.place(raw)

    torch.testing.assert_close(placed[0], without[0] - offset)
    assert torch.equal(placed[1], without[1])
    assert placed[2] is not None
    assert without[2] is not None
    assert torch.equal(placed[2], without[2])


def test_an_offset_travels_with_the_bundle(tmp_path: Path) -> None:
    """Bit by bit; a bundle without one has none."""
    made = make_bundle("additive", retrieval="scan")
    offset = torch.randn(8, generator=torch.Generator().manual_seed(0))

    with_offset = write_bundle(replace(made, visual=replace(made.visual, offset=offset)), tmp_path)
    without = write_bundle(made, tmp_path)

    found = read_bundle(with_offset).visual.offset
    assert found is not None
    assert torch.equal(found, offset)
    assert read_bundle(without).visual.offset is None


@pytest.mark.parametrize("name", ["E_match", "visual_bias", "offset"])
def test_parts_that_do_not_fit_are_refused_by_name(name: str) -> None:
    """The message has the field and both shapes."""
    visual, wrong = make_bundle("authors").visual, cast(dict[str, Any], {name: torch.zeros(5)})

    with pytest.raises(ShapeError, match=rf"visual {name}: shape \(5,\), expected \("):
        replace(visual, **wrong)


def test_a_bundle_whose_offset_does_not_fit_is_refused(tmp_path: Path) -> None:
    """What a writer of another mind left behind is named when it is read."""
    made = make_bundle("additive", retrieval="scan")
    wrong = copy(made.visual)
    object.__setattr__(wrong, "offset", torch.zeros(5))
    path = write_bundle(replace(made, visual=wrong), tmp_path)

    with pytest.raises(BundleMismatch, match=r"visual offset: shape \(5,\), expected \(8,\)"):
        read_bundle(path)


def test_a_bundle_of_before_there_were_other_models_is_read(tmp_path: Path) -> None:
    """Its model is causalrec, its users are folded in branch by branch, and λ2 means something to it."""
    path = write_bundle(make_bundle("paper", retrieval="scan"), tmp_path)
    old = json.loads((path / "manifest.json").read_bytes())
    for new in ("name", "pixels"):
        old["model"].pop(new)
    old["content_id"] = content_id_of(old)
    (path / "manifest.json").write_text(json.dumps(old))

    model = read_bundle(path).manifest.model

    assert (model.name, model.folded, model.undebiasable) == ("causalrec", "branches", None)
