"""What a bundle says of pictures: where a new one stands; DeepStyle's categories."""

import pytest
import torch

from causalrec.errors import ConfigError
from causalrec.model import ModelConfig
from causalrec.visual import Scaling
from tests.training.models.conftest import CATEGORIES, CONFIGS, ITEMS, WIDTH, inputs, spread
from training.models import make_model
from training.models.deepstyle import DeepStyle

AS_THEY_ARE = Scaling(torch.zeros(WIDTH), torch.ones(WIDTH))
DEEPSTYLE = ModelConfig.model_validate({"name": "deepstyle", "dim": 2})


@pytest.mark.parametrize("label", [label for label in CONFIGS if not label.startswith("deepstyle")])
def test_a_picture_is_placed_where_its_item_is(label: str) -> None:
    """The bundle's visual matrices give back each item's own e, e of the match and visual bias."""
    model = spread(CONFIGS[label]).float()
    weights = model.weights(torch.ones(ITEMS), "mean", "product_mean")

    e, e_match, visual_bias = model.visual("any", AS_THEY_ARE).place(inputs().features)

    torch.testing.assert_close(e, weights.e)
    torch.testing.assert_close(e_match, weights.e if weights.e_match is None else weights.e_match)
    torch.testing.assert_close(visual_bias, weights.visual_bias)


@pytest.mark.parametrize("tanh", [False, True])
def test_a_new_picture_loses_the_mean_style(tanh: bool) -> None:
    """It comes without a category: DeepStyle places it by the mean of the items' c instead of its own."""
    model = spread(ModelConfig.model_validate({"name": "deepstyle", "dim": 2, "tanh": tanh})).float()
    assert isinstance(model, DeepStyle)
    own = model.c[model.category].detach()

    e, e_match, _ = model.visual("any", AS_THEY_ARE).place(inputs().features)

    torch.testing.assert_close(e, model.weights(torch.ones(ITEMS), "mean", "zero").e + own - own.mean(0))
    assert not e_match.any()


def test_items_of_a_category_share_its_style() -> None:
    """One vector for each category, one for all items without; other items' are untouched."""
    model = make_model(DEEPSTYLE, inputs(), torch.Generator().manual_seed(0))
    assert isinstance(model, DeepStyle)
    before = model.pictures().detach()

    with torch.no_grad():
        model.c[model.category[1]] += 1.0  # item 1 has no category

    moved = (model.pictures() - before).detach()
    assert model.c.shape == (4, 2)
    for row, category in enumerate(CATEGORIES):
        torch.testing.assert_close(moved[row], torch.full((2,), -1.0 if category is None else 0.0))


@pytest.mark.parametrize("categories", [(), (None,) * ITEMS])
def test_deepstyle_without_categories_names_the_way_out(categories: tuple[str | None, ...]) -> None:
    """Neither a catalogue without the column nor one without values can train it."""
    with pytest.raises(ConfigError, match=r"'deepstyle' .* no item here has a category; give .* or take name = 'vbpr'"):
        make_model(DEEPSTYLE, inputs(categories=categories), torch.Generator())
