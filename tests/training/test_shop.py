"""The simulated shop: its laws hold, its files are the world they say, its truth is computed and not sampled."""

import hashlib
import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from causalrec.errors import DataError, ShapeError
from training.shop import (
    Look,
    Shop,
    ShopConfig,
    draw_picture,
    expected_clicks_per_list,
    expected_purchases_per_list,
    expected_revenue_per_list,
    make_shop,
    oracle_scores,
    read_shop,
    simulate_visits,
    top_lists,
    true_best_lambda2,
    write_shop,
)
from training.shop.catalogue import HIDDEN, SHOWN, Floats, Rows, draw_items, normal_scores
from training.shop.world import draw_without_replacement

SMALL = ShopConfig(seed=7, items=300, users=400)
TINY = ShopConfig(seed=3, items=24, users=6, clicks_per_user=5, purchases_per_user=4, picture_side=32)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(SMALL)


def of_rows(scores: Floats, rows: Rows) -> Floats:
    return np.take_along_axis(scores, rows, axis=1)


def sums(directory: Path) -> dict[str, str]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


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


# Files


def test_the_files_are_the_log_the_catalogue_and_the_truth(tmp_path: Path) -> None:
    """The tables hold the world row by row, in the project's columns; clicks' timestamps follow the draws."""
    world = make_shop(TINY)
    write_shop(world, tmp_path / "shop")

    log, items, bought = (
        pl.read_parquet(tmp_path / f"shop/{name}.parquet") for name in ("interactions", "items", "purchases")
    )

    assert log.columns == ["user_id", "item_id", "timestamp"]
    first = log.filter(pl.col("user_id") == "user-0001").sort("timestamp")["item_id"].to_list()
    assert first == [world.item_ids[row] for row in world.clicks[0]]
    assert items["item_id"].to_list() == sorted(items["item_id"]) == list(world.item_ids)
    assert items["title"][0] == world.items.title(0)
    assert all((tmp_path / "shop/images" / name).is_file() for name in items["image"])
    assert "durability" not in items.columns
    of_last = bought.filter((pl.col("user_id") == "user-0006") & (pl.col("split") == "test"))["item_id"].to_list()
    assert of_last == [world.item_ids[row] for row in world.test[5]]
    assert log.join(bought, on=["user_id", "item_id"]).is_empty()


