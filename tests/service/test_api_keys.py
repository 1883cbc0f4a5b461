"""The file of API keys: hashes only, taken over while running, never half believed; and the command that writes it."""

import hashlib
import logging
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from causalrec.errors import ConfigError
from service import settings
from service.__main__ import main
from service.api_keys import EVERY, KeyFile, issue
from service.settings import Settings


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys"


def add(file: Path, name: str, *roles: str) -> int:
    """What the command says to it."""
    flags = [flag for role in roles for flag in ("--role", role)]
    return main(["keys", "add", name, *flags, "--file", str(file)])


def written(*lines: str) -> str:
    return "\n".join(["# keys of the shop", "", *lines, ""])


def line(name: str, roles: str, key: str) -> str:
    return f"{name} {roles} {hashlib.sha256(key.encode()).hexdigest()}"


def test_a_file_is_name_roles_and_hash(file: Path) -> None:
    """With comments and empty lines; what `sha256sum` says of a key is its hash."""
    file.write_text(written(line("tracker", "events", "one"), f"{line('ops', 'items,models', 'two')} # since May"))

    keys = KeyFile(file)

    found = {key.name: sorted(key.roles) for secret in (b"one", b"two") if (key := keys.find(secret))}
    assert found == {"tracker": ["events"], "ops": ["items", "models"]}
    assert keys.find(b"three") is None
    assert keys.find(b"") is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ops items", "line 4: should be name, roles and sha256"),
        (line("o/s", "items", "k"), "line 4: the name 'o/s' should be 1 to 64 letters"),
        (line("ops", "items,root", "k"), "line 4: there is no role 'root'; there are reader, events, items"),
        (line("ops", "", "k"), "line 4: should be name"),
        ("ops items crk_the-key-itself", "line 4: the third word should be the key's sha256"),
        (line("tracker", "items", "k"), "line 4: there is a key 'tracker' above"),
        (line("ops", "items", "one"), "line 4: the same key is above under another name"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(file: Path, wrong: str, message: str) -> None:
    """At the start: with its number and what is right, and without what may be a key."""
    file.write_text(written(line("tracker", "events", "one"), wrong))

    with pytest.raises(ConfigError, match=message) as raised:
        KeyFile(file)

    assert str(file) in str(raised.value)
    assert "crk_" not in str(raised.value)


def test_a_file_that_is_not_there_yet_has_no_keys(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has one, and the log says how to make one; made, it counts."""
    clock = Clock()
    keys = KeyFile(file, clock)

    clock.now += EVERY
    before = keys.find(b"one"), keys.stale
    file.write_text(written(line("first", "items", "one")))
    clock.now += EVERY

    assert before == (None, False)
    assert keys.find(b"one")
    assert f"python -m service keys add NAME --role ROLE --file {file}" in caplog.text


def test_a_file_that_cannot_be_read_is_an_error(file: Path) -> None:
    """From the start; with the reason."""
    file.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match="not text in UTF-8"):
        KeyFile(file)
    with pytest.raises(ConfigError, match="Is a directory"):
        KeyFile(file.parent)


def test_keys_rotate_while_running(file: Path) -> None:
    """A new one is valid and a removed one is not, from the next look at the file on."""
    clock = Clock()
    file.write_text(written(line("old", "items", "one")))
    keys = KeyFile(file, clock)

    file.write_text(written(line("new", "items", "two")))
    before = keys.find(b"one"), keys.find(b"two")
    clock.now += EVERY
    after = keys.find(b"one"), keys.find(b"two")

    assert [key and key.name for key in (*before, *after)] == ["old", None, None, "new"]


def test_a_file_that_becomes_unusable_leaves_the_last_good_keys(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, not at every look, and seen in the metric; mended, the file counts again."""
    clock = Clock()
    file.write_text(written(line("old", "items", "one")))
    keys = KeyFile(file, clock)

    file.write_text("half a")
    for _ in range(3):
        clock.now += EVERY
        assert keys.find(b"one")
    stale, logged = keys.stale, [record for record in caplog.records if record.levelno == logging.ERROR]
    file.write_text(written(line("new", "items", "two")))
    clock.now += EVERY

    assert stale
    assert len(logged) == 1
    assert "line 1: should be name" in logged[0].message
    assert (keys.find(b"one"), keys.stale) == (None, False)
    file.unlink()
    clock.now += EVERY
    assert keys.find(b"two")
    assert keys.stale


def test_issued_keys_are_long_and_random(file: Path) -> None:
    """256 bits each; the line that keeps one does not hold it."""
    (one, first), (two, _) = issue("a", ["items"]), issue("a", ["items"])

    assert one != two
    assert len(one) >= 4 + 43
    assert one not in first.line()


def test_a_key_is_printed_once_and_only_its_hash_is_kept(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command's output is the key and nothing else; nobody but the owner reads the file."""
    code = add(file, "importer", "items", "reader")

    secret = capsys.readouterr().out.strip()
    key = KeyFile(file).find(secret.encode())
    assert (code, key and key.name, key and sorted(key.roles)) == (0, "importer", ["items", "reader"])
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_keys_are_listed_and_removed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person wrote beside them stays."""
    add(file, "a.b", "events")
    add(file, "a", "admin")
    file.write_text(file.read_text() + "# a.b is the tracker")
    capsys.readouterr()

    assert main(["keys", "list", "--file", str(file)]) == 0
    listed = capsys.readouterr().out.split()
    assert main(["keys", "remove", "a", "--file", str(file)]) == 0
    add(file, "c", "models")

    assert listed == ["a.b", "events", "a", "admin"]
    names = [words.split()[0] for words in file.read_text().splitlines() if not words.startswith("#")]
    assert names == ["a.b", "c"]
    assert "# a.b is the tracker\n" in file.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", "a", "--role", "items"], "there is a key 'a'; remove it first"),
        (["add", "a b", "--role", "items"], "the name 'a b' should be"),
        (["remove", "b"], "there is no key 'b'"),
        (["list", "--file", "nowhere"], "nowhere: there is no such file; `python -m service keys add"),
    ],
)
def test_the_command_refuses_in_words(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 2, nothing printed as a key, and the file as it was."""
    add(file, "a", "events")
    capsys.readouterr()
    before = file.read_bytes()

    code = main(["keys", arguments[0], "--file", str(file), *arguments[1:]])

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert message in printed.err
    assert file.read_bytes() == before


def test_the_command_adds_nothing_to_a_file_that_it_cannot_read(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does it replace it; the same where the folder is not there."""
    file.write_text("half a")

    assert add(file, "a", "items") == 2
    assert add(file / "in" / "keys", "a", "items") == 2

    assert file.read_text() == "half a"
    assert "line 1" in capsys.readouterr().err


def test_of_keys_added_at_once_none_is_lost(file: Path) -> None:
    """They are added one after the other."""
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda number: add(file, f"k{number}", "items"), range(24)))

    assert codes == [0] * 24
    assert KeyFile(file)  # parses
    assert sum(words.startswith("k") for words in file.read_text().splitlines()) == 24


def test_the_variable_names_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CAUSALREC_API_KEYS_FILE is the setting, a path, and not the convention for secrets, by which it would be read."""
    add(file, "a", "items")
    monkeypatch.setenv("CAUSALREC_API_KEYS_FILE", str(file))

    chosen, _ = settings.parse(["--bundle", "b"])

    assert chosen.api_keys_file == file
    assert main(["keys", "list"]) == 0
    assert not {f"{name}_file" for name in Settings.model_fields} & set(Settings.model_fields)
