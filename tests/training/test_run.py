"""The whole recipe on a small world: same seed same bytes, resume, the command line."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from causalrec.bundle import read_bundle
from causalrec.errors import ConfigError, DataError
from causalrec.search import Searcher
from tests.worlds import write_data
from training import checkpoint, fit
from training.__main__ import main
from training.config import RunConfig, as_toml
from training.models.causalrec import CausalRec
from training.models.model import Model
from training.prepare import prepare
from training.run import checkpoint_path, identity, new_model, run, train
from training.sampling import Sampler


def small_config(tmp_path: Path, **changes: object) -> RunConfig:
    config = {
        "name": "small",
        "model": {"dim": 8},
        "fit": {
            "epochs": 6,
            "batch_size": 128,
            "checkpoints": tmp_path / "runs",
            "checkpoint_seconds": 0,
            "device": "cpu",
        },
        "evaluate": {"k": 10, "bootstrap": 100},
        "export": {"out": tmp_path / "bundles"},
    }
    return RunConfig.model_validate(config | changes)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"), ratings=True, purchases=True)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, data: Path) -> None:
    """Two runs from nothing give bundles with the same content id, and another seed another."""
    first = run(small_config(tmp_path), data, quiet=True)
    second = run(small_config(tmp_path), data, quiet=True)
    other = run(small_config(tmp_path, seed=1), data, quiet=True)

    assert first == second
    assert other != first
    assert read_bundle(first).manifest.content_id != read_bundle(other).manifest.content_id


@pytest.mark.parametrize("form", ["paper", "authors", "additive"])
def test_every_form_becomes_a_bundle_that_beats_popularity(tmp_path: Path, data: Path, form: str) -> None:
    """The bundle holds the sweep, the dial and golden answers, and the model has learned something."""
    config = small_config(tmp_path, model={"form": form, "dim": 8}, seed=3)
    config = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 40, "learning_rate": 0.02})})

    bundle = read_bundle(run(config, data, quiet=True))

    sweep = {row.lambda2 if row.ranking == "debiased" else row.ranking: row.valid for row in bundle.manifest.sweep}
    assert sweep[0.0]["NDCG@10"].mean > 1.2 * sweep["popularity"]["NDCG@10"].mean
    assert "purchases:NDCG@10" in sweep[0.0]
    assert "liked:NDCG@10" in sweep[0.0]
    assert bundle.manifest.lambda2.basis == "purchases"
    assert bundle.manifest.diagnostics.overlap["1.0"] < 1.0
    searcher = Searcher(bundle.weights, bundle.manifest.retrieval.index, bundle.index)
    for golden in bundle.golden:
        row = bundle.users.rows([str(golden.user_id)])[0]
        answer = searcher.top_k(bundle.weights.user(row), golden.lambda2, golden.k, bundle.seen.items(row))
        assert [bundle.items.ids[item] for item in answer.rows] == [item.item_id for item in golden.items]


def test_held_out_sets_are_disjoint_and_what_they_say(tmp_path: Path, data: Path) -> None:
    """Clicks by the split, liked by rating, purchases by their own part; nothing is in two parts or in training."""
    prepared = prepare(small_config(tmp_path), data)
    interactions, parts = prepared.dataset.interactions, prepared.split
    assert interactions.rating is not None

    pairs = {
        (part, name): {(user, item) for user in relevant.users.tolist() for item in relevant.pairs.items(user).tolist()}
        for part, sets in (("valid", prepared.valid), ("test", prepared.test))
        for name, relevant in sets.items()
    }

    for name in ("clicks", "liked", "purchases"):
        assert pairs["valid", name]
        assert not pairs["valid", name] & pairs["test", name]
    trained = set(zip(interactions.user[parts.train].tolist(), interactions.item[parts.train].tolist(), strict=True))
    assert not trained & (pairs["valid", "clicks"] | pairs["test", "clicks"])
    held = parts.valid[interactions.rating[parts.valid] >= 4]
    liked = set(zip(interactions.user[held].tolist(), interactions.item[held].tolist(), strict=True))
    assert pairs["valid", "liked"] == liked


whole_loss = CausalRec.loss


def test_resuming_gives_what_an_unbroken_run_gives(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted in the middle of the fourth epoch and resumed: the same weights to the bit."""
    config = small_config(tmp_path)
    prepared = prepare(config, data)
    whole = train(config, prepared, quiet=True)
    checkpoint_path(config).unlink()
    with monkeypatch.context() as patch:
        steps = iter(range(1000))

        def interrupted_step(*arguments: Any) -> Any:
            if next(steps) == 17:  # there are five batches an epoch
                raise KeyboardInterrupt
            return whole_loss(*arguments)

        patch.setattr(CausalRec, "loss", interrupted_step)
        with pytest.raises(KeyboardInterrupt):
            train(config, prepared, quiet=True)
    assert checkpoint.load_progress(checkpoint_path(config), identity(config, prepared)).epochs_done == 3

    resumed = train(config, prepared, resume=True, quiet=True)

    for name, parameter in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], parameter), name


