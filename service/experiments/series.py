"""Which series of an experiment belong together, and which of them still take outcomes in."""

from typing import Final

from service.experiments.model import Config, Experiment

AFTERWARDS: Final = 7 * 86_400.0
"""Seconds after the end in which outcomes still count, where an experiment has no window of its own."""


def pooled(experiment: Experiment) -> tuple[int, ...]:
    """
    The series that its report is of: that of the version in force; of a tuned one those of all its versions up to that
    one between the same variants, whose units are weighted by their propensity.
    """
    config = experiment.config
    if config.kind != "tuned":
        return (config.series,)
    return tuple(each.series for each in experiment.versions[: config.version] if _arms(each) == _arms(config))


def first_series(experiment: Experiment) -> int:
    """The first of them: its timeline goes on where the weights of a tuned experiment move."""
    return pooled(experiment)[0]


def open_until(experiment: Experiment) -> float | None:
    """
    Until when, in seconds since 1970, outcomes count: 0 before the first start, None while nobody ends it, and after
    that for the window of a unit that came last.
    """
    if experiment.running is None:
        return 0.0
    if experiment.state != "stopped":
        return None
    window = experiment.config.window
    return experiment.changed + (AFTERWARDS if window is None else window)


def _arms(config: Config) -> object:
    return config.kind, {(variant.name, variant.lambda2) for variant in config.variants}
