"""The report of an experiment from a folder of exported events: now, or as it stood at earlier times."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from causalrec.errors import DataError
from service.experiment_source import in_folder
from service.experiments.analysis import analyse, look
from service.experiments.model import Experiment
from service.experiments.report import Look, Report
from service.experiments.series import pooled
from service.experiments.units import from_export
from service.experiments.wording import when


def report_at(folder: Path, experiment: Experiment, until: float, looks: Sequence[Look]) -> Report:
    """
    What the experiment's version in force says of events up to `until`, in seconds since 1970.

    Args:
        looks: earlier ones, oldest first.
    Raises: DataError where there is no folder, where it has no unit of these series, or cannot be read.
    """
    units, coverage = from_export(folder, experiment.config, until, series=pooled(experiment))
    if units.is_empty():
        raise _nobody(folder, experiment, until)
    return analyse(experiment.config, experiment.state, units, coverage, looks, at=until, source="export")


def moments(folder: Path, experiment: Experiment, until: float, count: int) -> list[float]:
    """`count` evenly spaced times after the first record and before the last one or `until`. Raises: DataError."""
    found = in_folder(folder).filter(
        pl.col("experiment") == experiment.key, pl.col("series").is_in(pooled(experiment)), pl.col("first") <= until
    )
    if found.is_empty():
        raise _nobody(folder, experiment, until)
    first, last = min(found["first"].to_list()), min(until, *found["last"].to_list())
    return [first + (last - first) * number / (count + 1) for number in range(1, count + 1)]


def looked_back(folder: Path, experiment: Experiment, times: Iterable[float]) -> list[Look]:
    """A look at each of the times, oldest first, as if it had been taken then. Raises: DataError."""
    looks: list[Look] = []
    for at in times:
        looks.append(look(report_at(folder, experiment, at, looks)))
    return looks


def _nobody(folder: Path, experiment: Experiment, until: float) -> DataError:
    """Why there are no units: what the folder has instead."""
    found = in_folder(folder)
    if found.is_empty():
        return DataError(
            f"{folder}: has no answers in experiments, only what users did; answers are in the log since there are "
            "experiments: run one and export again"
        )
    there = [f"{key} (series {series}, from {when(first)})" for key, series, _, _, first, _ in found.rows()]
    wanted = ", ".join(map(str, pooled(experiment)))
    return DataError(
        f"{folder}: has no unit of experiment {experiment.key!r}, series {wanted}, until {when(until)}; "
        f"it has: {', '.join(there)}"
    )
