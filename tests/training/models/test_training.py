"""Every model that needs no pictures through the whole recipe, on a small world with categories."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from causalrec.bundle import read_bundle
from tests.training.models.conftest import NAMES
from tests.worlds import write_data
from training.config import RunConfig
from training.models.model import Model
from training.prepare import Prepared, prepare
from training.run import new_model, run, train


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_data(tmp_path_factory.mktemp("data"), users=150, each=16)
    items = pl.read_parquet(folder / "items.parquet")
    numbers = pl.int_range(pl.len())
    category = pl.when(numbers % 4 < 3).then(pl.format("kind {}", numbers % 4))
    items.with_columns(category=category).write_parquet(folder / "items.parquet")
    return folder


def _config(tmp_path: Path, name: str, **fit: Any) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": name,
            "seed": 3,
            "model": {"name": name, "dim": 8},
            "fit": {"epochs": 25, "batch_size": 128, "learning_rate": 0.02, "device": "cpu", "checkpoints": tmp_path}
            | {"checkpoint_seconds": 0}
            | fit,
            "evaluate": {"k": 10, "bootstrap": 100},
            "export": {"out": tmp_path},
        }
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_model_becomes_a_bundle_that_beats_popularity(tmp_path: Path, data: Path, name: str) -> None:
    """It learns, and what is served is what was judged: its form, its name, no no-treatment terms."""
    bundle = read_bundle(run(_config(tmp_path, name), data, quiet=True))

    sweep = {row.lambda2 if row.ranking == "debiased" else row.ranking: row.test for row in bundle.manifest.sweep}
    assert sweep[0.0]["NDCG@10"].mean > 1.2 * sweep["popularity"]["NDCG@10"].mean
    assert (bundle.manifest.model.name, bundle.manifest.form) == (name, "additive")
    assert bundle.manifest.diagnostics.null is None


@pytest.mark.parametrize("name", NAMES)
def test_resuming_gives_what_an_unbroken_run_gives(tmp_path: Path, data: Path, name: str) -> None:
    """Stopped in the third epoch of four and resumed: the same weights to the bit."""
    config = _config(tmp_path, name, epochs=4)
    prepared = prepare(config, data)
    whole = train(config, prepared, quiet=True)
    (tmp_path / f"{name}.checkpoint.safetensors").unlink()

    resumed = _stopped_and_resumed(config, prepared)

    for key, parameter in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], parameter), key


def _stopped_and_resumed(config: RunConfig, prepared: Prepared) -> Model:
    steps, per_epoch = iter(range(10_000)), -(-len(prepared.split.train) // config.fit.batch_size)
    kind = type(new_model(config, prepared))
    loss = kind.loss

    def stopping(*arguments: Any) -> Any:
        if next(steps) == 2 * per_epoch + 1:
            raise KeyboardInterrupt
        return loss(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "loss", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(config, prepared, quiet=True)
    return train(config, prepared, resume=True, quiet=True)
