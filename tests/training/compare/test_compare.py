"""A comparison from its configuration to its report: what is trained, what is kept, what is made anew."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.compare.world import MML, VBPR, small, wish
from tests.worlds import write_data
from training.compare import cell as cell_module
from training.compare import compare as module
from training.compare import report
from training.compare.outcome import Outcome, cell_path, load
from training.compare.pace import Pace
from training.evaluate import Evaluation
from training.export import served_weights
from training.models.causalrec import CausalRec
from training.prepare import prepare
from training.run import fitted, sweep, train

whole_loss = CausalRec.loss
CONFIG = small()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), ratings=True, purchases=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """An unbroken comparison's folder: to be copied before anything is changed."""
    out = tmp_path_factory.mktemp("whole")
    assert wish(CONFIG, data, out).problems == ()
    return out


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Label and seed of every cell trained from now on; no report is written."""
    made: list[tuple[str, int]] = []

    def noted(run: Any, *arguments: Any, **named: Any) -> Any:
        made.append((run.name.rsplit("-", 1)[0], run.seed))
        return fitted(run, *arguments, **named)

    monkeypatch.setattr(cell_module, "fitted", noted)
    monkeypatch.setattr(report, "write", lambda *_: Path("report.md"))
    return made


def outcomes(out: Path) -> dict[tuple[str, int], Outcome]:
    return {(label, seed): load(cell_path(out, label, seed)) for label in ("VBPR", "CausalRec MML") for seed in (0, 1)}


def assert_equal(some: Evaluation, other: Evaluation) -> None:
    assert list(some.values) == list(other.values)
    for ranking, metrics in some.values.items():
        assert set(metrics) == set(other.values[ranking])
        assert all(np.array_equal(values, other.values[ranking][name]) for name, values in metrics.items())
    assert all(np.array_equal(shares, other.overlap[at]) for at, shares in some.overlap.items())


def test_the_report_is_of_every_model_and_seed(whole: Path) -> None:
    """Cells, settings found and their trials are in comparison.json; no checkpoint is left."""
    text = (whole / "report.md").read_text()
    told = json.loads((whole / "comparison.json").read_text())

    assert set(outcomes(whole)) == {(label, seed) for label in ("VBPR", "CausalRec MML") for seed in (0, 1)}
    assert [model["label"] for model in told["about"]["models"]] == ["VBPR", "CausalRec MML"]
    assert [search["trials"] for search in told["searched"]] == [2, 2]
    assert "| CausalRec MML" in text
    assert str(whole) not in text
    assert not list((whole / "checkpoints").iterdir())


def test_a_cell_is_what_training_by_hand_gives(tmp_path: Path, data: Path, whole: Path) -> None:
    """The settings found, the seed's own split: the trainer's own recipe gives the same figures to the bit."""
    made = load(cell_path(whole, "CausalRec MML", 1))
    settings = {name: made.facts.settings[name] for name in CONFIG.models[1].spans}
    run = CONFIG.run(CONFIG.models[1], 1, settings)
    run = run.model_copy(update={"fit": run.fit.model_copy(update={"checkpoints": tmp_path})})
    prepared = prepare(run, data)

    valid, test = sweep(run, prepared, served_weights(run, prepared, train(run, prepared, quiet=True)), quiet=True)

    for mine, cells in ((valid, made.valid), (test, made.test)):
        for ranking, metrics in mine.values.items():
            assert all(np.array_equal(values, cells.values[ranking][name]) for name, values in metrics.items())
    assert np.array_equal(made.users["test"]["clicks"], prepared.test["clicks"].users)
    assert len(made.test.values[0.0]["NDCG@10"]) == len(made.users["test"]["clicks"])
    assert made.facts.basis == "purchases"
    assert made.facts.batch_size == 256
    assert 0 < made.facts.best_epoch <= made.facts.epochs <= 3


def test_nothing_is_trained_twice(data: Path, whole: Path, trained: list[tuple[str, int]]) -> None:
    """The same call again trains nothing, and neither does asking for the report alone."""
    wish(CONFIG, data, whole)
    wish(CONFIG, data, whole, report_only=True)

    assert trained == []


def test_an_interruption_costs_no_cell_that_was_done(
    tmp_path: Path, data: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, trained: list[tuple[str, int]]
) -> None:
    """Broken off in a cell's second epoch and called again: only what was left is trained, to the same bits."""
    shutil.copytree(whole / "search", tmp_path / "search")
    monkeypatch.setattr(module, "measure", _no_pace)
    steps: list[int] = []

    def interrupted_once(*arguments: Any) -> Any:
        steps.append(len(trained))
        if len(steps) == 5:
            raise KeyboardInterrupt
        return whole_loss(*arguments)

    monkeypatch.setattr(CausalRec, "loss", interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        wish(CONFIG, data, tmp_path)
    before = list(trained)
    wish(CONFIG, data, tmp_path)

    assert before == [("vbpr", 0), ("causalrec-mml", 0)]
    assert trained[2:] == [("causalrec-mml", 0), ("vbpr", 1), ("causalrec-mml", 1)]
    assert len(steps) == 5 + 6 + 9, "three an epoch, three epochs: the first epoch of the broken cell was kept"
    for key, outcome in outcomes(tmp_path).items():
        assert_equal(outcome.test, outcomes(whole)[key].test)
        assert_equal(outcome.valid, outcomes(whole)[key].valid)


def test_a_changed_model_is_made_anew_alone(
    tmp_path: Path, data: Path, whole: Path, trained: list[tuple[str, int]], caplog: pytest.LogCaptureFixture
) -> None:
    """Its search and its cells, which are named; the other model's stand."""
    out = shutil.copytree(whole, tmp_path / "out")
    caplog.set_level("INFO")

    wish(small({**VBPR, "fit": {"batch_size": 128}}, MML), data, out)

    assert trained == [("vbpr", 0), ("vbpr", 1)]
    assert "VBPR, seed 1: made under other settings or of other data, so made anew" in caplog.text
    assert load(cell_path(out, "VBPR", 0)).facts.batch_size == 128


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"evaluate": {"bootstrap": 200}}, 0),
        ({"search": {"trials": 1}}, 0),
        ({"evaluate": {"lambda2": [0.0, 1.0]}}, 4),
        ({"seeds": [0, 1, 2]}, 2),
    ],
)
def test_a_change_touches_what_depends_on_it(
    tmp_path: Path, data: Path, whole: Path, trained: list[tuple[str, int]], changes: dict[str, Any], count: int
) -> None:
    """Resamples and a smaller budget: nothing. Another λ2: every cell. Another seed: its own cells."""
    out = shutil.copytree(whole, tmp_path / "out")

    wish(small(**changes), data, out)

    assert len(trained) == count