def test_the_first_epoch_leaves_a_checkpoint(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long checkpoints may be apart, an interruption in the second epoch loses no more than that epoch."""
    config = small_config(tmp_path)
    config = config.model_copy(update={"fit": config.fit.model_copy(update={"checkpoint_seconds": 3600.0})})
    prepared = prepare(config, data)
    steps = iter(range(1000))

    def interrupted_step(*arguments: Any) -> Any:
        if next(steps) == 7:
            raise KeyboardInterrupt
        return whole_loss(*arguments)

    monkeypatch.setattr(CausalRec, "loss", interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        train(config, prepared, quiet=True)

    assert checkpoint.load_progress(checkpoint_path(config), identity(config, prepared)).epochs_done == 1


def test_early_stopping_keeps_the_best_epoch(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation is best at its second look: training stops `patience` looks later, with that epoch's weights."""
    config = small_config(tmp_path)
    config = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 50, "patience": 3})})
    prepared = prepare(config, data)
    model, seen = new_model(config, prepared), []
    looks = iter([0.1, 0.3, 0.2, 0.3, 0.1])

    def validate(candidate: Model) -> float:
        assert isinstance(candidate, CausalRec)
        seen.append(candidate.gamma_u.detach().clone())
        return next(looks)

    user, item = prepared.dataset.interactions.user, prepared.dataset.interactions.item
    sampler = Sampler(user, item, len(prepared.dataset.items), 0)
    progress = fit.fit(model, sampler, validate, config.fit, identity="x", quiet=True)

    assert (progress.epochs_done, progress.best_epoch, progress.finished) == (5, 2, True)
    assert isinstance(model, CausalRec)
    assert torch.equal(model.gamma_u, seen[1])
    assert not torch.equal(model.gamma_u, seen[4])


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, data: Path) -> None:
    """Resuming with another learning rate would not give what either run gives; a broken file is named."""
    config = small_config(tmp_path)
    prepared = prepare(config, data)
    train(config, prepared, quiet=True)
    changed = config.model_copy(update={"fit": config.fit.model_copy(update={"learning_rate": 0.1})})

    with pytest.raises(ConfigError, match=r"small\.checkpoint\.safetensors: was made with another configuration"):
        train(changed, prepared, resume=True, quiet=True)

    checkpoint_path(config).write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"small\.checkpoint\.safetensors: is not a checkpoint"):
        train(config, prepared, resume=True, quiet=True)


def test_a_diverging_loss_is_an_error_that_names_the_way_out(tmp_path: Path, data: Path) -> None:
    """NaN never becomes a bundle."""
    config = small_config(tmp_path)
    config = config.model_copy(update={"fit": config.fit.model_copy(update={"learning_rate": 1e30})})

    with pytest.raises(ConfigError, match=r"fit\.learning_rate=1e\+30: the loss became .*lower it"):
        run(config, data, quiet=True)

    assert not (tmp_path / "bundles").exists()


