"""Reports of experiments as they stand: one analysis for all who ask within a few seconds."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import polars as pl
from pydantic import ValidationError

from service.experiments import analysis
from service.experiments.model import Experiment
from service.experiments.report import Report
from service.experiments.series import first_series, pooled
from service.state.experiments import ExperimentStore
from service.state.tallies import Tallies

SHOWN = 5.0  # seconds that a report is shown for, at least
REST = 9  # times as long as it took to make: who asks all the time takes a tenth of a core


class _Made(NamedTuple):
    experiment: Experiment
    report: Report
    until: float


class Reports:
    """
    Analyses experiments from their tallies, each in a worker thread, one at a time.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, store: ExperimentStore, tallies: Tallies, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._tallies = tallies
        self._clock = clock
        self._made: dict[str, _Made] = {}
        self._analysing = asyncio.Lock()

    async def recent(self, experiment: Experiment) -> Report:
        """
        What the experiment says, of its state now and a few seconds old at most; of a stopped one whose tallies have
        gone what was kept. Raises: StateUnavailable.
        """
        async with self._analysing:
            made = self._made.get(experiment.key)
            if made is not None and made.experiment == experiment and time.monotonic() < made.until:
                return made.report
            return (await self._make(experiment))[0]

    async def new(self, experiment: Experiment) -> tuple[Report, pl.DataFrame]:
        """The same, made now, and the units (metrics.UNITS) that it is of. Raises: StateUnavailable."""
        async with self._analysing:
            return await self._make(experiment)

    async def kept(self, key: str) -> Report | None:
        """What was kept of an experiment; None too where an older release wrote it in another form."""
        content = await self._store.kept_report(key)
        if content is None:
            return None
        try:
            return Report.model_validate_json(content)
        except ValidationError:
            return None

    async def _make(self, experiment: Experiment) -> tuple[Report, pl.DataFrame]:
        begun = time.monotonic()
        units, coverage = await self._tallies.read(experiment.key, *pooled(experiment))
        gone = experiment.state == "stopped" and units.is_empty()
        report = await self.kept(experiment.key) if gone else None
        if report is None:
            looks = await self._store.looks(experiment.key, first_series(experiment))
            report = await asyncio.to_thread(
                analysis.analyse,
                experiment.config,
                experiment.state,
                units,
                coverage,
                looks,
                at=self._clock(),
                source="live",
            )
        now = time.monotonic()
        self._made[experiment.key] = _Made(experiment, report, now + max(SHOWN, REST * (now - begun)))
        return report, units
