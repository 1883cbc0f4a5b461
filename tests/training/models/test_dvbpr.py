"""DVBPR: against plain loops, on a world whose pictures tell the taste, from training to a bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from causalrec.bundle import read_bundle
from causalrec.equations import grid_terms
from causalrec.errors import DataError
from causalrec.model import ModelConfig
from causalrec.visual import Scaling
from training.__main__ import main
from training.config import FitConfig, RunConfig, as_toml
from training.models import dvbpr
from training.models.dvbpr import DVBPR
from training.models.model import Triples
from training.prepare import prepare
from training.run import identity, new_model, run, train

CONFIG = ModelConfig(name="dvbpr", form="additive", dim=3, pixels=16)
TRIPLES = [(0, 1, 2), (3, 1, 4), (0, 4, 1), (2, 3, 0), (0, 1, 2)]
FIT = FitConfig(l2=0.03, l2_visual=0.002)
Floats = NDArray[np.float64]


def untrained(seed: int = 0) -> DVBPR:
    """Four users, six noisy pictures."""
    generator = torch.Generator().manual_seed(99)
    pictures = torch.randint(0, 256, (6, 3, 16, 16), generator=generator, dtype=torch.uint8)
    return DVBPR(CONFIG, 4, torch.randn(6, 5, generator=generator), pictures, torch.Generator().manual_seed(seed))


def batch() -> Triples:
    return Triples(*(torch.tensor(rows) for rows in zip(*TRIPLES, strict=True)))


def plain_e(model: DVBPR, row: int) -> Floats:
    """Φ of one picture by loops over output positions, in float64."""
    x = (model.pictures[row].double().numpy() - 127.5) / 64
    network = model.network
    layers = zip((4, 2, 2), network.convolutions, network.gains, network.shifts, strict=True)
    for stride, weight, gain, shift in layers:
        kernel = weight.detach().double().numpy()
        size = kernel.shape[-1]
        padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
        places = range(0, x.shape[1], stride)
        out = np.empty((len(kernel), len(places), len(places)))
        for a, i in enumerate(places):
            for b, j in enumerate(places):
                out[:, a, b] = (kernel * padded[:, i : i + size, j : j + size]).sum((1, 2, 3))
        for group in np.split(np.arange(len(out)), 8):
            out[group] = (out[group] - out[group].mean()) / np.sqrt(out[group].var() + 1e-5)
        x = np.maximum(0, out * gain.detach().double().numpy()[:, None, None] + shift.detach().numpy()[:, None, None])
    found: Floats = network.last.detach().double().numpy() @ x.ravel() / x.size**0.5
    return found


def plain_loss(model: DVBPR) -> float:
    theta = model.theta_u.detach().double().numpy()
    e = np.stack([plain_e(model, row) for row in range(6)])
    total = sum(np.log1p(np.exp(theta[u] @ (e[j] - e[i]))) + FIT.l2 * theta[u] @ theta[u] for u, i, j in TRIPLES)
    weights = sum(float(part.detach().double().square().sum()) for part in model.network.parameters())
    return float(total) / len(TRIPLES) + FIT.l2_visual * weights


def test_a_score_is_the_users_taste_for_what_the_network_sees() -> None:
    """y = θᵤ·Φ(picture) by plain loops, up to a constant per user; nothing of it is match."""
    model = untrained()
    weights = model.weights(torch.ones(6), "mean", "zero")

    a, b, n = grid_terms(weights.gamma_u, weights.theta_u, weights.items)

    expected = model.theta_u.detach().double().numpy() @ np.stack([plain_e(model, row) for row in range(6)]).T
    np.testing.assert_allclose(n - n[:, :1], expected - expected[:, :1], atol=1e-5)
    assert not a.any()
    assert not b.any()
    assert weights.form == "additive"


def test_the_loss_and_its_gradient_are_those_of_plain_loops() -> None:
    """BPR, l2 on θ, l2_visual on the network; central differences in two numbers of every parameter."""
    model = untrained().double()
    rng = np.random.default_rng(0)

    loss = model.loss(batch(), FIT)
    loss.backward()  # type: ignore[no-untyped-call]

    assert float(loss.detach()) == pytest.approx(plain_loss(model), rel=1e-9)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.any()), name
        for place in rng.choice(parameter.numel(), 2, replace=False):
            slope = 0.0
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter.view(-1)[place] += step
                    slope += plain_loss(model) / (2 * step)
                    parameter.view(-1)[place] -= step
            assert float(parameter.grad.view(-1)[place]) == pytest.approx(slope, rel=1e-4, abs=1e-8), name


def test_the_network_sees_each_picture_of_a_batch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often an item is in the batch; items outside it are not looked at."""
    model = untrained()
    seen: list[int] = []
    forward = model.network.forward

    def counted(pictures: Tensor) -> Tensor:
        seen.append(len(pictures))
        return forward(pictures)

    monkeypatch.setattr(model.network, "forward", counted)

    model.loss(batch(), FIT)

    assert sum(seen) == len({item for _, *pair in TRIPLES for item in pair})


