"""The use cases of experiments: said once, in force on every replica."""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

from causalrec.errors import RequestError, StateUnavailable
from service.experiments import assignment, auditing, changes
from service.experiments.assignment import Assignment
from service.experiments.checks import Range
from service.experiments.drafting import drafted
from service.experiments.model import (
    AuditEntry,
    Book,
    Config,
    Decision,
    Experiment,
    ExperimentConflict,
    Holdout,
    NoSuchExperiment,
)
from service.experiments.report import Report
from service.experiments.series import open_until
from service.killswitch import KillSwitch
from service.reporting import Reports
from service.state.experiments import ExperimentStore, Outdated
from service.state.tallies import OpenSeries

ATTEMPTS: Final = 5  # where others change something at the same moment
FLAG: Final = "lambda2"
"""No experiment's key: the OFREP flag of the λ2 that a user is served, by whichever experiment."""

Changed = TypeVar("Changed", Experiment, Holdout)
Words = Callable[[Experiment | None, Experiment], str]


class Assigned(NamedTuple):
    """What one experiment gives a user, or nothing, and why, in words."""

    decision: Decision | None
    words: str


class Experiments:
    """
    Decides by the book of experiments, changes it and says what is in it. A change is answered once this replica
    decides by it; others do within 300 ms. While Redis is away what was last known holds.

    Args:
        reports: makes their reports.
        switch: what is switched off on this replica.
        limits: the λ2 that can be served here.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        store: ExperimentStore,
        reports: Reports,
        switch: KillSwitch,
        limits: Callable[[], Range],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._reports = reports
        self._switch = switch
        self._limits = limits
        self._clock = clock

    async def follow(self) -> None:
        """Takes over what any replica says, as long as the process lives; never returns."""
        await self._store.follow(lambda _: None)

    @property
    def book(self) -> Book:
        """What is decided by now; an empty one before anything was read."""
        return self._store.book

    @property
    def off(self) -> Container[str]:
        """The experiments that are switched off on this replica."""
        return self._switch.off()

    async def known(self) -> Book:
        """The book, also while Redis is away. Raises: StateUnavailable where this process never read it."""
        await self._store.applied(0)
        return self._store.book

    def decide(self, user_id: str) -> Decision | None:
        """What the user gets; None: the bundle's default λ2."""
        return assignment.decide(self._store.book, user_id, self.off)

    def explained(self, user_id: str) -> Assignment:
        """What the user is served, and why: what `decide` says, where the bundle served here allows that."""
        said = assignment.explained(self._store.book, user_id, self.off)
        limits = self._limits()
        if said.decision is None or all(map(limits.holds, said.decision.ends)):
            return said
        beyond = (
            f"{said.decision.key!r} has the unit, but the bundle served here allows λ2 from {limits.low:g} to "
            f"{limits.high:g} only"
        )
        return said._replace(decision=None, words=f"{beyond}: {limits.why}" if limits.why else beyond)

    def open_series(self) -> Sequence[OpenSeries]:
        """Where what users do counts now."""
        now = self._clock()
        return [
            OpenSeries(each.key, each.config.series, each.config.window)
            for each in self._store.book.experiments.values()
            if (until := open_until(each)) is None or now < until
        ]

    async def get(self, key: str) -> Experiment:
        """Also while Redis is away. Raises: NoSuchExperiment; StateUnavailable (`known`)."""
        return found(await self.known(), key)

    async def assignment(self, key: str, user_id: str) -> Assigned:
        """
        What the experiment gives a user now, or why it gives nothing. Nobody is exposed by it.

        Raises: NoSuchExperiment; StateUnavailable (`known`).
        """
        experiment = await self.get(key)
        if experiment.state != "running":
            return Assigned(None, f"{key!r} is not running but {experiment.state}")
        said = self.explained(user_id)
        if said.decision is not None and said.decision.key == key:
            return Assigned(said.decision, said.words)
        if said.reason == "assigned" and said.decision is None:
            return Assigned(None, said.words)
        alone = Book(self.book.revision, self.book.holdout, {key: experiment})
        would = assignment.explained(alone, user_id, self.off)
        if would.decision is None or said.decision is None:
            return Assigned(None, would.words)
        return Assigned(None, f"{said.decision.key!r} comes first and has the unit; a unit is in one experiment")

    async def report(self, key: str) -> Report:
        """What it says, a few seconds old at most. Raises: NoSuchExperiment, StateUnavailable."""
        return await self._reports.recent(await self.get(key))

    async def audit(self, key: str | None, most: int) -> list[AuditEntry]:
        """The last changes, newest first; key None: of all, and of the holdout. Raises: as `report`."""
        if key is not None:
            await self.get(key)
        return await self._store.audit(key, most)

    async def create(self, key: str, said: Mapping[str, Any], actor: str) -> Experiment:
        """
        A draft. said: field of Config → value; what is left out gets its default.

        Raises: RequestError, ExperimentConflict, StateUnavailable.
        """
        if key == FLAG:
            raise RequestError(
                "key", key, "is the flag of the λ2 that a user is served by any experiment; take another"
            )

        def change(book: Book) -> Experiment:
            config = drafted(said)._replace(key=key, created=self._clock(), actor=actor)
            return changes.created(book, config, self._limits())

        return await self._experiment(key, change, actor, "create", auditing.newest)

    async def version(self, key: str, said: Mapping[str, Any], actor: str) -> Experiment:
        """One version more; what is left out is as in the newest. Raises: NoSuchExperiment; as `create`."""

        def change(book: Book) -> Experiment:
            config = drafted(said, found(book, key).versions[-1])
            return changes.versioned(book, key, config._replace(created=self._clock(), actor=actor), self._limits())

        return await self._experiment(key, change, actor, "version", auditing.newest)

    async def start(self, key: str, version: int | None, actor: str) -> Experiment:
        """Puts a version in force, None: the newest. Raises: NoSuchExperiment; as `create`."""

        def change(book: Book) -> Experiment:
            after = changes.started(book, key, version, self._clock())
            _check_served(after.config, self._limits())
            return after

        return await self._experiment(key, change, actor, "start", auditing.start)

    async def pause(self, key: str, actor: str) -> Experiment:
        """Nobody gets it until it is started again. Raises: NoSuchExperiment; as `create`."""

        def change(book: Book) -> Experiment:
            return changes.paused(book, key, self._clock())

        return await self._experiment(
            key, change, actor, "pause", lambda *_: "nobody gets it until it is started again"
        )

    async def stop(self, key: str, reason: str, actor: str) -> Experiment:
        """Ends it for good. Raises: NoSuchExperiment; as `create`."""

        def change(book: Book) -> Experiment:
            return changes.stopped(book, key, self._clock())

        return await self._experiment(key, change, actor, "stop", lambda *_: reason or "no reason was given")

    async def hold_out(self, share: float, salt: str | None, actor: str) -> Holdout:
        """Keeps a share of all units out of every experiment; salt None: as it is. Raises: as `create`."""

        def entry(book: Book, now: Holdout) -> AuditEntry:
            return AuditEntry("", None, "holdout", actor, self._clock(), auditing.holdout(book.holdout, now))

        return await self._change(lambda book: changes.held_out(book, share, salt), entry)

    async def breached(self, seen: Experiment, detail: str) -> Experiment:
        """Ends an experiment for a guardrail. Raises: ExperimentConflict where it is not as it was `seen` any more."""

        def change(book: Book) -> Experiment:
            _check_still(book, seen)
            return changes.stopped(book, seen.key, self._clock())

        return await self._experiment(seen.key, change, "guardrail", "breach", lambda *_: detail)

    async def reweighted(self, seen: Experiment, weights: Mapping[str, float]) -> Experiment:
        """A version of these weights, in force. Raises: as `breached`."""

        def change(book: Book) -> Experiment:
            _check_still(book, seen)
            variants = tuple(each._replace(weight=weights[each.name]) for each in seen.config.variants)
            # With a new salt everybody is drawn anew: who stayed where they were would count for the old weights.
            salt = f"{seen.key}:{len(seen.versions) + 1}"
            config = seen.config._replace(variants=variants, salt=salt, created=self._clock(), actor="tuning")
            after = changes.versioned(book, seen.key, config, self._limits())
            with_it = book._replace(experiments={**book.experiments, seen.key: after})
            return changes.started(with_it, seen.key, None, self._clock())

        return await self._experiment(seen.key, change, "tuning", "tune", auditing.start)

    async def _experiment(
        self, key: str, change: Callable[[Book], Experiment], actor: str, act: str, words: Words
    ) -> Experiment:
        def entry(book: Book, now: Experiment) -> AuditEntry:
            version = len(now.versions) if act in ("create", "version") else now.running
            return AuditEntry(key, version, act, actor, self._clock(), words(book.experiments.get(key), now))

        return await self._change(change, entry)

    async def _change(self, change: Callable[[Book], Changed], entry: Callable[[Book, Changed], AuditEntry]) -> Changed:
        """What `change` makes of the book, written; made again of a newer book where somebody was faster."""
        for attempt in range(ATTEMPTS):
            book = await self.known()
            changed = change(book)
            try:
                revision = await self._store.commit(book.revision, changed, entry(book, changed))
            except Outdated:
                if attempt + 1 == ATTEMPTS:
                    raise
                with suppress(StateUnavailable):  # then the next attempt says so
                    await self._store.applied(book.revision + 1)
            else:
                await self._store.applied(revision)
                return changed
        raise AssertionError("unreachable")


def found(book: Book, key: str) -> Experiment:
    """The experiment. Raises: NoSuchExperiment."""
    try:
        return book.experiments[key]
    except KeyError:
        raise NoSuchExperiment(key) from None


def _check_served(config: Config, limits: Range) -> None:
    """Raises: RequestError where the bundle served now does not allow a λ2: it may be another than when it was made."""
    values = config.between or [variant.lambda2 for variant in config.variants]
    for value in values:
        if not limits.holds(value):
            allowed = f"{limits.low:g} to {limits.high:g}" if limits.why is None else f"only 0: {limits.why}"
            raise RequestError(
                "version",
                config.version,
                f"has λ2 = {value:g}, and the bundle served now allows {allowed}; make a new version within that",
            )


def _check_still(book: Book, seen: Experiment) -> None:
    now = found(book, seen.key)
    if now.state != "running" or now.running != seen.running:
        raise ExperimentConflict(f"{seen.key!r} was changed meanwhile: it is {now.state} by version {now.running}")
