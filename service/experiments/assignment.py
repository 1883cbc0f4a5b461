"""Who gets what: a pure function of the book and the unit, the same on every replica and after every restart."""

from bisect import bisect_right
from collections.abc import Container, Mapping
from hashlib import blake2b
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from service.experiments.model import Book, Config, Decision, Variant

NONE_OFF: Final[frozenset[str]] = frozenset()
"""No experiment is switched off."""


class _Everything(Container[str]):
    def __contains__(self, key: object) -> bool:
        return True


ALL: Final[Container[str]] = _Everything()
"""Every experiment is switched off."""

MIXED, DRAWN = "interleaved", "random"
"""What a unit's variant is called where it gets two, or one of its own."""

Reason = Literal[
    "assigned",
    "override",
    "holdout",
    "switched off",
    "outside the segment",
    "outside the allocation",
    "no experiment",
]
MISSED: Final[tuple[Reason, ...]] = ("outside the allocation", "outside the segment", "no experiment")


class Assignment(NamedTuple):
    """What a unit gets and why: `reason` to compare with, `words` to read."""

    decision: Decision | None
    reason: Reason
    words: str


def place(salt: str, unit: str) -> float:
    """
    Where `salt` puts a unit: uniform in [0, 1), independent between salts.

    The first 53 of the 64 bits of BLAKE2b (RFC 7693) of salt, NUL, unit, as a fraction. A salt holds no NUL.
    """
    return _fraction(_prefix(salt), unit.encode())


def decide(book: Book, unit: str, off: Container[str] = NONE_OFF) -> Decision | None:
    """
    What `unit` gets, or None: the default λ2, in no experiment.

    In order: experiments in `off` are as if paused; the holdout gets nothing; overrides; then layer by layer, in the
    order of their names, the running experiment on whose segment the unit's place in the layer falls, if within the
    part that is allocated, from the segment's start: so a growing allocation leaves everybody where they are. A second
    hash, of the experiment's own salt, chooses the variant. A unit gets one λ2, so who is taken in one layer is in no
    experiment of the next.
    """
    return _decided(_in_force.of(book), unit, off)


def explained(book: Book, unit: str, off: Container[str] = NONE_OFF) -> Assignment:
    """What `decide` says, and why; a unit that is in nothing is told what it came closest to."""
    force = _in_force.of(book)
    if decision := _decided(force, unit, off):
        if decision.propensity is None:
            return Assignment(
                decision, "override", f"an override of {decision.key!r} names the unit; it is not counted"
            )
        return Assignment(decision, "assigned", f"the hash of the unit chose {decision.variant!r} of {decision.key!r}")
    if _held(force, unit.encode()):
        return Assignment(None, "holdout", f"the unit is in the global holdout of {book.holdout.share:g} of all units")
    if without := _decided(force, unit, NONE_OFF):
        return Assignment(
            None, "switched off", f"the kill-switch of this replica keeps the unit out of {without.key!r}"
        )
    reason = min((_missed(layer, unit) for layer in force.layers), key=MISSED.index, default=MISSED[-1])
    words = {
        "outside the allocation": "the unit's place is in the segment of a running experiment, in a part not allocated",
        "outside the segment": "no running experiment's segment holds the unit's place in its layer",
        "no experiment": "no experiment is running",
    }
    return Assignment(None, reason, words[reason])


class _Share(NamedTuple):
    """A running experiment as a unit meets it. edges: cumulative weights, without the last."""

    config: Config
    start: float
    allocated: float
    end: float
    salt: bytes
    edges: tuple[float, ...]


class _Layer(NamedTuple):
    salt: bytes
    shares: tuple[_Share, ...]


class _Force(NamedTuple):
    """What of a book decides. overrides: unit → what running experiments say of it, in the order of their keys."""

    holdout: tuple[bytes, float]
    overrides: Mapping[str, tuple[tuple[Config, Variant], ...]]
    layers: tuple[_Layer, ...]


class _InForce:
    """What is in force by the book that was asked for last: the same one is, many times."""

    def __init__(self) -> None:
        self._last = (Book(), _force(Book()))

    def of(self, book: Book) -> _Force:
        last, force = self._last
        if last is not book:
            force = _force(book)
            self._last = (book, force)
        return force


def _force(book: Book) -> _Force:
    running = [
        book.experiments[key].config for key in sorted(book.experiments) if book.experiments[key].state == "running"
    ]
    overrides: dict[str, tuple[tuple[Config, Variant], ...]] = {}
    for config in running:
        named = {variant.name: variant for variant in config.variants}
        for unit, name in config.overrides.items():
            overrides[unit] = (*overrides.get(unit, ()), (config, named[name]))
    layers = (
        _Layer(_prefix(f"layer:{name}"), tuple(_share(config) for config in running if config.layer == name))
        for name in sorted({config.layer for config in running})
    )
    # Every use of the hash has salts of its own: a salt that is also a layer's name would put whoever is in one half
    # of the layer into one variant.
    return _Force((_prefix(f"holdout:{book.holdout.salt}"), book.holdout.share), overrides, tuple(layers))


def _share(config: Config) -> _Share:
    start, end = config.segment
    allocated = end if config.allocation >= 1 else start + config.allocation * (end - start)
    edges = tuple(accumulate(variant.weight for variant in config.variants))[:-1]
    return _Share(config, start, allocated, end, _prefix(f"variant:{config.salt}"), edges)


def _decided(force: _Force, unit: str, off: Container[str]) -> Decision | None:
    content = unit.encode()
    if _held(force, content):
        return None
    for config, variant in force.overrides.get(unit, ()):
        if config.key not in off:
            return _decision(config, variant.name, (variant.lambda2,), None, unit)
    for layer in force.layers:
        where = _fraction(layer.salt, content)
        for share in layer.shares:
            if share.start <= where < share.allocated and share.config.key not in off:
                return _drawn(share, unit, content)
    return None


def _held(force: _Force, content: bytes) -> bool:
    salt, share = force.holdout
    return share > 0 and _fraction(salt, content) < share


def _drawn(share: _Share, unit: str, content: bytes) -> Decision:
    """What the experiment's own salt chooses."""
    config = share.config
    if config.kind == "interleaving":
        first, second = config.variants
        return _decision(config, MIXED, (first.lambda2, second.lambda2), 1.0, unit)
    point = _fraction(share.salt, content)
    if config.between is not None:
        low, high = config.between
        return _decision(config, DRAWN, (low + point * (high - low),), 1 / (high - low), unit)
    chosen = config.variants[bisect_right(share.edges, point)]
    return _decision(config, chosen.name, (chosen.lambda2,), chosen.weight, unit)


def _decision(config: Config, name: str, lambda2: tuple[float, ...], propensity: float | None, unit: str) -> Decision:
    every = config.between or [variant.lambda2 for variant in config.variants]
    ends = (min(every), max(every))
    return Decision(config.key, config.version, config.series, name, lambda2, propensity, unit, ends)


def _missed(layer: _Layer, unit: str) -> Reason:
    where = _fraction(layer.salt, unit.encode())
    inside = any(share.start <= where < share.end for share in layer.shares)
    return "outside the allocation" if inside else "outside the segment"


def _prefix(salt: str) -> bytes:
    return salt.encode() + b"\0"


def _fraction(prefix: bytes, content: bytes) -> float:
    return (int.from_bytes(blake2b(prefix + content, digest_size=8).digest(), "big") >> 11) * 2.0**-53


_in_force: Final = _InForce()
