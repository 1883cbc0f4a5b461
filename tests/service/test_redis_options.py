"""Where the commands beside the service find its Redis: as the service itself does, in a container too."""

from pathlib import Path

import pytest

from service.export import main

NOBODY = "redis://:secret@127.0.0.1:1/0"


def test_the_url_is_read_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Containers mount it; the exporter must not fall back to a Redis of its own, nor say the password."""
    (tmp_path / "url").write_text(f"{NOBODY}\n")
    monkeypatch.setenv("CAUSALREC_REDIS_URL_FILE", str(tmp_path / "url"))

    code = main(["export", "--to", str(tmp_path / "to"), "--data-dir", str(tmp_path)])

    assert code == 2
    assert "connecting to 127.0.0.1:1." in caplog.text
    assert "secret" not in caplog.text


def test_a_flag_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As everywhere: flags, then the environment."""
    (tmp_path / "url").write_text(NOBODY)
    monkeypatch.setenv("CAUSALREC_REDIS_URL_FILE", str(tmp_path / "url"))

    main(["export", "--to", str(tmp_path / "to"), "--redis-url", "redis://127.0.0.1:2/0"])

    assert "connecting to 127.0.0.1:2." in caplog.text


def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the variable that named it."""
    monkeypatch.setenv("CAUSALREC_REDIS_URL_FILE", str(tmp_path / "absent"))

    code = main(["export", "--to", str(tmp_path / "to"), "--data-dir", str(tmp_path)])

    assert code == 2
    assert f"CAUSALREC_REDIS_URL_FILE={tmp_path / 'absent'}: cannot be read" in capsys.readouterr().err
