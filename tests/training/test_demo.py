"""`make demo`, as a user runs it."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from causalrec.bundle import read_bundle
from training.demo import only_bundle, shop_run
from training.shop import ShopConfig


@pytest.mark.timeout(300)
def test_the_demo_ends_with_an_explanation(tmp_path: Path) -> None:
    """Shop, training, bundle, service, both lists, what moved and why, the truth; exit 0, and nothing left running."""
    command = [sys.executable, "-m", "training.demo", "--once", "--port", "0", "--folder", str(tmp_path)]

    demo = subprocess.run(command, capture_output=True, text=True, check=False)

    assert demo.returncode == 0, demo.stderr
    found = re.search(
        r"true taste for their ten is ([+-][\d.]+) at λ2 = 0\nand ([+-][\d.]+) at the default", demo.stdout
    )
    assert found
    assert float(found[2]) > float(found[1]) > 0.3
    assert len(re.findall(r"^\| \d+ ", demo.stdout, re.MULTILINE)) == 10
    assert "out:" in demo.stdout
    assert "in:" in demo.stdout
    bundle = read_bundle(tmp_path / "bundles" / "shop")
    assert bundle.manifest.lambda2.basis == "purchases"
    assert bundle.manifest.diagnostics.warnings() == []
    port = int(re.findall(r"127\.0\.0\.1:(\d+)", demo.stdout)[0])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_named_with_the_way_out(tmp_path: Path) -> None:
    """Before any work is done, not after two minutes of training."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        command = [sys.executable, "-m", "training.demo", "--port", str(port), "--folder", str(tmp_path)]

        demo = subprocess.run(command, capture_output=True, text=True, check=False)

    assert demo.returncode == 2
    assert f"port {port} is taken" in demo.stderr
    assert "make demo PORT=" in demo.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_is_there_is_left_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A container's second start makes nothing, another run makes another bundle, and all is below the two folders."""
    shop, config = ShopConfig(seed=7, items=60, users=80, picture_side=32), shop_run()
    short = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 2})})
    longer = config.model_copy(update={"fit": config.fit.model_copy(update={"epochs": 3})})
    folder, bundles = tmp_path / "folder", tmp_path / "bundles"

    first = only_bundle(shop, short, folder, bundles)
    written = first.stat().st_mtime_ns
    again = only_bundle(ShopConfig(seed=8), short, folder, bundles)
    other = only_bundle(shop, longer, folder, bundles)

    assert again == first
    assert first.stat().st_mtime_ns == written
    assert "is there already" in capsys.readouterr().out
    assert other != first
    assert (bundles / "shop").resolve() == other
    assert {path.name for path in folder.iterdir()} == {"shop", "features", "runs"}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """As when a container's volume belongs to somebody else: no traceback."""
    (tmp_path / "file").write_text("in the way")
    command = [sys.executable, "-m", "training.demo", "--only-bundle", "--folder", str(tmp_path / "file")]

    demo = subprocess.run(command, capture_output=True, text=True, check=False)

    assert demo.returncode == 2
    assert demo.stderr.startswith("error: ")
    assert "file/" in demo.stderr
