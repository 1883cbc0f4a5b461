"""`python -m training simulate-experiment` and `make demo-experiment` against a real service, over HTTP."""

import itertools
import json
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest

from causalrec.errors import ConfigError, DataError
from training.__main__ import main
from training.config import RunConfig
from training.demo import free_port, serving
from training.experiment_demo import demo, demo_config, trained
from training.experiments.client import Client
from training.experiments.simulation import Wishes, body, simulate
from training.experiments.traffic import Answer, Event
from training.experiments.truth import Truth, of_bundle, of_service
from training.shop import Shop, ShopConfig, make_shop

pytestmark = pytest.mark.timeout(300)

CONFIG = ShopConfig(seed=7, items=60, users=80, clicks_per_user=10, purchases_per_user=4, picture_side=32)


class World(NamedTuple):
    """A shop, the folder with its files and its bundle, a service on it, and the truth as it told it at the start."""

    shop: Shop
    folder: Path
    bundle: Path
    url: str
    asked: Truth

    def run(self, *arguments: str) -> int:
        """The command line; the truth from the bundle."""
        shop, bundle = str(self.folder / "shop"), str(self.bundle)
        fixed = ["--shop", shop, "--bundle", bundle, "--out", str(self.folder / "out"), "--concurrency", "2"]
        return main(["simulate-experiment", "--url", self.url, *fixed, *arguments])


def short() -> RunConfig:
    config = demo_config()
    return config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 2})})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a shop and its bundle, made once."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def world(folder: Path) -> Iterator[World]:
    """A service with an empty memory."""
    shop = make_shop(CONFIG)
    bundle = trained(folder, shop, short())
    with TemporaryDirectory(prefix="cr-") as state, serving(bundle, free_port(0), "--data-dir", state) as (_, url):
        with Client(url) as client:
            asked = of_service(shop, client, 10, 0.0, 0.3, np.array([0.33]), 2)
        yield World(shop, folder, bundle, url, asked)


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    """Of the service."""
    with Client(world.url) as client:
        yield client
        for each in client.experiments():
            if each["state"] == "running":
                client.stop(each["key"], "the test is over")


