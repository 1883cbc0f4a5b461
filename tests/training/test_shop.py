"""The simulated shop: its laws hold, its files are the world they say, its truth is computed and not sampled."""

import math
from itertools import combinations

import numpy as np
import pytest
from pydantic import ValidationError

from tests.training.conftest import SMALL, of_rows
from training.shop import (
    Look,
    Shop,
    ShopConfig,
    draw_picture,
    make_shop,
)
from training.shop.catalogue import HIDDEN, SHOWN, draw_items, normal_scores
from training.shop.world import draw_without_replacement

# The world


def test_the_frozen_defaults_are_those_of_the_specification() -> None:
    """The demo's and the studies' shops are fixed before results are looked at."""
    demo, studies = ShopConfig(), ShopConfig.for_studies(seed=4, pull=2.0)

    assert (demo.items, demo.users, demo.pull) == (800, 1000, 1.0)
    assert (demo.clicks_per_user, demo.purchases_per_user) == (40, 10)
    assert (studies.items, studies.users, studies.pull, studies.seed) == (1500, 2000, 2.0, 4)


def test_a_shop_with_too_few_items_is_refused() -> None:
    """Clicks and purchases are distinct items: a catalogue that cannot hold them is refused with the numbers."""
    with pytest.raises(ValidationError, match=r"= 50 distinct items, but items = 49"):
        ShopConfig(items=49)


def test_shown_and_hidden_are_mildly_correlated() -> None:
    """Each hidden attribute correlates .3 with its shown partner, and with no other shown attribute."""
    items = draw_items(40_000, np.random.default_rng(0))
    shown = [normal_scores(len(names))[items.classes[name]] for name, names in SHOWN.items()]
    hidden = [np.log(items.price), *(normal_scores(len(HIDDEN[n]))[items.classes[n]] for n in ("brand", "material"))]

    found = np.asarray(np.corrcoef([*shown, *hidden, items.durability]))[:4, 4:]

    assert np.diag(found) == pytest.approx([0.3, 0.29, 0.29, 0.3], abs=0.018)
    assert np.abs(found - np.diag(np.diag(found))).max() < 0.02


def test_every_attribute_is_encoded_to_unit_variance() -> None:
    """The code of four attributes has variance four, one each, so that no attribute weighs more for its classes."""
    items = draw_items(500, np.random.default_rng(1))
    ends = np.cumsum([len(names) for names in SHOWN.values()])[:-1].tolist()

    variances = [block.var(axis=0).sum() for block in np.split(items.shown, ends, axis=1)]

    assert variances == pytest.approx([1.0] * 4)
    assert items.hidden.var(axis=0).sum() == pytest.approx(4.0)


def test_taste_and_kappa_are_standardised_per_user(shop: Shop) -> None:
    """t and κ have mean 0 and variance 1 over the catalogue for each user."""
    for scores in (shop.taste, shop.kappa):
        assert scores.shape == (400, 300)
        assert scores.mean(axis=1) == pytest.approx(np.zeros(400), abs=1e-12)
        assert scores.var(axis=1) == pytest.approx(np.ones(400))


def test_hidden_attributes_weigh_twice_in_taste(shop: Shop) -> None:
    """t is linear in the codes, and its hidden part spreads twice as far as its shown part for every user."""
    codes = np.hstack([shop.items.shown, shop.items.hidden])
    weights, *_ = np.linalg.lstsq(codes, shop.taste.T)
    width = shop.items.shown.shape[1]

    shown, hidden = shop.items.shown @ weights[:width], shop.items.hidden @ weights[width:]

    assert shown + hidden == pytest.approx(shop.taste.T)
    assert hidden.std(axis=0) == pytest.approx(2 * shown.std(axis=0))


def test_the_pull_is_in_the_picture_and_half_shared(shop: Shop) -> None:
    """κ is linear in what the picture shows; two users' κ correlate one half on average."""
    weights, *_ = np.linalg.lstsq(shop.items.shown, shop.kappa.T)

    between_users = np.asarray(np.corrcoef(shop.kappa))[np.triu_indices(400, 1)]

    assert shop.items.shown @ weights == pytest.approx(shop.kappa.T)
    assert between_users.mean() == pytest.approx(0.5, abs=0.03)


# The log and the truth


