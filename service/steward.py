"""Looks after running experiments: one replica at a time, by itself, every few seconds."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

import polars as pl
from numpy.random import Generator

from causalrec.errors import StateUnavailable
from service.experimenting import Experiments
from service.experiments import tuning, wording
from service.experiments.analysis import look
from service.experiments.model import Experiment, ExperimentConflict, NoSuchExperiment
from service.experiments.report import GuardrailResult, Report
from service.experiments.sample_ratio import LEVEL
from service.experiments.series import first_series, open_until
from service.reporting import Reports
from service.state.experiments import ExperimentStore, Outdated

log = logging.getLogger(__name__)

NAME: Final = "steward"
EVERY: Final = 10.0  # seconds between passes, at least
REST: Final = 9  # times as long as the last pass took
LEADS: Final = 60.0  # seconds for which who leads does so, beyond its rest: as long as one analysis may take
SPARSER: Final = 0.01
"""The next look is remembered after this part of the time since the start: some hundreds a week, not 60,000."""
KEEPS: Final = 3600.0
"""Seconds between the reports kept of a stopped experiment, while what its units do still counts."""
NEVER: Final = -math.inf


class Steward:
    """
    Analyses every running experiment, remembers the look for its timeline, stops it where a guardrail is breached,
    moves the weights of a tuned one, and keeps the last report of a stopped one. What goes wrong with one experiment
    is logged, and harms no other.

    Args:
        rng: for the weights.
        clock: seconds since 1970.
        told: the sample ratio's p-value of each running experiment, after each pass; of none where another replica
            leads.
    """

    def __init__(
        self,
        experiments: Experiments,
        reports: Reports,
        store: ExperimentStore,
        rng: Generator,
        clock: Callable[[], float] = time.time,
        told: Callable[[Mapping[str, float]], None] = lambda _: None,
    ) -> None:
        self._experiments = experiments
        self._reports = reports
        self._store = store
        self._rng = rng
        self._clock = clock
        self._told = told
        self._kept: dict[str, float] = {}
        self._ratios: dict[str, float] = {}

    async def run(self) -> None:
        """Passes, and a rest after each; never returns."""
        away = False
        try:
            while True:
                rest = EVERY
                try:
                    rest = await self._pass()
                    away = False
                except StateUnavailable as error:
                    if not away:
                        log.warning("running experiments are not looked after while Redis is away (%s)", error)
                    away = True
                except Exception:
                    log.exception("running experiments were not looked after")
                await asyncio.sleep(rest)
        finally:
            with suppress(StateUnavailable):
                await self._store.lead(NAME, 0.001)  # another replica need not wait for what is left of its time

    async def _pass(self) -> float:
        """One pass; how long to rest then."""
        begun = time.monotonic()
        leads = await self.attend()
        rest = max(EVERY, REST * (time.monotonic() - begun))
        if leads:
            await self._store.lead(NAME, rest + LEADS)
        return rest

    async def attend(self) -> bool:
        """One pass, where this replica leads; whether it does. Raises: StateUnavailable."""
        for key in sorted((await self._experiments.known()).experiments):
            if not await self._store.lead(NAME, LEADS):
                self._told({})
                return False
            experiment = self._experiments.book.experiments.get(key)
            if experiment is None:
                continue
            try:
                await self._one(experiment)
            except (ExperimentConflict, NoSuchExperiment, Outdated) as error:
                log.info("the next pass looks at it again: %s", error)
            except StateUnavailable:
                raise
            except Exception:
                log.exception("experiment %r could not be looked after", key)
        every = self._experiments.book.experiments
        self._ratios = {key: p for key, p in self._ratios.items() if key in every and every[key].state == "running"}
        self._told(self._ratios)
        return True

    async def _one(self, experiment: Experiment) -> None:
        if experiment.state == "running":
            await self._running(experiment)
        elif experiment.state == "stopped" and experiment.running is not None:
            await self._stopped(experiment)

    async def _running(self, experiment: Experiment) -> None:
        report, units = await self._reports.new(experiment)
        if report.sample_ratio is not None:
            self._ratios[experiment.key] = report.sample_ratio.p_value
        breaches = [each for each in report.guardrails if each.breached]
        if breaches or due(report):
            await self._store.add_look(experiment.key, first_series(experiment), look(report))
        if breaches:
            detail = "; ".join(map(breach, breaches))
            await self._experiments.breached(experiment, detail)
            log.warning("experiment %r is stopped: %s", experiment.key, detail)
        elif experiment.config.kind == "tuned":
            await self._tune(experiment, units)

    async def _tune(self, experiment: Experiment, units: pl.DataFrame) -> None:
        config = experiment.config
        if config.tuning is None or self._clock() < max(config.created, experiment.changed) + config.tuning.every:
            return
        weights = await asyncio.to_thread(tuning.weights, units, config, self._rng)
        if dict(weights) != {each.name: each.weight for each in config.variants}:
            await self._experiments.reweighted(experiment, weights)

    async def _stopped(self, experiment: Experiment) -> None:
        """Keeps its report, anew every hour until nothing more counts for it, and once after that."""
        key, until, now = experiment.key, open_until(experiment) or 0.0, self._clock()
        if key not in self._kept:
            kept = await self._reports.kept(key)
            self._kept[key] = NEVER if kept is None else kept.at
        if self._kept[key] >= min(until, now - KEEPS):
            return
        report, _ = await self._reports.new(experiment)
        await self._store.keep_report(key, report.model_dump_json().encode())
        self._kept[key] = now


def due(report: Report) -> bool:
    """
    Whether the timeline is to have it: there is something to see, and the last look is long enough ago; or the sample
    ratio fails for the first time, which is to stay known.
    """
    looks = report.timeline
    if not report.units or not looks:
        return bool(report.units)
    if report.sample_ratio is not None and report.sample_ratio.p_value <= LEVEL < min(
        each.srm_p_value for each in looks
    ):
        return True
    return report.at - looks[-1].at >= SPARSER * (report.at - looks[0].at)


def breach(found: GuardrailResult) -> str:
    """Which guardrail, and by how much."""
    change = wording.lift(found.change)
    return (
        f"{wording.metric_words(found.metric)} of {found.variant} is worse than the control's by {change}, and "
        f"{wording.percent(found.most, signed=False)} is allowed"
    )
