"""A folder of bundles, good ones and bad ones, and services that are pointed at it."""

import json
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

from causalrec.bundle import read_bundle, write_bundle
from causalrec.manifest import Lambda2Range
from causalrec.model import UNDEBIASABLE, ModelConfig
from causalrec.search import Searcher
from service.candidate import Reason
from service.live import Lineup
from service.models import Models
from service.problem_kinds import MEDIA_TYPE, Problem
from tests import damage
from tests.bundles import make_bundle

MODELS = "/v1/models"
USERS = ("ann", "bob", "zoë", "user-07", "user-20")


def bundle(folder: Path, seed: int, **options: Any) -> Path:
    """A bundle of its own in `folder`, which the link there leads to."""
    return write_bundle(make_bundle(seed=seed, **options), folder)


def point(link: Path, at: Path) -> None:
    """The link leads to the bundle from now on."""
    link.unlink()
    link.symlink_to(at.name)


def models(client: TestClient) -> Models:
    """The use cases of the service behind `client`."""
    found: Models = client.app.state.models  # type: ignore[attr-defined] # of the FastAPI application
    return found


def lineup(client: TestClient) -> Lineup:
    """What is in memory there."""
    found: Lineup = client.app.state.live.loaded_lineup  # type: ignore[attr-defined]
    return found


def call(client: TestClient, act: Callable[[], Awaitable[Any]]) -> Any:
    """What `act` returns, on the service's event loop."""
    assert client.portal
    return client.portal.call(act)


def look(client: TestClient) -> None:
    """What the service does every watch_seconds."""
    call(client, models(client).look)


def recommended(client: TestClient, user: str = "ann", **parameters: Any) -> dict[str, Any]:
    """An answer."""
    answer = client.get(f"/v1/users/{user}/recommendations", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def true_list(path: Path, user: str, lambda2: float, k: int = 10) -> list[tuple[str, float]]:
    """The bundle's own exact list, by scoring every item."""
    model = read_bundle(path)
    row = model.users.row(user)
    assert row is not None
    best = Searcher(model.weights, "scan").scan(model.weights.user(row), lambda2, k, model.seen.items(row))
    return [
        (model.items.ids[item], score) for item, score in zip(best.rows.tolist(), best.scores.tolist(), strict=True)
    ]


def is_of(answer: dict[str, Any], path: Path, user: str) -> bool:
    """Whether bundle_id and content are this bundle's."""
    listed = [(item["item_id"], item["score"]) for item in answer["items"]]
    return answer["bundle_id"] == id_of(path) and listed == true_list(path, user, answer["lambda2"])


def id_of(path: Path) -> str:
    """The content id."""
    found: str = json.loads((path / "manifest.json").read_bytes())["content_id"]
    return found


def told(client: TestClient, path: Path) -> dict[str, Any]:
    """What is told of the bundle."""
    (found,) = [each for each in client.get(MODELS).json()["models"] if each["path"] == str(path)]
    return dict(found)


def problem(answer: Response, status: int, kind: str) -> Problem:
    """The problem document that `answer` is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    found = Problem.model_validate(answer.json())
    assert found.type.endswith(f":{kind}")
    return found


def metric(client: TestClient, sample: str) -> float:
    """One sample of /metrics."""
    lines = client.get("/metrics").text.splitlines()
    (found,) = [line for line in lines if line.rpartition(" ")[0] == sample]
    return float(found.rpartition(" ")[2])


def truncated(folder: Path) -> Path:
    """The end of a file is missing."""
    return damaged(bundle(folder, 101), damage.truncate)


def edited(folder: Path) -> Path:
    """A byte is another."""
    return damaged(bundle(folder, 102), damage.edit)


def with_nan(folder: Path) -> Path:
    """Every hash is right, and a weight is no number."""
    return damaged(bundle(folder, 103), damage.put_nan)


def of_another_schema(folder: Path) -> Path:
    """Of a release to come."""
    return damaged(bundle(folder, 104), damage.change_schema)


def of_other_answers(folder: Path) -> Path:
    """Whole, and its golden answers are not what it answers."""
    return damaged(bundle(folder, 105), damage.change_golden)


def damaged(path: Path, how: damage.Damage) -> Path:
    """The bundle, spoilt."""
    how(path)
    return path


def of_few_items(folder: Path) -> Path:
    """Whole, and two of three items that are served are gone."""
    return bundle(folder, 106, items=100)


def of_less_lambda2(folder: Path) -> Path:
    """A good one, that cannot be asked for λ2 above 1."""
    made = make_bundle(seed=4)
    allowed = made.manifest.lambda2.model_copy(update={"maximum": 1.0})
    return write_bundle(replace(made, manifest=made.manifest.model_copy(update={"lambda2": allowed})), folder)


def of_no_dial(folder: Path) -> Path:
    """A good one of a model that cannot be debiased."""
    made, model = make_bundle("additive", seed=4), ModelConfig(name="bpr", dim=8)
    only = Lambda2Range(default=0.0, maximum=0.0, basis=UNDEBIASABLE["bpr"])
    golden = tuple(each for each in made.golden if each.lambda2 == 0)
    manifest = made.manifest.model_copy(update={"lambda2": only, "model": model})
    return write_bundle(replace(made, manifest=manifest, golden=golden), folder)


def gone(folder: Path) -> Path:
    """Removed."""
    path = bundle(folder, 107)
    shutil.rmtree(path)
    return path


BAD: dict[Callable[[Path], Path], Reason] = {
    truncated: "corrupt",
    edited: "corrupt",
    with_nan: "corrupt",
    of_another_schema: "mismatch",
    of_other_answers: "golden",
    of_few_items: "shrunk",
    gone: "missing",
}
