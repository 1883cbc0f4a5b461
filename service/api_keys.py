"""API keys: who may do what, in a text file of hashes that is read again whenever it changes."""

import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

from causalrec.errors import CausalRecError, ConfigError

log = logging.getLogger(__name__)

Role = Literal["reader", "events", "items", "experiments", "models", "admin"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
EVERYTHING: Final[Role] = "admin"
NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
NAMED: Final = "should be 1 to 64 letters, digits, '.', '_' and '-'"
HASH: Final = re.compile(r"[0-9a-f]{64}")
MARK: Final = "crk_"  # so that scanners for leaked secrets can tell what they found
EVERY: Final = 0.25  # seconds between two looks at the file
MISSING: Final = "there is no such file; `python -m service keys add NAME --role ROLE --file {}` makes it"
HEAD: Final = "# One API key a line: name, roles, sha256 of the key. Made by `python -m service keys`.\n"


class NoValidKey(CausalRecError):
    """The request asks for an API key and came without one, or with one that is not known."""


class Forbidden(CausalRecError):
    """The key has not the role that the request asks for, or nobody may send it to this process."""


class Key(NamedTuple):
    """
    One key, without the key itself.

    Args:
        digest: sha256 of it. Keys are random and long, so nothing slower is needed against guessing.
    """

    name: str
    roles: frozenset[Role]
    digest: bytes

    def may(self, role: Role) -> bool:
        """Whether it opens what asks for `role`."""
        return role in self.roles or EVERYTHING in self.roles

    def line(self) -> str:
        """As the file has it."""
        return f"{self.name} {','.join(sorted(self.roles))} {self.digest.hex()}\n"


def issue(name: str, roles: Iterable[Role]) -> tuple[str, Key]:
    """A new key: as its owner gets it, once, and as the file keeps it."""
    secret = MARK + secrets.token_urlsafe(32)
    return secret, Key(name, frozenset(roles), digest(secret.encode()))


def digest(secret: bytes) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(secret).digest()


def parse(text: str, source: Path) -> tuple[Key, ...]:
    """The keys that `text` names; from # on a line is a comment. Raises: ConfigError naming the line of `source`."""
    found: list[Key] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words:
            problem = _problem(words, found)
            if problem:
                raise ConfigError(f"{source}, line {number}: {problem}")
            found.append(Key(words[0], frozenset(_roles(words[1])), bytes.fromhex(words[2])))
    return tuple(found)


def read(path: Path) -> tuple[Key, ...]:
    """The keys in `path`. Raises: ConfigError naming the file, the line and the way out."""
    text = text_of(path)
    if text is None:
        raise ConfigError(f"{path}: {MISSING.format(path)}")
    return parse(text, path)


class KeyFile:
    """
    The keys in a file, as they are now: read again while it is asked for, at most four times a second.

    One that has become unusable leaves those that were last read in force; one that was never there has none, until it
    is made. Raises: ConfigError, when it cannot be used from the start.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._text = text_of(path)
        self._keys = parse(self._text or "", path)
        self._looked = clock()
        self._said: str | None = None
        if self._text is None:
            log.warning("%s: nobody has a key yet: %s", path, MISSING.format(path))

    def find(self, secret: bytes) -> Key | None:
        """The key that `secret` is. Takes as long for a wrong one as for any, however much of it is right."""
        self._look()
        offered, found = digest(secret), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, offered):
                found = key
        return found

    @property
    def stale(self) -> bool:
        """Whether the file cannot be used as it is now, and older keys are in force."""
        self._look()
        return self._said is not None

    def _look(self) -> None:
        """Reads the file, rather than asking when it changed: two writes within one tick of its clock both count."""
        now = self._clock()
        if now - self._looked < EVERY:
            return
        self._looked = now
        try:
            text = text_of(self._path)
            if text is None and self._text is not None:
                raise ConfigError(f"{self._path}: {MISSING.format(self._path)}")  # noqa: TRY301 - as any other
            if text != self._text:
                self._keys, self._text = parse(text or "", self._path), text
                log.info("API keys read again from %s: %d", self._path, len(self._keys))
            self._said = None
        except ConfigError as error:
            if str(error) != self._said:
                log.error("%s; the keys that were read before stay in force", error)  # noqa: TRY400 - it says all
            self._said = str(error)


def text_of(path: Path) -> str | None:
    """What the file says; None where there is none. Raises: ConfigError where it cannot be read."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ConfigError(f"{path}: the API keys cannot be read ({reason})") from error


def _roles(word: str) -> list[Role]:
    return [role for role in ROLES if role in word.split(",")]


def _problem(words: list[str], before: list[Key]) -> str:
    """What is wrong with a line; never the hash, which may be a key that somebody put there by mistake."""
    if len(words) != 3:
        return (
            "should be name, roles and sha256 of the key, separated by spaces; `python -m service keys add` writes it"
        )
    name, roles, hashed = words
    unknown = next((role for role in roles.split(",") if role not in ROLES), None)
    problems = {
        f"the name {name!r} {NAMED}": not NAME.fullmatch(name),
        f"there is no role {unknown!r}; there are {', '.join(ROLES)}": unknown is not None,
        "the third word should be the key's sha256, 64 digits of 0-9a-f; not the key itself": not HASH.fullmatch(
            hashed
        ),
        f"there is a key {name!r} above; names are used once": any(key.name == name for key in before),
        "the same key is above under another name": any(key.digest.hex() == hashed for key in before),
    }
    return next((problem for problem, found in problems.items() if found), "")
