"""`python -m training compare`: one clear line for what cannot be done, the quick comparison, going on after Ctrl-C."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from causalrec.files import try_lock
from tests.worlds import write_data
from training.__main__ import main
from training.compare import command
from training.compare.outcome import cell_path, load
from training.shop import ShopConfig

HEAD = """
name = "small"
seeds = [0]
[search]
trials = 1
[model]
dim = 4
[fit]
epochs = 2
batch_size = 256
device = "cpu"
[evaluate]
k = 10
bootstrap = 100
lambda2 = [0.0, 1.0]
"""
VBPR = '[[models]]\nlabel = "VBPR"\nmodel = {name = "vbpr"}\n'

Asked = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def ask(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> Asked:
    """Writes the file, asks with further options; returns status, stdout and stderr."""

    def asked(text: str, *options: str) -> tuple[int, str, str]:
        (tmp_path / "compare.toml").write_text(text)
        fixed = ["--config", str(tmp_path / "compare.toml"), "--data", str(data), "--out", str(tmp_path / "out")]
        status = main(["compare", *fixed, "--quiet", *options])
        return status, *capsys.readouterr()

    return asked


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (HEAD + '[[models]]\nlabel = "FM"\nmodel = {name = "fm"}', (), "FM: model.name = 'fm': Input should be"),
        (HEAD + '[[models]]\nlabel = "S"\nmodel = {name = "deepstyle"}', (), "error: S: "),
        (HEAD + '[[models]]\nlabel = "D"\nmodel = {name = "dvbpr"}', (), "error: D: "),
        (HEAD + VBPR + "space = {'fit.l2' = {low = 1.0, high = 0.1}}", (), "low = 1.0 must be below high = 0.1"),
        (HEAD + VBPR, ("--models", "BPR"), "--models 'BPR': there is no such model in the comparison; one of ['VBPR']"),
        (HEAD + VBPR, ("--jobs", "0"), "--jobs 0: must be at least 1"),
        (HEAD + VBPR, ("--quick",), "--quick has a configuration and a shop of its own"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_line(
    tmp_path: Path, ask: Asked, text: str, options: tuple[str, ...], message: str
) -> None:
    """On stderr, exit status 2, and nothing is trained."""
    status, out, err = ask(text, *options)

    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (status, out, len(lines)) == (2, "", 1)
    assert message in lines[0]
    assert err.splitlines()[-1] == lines[0]
    assert not (tmp_path / "out" / "cells").exists()
    assert not (tmp_path / "out" / "search").exists()


@pytest.mark.parametrize(("option", "missing"), [("--data", "--config FILE"), ("--config", "--data DIR")])
def test_configuration_and_data_are_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, missing: str
) -> None:
    """One without the other is not enough."""
    status = main(["compare", option, str(tmp_path), "--out", str(tmp_path / "out")])

    assert status == 2
    assert f"error: {missing} is needed; or --quick" in capsys.readouterr().err


def test_two_comparisons_do_not_share_a_folder(tmp_path: Path, ask: Asked) -> None:
    """The second one is refused while the first is at work."""
    (tmp_path / "out").mkdir()
    handle = try_lock(tmp_path / "out" / ".lock")
    assert handle is not None

    status, _, err = ask(HEAD + VBPR)
    os.close(handle)

    assert status == 2
    assert "another comparison is at work there" in err


def test_what_is_not_installed_is_said_before_anything_is_trained(
    tmp_path: Path, ask: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the extra that brings it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    status, _, err = ask(HEAD + VBPR)

    assert status == 2
    assert "a comparison needs optuna and matplotlib: pip install 'causalrec[compare]'" in err
    assert not (tmp_path / "out" / "cells").exists()


def test_the_report_is_printed_by_its_path_and_repeated_without_training(tmp_path: Path, ask: Asked) -> None:
    """--report-only writes it anew of what is there."""
    status, out, _ = ask(HEAD + VBPR)
    cell = cell_path(tmp_path / "out", "VBPR", 0)
    written = cell.stat().st_mtime_ns
    (tmp_path / "out" / "report.md").unlink()

    again = ask(HEAD + VBPR, "--report-only")

    assert (status, out) == (0, f"{tmp_path / 'out' / 'report.md'}\n")
    assert again[:2] == (status, out)
    assert cell.stat().st_mtime_ns == written
    assert f"--config {'compare.toml'} --data DIR" in (tmp_path / "out" / "report.md").read_text()


def test_the_quick_comparison_makes_its_own_shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures and purchases included; nothing is written elsewhere."""
    tiny = ShopConfig(items=40, users=30, clicks_per_user=12, purchases_per_user=4, picture_side=32)
    two = tmp_path / "two.toml"
    two.write_text(HEAD + VBPR + '[[models]]\nlabel = "DVBPR"\nmodel = {name = "dvbpr", pixels = 16}\n')
    monkeypatch.setattr(command, "QUICK_SHOP", tiny)
    monkeypatch.setattr(command, "QUICK", two)
    monkeypatch.chdir(tmp_path)

    status = main(["compare", "--quick", "--out", "out", "--quiet"])

    assert (status, capsys.readouterr().out) == (0, "out/report.md\n")
    assert "purchases:NDCG@10" in load(cell_path(tmp_path / "out", "DVBPR", 0)).test.values[0.0]
    assert "DVBPR" in (tmp_path / "out" / "report.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"out", "two.toml"}


def test_ctrl_c_is_answered_with_how_to_go_on(tmp_path: Path, data: Path) -> None:
    """Status 130, and the same command does the rest."""
    config = tmp_path / "compare.toml"
    config.write_text(HEAD.replace("epochs = 2", "epochs = 20000\npatience = 20000") + VBPR)
    places = ["--config", str(config), "--data", str(data), "--out", str(tmp_path / "out")]

    process = subprocess.Popen(
        [sys.executable, "-m", "training", "compare", *places], stderr=subprocess.PIPE, text=True
    )
    while not list((tmp_path / "out").glob("checkpoints/*.safetensors")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert err.endswith("interrupted; the same command goes on where it was\n")
    assert list((tmp_path / "out").glob("checkpoints/*.safetensors"))
