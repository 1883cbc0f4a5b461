"""Complete or absent, whatever fails."""

from pathlib import Path

import pytest

from causalrec.files import link_atomically, write_atomically, write_directory_atomically


def _fails(*_: object, **__: object) -> None:
    raise OSError("no")


def test_a_directory_appears_in_one_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rename nothing is there, not even a part, and nothing is left behind."""
    monkeypatch.setattr(Path, "rename", _fails)

    with pytest.raises(OSError, match="no"):
        write_directory_atomically(tmp_path / "bundle", {"a": b"1", "b": b"2"})

    assert list(tmp_path.iterdir()) == []


def test_a_file_keeps_its_old_content_until_the_new_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failing before the replacement leaves the old bytes and no temporary file."""
    write_atomically(tmp_path / "file", b"old")
    monkeypatch.setattr(Path, "replace", _fails)

    with pytest.raises(OSError, match="no"):
        write_atomically(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_exists_is_not_overwritten(tmp_path: Path) -> None:
    """A directory in the way, and a file where the link should be, stay as they are."""
    write_directory_atomically(tmp_path / "bundle", {"a": b"1"})
    (tmp_path / "name").write_text("somebody's")

    with pytest.raises(FileExistsError):
        write_directory_atomically(tmp_path / "bundle", {"a": b"2"})
    with pytest.raises(FileExistsError):
        link_atomically(tmp_path / "name", "bundle")

    assert (tmp_path / "bundle" / "a").read_bytes() == b"1"
    assert (tmp_path / "name").read_text() == "somebody's"


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    """A killed writer's temporary directory is removed by the next one; a running writer's is not."""
    (tmp_path / ".bundle.999999999.tmp").mkdir()
    (tmp_path / ".bundle.1.tmp").mkdir()

    write_directory_atomically(tmp_path / "bundle", {"a": b"1"})

    assert {path.name for path in tmp_path.iterdir()} == {"bundle", ".bundle.1.tmp"}