def test_one_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two shops of one configuration are equal file by file; another seed is another shop."""
    for name, config in (("a", TINY), ("b", TINY), ("c", TINY.model_copy(update={"seed": 4}))):
        write_shop(make_shop(config), tmp_path / name)

    a, b, c = (sums(tmp_path / name) for name in "abc")

    assert a == b
    assert len(a) == 24 + 4
    assert all(a[name] != c[name] for name in a)


def test_another_pull_has_the_same_pictures(tmp_path: Path) -> None:
    """What an item looks like depends on the seed, not on the pull."""
    write_shop(make_shop(TINY), tmp_path / "one")
    write_shop(make_shop(TINY.model_copy(update={"pull": 2.0})), tmp_path / "two")

    assert sums(tmp_path / "one/images") == sums(tmp_path / "two/images")


def test_a_shop_reads_back_as_the_world_it_was_written_from(tmp_path: Path) -> None:
    """shop.json is enough to remake everything, the truth included."""
    world = make_shop(TINY)

    again = read_shop(write_shop(world, tmp_path / "data" / "shop"))

    assert again.config == world.config
    assert again.item_ids == world.item_ids
    for name in ("taste", "kappa", "clicks", "valid", "test"):
        assert (getattr(again, name) == getattr(world, name)).all(), name


def test_a_whole_shop_is_reused_and_another_is_not_overwritten(tmp_path: Path) -> None:
    """Writing again touches nothing; another configuration or foreign files are refused with the way out."""
    write_shop(make_shop(TINY), tmp_path / "shop")
    picture = tmp_path / "shop/images/item-0001.jpg"
    written = picture.stat().st_mtime_ns
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")

    write_shop(make_shop(TINY), tmp_path / "shop")

    assert picture.stat().st_mtime_ns == written
    with pytest.raises(DataError, match=r"shop\.json: another shop is here .*choose another directory"):
        write_shop(make_shop(TINY.model_copy(update={"pull": 2.0})), tmp_path / "shop")
    with pytest.raises(DataError, match=r"mine/shop\.json"):
        write_shop(make_shop(TINY), tmp_path / "mine")
    assert (tmp_path / "mine/notes.txt").read_text() == "keep"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config", TINY.model_dump() | {"seed": 5}),
        ("config", TINY.model_dump() | {"colour": "red"}),
        ("config", None),
        ("fingerprint", "0" * 64),
        ("schema_version", 2),
        ("sha256", None),
    ],
)
def test_an_edited_record_is_refused(tmp_path: Path, key: str, value: object) -> None:
    """A shop.json that does not describe what was written raises DataError naming the file."""
    directory = write_shop(make_shop(TINY), tmp_path / "shop")
    record = json.loads((directory / "shop.json").read_text())
    (directory / "shop.json").write_text(json.dumps(record | {key: value}))

    with pytest.raises(DataError, match=r"shop/(shop\.json|interactions\.parquet): "):
        read_shop(directory)


@pytest.mark.parametrize("name", ["interactions.parquet", "purchases.parquet", "images/item-0003.jpg"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """A table or picture that is not what was written raises DataError naming it, so that no truth is mixed up."""
    directory = write_shop(make_shop(TINY), tmp_path / "shop")
    (directory / name).write_bytes((directory / name).read_bytes()[:-1])

    with pytest.raises(DataError, match=f"{name.split('/', maxsplit=1)[0]}: is not what shop.json recorded"):
        read_shop(directory)


@pytest.mark.parametrize("text", ["", "[]", "{", "\udcff"])
def test_a_record_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever stands in shop.json, the answer is a DataError naming it."""
    (tmp_path / "shop.json").write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(DataError, match=r"shop\.json"):
        read_shop(tmp_path)


def test_an_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop is complete or absent: Ctrl-C while drawing leaves neither a shop nor a half one beside it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.shop.files.draw_picture", interrupted)

    with pytest.raises(KeyboardInterrupt):
        write_shop(make_shop(TINY), tmp_path / "shop")

    assert list(tmp_path.iterdir()) == []


# Traffic


def test_expectations_equal_plain_loops(shop: Shop) -> None:
    """Expected clicks, purchases and revenue per list are the sums of the specification, term by term."""
    users = np.array([3, 399, 3])
    lists = np.random.default_rng(2).permuted(np.tile(np.arange(300), (3, 1)), axis=1)[:, :7]
    wanted = np.zeros((3, 3))
    for row, user in enumerate(users):
        for place, item in enumerate(lists[row], start=1):
            click = 0.85 ** (place - 1) / (1 + math.exp(-(shop.taste[user, item] + shop.kappa[user, item] - 1)))
            purchase = click / (1 + math.exp(-(2 * shop.taste[user, item] - 1)))
            wanted[row] += click, purchase, purchase * shop.items.price[item]

    assert expected_clicks_per_list(shop, users, lists) == pytest.approx(wanted[:, 0])
    assert expected_purchases_per_list(shop, users, lists) == pytest.approx(wanted[:, 1])
    assert expected_revenue_per_list(shop, users, lists) == pytest.approx(wanted[:, 2])


def test_simulated_visits_converge_to_the_expectations(shop: Shop) -> None:
    """The mean of many visits of one user to one list is the expectation, within 4 standard errors."""
    one, one_list = np.zeros(1, dtype=np.int64), top_lists(shop.taste[:1], 8)
    users, lists = np.zeros(40_000, dtype=np.int64), np.tile(one_list, (40_000, 1))

    visits = simulate_visits(shop, users, lists, np.random.default_rng(9))

    for drawn, exact in (
        (visits.clicked, expected_clicks_per_list(shop, one, one_list)),
        (visits.purchased, expected_purchases_per_list(shop, one, one_list)),
        (visits.revenue, expected_revenue_per_list(shop, one, one_list)),
    ):
        per_visit = drawn.sum(axis=1)
        assert per_visit.mean() == pytest.approx(exact[0], abs=4 * per_visit.std() / 200)
    assert visits.seen.mean(axis=0) == pytest.approx(0.85 ** np.arange(8), abs=0.01)


