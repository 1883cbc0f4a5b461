"""Settings: documented, from flag, environment or file, and refused in words."""

from pathlib import Path

import pytest

from causalrec.errors import ConfigError
from service import settings
from service.settings import Settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of whoever runs the tests."""
    for name in (*Settings.model_fields, "config"):
        monkeypatch.delenv(f"CAUSALREC_{name.upper()}", raising=False)


def test_every_setting_is_documented_and_has_a_flag() -> None:
    """The docstring under a field is its documentation, and --help shows it."""
    text = " ".join(settings.parser().format_help().split())

    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"--{name.replace('_', '-')}" in text
        assert " ".join(field.description.split())[:60] in text


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearer to the person at the keyboard, the stronger."""
    file = tmp_path / "service.toml"
    file.write_text('bundle = "from-file"\nport = 1\nhost = "file"\ncandidates = 7\n')
    monkeypatch.setenv("CAUSALREC_PORT", "2")
    monkeypatch.setenv("CAUSALREC_HOST", "environment")

    chosen, _ = settings.parse(["--config", str(file), "--port", "3"])

    assert (chosen.port, chosen.host, chosen.candidates, chosen.bundle) == (3, "environment", 7, Path("from-file"))
    assert chosen.max_waiting == Settings.model_fields["max_waiting"].default


def test_the_printed_configuration_can_be_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--print-config is a file that --config, or CAUSALREC_CONFIG, takes."""
    chosen, only_print = settings.parse(["--bundle", 'a "b"', "--no-full-scan", "--print-config"])
    file = tmp_path / "again.toml"
    file.write_text(settings.as_toml(chosen))
    monkeypatch.setenv("CAUSALREC_CONFIG", str(file))

    again, _ = settings.parse([])

    assert only_print
    assert again == chosen
    assert not again.full_scan


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"bundle is not set; give --bundle or CAUSALREC_BUNDLE"),
        (["--bundle", "b", "--port", "http"], r"port='http': "),
        (["--bundle", "b", "--port", "70000"], r"port='70000': .*65535"),
        (["--bundle", "b", "--port", "tcp://10.0.0.1:80"], r"enableServiceLinks"),
        (["--bundle", "b", "--config", "/no/such.toml"], r"/no/such.toml: cannot be read"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(arguments: list[str], message: str) -> None:
    """What, the value, the way out."""
    with pytest.raises(ConfigError, match=message):
        settings.parse(arguments)


def test_a_misspelt_setting_in_a_file_is_refused(tmp_path: Path) -> None:
    """A typo is an error and not a default."""
    file = tmp_path / "service.toml"
    file.write_text('bundle = "b"\nprot = 1\n')

    with pytest.raises(ConfigError, match=r"prot=1: no such setting; there are bundle, host, port"):
        settings.parse(["--config", str(file)])


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    """With the file's name and where it breaks."""
    file = tmp_path / "service.toml"
    file.write_text("port: 1\n")

    with pytest.raises(ConfigError, match=r"service.toml: is not TOML .*line 1"):
        settings.parse(["--config", str(file)])
