"""The study of debiasing in simulated shops runs whole on small ones, goes on where it was, and counts right."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from causalrec.weights import Weights
from tests.training.conftest import SMALL
from training.compare.cell import make_cell
from training.compare.config import CompareConfig, read_compare
from training.compare.grid import Cell
from training.compare.outcome import Facts, Outcome
from training.data.split import split
from training.evaluate import MATCH_ALONE, Evaluation, Ranking
from training.metrics import Bootstrap, Values
from training.models.model import inner_product_weights
from training.prepare import Prepared, prepare
from training.shop import Shop, ShopConfig, make_shop, write_shop
from training.shop.world import CLICK_TASTE
from training.studies import debiasing, debiasing_cells
from training.studies.debiasing_causes import CAUSES, causes, learnt
from training.studies.debiasing_tables import Group, beats_both, bounds_table, conclusions, gains_table, groups
from training.studies.debiasing_truth import TASTE, notice_of_truth, places, truth

TINY = ShopConfig(items=60, users=40, clicks_per_user=12, purchases_per_user=4, picture_side=32)
TOML = """\
name = "tiny"
seeds = [0]
[data]
k_core = 0
[images]
source = "images"
cache = "{cache}"
[model]
dim = 4
[fit]
epochs = 2
batch_size = 128
device = "cpu"
[evaluate]
k = 10
bootstrap = 100
lambda2 = [0.0, 0.5, 1.0]
[[models]]
label = "VBPR"
model = {{name = "vbpr"}}
space = {{}}
[[models]]
label = "CausalRec"
fit = {{l2 = 0.02}}
space = {{}}
"""
WANTED = "purchases:NDCG@10"
BOOTSTRAP = Bootstrap(200, 0)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configuration, the study's report and its cells, made once."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.toml").write_text(TOML.format(cache=folder / "cache"))
    with pytest.MonkeyPatch.context() as patch:
        assert _run(patch, folder, "--seeds", 0, 1, "--pulls", 0, 1) == 0
    return folder


def _run(patch: pytest.MonkeyPatch, folder: Path, *more: object) -> int:
    sizes = ("--items", TINY.items, "--users", TINY.users)
    files = ("--config", folder / "tiny.toml", "--cells", folder / "cells", "--out", folder / "study.md")
    patch.setattr(sys, "argv", ["study", *map(str, (*files, *sizes, *more))])
    patch.setattr(debiasing, "ShopConfig", _tiny)
    return debiasing.main()


def _tiny(**sizes: int) -> ShopConfig:
    return TINY.model_copy(update=sizes)


def _outcome(label: str, seed: int, values: Mapping[Ranking, Values], lambda2: float = 1.0) -> Outcome:
    facts = Facts(label, seed, "by hand", lambda2=lambda2, basis="purchases")
    found = Evaluation({ranking: {WANTED: of, "NDCG@10": of} for ranking, of in values.items()})
    return Outcome(facts, found, found, {part: {"purchases": np.arange(50)} for part in ("valid", "test")})


def _dial(label: str, chosen: float, alone: float, seeds: int = 2) -> Group:
    """A model that sells `chosen` more than λ2 = 0 at the λ2 chosen, and `alone` more by M alone, to everybody."""
    outcomes = []
    for seed in range(seeds):
        users = np.random.default_rng(seed).uniform(0.1, 0.2, 50)
        by: dict[Ranking, Any] = {0.0: users, 1.0: users + chosen, MATCH_ALONE: users + alone, TASTE: users + 1}
        outcomes.append(_outcome(label, seed, by))
    return Group(1.0, label, tuple(outcomes))


def test_the_study_reports_every_model_under_every_pull(shops: Path) -> None:
    """A row per pull and model in each table, a figure beside the report, the command and the settings in it."""
    text = (shops / "study.md").read_text()

    for pull in (0, 1):
        for label in ("VBPR", "CausalRec"):
            assert sum(line.startswith(f"| {pull} ") and f"| {label} " in line for line in text.splitlines()) == 5
    assert "![purchases and clicks by λ2](figures/study.png)" in text
    assert (shops / "figures" / "study.png").read_bytes().startswith(b"\x89PNG")
    assert "| CausalRec | paper      | 0.003             | 0.02 " in text
    assert "`python -m training.studies.debiasing --config tiny.toml --seeds 0 1 --pulls 0 1 --items 60 " in text
    assert str(shops) not in text
    assert "nan" not in text


def test_what_is_there_is_not_made_again(shops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command trains nothing; one with a further seed trains that seed's cells only, under its own split."""
    made: list[int] = []

    def watched(cell: Cell, prepared: Prepared, also: Callable[[Weights], dict[str, float]]) -> Outcome:
        made.append(cell.seed)
        own = split(prepared.dataset.interactions, cell.config.data, cell.seed)
        assert np.array_equal(prepared.split.test, own.test)
        return make_cell(cell, prepared, also)

    monkeypatch.setattr(debiasing_cells, "make_cell", watched)
    before = (shops / "study.md").read_text()

    again = _run(monkeypatch, shops, "--seeds", 0, 1, "--pulls", 0, 1)
    unchanged = (shops / "study.md").read_text()
    first = list(made)
    _run(monkeypatch, shops, "--seeds", 0, 2, "--pulls", 1)

    assert (again, first) == (0, [])
    assert [line for line in unchanged.splitlines() if line.startswith("|")] == [
        line for line in before.splitlines() if line.startswith("|")
    ]
    assert made == [2, 2]


