"""Experiments as fields of one hash, and the book that such fields make, whatever is damaged in them."""

import logging
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter

from causalrec.errors import CausalRecError
from service.experiments.changes import MOST_VERSIONS
from service.experiments.checks import KEY, Range, check
from service.experiments.metrics import PRIMARY
from service.experiments.model import EMPTY, AuditEntry, Book, Config, Experiment, Holdout, State

log = logging.getLogger(__name__)

# key → what is in force; key:version → what that version says. A key holds no colon.
REVISION: Final = b":revision"
HOLDOUT: Final = b":holdout"
EVERYBODY: Final = Holdout(1.0)
DAMAGED: Final = "what Redis holds of this version is damaged; make a new version and start it"
ANY: Final = Range(-sys.float_info.max, sys.float_info.max)


class Head(NamedTuple):
    """An experiment without its versions."""

    state: State
    running: int | None
    changed: float


HEADS: Final = TypeAdapter(Head)
CONFIGS: Final = TypeAdapter(Config)
HOLDOUTS: Final = TypeAdapter(Holdout)
ENTRIES: Final = TypeAdapter(AuditEntry)


class Field(NamedTuple):
    """A field to be written; once: only where there is none, as a version never changes."""

    name: bytes
    content: bytes
    once: bool = False


def fields(change: Experiment | Holdout, known: int) -> list[Field]:
    """What is to be written of `change`, of whose versions the first `known` are."""
    if isinstance(change, Holdout):
        return [Field(HOLDOUT, HOLDOUTS.dump_json(change))]
    head = Head(change.state, change.running, change.changed)
    versions = change.versions[known:]
    return [
        Field(change.key.encode(), HEADS.dump_json(head)),
        *(Field(f"{each.key}:{each.version}".encode(), CONFIGS.dump_json(each), once=True) for each in versions),
    ]


class Reader:
    """
    Makes books of the hash. What did not change since the last one is not read again.

    Nothing damaged stops it: an experiment whose state, or whose version in force, cannot be read is paused, a version
    that cannot is one of no variants, and a holdout that cannot holds everybody. It is logged once each.
    """

    def __init__(self) -> None:
        self._read: dict[bytes, tuple[bytes, Any]] = {}

    def book(self, found: Mapping[bytes, bytes]) -> Book:
        """The book that these fields make."""
        self._read = {name: self._value(name, content) for name, content in found.items() if name != REVISION}
        heads: dict[str, Head | None] = {}
        versions: dict[str, dict[int, Config]] = {}
        for name, (_, value) in self._read.items():
            key, number = _address(name)
            if name == HOLDOUT or key is None:
                continue
            heads.setdefault(key, None)
            if number is None:
                heads[key] = value
            else:
                versions.setdefault(key, {})[number] = value or _stand_in(key, number)
        holdout = self._read.get(HOLDOUT, (b"", Holdout()))[1] or EVERYBODY
        experiments = {key: _experiment(key, head, versions.get(key, {})) for key, head in heads.items()}
        return Book(int(found.get(REVISION, 0)), holdout, experiments)

    def _value(self, name: bytes, content: bytes) -> tuple[bytes, Any]:
        """With what it was read from; None where it is damaged."""
        before = self._read.get(name)
        if before and before[0] == content:
            return before
        try:
            return content, _parsed(name, content)
        except (ValueError, CausalRecError):
            log.exception("what Redis holds of experiments is damaged at %r", name[:80])
            return content, None


def _parsed(name: bytes, content: bytes) -> Head | Config | Holdout:
    if name == HOLDOUT:
        return HOLDOUTS.validate_json(content)
    key, number = _address(name)
    if key is None:
        raise ValueError("no such field is written")
    if number is None:
        return HEADS.validate_json(content)
    config = CONFIGS.validate_json(content)
    check(config, ANY)
    if (config.key, config.version) != (key, number):
        raise ValueError(f"is version {config.version} of {config.key!r}")
    return config


def _address(name: bytes) -> tuple[str | None, int | None]:
    """Key and, of a version, its number; no key where a field has another form."""
    key, _, version = name.decode(errors="replace").partition(":")
    if not KEY.fullmatch(key):
        return None, None
    if not version:
        return key, None
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 9 else 0
    return (key, number) if 1 <= number <= MOST_VERSIONS else (None, None)


def _experiment(key: str, head: Head | None, found: Mapping[int, Config]) -> Experiment:
    """With a stand-in for every version that is missing."""
    versions = tuple(found.get(number) or _stand_in(key, number) for number in range(1, max(found, default=1) + 1))
    if head is not None and (head.running is None or 1 <= head.running <= len(versions)):
        experiment = Experiment(key, head.state, versions, head.running, head.changed)
        if head.state != "running" or (head.running is not None and experiment.config.description != DAMAGED):
            return experiment
    else:
        experiment = Experiment(key, "paused", versions, None, 0.0)
    log.error("experiment %r is paused: what Redis holds of it is damaged; make a new version and start it", key)
    return experiment._replace(state="paused")


def _stand_in(key: str, version: int) -> Config:
    """A version that cannot be read: it assigns nobody and takes no part of a layer."""
    nothing = EMPTY._replace(segment=(0.0, 0.0), allocation=0.0, primary=PRIMARY, actor="unknown")
    return nothing._replace(key=key, version=version, series=version, description=DAMAGED)
