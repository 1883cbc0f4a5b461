"""The search over settings: where it begins, where it ends, and what an interruption costs."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from causalrec.errors import ConfigError, DataError
from tests.training.compare.world import LEARNING_RATES, VBPR, first_quest, small, wish
from tests.worlds import write_data
from training.compare import search as module
from training.compare.config import CompareConfig
from training.compare.found import Found, Trial, best_settings, found_path, load_found, save_found
from training.compare.search import search
from training.config import RunConfig
from training.models import vbpr
from training.prepare import Prepared, prepare
from training.run import fitted

whole_loss = vbpr.VBPR.loss


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def prepared(data: Path) -> Prepared:
    return prepare(small().base(0), data)


def found_by(config: CompareConfig, prepared: Prepared, out: Path) -> Found:
    return search(config, first_quest(config, prepared), prepared, out, lambda _: None)


def what(trials: tuple[Trial, ...]) -> list[Trial]:
    return [dataclasses.replace(trial, seconds=0.0) for trial in trials]


def test_the_search_begins_with_the_models_own_settings_and_ends_with_the_best(
    tmp_path: Path, prepared: Prepared
) -> None:
    """So that it can only improve on them; each value is what training with those settings reaches on validation."""
    config = small({**VBPR, "fit": {"l2": 0.02}}, search={"trials": 3})

    found = found_by(config, prepared, tmp_path)

    assert found.trials[0].settings == {"fit.learning_rate": 0.003, "fit.l2": 0.02, "fit.l2_visual": 0.0}
    assert len(found.trials) == 3
    values = [trial.value or 0.0 for trial in found.trials]
    assert found.settings == found.trials[values.index(max(values))].settings
    run = config.run(config.models[0], 0, found.trials[1].settings)
    run = run.model_copy(update={"fit": run.fit.model_copy(update={"checkpoints": tmp_path / "again"})})
    assert fitted(run, prepared, quiet=True)[1].best_metric == values[1]


def test_numbers_of_whole_units_and_choices_are_searched_as_such(tmp_path: Path, prepared: Prepared) -> None:
    """A field of integers gets integers, a choice one of the choices."""
    space = {"model.dim": {"low": 2, "high": 6}, "fit.precision": {"choices": ["auto", "float32"]}}

    found = found_by(small({**VBPR, "space": space}, search={"trials": 4}), prepared, tmp_path)

    assert all(isinstance(trial.settings["model.dim"], int) for trial in found.trials)
    assert {trial.settings["fit.precision"] for trial in found.trials} <= {"auto", "float32"}
    assert found.space == {"model.dim": "2 to 6", "fit.precision": "auto, float32"}


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_an_interruption_changes_nothing_of_what_is_tried(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    """Broken off in the fourth of five trials and begun again: the same settings, to the same values."""
    config = small({**VBPR, "space": LEARNING_RATES}, search={"trials": 5, "sampler": sampler})
    unbroken = found_by(config, prepared, tmp_path / "unbroken")
    steps = iter(range(1000))

    def interrupted(*arguments: Any) -> Any:
        if next(steps) == 31:  # nine or so a trial
            raise KeyboardInterrupt
        return whole_loss(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(vbpr.VBPR, "loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            found_by(config, prepared, tmp_path / "broken")
    trained: list[str] = []

    def noted(run: RunConfig, *arguments: Any, **named: Any) -> Any:
        trained.append(run.name)
        return fitted(run, *arguments, **named)

    monkeypatch.setattr(module, "fitted", noted)
    resumed = found_by(config, prepared, tmp_path / "broken")

    assert what(resumed.trials) == what(unbroken.trials)
    assert 0 < len(trained) < 5
    assert not list((tmp_path / "broken" / "checkpoints").iterdir())


def test_a_trial_killed_before_its_settings_were_drawn_is_drawn_anew(tmp_path: Path, prepared: Prepared) -> None:
    """What is left of it in the storage is no trial: the search still begins with the model's own settings."""
    config = small({**VBPR, "space": LEARNING_RATES})
    quest = first_quest(config, prepared)
    study = module._study(module._optuna(), quest, tmp_path)
    study.enqueue_trial(quest.queue[0])
    study.ask()

    found = search(config, quest, prepared, tmp_path, lambda _: None)

    assert found.trials[0].settings["fit.learning_rate"] == 0.003
    assert len(found.trials) == 2