def test_other_data_makes_everything_anew(tmp_path: Path, whole: Path, trained: list[tuple[str, int]]) -> None:
    """A cell is of the data it was made of."""
    out = shutil.copytree(whole, tmp_path / "out")

    wish(CONFIG, write_data(tmp_path / "data", each=13), out)

    assert len(trained) == 4


def test_fresh_forgets_everything_but_the_peers(
    tmp_path: Path, data: Path, whole: Path, trained: list[tuple[str, int]]
) -> None:
    """Searches and cells are made again."""
    out = shutil.copytree(whole, tmp_path / "out")
    (out / "peers").mkdir()

    wish(CONFIG, data, out, fresh=True)

    assert len(trained) == 4
    assert (out / "peers").exists()


def test_only_the_models_asked_for_are_trained(tmp_path: Path, data: Path, trained: list[tuple[str, int]]) -> None:
    """The others stay missing, and the report says so."""
    wish(CONFIG, data, tmp_path, labels=("VBPR",))

    assert trained == [("vbpr", 0), ("vbpr", 1)]
    assert not cell_path(tmp_path, "CausalRec MML", 0).parent.exists()


def test_two_workers_find_what_one_does(tmp_path: Path, data: Path, whole: Path) -> None:
    """The figures do not depend on --jobs."""
    compared = wish(CONFIG, data, tmp_path, jobs=2)

    assert compared.problems == ()
    for key, outcome in outcomes(tmp_path).items():
        assert_equal(outcome.test, outcomes(whole)[key].test)


def test_a_model_that_cannot_be_debiased_is_judged_at_zero_alone(tmp_path: Path, data: Path) -> None:
    """With the reason in its facts, λ2 = 0, and M alone beside it."""
    wish(small({"label": "BPR", "model": {"name": "bpr"}}, search={"trials": 0}, seeds=[0]), data, tmp_path)

    made = load(cell_path(tmp_path, "BPR", 0))
    assert list(made.test.values) == [0.0, "match_alone", "popularity"]
    assert made.facts.lambda2 == 0.0
    assert made.facts.undebiasable == made.facts.basis
    assert "BPR" in (made.facts.undebiasable or "")


def test_a_cell_that_cannot_be_made_is_passed_over_and_said(tmp_path: Path, data: Path) -> None:
    """The other model's cells are there, and so is the report."""
    diverging = {"label": "Wild", "model": {"name": "vbpr"}, "fit": {"learning_rate": 1e30}, "space": {}}

    compared = wish(small(diverging, VBPR, search={"trials": 0}, seeds=[0]), data, tmp_path)

    assert len(compared.problems) == 1
    assert compared.problems[0].startswith("Wild, seed 0: ")
    assert cell_path(tmp_path, "VBPR", 0).exists()
    assert compared.report.exists()


def _no_pace(config: Any, entries: Any, built: Any, *_: Any, **__: Any) -> dict[str, Any]:
    return {entry.label: Pace(0.0, 0.0, 0.0, 1) for entry in entries}
