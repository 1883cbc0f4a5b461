"""The report: Markdown, JSON and figures of a small world."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from causalrec.errors import InstallationError
from tests.training.compare.outcomes import about, dialled, flat, noise, outcome
from training.compare.about import Planned, Searched
from training.compare.figures import draw
from training.compare.findings import find
from training.compare.outcome import Outcome, load, save
from training.compare.report import markdown, write
from training.compare.schema import Comparison

PLANS = about(
    Planned("BPR"),
    Planned("VBPR"),
    Planned("AMR"),
    Planned("CausalRec M", False, "multiplication", False),
    Planned("CausalRec MML", False, "multiplication", True),
    statistics={"users": 200, "items": 40},
    settings={"data.split": "ratio"},
)
TRIALS = [Searched("VBPR", 11, 1, 60.0, 0.21, 0.19, {"fit.l2": 0.0123456}, {"fit.l2": "0.0001 to 0.1, log"})]


def _cells() -> list[Outcome]:
    """AMR is not there at all, CausalRec MML under one seed only."""
    found = [flat("BPR", seed, 0.0, undebiasable="looks at no picture") for seed in (0, 1)]
    found += [dialled("VBPR", seed, 0.02, -0.01, 0.03) for seed in (0, 1)]
    found += [dialled("CausalRec M", seed, 0.04, -0.01, 0.03) for seed in (0, 1)]
    return [*found, dialled("CausalRec MML", 0, 0.05, -0.01, 0.03)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the report of those cells was written."""
    return write(_cells(), TRIALS, PLANS, tmp_path_factory.mktemp("out")).parent


@pytest.fixture
def text(folder: Path) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


def _rounded(content: str) -> Any:
    """Where an array lies in memory decides the last bit of its sums."""
    return json.loads(content, parse_float=lambda digits: round(float(digits), 9))


def test_the_json_reads_back_to_what_the_report_says(folder: Path, text: str) -> None:
    """comparison.json holds every figure, and alone gives the same Markdown again."""
    content = (folder / "comparison.json").read_text(encoding="utf-8")

    read = Comparison.model_validate_json(content)

    assert _rounded(content) == _rounded(find(_cells(), TRIALS, PLANS).model_dump_json())
    assert read.model_dump_json(indent=1) + "\n" == content
    assert markdown(read, draw(read)) == text


def test_cells_from_disk_give_the_same_report(tmp_path: Path) -> None:
    """Nothing the report needs is lost in the cells' files."""
    cells = _cells()
    paths = [tmp_path / f"{place}.safetensors" for place in range(len(cells))]
    for cell, path in zip(cells, paths, strict=True):
        save(cell, path)

    again = find([load(path) for path in paths], TRIALS, PLANS)

    assert _rounded(again.model_dump_json()) == _rounded(find(cells, TRIALS, PLANS).model_dump_json())


def test_the_report_links_what_it_wrote_and_nothing_of_the_machine(folder: Path, text: str) -> None:
    """Every link is relative and leads to a picture; no path of this machine is in it."""
    links = re.findall(r"\]\(([^)]+)\)", text)

    sizes = [Image.open(io.BytesIO((folder / link).read_bytes())).size for link in links]
    assert links == [f"figures/{name}.png" for name in ("debiasing", "fusion", "sensitivity", "tradeoff")]
    assert all(width > 200 for width, _ in sizes)
    assert str(folder) not in text + (folder / "comparison.json").read_text(encoding="utf-8")


def test_missing_cells_are_said_in_the_tables(text: str) -> None:
    """A model without cells has a row that says so, one with fewer seeds says how many."""
    assert re.search(r"^\| AMR +\| missing +\| — ", text, re.MULTILINE)
    assert re.search(r"^\| CausalRec MML \(1 of 2 seeds\) +\| with CI ", text, re.MULTILINE)
    assert "Not there, and left out of every figure: AMR seed 0, AMR seed 1 and CausalRec MML seed 1." in text


def test_the_tables_hold_the_figures(text: str) -> None:
    """Accuracy, coverage (10 of 40 items), λ2 with its basis, seconds, settings, and why BPR has no dial."""
    mean = float((noise(0).mean() + noise(1).mean()) / 2 + 0.02)

    both = rf"{mean / 2:.4f} \[[^|]+\| {mean:.4f} \["
    assert re.search(rf"^\| VBPR +\| without CI \| {both}", text, re.MULTILINE)
    assert re.search(r"^\| VBPR +\| with CI +\| 25.0% +\| 0.3000 \[.3000, .3000\] \| 0.7000 ", text, re.MULTILINE)
    assert re.search(r"^\| VBPR +\| 1 1 +\| ratings +\| 0.500 ", text, re.MULTILINE)
    assert re.search(r"^\| BPR +\| — +\| looks at no picture ", text, re.MULTILINE)
    assert re.search(r"^\| VBPR +\| 512 +\| 4 +\| 3 +\| 2.00 +\| 8 ", text, re.MULTILINE)
    assert re.search(r"^\| VBPR +\| 11 \(\+1 cut short\) \| 60 .* fit.l2 = 0.01235 ", text, re.MULTILINE)


def test_a_comparison_of_nothing_says_so(tmp_path: Path) -> None:
    """No cell: every one is missing, and there is neither table nor figure."""
    empty = write([], [], PLANS, tmp_path).read_text(encoding="utf-8")

    assert "left out of every figure: BPR seed 0" in empty
    assert "](figures/" not in empty


def test_figures_are_drawn_only_of_what_is_there() -> None:
    """Clicks alone have nothing to be traded for; a model without a dial has no curve."""
    flat_one = outcome("BPR", 0, {0.0: {"NDCG@10": noise(0)}})
    dial = outcome("VBPR", 0, {at: {"NDCG@10": noise(0)} for at in (0.0, 1.0)})

    assert [figure.name for figure in draw(find([flat_one], [], PLANS))] == ["debiasing.png"]
    assert [figure.name for figure in draw(find([dial], [], PLANS))] == ["debiasing.png", "sensitivity.png"]


def test_the_same_comparison_draws_the_same_bytes(folder: Path) -> None:
    """A report made again is the same file: nothing of the day or the program is in it."""
    again = draw(Comparison.model_validate_json((folder / "comparison.json").read_bytes()))

    assert [figure.png for figure in again] == [(folder / "figures" / figure.name).read_bytes() for figure in again]
    assert all(Image.open(io.BytesIO(figure.png)).info.keys() <= {"dpi"} for figure in again)


def test_without_matplotlib_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes with an extra."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(InstallationError, match=r"pip install causalrec\[compare\]"):
        draw(find(_cells(), [], PLANS))
