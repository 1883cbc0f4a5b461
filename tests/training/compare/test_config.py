"""The file of a comparison: what it says, what it leaves to defaults, what it refuses."""

from pathlib import Path

import pytest

from causalrec.errors import ConfigError
from training.compare.config import CompareConfig, Entry, Group, SearchConfig, Span, read_compare
from training.models import MODELS

MODEL = '[[models]]\nlabel = "X"\nmodel = {name = "vbpr"}\n'


@pytest.mark.parametrize("path", sorted(Path("training/runs").glob("compare-*.toml")), ids=str)
def test_the_comparisons_that_ship_are_valid(path: Path) -> None:
    """Every compare-*.toml in training/runs reads, and its models are there."""
    config = read_compare(path)

    assert {config.run(entry, 0, {}).model.name for entry in config.models} <= set(MODELS)


def test_without_models_every_one_is_compared() -> None:
    """Every model there is, and CausalRec in each form and fusion; each search begins within its own space."""
    config = CompareConfig()

    runs = {entry.label: config.run(entry, 0, {}) for entry in config.models}

    assert {run.model.name for run in runs.values()} == set(MODELS)
    assert {run.model.form for run in runs.values()} == {"paper", "sum", "additive", "authors"}
    for entry in config.models:
        assert {"fit.learning_rate", "fit.l2"} <= set(entry.spans)
        assert ("fit.l2_visual" in entry.spans) == (runs[entry.label].model.name not in ("bpr", "dvbpr"))
        assert all(entry.spans[field].holds(value) for field, value in config.start(entry).items())


def test_fusions_differ_by_form_and_by_the_branches_losses() -> None:
    """Fig. 6: multiplication is the paper's form, addition the sum; without multi-task both branch weights are 0."""
    config = CompareConfig()

    for entry in config.models:
        if entry.group is not None:
            run = config.run(entry, 0, {})
            assert run.model.form == {"multiplication": "paper", "addition": "sum"}[entry.group.fusion]
            assert (run.fit.match_weight, run.fit.notice_weight) == ((1, 1) if entry.group.multitask else (0, 0))
            assert ("fit.match_weight" in entry.spans) == entry.group.multitask


def test_a_branch_without_a_loss_is_not_given_one_by_the_search() -> None:
    """A weight that is 0 for a model is no part of its space; its own l2_visual is among the choices."""
    entry = Entry(label="B", fit={"l2_visual": 0.002, "match_weight": 0.0})

    assert set(entry.spans) == {"fit.learning_rate", "fit.l2", "fit.l2_visual", "fit.notice_weight"}
    assert entry.spans["fit.l2_visual"].holds(0.002)


def test_what_is_found_stands_over_what_is_a_models_own_and_that_over_what_all_share() -> None:
    """found > own > shared > default; seed and evaluation are the comparison's."""
    entry = Entry(label="My VBPR", model={"name": "vbpr"}, fit={"l2": 0.05, "epochs": 7})
    config = CompareConfig.model_validate({"fit": {"l2": 0.1, "batch_size": 9}, "model": {"dim": 3}, "models": [entry]})

    run = config.run(entry, 4, {"fit.l2": 0.7, "model.tanh": True})

    assert (run.fit.l2, run.fit.epochs, run.fit.batch_size) == (0.7, 7, 9)
    assert (run.model.name, run.model.form, run.model.dim, run.model.tanh) == ("vbpr", "additive", 3, True)
    assert (run.name, run.seed) == ("my-vbpr", 4)


def test_models_can_be_left_out() -> None:
    """leave_out takes labels from the default list."""
    labels = [entry.label for entry in CompareConfig(leave_out=("DVBPR",)).models]

    assert "DVBPR" not in labels
    assert len(labels) == len(CompareConfig().models) - 1


@pytest.mark.parametrize("section", [CompareConfig, SearchConfig, Entry, Group, Span])
def test_every_field_is_documented(section: type[CompareConfig]) -> None:
    """A docstring under each field is its documentation; those of a run's sections are in training.config."""
    fields = section.model_fields.items()

    shared = {"search", "data", "images", "fit", "evaluate"} if section is CompareConfig else set()
    assert {name for name, field in fields if not field.description} == shared


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nme = 'x'", "nme = 'x': Extra inputs"),
        ("seeds = [1, 1]", r"seeds = \[1, 1\]: seeds must differ"),
        ("seeds = []", "seeds"),
        ("[model]\nform = 'sum'", r"model\.form belongs to each of \[\[models\]\]"),
        ("[fit]\ncheckpoints = 'x'", r"fit\.checkpoints: .* below --out"),
        ("[search]\nminutes = 0", r"search\.minutes = 0"),
        ("leave_out = ['FM']", "leave_out: 'FM' is none of BPR"),
        ("leave_out = ['BPR']\n" + MODEL, "leave_out: models are given"),
        (MODEL + MODEL, r"models\.1\.label = 'X': its folder's name is empty or taken"),
        ("[[models]]\nlabel = '—'", r"models\.0\.label = '—'"),
        ("[[models]]\nlabel = 'X'\nmodel = {name = 'fm'}", "X: model.name = 'fm': .*'vbpr'"),
        (MODEL + "fit = {epoch = 3}", r"X: fit\.epoch = 3: Extra inputs"),
        (MODEL + "fit = {checkpoints = 'x'}", r"X: fit\.checkpoints go below --out"),
        (MODEL + "space = {'fit.l2' = {low = 0.1, high = 0.01}}", r"low = 0\.1 must be below high = 0\.01"),
        (MODEL + "space = {'fit.l2' = {low = 0.0, high = 1.0, log = true}}", r"log = true needs low above 0, not 0\.0"),
        (MODEL + "space = {'fit.l2' = {low = 0.1}}", "give low and high, or choices"),
        (MODEL + "space = {'fit.l2' = {choices = [0.1], low = 0.1}}", "either choices, or low and high"),
        (MODEL + "space = {'fit.l2' = {choices = []}}", r"fit\.l2\.choices = \[\]"),
        (MODEL + "space = {'fit.l2' = {choices = [0.01, -1.0]}}", r"X: fit\.l2 = -1\.0: .*greater than or equal to 0"),
        (MODEL + "space = {'fit.l2' = {choices = ['a']}}", r"X: fit\.l2 = 'a'"),
        (
            MODEL + "space = {'fit.l3' = {low = 0.1, high = 1.0}}",
            r"X: space 'fit\.l3': the search sets fields of model",
        ),
        (MODEL + "space = {'data.k_core' = {low = 1, high = 9}}", r"space 'data\.k_core'"),
        (MODEL + "space = {'model.name' = {choices = ['bpr', 'vbpr']}}", r"space 'model\.name'"),
        (MODEL + "space = {'fit.l2' = {low = 0.1, high = 1.0}}", r"X: the search begins with fit\.l2 = 0\.01, which"),
        ("name = ", "is not TOML"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    """File, field, value and what would do, in one line."""
    path = tmp_path / "compare.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=message) as raised:
        read_compare(path)

    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As any other input."""
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        read_compare(tmp_path / "none.toml")
