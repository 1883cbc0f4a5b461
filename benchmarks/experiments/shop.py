"""
The simulated shop as traffic in process: what visits to the lists bring that a trained bundle serves at every λ2.

Shop and bundle are made once, below `folder`; delete it to have them made anew. Units are drawn with replacement from
the shop's users, so that the truth about any number of units is the mean over the users (training.shop.traffic).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.random import Generator
from numpy.typing import NDArray
from tqdm import tqdm

import training
from causalrec.bundle import Bundle, read_bundle
from causalrec.equations import Form
from causalrec.search import Searcher
from causalrec.topk import Query
from service.experiments.assignment import decide
from service.experiments.metrics import UNITS
from service.experiments.model import Book
from training.config import read_config
from training.run import run
from training.shop import (
    GRID,
    Shop,
    ShopConfig,
    expected_clicks_per_list,
    expected_purchases_per_list,
    make_shop,
    write_shop,
)
from training.shop.traffic import PATIENCE

Values = NDArray[np.float64]
Rows = NDArray[np.int64]

K: Final = 10
SECONDS: Final = 0.005
"""That every answer is said to have taken."""


class Place(NamedTuple):
    """What a trained bundle's shop is known by."""

    form: Form
    pull: float
    users: int
    seed: int = 0


class Acts(NamedTuple):
    """Clicks, purchases and revenue of every unit over all of its visits, [n] each."""

    clicks: Values
    purchases: Values
    revenue: Values


class Traffic:
    """
    Visits to the lists of a shop's users.

    Args:
        shop: whose laws hold.
        people: rows of the shop's users, [U].
        lists: item rows served to them, [G, U, k].
        lambda2: at which, [G], equal steps.
    """

    def __init__(self, shop: Shop, people: Rows, lists: Rows, lambda2: Values) -> None:
        self.lambda2, self.users = lambda2, len(people)
        places = range(lists.shape[2])
        # A list of one place is surely seen: what it is expected to bring is that place's own chance.
        click = np.array([[expected_clicks_per_list(shop, people, at[:, [j]]) for j in places] for at in lists])
        buy = np.array([[expected_purchases_per_list(shop, people, at[:, [j]]) for j in places] for at in lists])
        self._click = np.swapaxes(click, 1, 2)
        self._purchase = np.swapaxes(buy / click, 1, 2)
        self._price = shop.items.price[lists]
        weights = PATIENCE ** np.arange(lists.shape[2])[:, None]
        self.clicks: Values = (click * weights).sum(axis=1).mean(axis=1)
        """Expected clicks per list, the mean over all users, [G]."""
        self.purchases: Values = (buy * weights).sum(axis=1).mean(axis=1)
        """Expected purchases per list, [G]."""

    def row(self, lambda2: float) -> int:
        """Of the λ2 of the grid that is nearest."""
        return int(np.abs(self.lambda2 - lambda2).argmin())

    def best(self, low: float, high: float) -> float:
        """The λ2 of most expected purchases within the range."""
        inside = (self.lambda2 >= low - 1e-9) & (self.lambda2 <= high + 1e-9)
        return float(self.lambda2[np.where(inside, self.purchases, -np.inf).argmax()])

    def visited(self, rows: Rows, users: Rows, visits: int, rng: Generator) -> Acts:
        """
        What `visits` visits of each of `users` [n] to its list at the λ2 of `rows` [n] bring.

        The same in distribution as so many calls of training.shop.simulate_visits: the list stays, so that of those
        visits which saw a place each goes on to the next, clicks and buys independently of the others.
        """
        click, purchase, price = (part[rows, users] for part in (self._click, self._purchase, self._price))
        seen = np.full(click.shape, visits)
        for place in range(1, seen.shape[1]):
            seen[:, place] = rng.binomial(seen[:, place - 1], PATIENCE)
        clicked = rng.binomial(seen, click)
        bought = rng.binomial(clicked, purchase)
        return Acts(*(np.asarray(acts.sum(axis=1), dtype=np.float64) for acts in (clicked, bought, bought * price)))

    def units(self, book: Book, names: Sequence[str], visits: int, rng: Generator) -> pl.DataFrame:
        """
        Rows of metrics.UNITS, in the order of their exposure: every unit that `book` takes is one of the users, visits
        at λ2 = 0 and is then exposed and visits again, `visits` times each. Lists are those of the nearest λ2.
        """
        decided = [decision for name in names if (decision := decide(book, name)) is not None]
        count = len(decided)
        lambda2 = np.array([decision.lambda2[0] for decision in decided])
        step = self.lambda2[1] - self.lambda2[0]
        rows = np.rint((lambda2 - self.lambda2[0]) / step).astype(np.int64)
        users = rng.integers(self.users, size=count)
        before = self.visited(np.full(count, self.row(0.0)), users, visits, rng)
        after = self.visited(rows, users, visits, rng)
        known = {
            "unit": [decision.unit for decision in decided],
            "variant": [decision.variant for decision in decided],
            "version": [decision.version for decision in decided],
            "lambda2": lambda2,
            "propensity": [decision.propensity for decision in decided],
            "exposed": np.arange(count, dtype=np.float64),
            "before_clicks": before.clicks,
            "before_purchases": before.purchases,
            "lists": np.full(count, float(visits)),
            "seconds": np.full(count, visits * SECONDS),
            "clicks": after.clicks,
            "purchases": after.purchases,
            "revenue": after.revenue,
        }
        never = {name: np.zeros(count) for name in UNITS if name not in known}
        return pl.DataFrame(known | never, schema=UNITS)


def trained(folder: Path, place: Place) -> Traffic:
    """The traffic of a shop with a bundle trained on its clicks, as in training/runs/shop.toml."""
    home = folder / f"{place.form}-{place.pull:g}-{place.users}-{place.seed}"
    shop = make_shop(ShopConfig(seed=place.seed, pull=place.pull, users=place.users))
    made = list((home / "bundles").glob("*/manifest.json"))
    bundle = read_bundle(made[0].parent if made else _train(home, shop, place.form))
    rows = {item: row for row, item in enumerate(shop.item_ids)}
    own = {user: row for row, user in enumerate(shop.user_ids)}
    items = np.array([rows[item] for item in bundle.items.ids])
    people = np.array([own[user] for user in bundle.users.ids])
    lists = np.stack(list(_served(bundle, items)), axis=1)
    return Traffic(shop, people, lists, GRID)


def _train(home: Path, shop: Shop, form: Form) -> Path:
    base = read_config(Path(training.__file__).parent / "runs" / "shop.toml")
    changes = {
        "seed": shop.config.seed,
        "model": base.model.model_copy(update={"form": form}),
        "fit": base.fit.model_copy(update={"checkpoints": home / "runs"}),
        "export": base.export.model_copy(update={"out": home / "bundles"}),
        "images": base.images.model_copy(update={"cache": home / "features"}),
    }
    return run(base.model_copy(update=changes), write_shop(shop, home / "shop"))


def _served(bundle: Bundle, items: Rows) -> Iterator[Rows]:
    """Every user's lists as the shop's item rows, [G, K] each: what they clicked is left out, as the service does."""
    searcher = Searcher(bundle.weights, "scan")
    for user in tqdm(range(len(bundle.users)), desc="lists at every λ2", unit="users", disable=None):
        query = Query(bundle.weights.user(user), tuple(GRID.tolist()), K, bundle.seen.items(user))
        yield np.array([items[top.rows] for top in searcher.scans([query])[0]])
