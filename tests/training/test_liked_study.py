"""The study of ratings runs whole on a small world, and what it says of liked and disliked items is what they are."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from causalrec.bundle import Seen
from tests.worlds import write_data
from training.compare.config import CompareConfig
from training.compare.outcome import Facts, Outcome
from training.evaluate import MATCH_ALONE, Evaluation, Ranking
from training.metrics import Bootstrap, Relevant, Values
from training.prepare import Prepared, prepare
from training.studies import liked
from training.studies.liked import with_disliked
from training.studies.liked_tables import Rated

TOML = """\
name = "tiny"
seeds = [0, 1]
[data]
k_core = 0
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
model = {name = "vbpr"}
space = {}
[[models]]
label = "CausalRec sum"
model = {form = "sum"}
space = {}
"""
BOOTSTRAP = Bootstrap(200, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with ratings, and a configuration."""
    found = write_data(tmp_path_factory.mktemp("world") / "data", each=20, ratings=True).parent
    (found / "tiny.toml").write_text(TOML)
    return found


def _run(monkeypatch: pytest.MonkeyPatch, folder: Path, out: Path, *more: object) -> int:
    files = ("--config", folder / "tiny.toml", "--data", folder / "data", "--cells", out.parent / "cells")
    monkeypatch.setattr(sys, "argv", ["study", *map(str, (*files, "--out", out, *more))])
    return liked.main()


def _prepared(folder: Path, seed: int = 0) -> Prepared:
    config = CompareConfig.model_validate({"data": {"k_core": 0}})
    return prepare(config.base(seed), folder / "data")


def _rated(disliked: list[float], every: list[float]) -> Rated:
    """One model, two users with four test items each, of which the first three of the first user are disliked."""
    seen = Seen.of(np.repeat([0, 1], 4), np.tile(np.arange(4), 2), 2)
    low = Relevant(Seen.of(np.zeros(3, np.int64), np.arange(3), 2), np.array([0]))
    held = {"clicks": Relevant(seen, np.arange(2)), "disliked": low, "liked": low}
    values: dict[Ranking, dict[str, Values]] = {
        at: {"Recall@10": np.array(every) * at, "disliked:Recall@10": np.array(disliked) * at} for at in (0.5, 1.0)
    }
    rows = {"clicks": np.arange(2), "disliked": np.array([0]), "liked": np.array([0])}
    facts = Facts("by hand", 0, "", lambda2=1.0)
    found = Evaluation(values)
    return Rated("by hand", (Outcome(facts, found, found, {"valid": rows, "test": rows}),), {0: held}, 10)


def test_the_study_reports_every_model(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both tables have every model, the figure lies beside the report, and a second run trains nothing."""
    status = _run(monkeypatch, folder, tmp_path / "liked.md")
    first = (tmp_path / "liked.md").read_text()
    monkeypatch.setattr("training.studies.debiasing_cells.make_cell", None)

    again = _run(monkeypatch, folder, tmp_path / "liked.md")

    assert (status, again) == (0, 0)
    assert (tmp_path / "liked.md").read_text() == first
    for label in ("VBPR", "CausalRec sum"):
        assert sum(line.startswith(f"| {label} ") for line in first.splitlines()) == 1 + 5 + 1
    assert "![liked and disliked by λ2](figures/liked.png)" in first
    assert (tmp_path / "figures" / "liked.png").read_bytes().startswith(b"\x89PNG")
    assert "nan" not in first


def test_disliked_are_the_held_out_items_rated_low(folder: Path) -> None:
    """By a plain loop over the test part; training is not touched by it."""
    before = _prepared(folder)

    found = with_disliked(before, 2.0)

    interactions = before.dataset.interactions
    assert interactions.rating is not None
    expected = {
        (int(interactions.user[row]), int(interactions.item[row]))
        for row in before.split.test
        if interactions.rating[row] <= 2.0
    }
    held = found.test["disliked"]
    assert {(int(user), int(item)) for user in held.users for item in held.pairs.items(int(user))} == expected
    assert expected
    assert found.seen is before.seen


def test_without_ratings_it_says_so(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, status 2, no report."""
    log = write_data(tmp_path / "data") / "interactions.parquet"
    assert "rating" not in pl.read_parquet(log).columns
    (tmp_path / "tiny.toml").write_text(TOML)

    status = _run(monkeypatch, tmp_path, tmp_path / "liked.md")

    assert status == 2
    assert "no column `rating`" in capsys.readouterr().err
    assert not (tmp_path / "liked.md").exists()


def test_nothing_disliked_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bound that no rating is below: the value is named, with the way out."""
    status = _run(monkeypatch, folder, tmp_path / "liked.md", "--disliked", 0.5)

    assert status == 2
    assert "rating of 0.5 or less" in capsys.readouterr().err


def test_settings_of_a_comparison_that_lacks_a_model(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model is named, and what to do."""
    status = _run(monkeypatch, folder, tmp_path / "liked.md", "--settings", tmp_path)

    assert status == 2
    assert "'VBPR'" in capsys.readouterr().err


def test_the_share_of_disliked_is_of_all_that_was_found() -> None:
    """Found at λ2 = 1: of the first user 2 disliked of 2, of the second none of 2; at half of that the same share."""
    model = _rated(disliked=[2 / 3], every=[0.5, 0.5])

    assert model.share(1.0) == pytest.approx(2 / 4)
    assert model.share("chosen") == pytest.approx(2 / 4)
    assert model.share(0.5) == pytest.approx(2 / 4)


def test_the_change_of_the_share_is_paired() -> None:
    """A ranking against itself has moved nothing in any resample; M alone and the λ2 are the rankings."""
    model = _rated(disliked=[2 / 3], every=[0.5, 0.25])
    test = model.outcomes[0].test
    test.values[MATCH_ALONE] = {
        "Recall@10": np.array([0.5, 0.25]),
        "disliked:Recall@10": np.array([1 / 3]),
    }

    same, moved = (model.share_change("chosen", against, BOOTSTRAP) for against in (1.0, MATCH_ALONE))

    assert (same.low, same.mean, same.high) == (0, 0, 0)
    assert moved.mean == pytest.approx(2 / 3 - 1 / 3)
    assert model.rankings == [0.5, 1.0, MATCH_ALONE]