def test_an_experiment_is_made_visited_and_reported(
    world: World, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every visit counts once in the service's own report, which is told beside the truth and saved."""
    assert world.run("--lambda2", "0", "1", "--visits", "240", "--before", "100", "--at-once", "8") == 0

    told = capsys.readouterr().out
    report = json.loads((world.folder / "out/report.json").read_text())
    assert report["units"] == 80
    assert told.startswith(f"{report['key']} (version 1, split, running)")
    assert "What only a simulated shop can know" in told
    assert "of those tried, from 0 to 1" in told
    assert (world.folder / "out/report.html").read_text().lower().startswith("<!doctype html>")
    assert client.experiment(report["key"])["state"] == "running"


def test_the_service_counts_what_the_visitors_did(world: World, client: Client) -> None:
    """Its clicks and purchases per variant are those that the visits brought, to the last one."""
    found = simulate(client, world.shop, Wishes(lambda2=(0.0, 1.0), visits=200, threads=2, bundle=world.bundle))

    rates = {(each["variant"], each["metric"]): each for each in found.report["variants"]}
    assert found.totals.inside == 200
    for name, sums in found.totals.sums.items():
        users = len(found.totals.users[name])
        per_user = rates[name, "purchases_per_user"]
        assert per_user["units"] == users
        assert per_user["estimate"]["value"] == pytest.approx(sums.purchases / users)
        assert rates[name, "click_through"]["estimate"]["value"] == pytest.approx(sums.clicks / sums.visits)


def test_visits_may_be_for_an_experiment_that_runs(world: World, client: Client) -> None:
    """With --key the visits are its own; one that does not run or is not there is refused before any visit."""
    client.create(body("mine", "split", (0.0, 1.0), 80))
    wishes = Wishes(key="mine", visits=40, threads=2, bundle=world.bundle)
    with pytest.raises(ConfigError, match=r"--key mine: the experiment is draft.*/v1/experiments/mine/start"):
        simulate(client, world.shop, wishes)
    with pytest.raises(ConfigError, match=r"--key none: .*none.*without --key one is made"):
        simulate(client, world.shop, wishes._replace(key="none"))

    client.start("mine")

    assert simulate(client, world.shop, wishes).totals.inside == 40


@pytest.mark.parametrize(("kind", "lambda2"), [("interleaving", "0 1"), ("random", "0 1.5"), ("tuned", "0 0.5 1")])
def test_every_kind_of_experiment_can_be_visited(
    world: World, client: Client, capsys: pytest.CaptureFixture[str], kind: str, lambda2: str
) -> None:
    """Two λ2 in one list, λ2 drawn per user, weights that move: each is visited, reported and put beside the truth."""
    assert world.run("--kind", kind, "--lambda2", *lambda2.split(), "--visits", "80") == 0

    told = capsys.readouterr().out
    assert f"(version 1, {kind}, running)" in told
    assert "The true best λ2 is" in told


def test_the_truth_is_the_same_from_bundle_and_service(world: World, client: Client) -> None:
    """A service that knows nothing of anybody answers what the bundle says, at every λ2 that was tried."""
    read = of_bundle(world.shop, world.bundle, client.bundle_id(), 10, np.array([0.33]))

    assert world.asked.curve.lambda2.tolist() == [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.33]
    for lambda2 in world.asked.curve.lambda2.tolist():
        assert world.asked.at(lambda2) == pytest.approx(read.at(lambda2), abs=1e-12)
    assert read.curve.lambda2[-1] == 3.0
    with pytest.raises(DataError, match=r"and the service answers from else; name that one"):
        of_bundle(world.shop, world.bundle, "else", 10, np.array([]))


def test_an_interrupted_simulation_tells_what_was_reached_and_goes_on(
    world: World, client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C: the report of what was there, exit status 130, and the options with which the rest of the visits come."""
    with monkeypatch.context() as patch:
        patch.setattr(Client, "tell", interrupting(Client.tell, after=5))
        assert world.run("--visits", "160", "--at-once", "8") == 130
    told = capsys.readouterr().out
    key, first = re.findall(r"interrupted; with --key (\S+) --from (\d+) the same command goes on$", told.strip())[0]
    assert f"{key} (version 1, split, running)" in told
    assert 0 < int(first) < 80
    assert 0 < client.report(key)["units"] < 80

    asked: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Client, "ask", noting(Client.ask, asked))
        assert world.run("--visits", "160", "--at-once", "8", "--key", key, "--from", first) == 0

    assert len(asked) == 160 - int(first)
    assert client.report(key)["units"] == 80


def noting(ask: Callable[[Client, Sequence[str], int], list[Answer]], asked: list[str]) -> Callable[..., list[Answer]]:
    def noted(self: Client, user_ids: Sequence[str], k: int) -> list[Answer]:
        asked.extend(user_ids)
        return ask(self, user_ids, k)

    return noted


def interrupting(tell: Callable[[Client, Sequence[Event]], None], after: int) -> Callable[..., None]:
    calls = itertools.count()

    def told(self: Client, events: Sequence[Event]) -> None:
        if next(calls) == after:
            raise KeyboardInterrupt
        tell(self, events)

    return told


def test_what_cannot_be_done_is_said_in_one_line(
    world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No service, no such shop, another shop, options that go badly together: exit status 2, and the way out."""
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"seed": 8, "items": 100, "users": 90, "picture_side": 32}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"

    for arguments, message in (
        (["--url", nobody], r"no service answers at"),
        (["--url", "nowhere:x"], "is no address"),
        (["--shop", "nothing"], "--shop nothing: cannot be read"),
        (["--shop", str(other)], "was trained on other users or items"),
        (["--visits", "0"], "--visits 0: must be at least 1"),
        (["--concurrency", "0"], "--concurrency 0: must be at least 1"),
        (["--kind", "interleaving"], "--lambda2 0 0.4 0.8 1.2 1.6: interleaving needs two values"),
        (["--lambda2", "0", "7"], "variants.1.lambda2"),
        (["--from", "5"], "--from 5 goes on with an experiment: name it with --key"),
        (["--key", "mine", "--before", "5"], "--before 5: mine runs already"),
        (["--bundle", str(tmp_path)], "manifest.json"),
    ):
        assert world.run(*arguments) == 2, arguments
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        assert message in error


def test_the_demo_goes_from_shop_to_stop(folder: Path, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Shop, bundle (the one that is there: nothing is trained again), experiment, report, truth, stop."""
    made = world.bundle.stat().st_mtime_ns

    demo(folder, 0, CONFIG, short(), Wishes(visits=160, at_once=32, threads=2), once=True)

    told = capsys.readouterr().out
    assert (folder / "bundles" / "shop").resolve().stat().st_mtime_ns == made
    assert [each.name for each in (folder / "bundles").iterdir() if not each.is_symlink()] == [world.bundle.name]
    assert "λ2 = 0, 0.4, 0.8, 1.2, 1.6; 160 visits over HTTP" in told
    assert "sample ratio: passes" in told
    assert "best λ2 by purchases per user" in told
    assert "nobody's answer is in the experiment" in told
    assert (folder / "report.html").is_file()