def test_what_is_seen_in_a_picture_does_not_depend_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of two, one or all at once: the same e."""
    model = untrained()
    together = model.embed(torch.arange(6))

    monkeypatch.setattr(dvbpr, "AT_A_TIME", 2)

    torch.testing.assert_close(model.embed(torch.arange(6)), together, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.embed(torch.tensor([4])), together[4:5], atol=1e-5, rtol=1e-5)


def test_the_seed_alone_decides_the_initial_weights() -> None:
    """PyTorch's own generator has no part in it; another seed draws others."""
    torch.manual_seed(1)
    first = untrained(5).state_dict()
    torch.manual_seed(2)
    again, other = untrained(5).state_dict(), untrained(6).state_dict()

    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert not torch.equal(other["theta_u"], first["theta_u"])
    assert not torch.equal(other["network.last"], first["network.last"])
    assert not {"pictures", "features"} & first.keys()  # a checkpoint holds what is trained


RED, BLUE = (200, 40, 40), (40, 40, 200)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty users who like red things and twenty who like blue ones; features.npy tells colours roughly."""
    folder = tmp_path_factory.mktemp("colours")
    rng = np.random.default_rng(1)
    (folder / "images").mkdir()
    items = [f"item-{n:02d}" for n in range(60)]
    for n, item in enumerate(items):
        noise = rng.normal(0, 30, (20, 24, 3))
        pixels = np.clip(np.array(RED if n % 2 else BLUE) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{item}.png")
    chosen = [(f"user-{u:02d}", items[2 * n + u % 2]) for u in range(40) for n in rng.choice(30, 12, replace=False)]
    pl.DataFrame(chosen, schema=["user_id", "item_id"], orient="row").write_parquet(folder / "interactions.parquet")
    pl.DataFrame({"item_id": items}).write_parquet(folder / "items.parquet")
    colour = np.arange(60) % 2
    np.save(folder / "features.npy", (colour[:, None] + rng.normal(0, 0.2, (60, 12))).astype(np.float32))
    return folder


def settings(tmp_path: Path, **changes: Any) -> RunConfig:
    fit = {"epochs": 4, "batch_size": 64, "learning_rate": 0.01, "checkpoints": tmp_path, "checkpoint_seconds": 0}
    return RunConfig.model_validate(
        {
            "name": "colours",
            "data": {"k_core": 2},
            "model": {"name": "dvbpr", "dim": 4, "pixels": 16},
            "fit": {**fit, "device": "cpu"},
            "evaluate": {"k": 10, "bootstrap": 100},
            "export": {"out": tmp_path / "bundles"},
        }
        | changes
    )


def test_a_taste_for_colours_is_learned_from_pixels(tmp_path: Path, world: Path) -> None:
    """Of two new pictures nobody trained on, red and blue, users prefer their own colour."""
    config = settings(tmp_path)
    model = train(config, prepare(config, world), quiet=True)
    assert isinstance(model, DVBPR)
    flat = torch.tensor([RED, BLUE], dtype=torch.uint8)[:, :, None, None].expand(2, 3, 16, 16)

    red, blue = (model.theta_u @ model.network(flat).T).T.detach()

    likes_red = torch.arange(40) % 2 == 1
    assert float(((red > blue) == likes_red).float().mean()) > 0.9


def test_resuming_gives_what_an_unbroken_run_gives(
    tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the third epoch and resumed: the same weights to the bit."""
    config = settings(tmp_path)
    prepared = prepare(config, world)
    unbroken = train(config, prepared, quiet=True).state_dict()
    whole_loss, calls = DVBPR.loss, 0

    def stops(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 10:
            raise KeyboardInterrupt
        return whole_loss(*arguments)

    monkeypatch.setattr(DVBPR, "loss", stops)
    with pytest.raises(KeyboardInterrupt):
        train(config, prepared, quiet=True)
    resumed = train(config, prepared, resume=True, quiet=True).state_dict()

    assert all(torch.equal(resumed[name], value) for name, value in unbroken.items())
    assert calls > 10


def test_a_run_becomes_a_bundle(tmp_path: Path, world: Path) -> None:
    """γ = 0, and e of a picture it never saw comes near what the network would say of it."""
    config = settings(tmp_path)

    bundle = read_bundle(run(config, world, quiet=True))

    assert bundle.manifest.model.name == "dvbpr"
    assert not bundle.weights.gamma_u.any()
    assert not bundle.weights.gamma_i.any()
    placed, _, _ = bundle.visual.place(torch.from_numpy(np.load(world / "features.npy")))
    e = bundle.weights.e
    assert float((placed - e).square().sum() / e.square().sum()) < 0.5


def test_new_pictures_are_placed_at_the_same_origin() -> None:
    """e served and Eᵀf are both centred, so that placed items compete with trained ones on equal terms."""
    model = untrained()
    scaling = Scaling(torch.zeros(5), torch.ones(5))

    visual = model.visual("backbone", scaling)

    assert visual.E.shape == (5, 3)
    torch.testing.assert_close(model.served_e().mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    assert visual.visual_bias is None


def test_another_picture_is_another_run(tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is not gone on from with other pictures, though features.npy is the same; other models may."""
    config = settings(tmp_path)
    prepared = prepare(config, world)
    other = settings(tmp_path, model={"name": "bpr"})
    before, before_other = identity(config, prepared), identity(other, prepared)

    picture = world / "images" / "item-00.png"
    content = picture.read_bytes()
    picture.write_bytes(content + b"\0")
    try:
        after, after_other = identity(config, prepared), identity(other, prepared)
    finally:
        picture.write_bytes(content)

    assert after != before
    assert after_other == before_other


def test_without_pictures_there_is_nothing_to_train_on(
    tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One clear line and exit status 2."""
    for name in ("interactions.parquet", "items.parquet", "features.npy"):
        (tmp_path / name).write_bytes((world / name).read_bytes())
    (tmp_path / "run.toml").write_text(as_toml(settings(tmp_path)))

    status = main(["--config", str(tmp_path / "run.toml"), "--data", str(tmp_path), "--quiet"])

    said = capsys.readouterr().err.strip()
    assert status == 2
    assert said.startswith('error: model.name = "dvbpr" needs pictures: the data directory has no images/')
    assert "\n" not in said


def test_unusable_pictures_are_named(tmp_path: Path, world: Path) -> None:
    """One that is absent and one that is damaged; the message says what to do."""
    for file in ("interactions.parquet", "items.parquet", "features.npy"):
        (tmp_path / file).write_bytes((world / file).read_bytes())
    (tmp_path / "images").mkdir()
    for picture in sorted((world / "images").iterdir())[1:]:
        (tmp_path / "images" / picture.name).write_bytes(picture.read_bytes())
    (tmp_path / "images" / "item-07.png").write_bytes(b"no picture")
    config = settings(tmp_path)
    prepared = prepare(config, tmp_path)

    with pytest.raises(DataError, match=r"(?s)2 of 60 items.*item-00\.jpg.*item-07\.png.*--skip-bad"):
        new_model(config, prepared)
