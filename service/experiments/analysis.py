"""The report of an experiment from what its units did: the same function over live tallies and over exported events."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import polars as pl

from service.experiments.arms import CLICKS, Arms
from service.experiments.assignment import DRAWN, MIXED
from service.experiments.disagreement import disagreement
from service.experiments.drawn import doses_drawn, parts_drawn, points_drawn
from service.experiments.guardrails import guardrails
from service.experiments.interleaving import preferences
from service.experiments.intervals import LEAST_EFFECTIVE, LEAST_UNITS, PLANNED
from service.experiments.metrics import BEFORE
from service.experiments.model import Config, Kind, State
from service.experiments.moments import moments
from service.experiments.multiplicity import in_words
from service.experiments.report import Look, Preference, Report, SampleRatio
from service.experiments.sample_ratio import sample_ratio
from service.experiments.series import AFTERWARDS
from service.experiments.verdict import Known, verdict
from service.experiments.wording import counted, duration, number, percent

ALONE: Final[Mapping[Kind, str]] = {"interleaving": MIXED, "random": DRAWN}
"""Kinds whose units all have one variant's name: nothing is compared between variants."""


def analyse(
    config: Config,
    state: State,
    units: pl.DataFrame,
    coverage: Mapping[str, int],
    looks: Sequence[Look],
    *,
    at: float,
    source: Literal["live", "export"],
) -> Report:
    """
    Everything an experiment says so far.

    Args:
        config: the version in force.
        units: rows of metrics.UNITS of its series (of a tuned experiment: of all its series); those without an
            exposure are noted and not counted.
        coverage: variant → distinct items in its lists.
        looks: stored ones, oldest first; the sample ratio's p-value is the smallest of theirs and the present one.
        at: now, in seconds since 1970.
    """
    exposed = units.filter(pl.col("exposed").is_not_null())
    arms = Arms(config, moments(exposed, _names(config), weighted=config.kind == "tuned"))
    count = exposed["unit"].n_unique()
    ratio = _sample_ratio(config, exposed, looks)
    comparisons = arms.comparisons()
    clicks_beside = tuple(dict.fromkeys((config.primary, CLICKS)))
    drawn = config.kind == "random"
    doses = doses_drawn(config, exposed, clicks_beside) if drawn else arms.dose_responses()
    rules = guardrails(config.guardrails, arms, coverage)
    preferred = _preferences(config, exposed)
    known = Known(config, state, count, ratio, comparisons, doses, rules, preferred, arms.more(comparisons))
    return Report(
        key=config.key,
        version=config.version,
        series=config.series,
        kind=config.kind,
        state=state,
        description=config.description,
        at=at,
        source=source,
        alpha=config.alpha,
        window=config.window,
        control=config.control,
        primary=config.primary,
        units=count,
        planned_units=config.planned_units,
        variants=arms.results(),
        comparisons=comparisons,
        multiplicity=in_words(len(comparisons)),
        sample_ratio=ratio,
        dose_response=doses,
        guardrails=rules,
        preferences=preferred,
        off_policy=points_drawn(config, exposed) if drawn else [],
        disagreement=disagreement(config.primary, comparisons, doses, preferred),
        timeline=list(looks),
        verdict=verdict(known),
        notes=_notes(config, state, units, exposed),
    )


def look(report: Report) -> Look:
    """What the timeline keeps of a report."""
    ratio = report.sample_ratio
    return Look(
        at=report.at,
        units={result.variant: result.units for result in report.variants if result.metric == report.primary},
        difference={found.variant: found.difference for found in report.comparisons if found.role == "primary"},
        srm_p_value=1.0 if ratio is None else ratio.p_value,
    )


def _names(config: Config) -> tuple[str, ...]:
    return (ALONE[config.kind],) if config.kind in ALONE else tuple(variant.name for variant in config.variants)


def _sample_ratio(config: Config, units: pl.DataFrame, looks: Sequence[Look]) -> SampleRatio | None:
    """Of the shares in force; where they moved, version by version as its units' propensities say."""
    if config.kind == "interleaving":
        return None
    if config.kind == "random":
        return sample_ratio([parts_drawn(config, units)], looks)
    if config.kind == "split":
        counted_units = dict(units["variant"].value_counts().iter_rows())
        return sample_ratio([({each.name: each.weight for each in config.variants}, counted_units)], looks)
    strata = []
    for _, version in units.group_by("version", maintain_order=True):
        groups = version.group_by("variant").agg(pl.col("propensity").first(), pl.len())
        shares = dict(groups.select("variant", "propensity").iter_rows())
        absent = [name for name in _names(config) if name not in shares]
        rest = max(0.0, 1 - sum(shares.values()))
        shares |= dict.fromkeys(absent, rest / max(len(absent), 1))
        strata.append((shares, dict(groups.select("variant", "len").iter_rows())))
    return sample_ratio(strata, looks)


def _preferences(config: Config, units: pl.DataFrame) -> list[Preference]:
    if config.kind != "interleaving":
        return []
    first, second = (variant.name for variant in config.variants)
    return preferences(units, first, second, config.alpha, float(config.planned_units or PLANNED))


def _notes(config: Config, state: State, units: pl.DataFrame, exposed: pl.DataFrame) -> list[str]:
    """What a reader should know of these figures."""
    notes = []
    if missing := len(units) - len(exposed):
        notes.append(f"{counted(missing, 'unit')} without an exposure (yet): not counted.")
    unknown = exposed.filter(pl.any_horizontal(pl.col(BEFORE).is_null()))
    if len(unknown):
        share = percent(len(unknown) / len(exposed), signed=False)
        notes.append(f"Of {share} of the units nothing was known from before.")
    if config.planned_units is None:
        notes.append(f"No number of units was planned: intervals are narrowest at {number(PLANNED)} units.")
    if config.kind in ALONE and config.guardrails:
        notes.append(f"An experiment of kind {config.kind} has no control: its guardrails are not judged.")
    if state == "stopped":
        after = duration(AFTERWARDS if config.window is None else config.window)
        notes.append(f"Stopped: what units do still counts for {after} after the end.")
    notes.append(
        f"No interval before {LEAST_UNITS} units per variant, and before {number(LEAST_EFFECTIVE)} of them act; "
        "intervals hold however often they are looked at, from there on."
    )
    return notes