def test_a_visit_goes_down_the_list(shop: Shop) -> None:
    """Nobody sees a position without those above it, clicks the unseen or buys the unclicked."""
    lists = top_lists(shop.kappa, 10)

    visits = simulate_visits(shop, np.arange(400), lists, np.random.default_rng(0))

    assert not (visits.seen[:, 1:] & ~visits.seen[:, :-1]).any()
    assert not (visits.clicked & ~visits.seen).any()
    assert not (visits.purchased & ~visits.clicked).any()
    assert ((visits.revenue > 0) == visits.purchased).all()


@pytest.mark.parametrize(
    ("users", "lists"),
    [([0], [[0, 300]]), ([0], [[-1, 2]]), ([400], [[0, 1]]), ([0, 1], [[0, 1]]), ([0], [0, 1])],
)
def test_lists_that_do_not_fit_the_shop_are_refused(shop: Shop, users: list[int], lists: list[object]) -> None:
    """A padded, foreign or misaligned list raises ShapeError instead of counting another item."""
    with pytest.raises(ShapeError, match=r"rows|lists"):
        expected_purchases_per_list(shop, np.array(users), np.array(lists))


def test_the_true_best_lambda2_is_found(shop: Shop) -> None:
    """In a dial whose answer is known, the best λ2 is the answer, and the curve is the expectation at each λ2."""
    worth = oracle_scores(shop)["sale"]

    def rank(lambda2: float) -> Rows:
        return top_lists(worth if lambda2 == 1.15 else -worth, 10)

    truth = true_best_lambda2(shop, rank)

    assert truth.best == 1.15
    assert (truth.lambda2[0], truth.lambda2[-1], len(truth.lambda2)) == (0.0, 3.0, 61)
    users = np.arange(400)
    assert truth.purchases[23] == expected_purchases_per_list(shop, users, rank(1.15)).mean()
    assert truth.clicks[0] == expected_clicks_per_list(shop, users, rank(0.0)).mean()
    assert truth.revenue[0] == expected_revenue_per_list(shop, users, rank(0.0)).mean()


def test_every_oracle_is_best_at_its_own(shop: Shop) -> None:
    """Taste ranks what is really wanted first, κ what pulls, sale what sells, popularity what everybody clicks."""
    lists = {name: top_lists(scores, 10, masked=shop.clicks) for name, scores in oracle_scores(shop).items()}
    users = np.arange(400)

    by_taste = {name: of_rows(shop.taste, rows).mean() for name, rows in lists.items()}
    by_kappa = {name: of_rows(shop.kappa, rows).mean() for name, rows in lists.items()}
    by_sales = {name: expected_purchases_per_list(shop, users, rows).mean() for name, rows in lists.items()}

    assert max(by_taste, key=by_taste.__getitem__) == "taste"
    assert max(by_kappa, key=by_kappa.__getitem__) == "kappa"
    assert max(by_sales, key=by_sales.__getitem__) == "sale"
    assert oracle_scores(shop)["popularity"][5].sum() == shop.clicks.size


def test_top_lists_mask_and_break_ties_by_row() -> None:
    """Masked items never come up, equals come in row order, and too long a list is refused."""
    scores = np.array([[1.0, 3.0, 3.0, 2.0]])

    assert top_lists(scores, 3).tolist() == [[1, 2, 3]]
    assert top_lists(np.tile([0.0, 1.0], (1, 250)), 9).tolist() == [list(range(1, 19, 2))]
    assert top_lists(scores, 2, masked=np.array([[1]])).tolist() == [[2, 3]]
    with pytest.raises(ShapeError, match="at most 3"):
        top_lists(scores, 4, masked=np.array([[1]]))