def test_a_dead_dial_is_said_loudly_at_export(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Pictures that all look the same leave λ2 nothing to remove: the export warns, the manifest says so."""
    data = write_data(tmp_path / "data")
    np.save(data / "features.npy", np.ones((80, 20), dtype=np.float32))

    path = run(small_config(tmp_path), data, quiet=True)

    assert read_bundle(path).manifest.diagnostics.dead
    assert "THE DIAL IS DEAD" in caplog.text


def test_the_command_line_trains_inspects_evaluates_and_exports(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The four commands work one after the other, and the last line of a run is the bundle's path."""
    config = tmp_path / "small.toml"
    config.write_text(as_toml(small_config(tmp_path)))
    given = ["--config", str(config), "--data", str(data), "--quiet"]

    assert main(given) == 0
    path = capsys.readouterr().out.strip().splitlines()[-1]
    assert main(["inspect", path]) == 0
    inspected = capsys.readouterr().out
    assert main(["evaluate", path, "--data", str(data), "--quiet"]) == 0
    evaluated = capsys.readouterr().out
    config.write_text(config.read_text().replace('null_visual = "product_mean"', 'null_visual = "zero"'))
    assert main(["export", *given]) == 0

    other = capsys.readouterr().out.strip()
    assert read_bundle(Path(path)).manifest.model.null_visual == "product_mean"
    assert read_bundle(Path(other)).manifest.model.null_visual == "zero"
    assert "lambda2     default" in inspected
    table = inspected[inspected.index("test:") :].strip()
    assert table in evaluated


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "nowhere"], "nowhere/manifest.json: there is no bundle here"),
        (["--config", "none.toml", "--data", "."], "none.toml: cannot be read"),
        (["--config", "RUN", "--data", "nowhere"], "nowhere: is not a folder"),
        (["export", "--config", "RUN", "--data", "DATA"], "there is no checkpoint"),
    ],
)
def test_errors_are_one_clear_line_and_status_two(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """No traceback: what, where, and the way out."""
    config = tmp_path / "small.toml"
    config.write_text(as_toml(small_config(tmp_path)))
    places = {"RUN": str(config), "DATA": str(data)}

    status = main([places.get(argument, argument) for argument in arguments])

    assert status == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where the bundles' folder should be: one line with its name, status 2, no traceback."""
    (tmp_path / "bundles").write_text("not a folder")
    config = tmp_path / "small.toml"
    config.write_text(as_toml(small_config(tmp_path)))

    status = main(["--config", str(config), "--data", str(data), "--quiet"])

    assert status == 2
    assert str(tmp_path / "bundles") in capsys.readouterr().err


def test_evaluating_on_other_data_is_refused(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bundle's rows mean its own users and items; data with others cannot be scored by it."""
    path = run(small_config(tmp_path), data, quiet=True)
    other = write_data(tmp_path / "other", users=50)

    status = main(["evaluate", str(path), "--data", str(other), "--quiet"])

    assert status == 2
    assert "are not the bundle's (50 and" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on_and_the_resumed_bundle_is_the_same(tmp_path: Path, data: Path) -> None:
    """A real process interrupted while fitting exits 130; --resume ends in the bundle an unbroken run gives."""
    config = small_config(tmp_path)
    slow = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 400, "patience": 400})})
    file = tmp_path / "small.toml"
    file.write_text(as_toml(slow))
    command = [sys.executable, "-m", "training", "--config", str(file), "--data", str(data), "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not checkpoint_path(slow).exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=True)

    assert process.returncode == 130
    assert "--resume goes on from the last checkpoint" in errors
    assert resumed.stdout.strip() == str(run(slow, data, quiet=True))
