"""
The simulated shop: a small world whose truth is known. Its log is clicks = taste + pull; its purchases are taste.

    t_ui = taste of u for i: what the picture shows of i and, weighing twice, what it hides
    κ_ui = pull of i's picture on u: half of its variance shared by everybody, half personal
    click    40 distinct items, without replacement, ∝ exp(1.2·t + p·κ), p = ShopConfig.pull
    purchase 10 others, ∝ exp(2·t): never seen by the trainer

The formulas are fixed: an ADR changes them. The shop is never presented as real data.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.random import Generator
from pydantic import BaseModel, ConfigDict, Field, model_validator

from training.shop.catalogue import Floats, Items, Rows, draw_items

CLICK_TASTE = 1.2
PURCHASE_TASTE = 2.0
HIDDEN_WEIGHT = 2.0
ITEMS, USERS, CLICKS, PURCHASES, SPLIT, PICTURES = range(1, 7)
"""Random streams: default_rng([seed, stream]). One never shifts another: a shop of another pull has the same items,
users and pictures. From 1, because numpy's [seed, 0] is the stream of the bare seed, which others may use."""


class ShopConfig(BaseModel):
    """What a shop is made from; equal configurations make equal shops. The defaults are frozen: the demo's shop."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    seed: int = Field(0, ge=0)
    """Root of every random draw."""
    items: int = Field(800, ge=20)
    """Items in the catalogue."""
    users: int = Field(1000, ge=1)
    """Users, each with the same number of clicks and purchases."""
    pull: float = Field(1.0, ge=0.0)
    """p: how strongly a picture draws clicks, beside taste's 1.2. 0: not at all."""
    clicks_per_user: int = Field(40, ge=1)
    """Distinct items that each user clicks: the log."""
    purchases_per_user: int = Field(10, ge=2, multiple_of=2)
    """Items that each user buys, none of them clicked: the truth, half validation, half test."""
    picture_side: int = Field(128, ge=32, le=1024)
    """Width and height of a picture, in pixels."""

    @classmethod
    def for_studies(cls, seed: int = 0, pull: float = 1.0) -> Self:
        """The larger shop that studies use: 1,500 items, 2,000 users."""
        return cls(seed=seed, pull=pull, items=1500, users=2000)

    @model_validator(mode="after")
    def _enough_items(self) -> Self:
        wanted = self.clicks_per_user + self.purchases_per_user
        if wanted > self.items:
            raise ValueError(
                f"clicks_per_user + purchases_per_user = {wanted} distinct items, but items = {self.items}"
            )
        return self


@dataclass(frozen=True, eq=False)
class Shop:
    """A world: the catalogue, what its users like and are drawn to, and what they did. Arrays are read-only."""

    config: ShopConfig
    items: Items
    taste: Floats
    """t [U, I]: mean 0 and variance 1 over the catalogue for each user."""
    kappa: Floats
    """κ [U, I]: mean 0 and variance 1 over the catalogue for each user. Not yet multiplied by the pull p."""
    clicks: Rows
    """Item rows [U, clicks_per_user] in the order of the draws."""
    valid: Rows
    """Item rows [U, purchases_per_user / 2] bought: validation."""
    test: Rows
    """Item rows [U, purchases_per_user / 2] bought: test."""

    @property
    def item_ids(self) -> tuple[str, ...]:
        """Outside ids; sorted order is row order."""
        return _ids("item", self.config.items)

    @property
    def user_ids(self) -> tuple[str, ...]:
        """Outside ids; sorted order is row order."""
        return _ids("user", self.config.users)


def make_shop(config: ShopConfig) -> Shop:
    """The world of `config`: 2,000 users × 1,500 items take about a second and leave 50 MB."""
    items = draw_items(config.items, _stream(config, ITEMS))
    taste, kappa = _draw_users(config.users, items, _stream(config, USERS))
    clicks = draw_without_replacement(
        CLICK_TASTE * taste + config.pull * kappa, config.clicks_per_user, _stream(config, CLICKS)
    )
    open_to_purchase = PURCHASE_TASTE * taste
    np.put_along_axis(open_to_purchase, clicks, -np.inf, axis=1)
    bought = draw_without_replacement(open_to_purchase, config.purchases_per_user, _stream(config, PURCHASES))
    # The first draws are the most wanted items: shuffled, so that validation and test are alike.
    bought = _stream(config, SPLIT).permuted(bought, axis=1)
    half = config.purchases_per_user // 2
    shop = Shop(config, items, taste, kappa, clicks, valid=bought[:, :half], test=bought[:, half:])
    columns = (*items.classes.values(), items.price, items.durability, items.shown, items.hidden)
    for array in (*columns, taste, kappa, clicks, shop.valid, shop.test):
        array.setflags(write=False)
    return shop


def picture_rng(config: ShopConfig, row: int) -> Generator:
    """The random stream of one item's picture: any picture can be drawn alone."""
    return np.random.default_rng([config.seed, PICTURES, row])


def draw_without_replacement(logits: Floats, count: int, rng: Generator) -> Rows:
    """
    For each row of `logits` [U, I], `count` distinct columns in draw order, each draw ∝ exp(logit) of those left.

    Source: the Gumbel top-k trick (Kool et al. 2019): the `count` largest of logit + Gumbel noise, from the top,
    are a sample without replacement. A column at −inf is never drawn while others are left.
    """
    keys = logits + rng.gumbel(size=logits.shape)
    top = np.argpartition(-keys, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(keys, top, axis=1), axis=1)
    return np.take_along_axis(top, order, axis=1).astype(np.int64)


def _draw_users(count: int, items: Items, rng: Generator) -> tuple[Floats, Floats]:
    """t and κ of `count` users over `items`, [U, I] each. Every weight on an attribute's code is standard normal."""
    shown, hidden = items.shown.shape[1], items.hidden.shape[1]
    shared = _standardised(rng.standard_normal((1, shown)) @ items.shown.T)
    personal = _standardised(rng.standard_normal((count, shown)) @ items.shown.T)
    kappa = _standardised(shared + personal)
    likes_shown = _standardised(rng.standard_normal((count, shown)) @ items.shown.T)
    likes_hidden = _standardised(rng.standard_normal((count, hidden)) @ items.hidden.T)
    return _standardised(likes_shown + HIDDEN_WEIGHT * likes_hidden), kappa


def _standardised(scores: Floats) -> Floats:
    """Each row of `scores` at mean 0 and variance 1."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    standardised: Floats = centred / centred.std(axis=1, keepdims=True)
    return standardised


def _stream(config: ShopConfig, stream: int) -> Generator:
    return np.random.default_rng([config.seed, stream])


def _ids(kind: str, count: int) -> tuple[str, ...]:
    width = max(4, len(str(count)))
    return tuple(f"{kind}-{number:0{width}}" for number in range(1, count + 1))
