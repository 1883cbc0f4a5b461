"""The studies run whole on small worlds, and their arithmetic is right."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from causalrec.bundle import write_bundle
from tests.bundles import make_bundle
from tests.training.test_run import small_config
from tests.worlds import write_data
from training.config import as_toml
from training.shop import ShopConfig
from training.studies import figure, forms, shop


def _run(monkeypatch: pytest.MonkeyPatch, main: object, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["study", *map(str, arguments)])
    assert callable(main)
    return int(main())


def test_the_forms_study_reports_every_form_and_treatment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every form × null treatment × ranking has a row, each form's bundle is exported, figures are those of λ2 = 0."""
    data = write_data(tmp_path / "data", ratings=True)
    config = tmp_path / "small.toml"
    config.write_text(as_toml(small_config(tmp_path)))
    out = tmp_path / "report.md"

    status = _run(monkeypatch, forms.main, "--config", config, "--data", data, "--seeds", 0, 1, "--out", out)

    text = out.read_text()
    assert status == 0
    assert {path.name for path in (tmp_path / "bundles").iterdir() if path.is_symlink()} == {
        f"small-{form}-{seed}" for form in ("paper", "authors", "additive", "sum") for seed in (0, 1)
    }
    rows = [
        line.split("|")[1:4]
        for line in text.splitlines()
        if line.startswith(("| paper", "| authors", "| additive", "| sum"))
    ]
    first = [[cell.strip() for cell in row] for row in rows if row[2].strip() in {"λ2=0.0", "popularity"}]
    assert len(first) == 2 * (5 + 5 + 1 + 1)
    assert "Means over 2 seed(s)" in text


def test_the_shop_study_reports_gains_with_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shops are made, every form trained, λ2 chosen on validation purchases, everything written down."""
    small = ShopConfig(items=60, users=40, clicks_per_user=12, purchases_per_user=4, picture_side=32)
    monkeypatch.setattr(
        ShopConfig, "for_studies", lambda seed, pull: small.model_copy(update={"seed": seed, "pull": pull})
    )
    config = small_config(tmp_path, data={"k_core": 0}, images={"source": "images", "cache": tmp_path / "cache"})
    (tmp_path / "shop.toml").write_text(as_toml(config))
    arguments = ("--config", tmp_path / "shop.toml", "--shops", tmp_path / "shops", "--out", tmp_path / "shop.md")

    status = _run(monkeypatch, shop.main, *arguments, "--seeds", 0, 1, "--pulls", 1)

    text = (tmp_path / "shop.md").read_text()
    assert status == 0
    for form in ("paper", "authors", "additive", "sum"):
        assert f"| 1    | {form}" in text
    assert "training.studies.shop" in text


def test_a_study_that_cannot_run_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, status 2, and no report."""
    arguments = ("--config", tmp_path / "none.toml", "--data", tmp_path, "--out", tmp_path / "report.md")

    status = _run(monkeypatch, forms.main, *arguments)

    assert status == 2
    assert "none.toml: cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "report.md").exists()


def test_the_interval_over_seeds_is_students() -> None:
    """Mean ± t(.975, n−1) standard errors, as scipy has it; one seed has no interval."""
    values = [0.1, 0.3, 0.25, 0.2, 0.22]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))

    interval = shop.over_seeds(values)

    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)
    assert shop.over_seeds([0.3]).high == math.inf
    for freedom, quantile in shop.STUDENT_T.items():
        assert quantile == pytest.approx(stats.t.ppf(0.975, freedom), abs=5e-4)


def test_the_figure_frames_what_leaves_and_what_enters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many red frames as green ones, one per item that stands in one list only."""
    bundle = make_bundle("paper")
    path = write_bundle(bundle, tmp_path)
    pictures = tmp_path / "shop" / "images" / "images"
    pictures.mkdir(parents=True)
    for item in bundle.items.ids:
        Image.new("RGB", (8, 8), "white").save(pictures / f"{item}.png")

    status = _run(monkeypatch, figure.main, "--bundle", path, "--shop", tmp_path / "shop", "--out", tmp_path / "a.png")

    assert status == 0
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    counts = {
        colour: int((np.abs(pixels.astype(int) - np.array(rgb)).max(1) <= 8).sum())
        for colour, rgb in (("out", (0xC0, 0x39, 0x2B)), ("in", (0x1E, 0x84, 0x49)))
    }
    frame = 2 * 3 * (figure.TILE + 1) + 2 * 3 * (figure.TILE + 1 - 6)
    changed = (counts["out"] - 15 * 11) / frame
    assert counts["out"] == counts["in"]
    assert changed == pytest.approx(round(changed), abs=0.02)
    assert round(changed) >= 1
