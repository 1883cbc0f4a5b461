"""The configuration: documented, typed, and honest about what is wrong."""

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from causalrec.errors import ConfigError
from training.config import RunConfig, as_toml, read_config


def test_what_is_printed_reads_back() -> None:
    """--print-config gives a file that means the same."""
    assert RunConfig.model_validate(tomllib.loads(as_toml(RunConfig()))) == RunConfig()


def test_every_field_is_documented() -> None:
    """Each field of each section has a docstring, and it is printed above the field."""
    printed = as_toml(RunConfig())

    for name, field in RunConfig.model_fields.items():
        section = getattr(RunConfig(), name)
        fields = type(section).model_fields if isinstance(section, BaseModel) else {name: field}
        for key, described in fields.items():
            assert described.description, f"{name}.{key}"
            assert described.description.splitlines()[0] in printed


RUNS = sorted(path for path in Path("training/runs").glob("*.toml") if not path.name.startswith("compare-"))


@pytest.mark.parametrize("path", RUNS, ids=str)
def test_the_runs_that_ship_are_valid(path: Path) -> None:
    """Every file in training/runs reads, and is named after its run."""
    assert read_config(path).name == path.stem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nme = 'x'", r"nme = 'x': Extra inputs"),
        ("[fit]\nlearning_rate = -1", r"fit\.learning_rate = -1.*greater than 0"),
        ("[fit]\nlearning_rate = nan", r"fit\.learning_rate"),
        ("[model]\nform = 'papr'", r"model\.form = 'papr'.*'paper', 'authors', 'additive' or 'sum'"),
        ("[data]\nvalid = 0.6\ntest = 0.5", "leaves nothing to train on"),
        ("[evaluate]\nlambda2 = [0.5, 1.0]", "hold 0.0"),
        ("[evaluate]\nlambda2 = [0.0, 1.0, 9.0]", "less than or equal to 3"),
        ("name = 'Has Space'", "name = 'Has Space'"),
        ("[fit\n", "is not TOML"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file, the field, the value and what is allowed."""
    path = tmp_path / "run.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=message) as refusal:
        read_config(path)

    assert str(path) in str(refusal.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    """With the way to get one."""
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read .*--print-config"):
        read_config(tmp_path / "none.toml")
