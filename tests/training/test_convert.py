"""`python -m training convert`: what it says, and the run files for what it writes."""

import argparse
import tomllib
from pathlib import Path

import numpy as np
import pytest

from causalrec.errors import DataError
from tests.training.data.amazon_files import FEATURES, METADATA, REVIEWS, write_features, write_lines
from training import convert
from training.compare.config import read_compare
from training.config import read_config

RUNS = Path(convert.__file__).parent / "runs"
CATEGORIES = {"baby", "beauty", "clothing", "grocery", "office", "sports", "tools", "toys"}


def told(*arguments: str) -> str:
    """What the command prints; parsed as __main__ parses."""
    parser = argparse.ArgumentParser()
    parser.set_defaults(quiet=False, skip_bad=False)
    convert.add_arguments(parser.add_subparsers().add_parser("convert"))
    return convert.command(parser.parse_args(["convert", *arguments, "--quiet"]))


def test_it_says_what_it_wrote_and_left_out(tmp_path: Path) -> None:
    """Sizes first, then a line for each reason."""
    reviews = write_lines(tmp_path / "r.json", [*map(str, REVIEWS), "no JSON"], zipped=False)
    features, metadata = write_features(tmp_path / "f.b", FEATURES), write_lines(tmp_path / "m.gz", METADATA)
    files = ["--reviews", str(reviews), "--features", str(features), "--metadata", str(metadata)]

    said = told("amazon", *files, "--out", str(tmp_path / "out"), "--skip-bad", "--float32").splitlines()

    assert said[0] == f"{tmp_path / 'out'}: 3 users, 2 items, 4 interactions, features [2, 4096] float32"
    assert said[1:] == [
        "left out 1: lines of r.json that cannot be used",
        "left out 1: items without a feature",
        "left out 1: interactions with such items",
    ]
    assert np.load(tmp_path / "out" / "features.npy").dtype == np.float32


def test_both_layouts_can_be_asked_for(tmp_path: Path) -> None:
    """cornac's by its directory, whose absence is one clear line."""
    with pytest.raises(DataError, match=r"rating\.txt: cannot be read"):
        told("cornac", "--from", str(tmp_path / "absent"), "--out", str(tmp_path / "out"))


def test_the_run_files_of_the_papers_categories_differ_in_their_names_only() -> None:
    """Eight, each the paper's protocol: d = 32, batches of 100, the 5-core, λ2 from 0 to 1.2 by .2."""
    paths = sorted(RUNS.glob("amazon-*.toml"))

    contents = [tomllib.loads(path.read_text()) for path in paths]

    assert {path.stem.removeprefix("amazon-") for path in paths} == CATEGORIES
    assert [content.pop("name") for content in contents] == [path.stem for path in paths]
    assert all(content == contents[0] for content in contents)
    config = read_config(paths[0])
    assert (config.model.dim, config.model.form, config.fit.batch_size, config.data.k_core) == (32, "paper", 100, 5)
    assert config.evaluate.lambda2 == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
    assert config.evaluate.k == 50


def test_the_comparison_of_a_category_has_the_same_protocol() -> None:
    """Table 2's models and Fig. 6's fusions, each searched over the paper's grids from where its run file begins."""
    alone, together = read_config(RUNS / "amazon-baby.toml"), read_compare(RUNS / "compare-amazon.toml")

    assert (together.data, together.images, together.fit, together.evaluate) == (
        alone.data,
        alone.images,
        alone.fit,
        alone.evaluate,
    )
    assert {"BPR", "VBPR", "AMR", "CausalRec MML"} < {entry.label for entry in together.models}
    for entry in together.models:
        assert {field: span.choices for field, span in entry.spans.items()} == {
            "fit.learning_rate": (0.01, 0.001, 0.0001),
            "fit.l2": (0.1, 0.05, 0.01, 0.005),
        }
    fusions = {(entry.group.fusion, entry.group.multitask) for entry in together.models if entry.group}
    assert len(fusions) == 4
