"""
What may be done to experiments, as pure functions: a book before, an experiment after.

    draft ──start──▶ running ◀──start / pause──▶ paused
      └───────────stop──┴──────────stop───────────┘──▶ stopped, which is final

A version never changes once it is made; a change is a new one, and `started` puts one in force.
"""

import math
from collections.abc import Sequence
from typing import Final

from causalrec.errors import RequestError
from service.experiments.checks import Range, check, check_salt
from service.experiments.layers import check_room
from service.experiments.metrics import BESIDE, PRIMARY
from service.experiments.model import Book, Config, Experiment, ExperimentConflict, Holdout, NoSuchExperiment, Variant

MOST_VERSIONS: Final = 2000
"""Of one experiment: a tuned one makes them by itself, and every replica holds them."""


def created(book: Book, config: Config, limits: Range) -> Experiment:
    """
    A draft with one version.

    What `config` leaves empty is completed: salt "" is the key; names "" are made of λ2; weights that are all 0 become
    equal ones; control "" is the variant of the smallest λ2; primary "" is purchases_per_user; no secondary metrics are
    those of metrics.BESIDE. version and series are set.

    Raises: RequestError; ExperimentConflict where the key is taken.
    """
    if config.key in book.experiments:
        raise ExperimentConflict(
            f"there is an experiment {config.key!r} already; POST /v1/experiments/{config.key}/versions changes it, "
            "another key makes another one"
        )
    first = _completed(config._replace(version=1, series=1, salt=config.salt or config.key), limits)
    _check_salt_is_own(book, first)
    return Experiment(first.key, "draft", (first,), None, first.created)


def versioned(book: Book, key: str, config: Config, limits: Range) -> Experiment:
    """
    The experiment with one version more, which `started` puts in force.

    Its series is that of the first version which splits units the same way, so that a ramp is analysed as one; every
    version of a tuned experiment has its own. What `config` leaves empty is completed as by `created`, but salt "" is
    that of the newest version.

    Raises: RequestError; NoSuchExperiment; ExperimentConflict where it is stopped, or has MOST_VERSIONS.
    """
    before = _changeable(book, key)
    if len(before.versions) >= MOST_VERSIONS:
        raise ExperimentConflict(f"{key!r} has {MOST_VERSIONS:,} versions, and no more may be; make another experiment")
    number, salt = len(before.versions) + 1, config.salt or before.versions[-1].salt
    config = _completed(config._replace(key=key, version=number, series=number, salt=salt), limits)
    _check_salt_is_own(book, config)
    if config.kind != "tuned":
        same = (old.series for old in before.versions if _split(old) == _split(config))
        config = config._replace(series=next(same, number))
    return before._replace(versions=(*before.versions, config))


def started(book: Book, key: str, version: int | None, at: float) -> Experiment:
    """
    The experiment running by `version`; None: by the newest.

    Raises: NoSuchExperiment; RequestError where there is no such version; ExperimentConflict where it is stopped, runs
        by this version already, would take units out of the series in force, or its segment is not free.
    """
    before = _changeable(book, key)
    number = len(before.versions) if version is None else version
    if not 1 <= number <= len(before.versions):
        raise RequestError("version", number, f"{key!r} has the versions 1 to {len(before.versions)}")
    if before.state == "running" and before.running == number:
        raise ExperimentConflict(f"version {number} of {key!r} is running already")
    config = before.versions[number - 1]
    if not config.variants and config.between is None:
        raise ExperimentConflict(f"version {number} of {key!r} is damaged and cannot run; make a new version")
    if before.running is not None:
        _check_nobody_leaves(before.versions[before.running - 1], config)
    after = before._replace(state="running", running=number, changed=at)
    check_room(book, after)
    return after


def paused(book: Book, key: str, at: float) -> Experiment:
    """
    Nobody gets it until it is started again; its segment stays its own. Raises: NoSuchExperiment, ExperimentConflict.
    """
    before = _changeable(book, key)
    if before.state != "running":
        raise ExperimentConflict(f"{key!r} is not running but {before.state}; only a running one can be paused")
    return before._replace(state="paused", changed=at)


def stopped(book: Book, key: str, at: float) -> Experiment:
    """Nobody gets it any more, ever. Raises: NoSuchExperiment, ExperimentConflict where it is stopped already."""
    return _changeable(book, key)._replace(state="stopped", changed=at)


def held_out(book: Book, share: float, salt: str | None) -> Holdout:
    """
    The holdout of that share of all units; salt None: as it is, so that a larger share holds who was held before.

    Raises: RequestError.
    """
    if not 0 <= share <= 1:
        raise RequestError("share", share, "should be from 0, nobody, to 1, everybody")
    if salt is not None:
        check_salt(salt)
    return Holdout(share, book.holdout.salt if salt is None else salt)


def _changeable(book: Book, key: str) -> Experiment:
    experiment = book.experiments.get(key)
    if experiment is None:
        raise NoSuchExperiment(key)
    if experiment.state == "stopped":
        raise ExperimentConflict(f"{key!r} is stopped, which is final; make another experiment")
    return experiment


def _completed(config: Config, limits: Range) -> Config:
    variants = named(config.variants)
    first = min(variants, key=lambda variant: variant.lambda2, default=None)
    primary = config.primary or PRIMARY
    config = config._replace(
        variants=variants,
        control=config.control or (first.name if first else ""),
        primary=primary,
        secondary=config.secondary or tuple(metric for metric in BESIDE if metric != primary),
    )
    check(config, limits)
    return config


def named(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """With names and weights; −0.0 is 0.0."""
    equal = 1 / len(variants) if variants and all(variant.weight == 0 for variant in variants) else None
    return tuple(
        Variant(
            variant.name or f"{variant.lambda2 + 0.0:.12g}",
            variant.lambda2 + 0.0,
            variant.weight if equal is None else equal,
        )
        for variant in variants
    )


def _split(config: Config) -> tuple[object, ...]:
    """What two versions have the same where a unit's data of both can be analysed as one."""
    where = (config.kind, config.salt, config.layer, config.segment[0])
    return (*where, config.variants, config.between, config.window, dict(config.overrides))


def _check_salt_is_own(book: Book, config: Config) -> None:
    """The same salt splits the same way: what the one experiment did to its variants would be seen in the other's."""
    for key, other in book.experiments.items():
        if key != config.key and any(version.salt == config.salt for version in other.versions):
            raise RequestError("salt", config.salt, f"is that of {key!r}, whose split this would repeat; give another")


def _check_nobody_leaves(old: Config, new: Config) -> None:
    """A ramp only grows: who left would go on being counted under a variant that they do not get any more."""
    if old.series == new.series and _reach(new) < _reach(old) and not math.isclose(_reach(new), _reach(old)):
        raise ExperimentConflict(
            f"version {new.version} takes {_reach(new):g} of its layer, and version {old.version}, which splits alike, "
            f"{_reach(old):g}: units would leave while they are counted; pause it, or give the smaller version a salt "
            "of its own, which splits anew"
        )


def _reach(config: Config) -> float:
    return config.allocation * (config.segment[1] - config.segment[0])