def test_draws_without_replacement_follow_the_law() -> None:
    """The first two draws have the Plackett-Luce chances p(a)·p(b)/(1 − p(a)), by plain loops and chi-square."""
    logits = np.array([1.2, 0.3, -0.5, 0.9, 0.0, -1.1])
    chance = [math.exp(logit) / sum(math.exp(other) for other in logits) for logit in logits]

    drawn = draw_without_replacement(np.tile(logits, (60_000, 1)), 3, np.random.default_rng(5))

    chi2 = 0.0
    for a in range(6):
        for b in set(range(6)) - {a}:
            wanted = 60_000 * chance[a] * chance[b] / (1 - chance[a])
            chi2 += (((drawn[:, 0] == a) & (drawn[:, 1] == b)).sum() - wanted) ** 2 / wanted
    assert chi2 < 58.3  # 29 degrees of freedom, p = .001
    assert all(len(set(row)) == 3 for row in drawn[:500].tolist())


def test_clicks_weigh_taste_and_pull_as_specified() -> None:
    """First clicks are drawn ∝ exp(1.2·t + κ): their mean t and κ over users are the law's own, within 4 errors."""
    shop = make_shop(ShopConfig(seed=1, items=100, users=4000))
    weights = np.exp(1.2 * shop.taste + 1.0 * shop.kappa)
    chance = weights / weights.sum(axis=1, keepdims=True)

    for scores in (shop.taste, shop.kappa):
        mean = (chance * scores).sum(axis=1)
        variance = (chance * (scores - mean[:, None]) ** 2).sum(axis=1)
        error = math.sqrt(variance.sum()) / 4000

        assert of_rows(scores, shop.clicks[:, :1]).mean() == pytest.approx(mean.mean(), abs=4 * error)


def test_purchases_follow_taste_alone_among_what_was_not_clicked(shop: Shop) -> None:
    """Purchases are drawn ∝ exp(2·t) from unclicked items: another sample by this law has the same mean t and κ."""
    logits = 2 * shop.taste
    np.put_along_axis(logits, shop.clicks, -np.inf, axis=1)
    bought = np.hstack([shop.valid, shop.test])

    again = draw_without_replacement(logits, 10, np.random.default_rng(11))

    for scores in (shop.taste, shop.kappa):
        assert of_rows(scores, bought).mean() == pytest.approx(of_rows(scores, again).mean(), abs=0.04)


def test_purchases_are_disjoint_from_clicks_and_halved(shop: Shop) -> None:
    """Nobody buys what they clicked in the log; of ten distinct purchases five are validation, five test."""
    for clicks, valid, test in zip(shop.clicks, shop.valid, shop.test, strict=True):
        assert len({*clicks}) == 40
        assert len(valid) == len(test) == 5
        assert len({*clicks, *valid, *test}) == 50


def test_validation_and_test_purchases_are_alike(shop: Shop) -> None:
    """The halves are split at random: the first draws, the most wanted items, are not all on one side."""
    halves = of_rows(shop.taste, shop.valid).mean(), of_rows(shop.taste, shop.test).mean()

    assert halves[0] == pytest.approx(halves[1], abs=0.05)


def test_without_pull_clicks_do_not_depend_on_the_picture_given_taste() -> None:
    """At pull 0 the part of κ that t does not explain is 0 over the clicks; at pull 2 it is large."""
    means = []
    for pull in (0.0, 2.0):
        world = make_shop(SMALL.model_copy(update={"pull": pull}))
        slope = (world.taste * world.kappa).mean(axis=1, keepdims=True)
        means.append(of_rows(world.kappa - slope * world.taste, world.clicks).mean())

    assert means[0] == pytest.approx(0.0, abs=0.03)
    assert means[1] > 0.8


def test_another_pull_leaves_items_and_users_as_they_are(shop: Shop) -> None:
    """One seed, another pull: the same catalogue, tastes and κ; only what was clicked changes."""
    other = make_shop(SMALL.model_copy(update={"pull": 2.0}))

    assert (other.taste == shop.taste).all()
    assert (other.kappa == shop.kappa).all()
    assert (other.items.price == shop.items.price).all()
    assert (other.clicks != shop.clicks).any()


# Pictures


def test_every_shown_attribute_can_be_seen() -> None:
    """Changing any one of the four attributes, nothing else, visibly changes the picture."""
    plain = Look("shirt", "red", "plain", "regular")
    for attribute, names in SHOWN.items():
        pictures = [
            np.asarray(draw_picture(plain._replace(**{attribute: name}), 64, np.random.default_rng(0)), np.float64)
            for name in names
        ]

        assert min(np.abs(a - b).mean() for a, b in combinations(pictures, 2)) > 3.0, attribute


def test_two_items_that_look_alike_have_different_photographs() -> None:
    """Position, tilt and shade vary a little from item to item, as photographs do."""
    look = Look("bag", "teal", "dotted", "wide")

    one, other = (np.asarray(draw_picture(look, 64, np.random.default_rng(seed)), np.float64) for seed in (0, 1))

    assert one.shape == (64, 64, 3)
    assert 1.0 < np.abs(one - other).mean() < 40.0