def test_the_time_allowed_is_kept(tmp_path: Path, prepared: Prepared) -> None:
    """A training that is over its time ends with the epoch, counts for what it had reached, and is the last."""
    config = small(VBPR, search={"trials": 5, "minutes": 1e-7}, fit={"epochs": 9})

    found = found_by(config, prepared, tmp_path)

    assert [(trial.epochs, trial.cut) for trial in found.trials] == [(1, True)]
    assert found.trials[0].value is not None
    assert (found.searched().trials, found.searched().unfinished) == (0, 1)


def test_settings_that_diverge_are_no_find(tmp_path: Path, prepared: Prepared) -> None:
    """They count as a trial, have no value, and are not chosen."""
    space = {"fit.learning_rate": {"choices": [1e30, 0.003]}}
    config = small({**VBPR, "fit": {"learning_rate": 1e30}, "space": space}, search={"trials": 6, "sampler": "random"})

    found = found_by(config, prepared, tmp_path)

    assert found.trials[0].value is None
    assert len(found.trials) == 6
    assert found.settings == {"fit.learning_rate": 0.003}


def test_more_trials_asked_for_later_are_added(tmp_path: Path, prepared: Prepared) -> None:
    """The budget is no part of what a search is: the trials made stand."""
    two = found_by(small({**VBPR, "space": LEARNING_RATES}), prepared, tmp_path)

    three = found_by(small({**VBPR, "space": LEARNING_RATES}, search={"trials": 3}), prepared, tmp_path)

    assert three.trials[:2] == two.trials
    assert len(three.trials) == 3


def test_what_was_found_is_read_back(tmp_path: Path) -> None:
    """From one JSON file, which names itself where it cannot be used."""
    trials = (Trial({"fit.l2": 0.1}, 0.5, 2.0, 3), Trial({"fit.l2": 0.2}, None, 1.0, 1))
    found = Found("A B", "id", {"fit.l2": 0.1}, trials, {"fit.l2": "0.1 to 1"})
    save_found(found, tmp_path)

    assert load_found(tmp_path, "A B") == found
    assert load_found(tmp_path, "C") is None
    found_path(tmp_path, "A B").write_text("{}")
    with pytest.raises(DataError, match=r"a-b\.json: is not what a search found"):
        load_found(tmp_path, "A B")


def test_the_first_of_equals_is_best() -> None:
    """The model's own settings are kept where nothing is better; where nothing came to a value, too."""
    trials = (Trial({"fit.l2": 0.1}, 0.5, 1, 1), Trial({"fit.l2": 0.2}, 0.5, 1, 1), Trial({"fit.l2": 0.3}, None, 1, 1))

    assert best_settings(trials, {}) == {"fit.l2": 0.1}
    assert best_settings(trials[2:], {"fit.l2": 0.9}) == {"fit.l2": 0.9}


def test_settings_come_from_another_comparison(tmp_path: Path, data: Path) -> None:
    """search.from takes what was found there; check_learning_rate tries a third of it and three times, here."""
    there, here = tmp_path / "there", tmp_path / "here"
    wish(small(VBPR), data, there)
    given = load_found(there, "VBPR")
    assert given is not None
    config = small(VBPR, search={"from": str(there), "check_learning_rate": True})

    wish(config, data, here)

    found = load_found(here, "VBPR")
    assert found is not None
    rate = given.settings["fit.learning_rate"]
    assert isinstance(rate, float)
    assert [trial.settings["fit.learning_rate"] for trial in found.trials] == [rate, rate / 3, rate * 3]
    assert {trial.settings["fit.l2"] for trial in found.trials} == {given.settings["fit.l2"]}
    assert found.source == "there"


def test_settings_that_the_other_comparison_lacks_are_named(tmp_path: Path, data: Path) -> None:
    """Before anything is trained."""
    with pytest.raises(ConfigError, match=r"search\.from = '.*nowhere' has no settings of 'VBPR'; compare there first"):
        wish(small(VBPR, search={"from": str(tmp_path / "nowhere")}), data, tmp_path / "out")

    assert not (tmp_path / "out" / "cells").exists()
