"""Every model, a few epochs old, behind HTTP; and the lists that its arrays give by the evaluator's own formulas."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, get_args

import numpy as np
import polars as pl
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from causalrec import equations
from causalrec.equations import Form
from causalrec.model import UNDEBIASABLE, ModelConfig, Name
from causalrec.weights import UserVectors, Weights
from service.app import create_app
from service.settings import Settings
from tests.training.test_run import small_config
from tests.worlds import write_data
from training.config import RunConfig
from training.export import export, served_weights
from training.prepare import prepare
from training.run import sweep, train

Labels = dict[str, ModelConfig]
LAMBDA2 = (0.0, 0.5, 1.0, 1.2, 2.0)
USERS = ("user-000", "user-017", "user-059")
FORMS: Labels = {f"causalrec {form}": ModelConfig(form=form, dim=8) for form in get_args(Form)}
OTHERS: Labels = {name: ModelConfig(name=name, dim=8, pixels=16) for name in get_args(Name) if name != "causalrec"}
EVERY = {**FORMS, **OTHERS}
DEBIASABLE = [label for label, config in EVERY.items() if config.undebiasable is None]
Ranking = list[tuple[str, float]]


class Served(NamedTuple):
    """A model behind HTTP, and its arrays as the trainer has them."""

    config: RunConfig
    path: Path
    weights: Weights
    items: list[str]
    seen: dict[str, set[str]]
    client: TestClient

    def true_list(self, user: UserVectors, lambda2: float, k: int, without: set[str]) -> Ranking:
        """The evaluator's ranking, its terms and score in float64; equal scores to 12 decimals by id."""
        items = self.weights.items.double()
        terms = equations.grid_terms(user.gamma.double()[None], user.theta.double()[None], items)
        scores = equations.score(self.weights.form, terms, user.null.double(), lambda2)[0].tolist()
        ranked = zip(self.items, scores, strict=True)
        return sorted((pair for pair in ranked if pair[0] not in without), key=lambda p: (-round(p[1], 12), p[0]))[:k]

    def features(self, data: Path) -> torch.Tensor:
        """The raw ones of the model's items, in its order."""
        every = [f"item-{row:03d}" for row in range(80)]
        return torch.from_numpy(np.load(data / "features.npy")[[every.index(item) for item in self.items]])

    def known(self, user: str) -> UserVectors:
        """The user as trained."""
        return self.weights.user(list(self.seen).index(user))


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interactions, purchases, features, categories (some items have none) and pictures of 16 pixels."""
    folder = write_data(tmp_path_factory.mktemp("data"), purchases=True)
    items = pl.read_parquet(folder / "items.parquet")
    kinds = [("coat", "hat", None)[row % 3] for row in range(len(items))]
    items.with_columns(category=pl.Series(kinds)).write_parquet(folder / "items.parquet")
    (folder / "images").mkdir()
    pixels = np.random.default_rng(3).integers(0, 256, (len(items), 16, 16, 3), dtype=np.uint8)
    for item, picture in zip(items["item_id"], pixels, strict=True):
        Image.fromarray(picture).save(folder / "images" / f"{item}.png")
    return folder


@pytest.fixture(scope="session")
def served(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """Each model, a few epochs old, in a service of its own."""
    folder = tmp_path_factory.mktemp("run")
    with ExitStack() as stack:
        yield {label: _served(stack, data, folder / label, model) for label, model in EVERY.items()}


def _served(stack: ExitStack, data: Path, folder: Path, model: ModelConfig) -> Served:
    plain = small_config(folder, model=model.model_dump())
    fit = plain.fit.model_copy(update={"epochs": 4, "learning_rate": 0.03, "validate_every": 4})
    config = plain.model_copy(update={"fit": fit})
    prepared = prepare(config, data)
    trained = train(config, prepared, quiet=True)
    weights = served_weights(config, prepared, trained)
    path = export(config, prepared, trained, *sweep(config, prepared, weights, quiet=True), quiet=True)
    state = Path(stack.enter_context(TemporaryDirectory(prefix="cr-")))
    client = stack.enter_context(TestClient(create_app(Settings(bundle=path, data_dir=state))))
    items = list(prepared.dataset.items.ids)
    seen = {
        user: {items[item] for item in prepared.seen.items(row)} for row, user in enumerate(prepared.dataset.users.ids)
    }
    return Served(config, path, weights, items, seen, client)


@pytest.fixture(params=UNDEBIASABLE)
def undebiasable(request: pytest.FixtureRequest, served: dict[str, Served]) -> Served:
    found: Served = served[request.param]
    return found


def ask(client: TestClient, user: str, **parameters: Any) -> Any:
    return client.get(f"/v1/users/{user}/recommendations", params=parameters)


def listed(answer: dict[str, Any]) -> Ranking:
    return [(item["item_id"], item["score"]) for item in answer["items"]]


def same(found: Ranking, expected: Ranking) -> bool:
    """The same ids in the same order, scores to the 12 decimals that are shown."""
    away = [abs(mine - true) for (_, mine), (_, true) in zip(found, expected, strict=True)]
    return [item for item, _ in found] == [item for item, _ in expected] and max(away) < 2e-12