def test_a_configuration_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and no report."""
    status = _run(monkeypatch, tmp_path)

    assert status == 2
    assert "tiny.toml: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "study.md").exists()


def test_what_pictures_explain_leaves_nothing_that_they_show(shop: Shop) -> None:
    """The rest of the click logits is uncorrelated with every shown attribute; without a pull and taste, with none."""
    logits = CLICK_TASTE * shop.taste + SMALL.pull * shop.kappa

    rest = logits - notice_of_truth(shop)

    assert np.abs(rest @ (shop.items.shown - shop.items.shown.mean(0))).max() < 1e-8
    assert np.abs(rest.mean(1)).max() < 1e-10
    assert rest.std() < 0.95 * logits.std()


def test_what_is_learnt_is_told_by_its_cause(tmp_path: Path) -> None:
    """A match of hidden taste and shared pull, a notice of own pull: each coefficient is what was put in, else 0."""
    world = make_shop(TINY)
    config = CompareConfig.model_validate({"data": {"k_core": 0}, "images": {"source": "images", "cache": tmp_path}})
    prepared = prepare(config.base(0), write_shop(world, tmp_path / "shop"))
    rows, columns = places(world, prepared)
    hidden, _, shared, personal = causes(world)[:, rows][:, :, columns]
    items = torch.eye(len(columns))
    parts = {
        "gamma_u": torch.from_numpy(0.5 * hidden + 2.0 * shared),
        "theta_u": torch.from_numpy(3.0 * personal),
        "gamma_i": items,
        "e": items,
    }
    weights = inner_product_weights(torch.ones(len(columns)), parts)

    found = learnt(world, prepared)(weights)

    for branch, expected in (("match", (0.5, 0, 2, 0)), ("notice", (0, 0, 0, 3))):
        assert [found[f"{branch}:{name}"] for name in CAUSES] == pytest.approx(expected, abs=1e-3)
    assert found["notice:sd"] == pytest.approx(np.std(3 * personal, axis=1).mean(), rel=1e-5)


def test_the_causes_make_taste_and_pull(shop: Shop) -> None:
    """Of every user: hidden and shown taste make t, shared and own pull κ, without overlap; what is shared is one."""
    hidden, shown, shared, personal = causes(shop)

    for parts, whole in (((hidden, shown), shop.taste), ((shared, personal), shop.kappa)):
        design = np.stack(parts, 2)
        slopes = np.linalg.solve(design.transpose(0, 2, 1) @ design, (whole[:, None, :] @ design).transpose(0, 2, 1))
        assert (design @ slopes)[:, :, 0] == pytest.approx(whole, abs=1e-9)
        assert np.abs((parts[0] * parts[1]).mean(1)).max() < 1e-9
    assert (shared == shared[0]).all()


def test_the_perfect_dial_begins_at_the_click_logits(tmp_path: Path) -> None:
    """By plain sorting: at λ2 = 0 the true click logits rank, by taste the taste, training clicks left out."""
    world = make_shop(TINY)
    config = CompareConfig.model_validate(
        {"data": {"k_core": 0}, "images": {"source": "images", "cache": tmp_path}, "evaluate": {"k": 10}}
    )
    prepared = prepare(config.base(0), write_shop(world, tmp_path / "shop"))

    found = truth(world, prepared, config.evaluate, 0, tmp_path)

    wanted = prepared.test["purchases"]
    user = int(wanted.users[7])
    row = world.user_ids.index(prepared.dataset.users.ids[user])
    seen = {prepared.dataset.items.ids[item] for item in prepared.seen.items(user)}
    known = set(prepared.dataset.items.ids) - seen
    for ranking, scores in ((0.0, CLICK_TASTE * world.taste + world.kappa), (TASTE, world.taste)):
        order = [item for item in np.argsort(-scores[row]) if world.item_ids[item] in known]
        bought = {item for item in world.test[row].tolist() if world.item_ids[item] in known}
        gains = [1 / np.log2(place + 2) for place, item in enumerate(order[:10]) if item in bought]
        ideal = sum(1 / np.log2(place + 2) for place in range(len(bought)))
        assert found.test.values[ranking]["purchases:NDCG@10"][7] == pytest.approx(sum(gains) / ideal)


def test_gains_are_paired_and_seeds_are_people_of_their_own() -> None:
    """The same gain for everybody has an interval without width over users and over seeds, however users differ."""
    group = _dial("VBPR", 0.02, 0.05)

    users, seeds = group.gain(0.0, WANTED, BOOTSTRAP)

    assert (users.low, users.mean, users.high) == pytest.approx((0.02, 0.02, 0.02))
    assert (seeds.low, seeds.high) == pytest.approx((0.02, 0.02))
    assert group.gain(MATCH_ALONE, WANTED, BOOTSTRAP)[0].mean == pytest.approx(-0.03)


def test_a_dial_beats_both_ends_or_it_does_not() -> None:
    """Better than λ2 = 0 alone is not enough, and the report says whose dial is better than both."""
    good, end = _dial("good", 0.02, 0.01), _dial("end", 0.02, 0.02)

    (said,) = conclusions([good, end], 10, BOOTSTRAP)
    table = gains_table([good, end], 10, BOOTSTRAP)

    assert beats_both(good, WANTED, BOOTSTRAP)
    assert not beats_both(end, WANTED, BOOTSTRAP)
    assert said.endswith("in: good.")
    assert [line.split("|")[-2].strip() for line in table.splitlines()[2:]] == ["yes", "no"]


def test_the_bound_is_over_the_better_end() -> None:
    """The gain of the perfect dial is over the better of its ends, here M alone."""
    (row,) = bounds_table([_dial("the truth", 0.03, 0.01)], 10).splitlines()[2:]
    by_hand = np.mean([np.random.default_rng(seed).uniform(0.1, 0.2, 50).mean() for seed in (0, 1)])

    assert row.split("|")[-2].strip() == f"{(by_hand + 0.03) / (by_hand + 0.01) - 1:+.1%}"


def test_outcomes_are_grouped_by_pull_and_model() -> None:
    """In the order they come, one outcome per seed."""
    users = np.full(50, 0.1)
    found = [
        (pull, _outcome(label, seed, {0.0: users, 1.0: users, MATCH_ALONE: users}))
        for seed in (3, 4)
        for pull in (0.0, 2.0)
        for label in ("b", "a")
    ]

    made = groups(found)

    assert [(group.pull, group.label) for group in made] == [(0.0, "b"), (0.0, "a"), (2.0, "b"), (2.0, "a")]
    assert [one.facts.seed for one in made[0].outcomes] == [3, 4]


@pytest.mark.parametrize("name", ["debiasing-shop", "liked"])
def test_what_ships_can_be_run(name: str) -> None:
    """The configurations of both studies are read, and every model in them has a dial to study."""
    config = read_compare(Path("training/runs") / f"compare-{name}.toml")

    runs = [config.run(entry, seed, {}) for entry in config.models for seed in config.seeds]

    assert len(runs) >= 15
    assert [run.name for run in runs if run.model.undebiasable is not None] == []
