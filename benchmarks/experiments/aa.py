"""
Is nothing called a difference where there is none, however often one looks?

    python -m benchmarks.experiments.aa

A/A experiments in process, by the analysis' own functions, with a look after every batch: how often any look calls a
difference from n0 = 100 units per variant on (and, for the reader, without n0, and by the test that is made for one
look at the end). Claim: the lower 95 % limit (Clopper-Pearson) of the share is at most α. Users differ in pace (gamma)
and buy 0.05 times on average unless a row says otherwise. Then: intervals hold a true difference at all looks, a broken
split raises the alarm and blocks the verdict. Prints PASS or FAIL per claim; exit status 1 after any FAIL.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.random import Generator
from tqdm import tqdm

from benchmarks.experiments import health
from benchmarks.experiments.claims import Claim, at_most, limits
from benchmarks.experiments.looks import (
    ALPHA,
    Design,
    Values,
    chunks,
    frequent,
    grams,
    looked,
    returning,
    shoppers,
    strangers,
)
from benchmarks.report import Report, command_line
from service.experiments.metrics import METRICS
from service.experiments.moments import COVARIATES
from service.experiments.sample_ratio import LEVEL

HEADER = ("", "claim", "measured", "allowed")
MARKS = {True: "PASS", False: "**FAIL**", None: ""}
MEAN, RATIO, MONEY = METRICS["purchases_per_user"], METRICS["click_through"], METRICS["revenue_per_user"]
EQUAL, UNEQUAL = (0.5, 0.5), (0.4, 0.3, 0.15, 0.1, 0.05)
SEEDS: Final = 20
Grams = Callable[[Design, int, Generator], Values]
Progress = Callable[[int], object]


class Nothing(NamedTuple):
    """A kind of A/A experiment."""

    words: str
    design: Design
    grams: Grams = grams


def _all_at_once(design: Design, experiments: int, rng: Generator) -> Values:
    return returning(design, experiments, rng, at_once=True)


NOTHINGS: Final = (
    Nothing("mean: purchases per user", Design(shoppers, MEAN)),
    Nothing("mean, a look every 5 units per variant", Design(shoppers, MEAN, (5, 5), 100)),
    Nothing("mean, one variant with 10 % of the units", Design(shoppers, MEAN, (10, 90))),
    Nothing("mean, planned for a tenth of the units", Design(shoppers, MEAN, planned=600)),
    Nothing("mean, planned for ten times the units", Design(shoppers, MEAN, planned=60_000)),
    Nothing("mean: revenue per user, heavy-tailed", Design(shoppers, MONEY)),
    Nothing("mean: revenue, a look every 5 units per variant", Design(shoppers, MONEY, (5, 5), 100)),
    Nothing("mean: revenue, 10 % of the units", Design(shoppers, MONEY, (10, 90))),
    Nothing("ratio: clicks per list", Design(shoppers, RATIO)),
    Nothing("ratio, a look every 5 units per variant", Design(shoppers, RATIO, (5, 5), 100)),
    Nothing("ratio: purchases per click", Design(shoppers, METRICS["purchases_per_click"])),
    Nothing("CUPED, mean: 1 purchase per user", Design(frequent, MEAN, covariates=COVARIATES)),
    Nothing("CUPED, mean, useless past", Design(strangers, MEAN, covariates=COVARIATES)),
    Nothing("CUPED, ratio: clicks per list", Design(shoppers, RATIO, covariates=COVARIATES)),
    Nothing("returning visitors, mean", Design(shoppers, MEAN, (25, 25)), returning),
    Nothing("returning visitors, ratio", Design(shoppers, RATIO, (25, 25)), returning),
    Nothing("all there at the first look, then only acts", Design(shoppers, MEAN, (10, 10)), _all_at_once),
)


class Effect(NamedTuple):
    """A kind of experiment with a true difference."""

    words: str
    design: Design
    truth: float


EFFECTS: Final = (
    Effect("mean, +20 %", Design(frequent, MEAN, lift=0.2), 0.2),
    Effect("mean, +20 %, CUPED", Design(frequent, MEAN, lift=0.2, covariates=COVARIATES), 0.2),
    Effect("ratio, +20 %", Design(shoppers, RATIO, lift=0.2), 0.04),
)


def called(kind: Nothing, experiments: int, rng: Generator, progress: Progress) -> Mapping[str, int]:
    """How many experiments called a difference at some look: from n0 on, without n0, by the test for one look."""
    found = {"sequence": 0, "early": 0, "one": 0}
    for part in chunks(experiments):
        looks = looked(kind.design, kind.grams(kind.design, part, rng))
        for name, hits in zip(found, (looks.called(), looks.called_early(), looks.called_by_one_look()), strict=True):
            found[name] += int(hits.sum())
        progress(part)
    return found


def missed(kind: Effect, experiments: int, rng: Generator, progress: Progress) -> tuple[int, int]:
    """How many experiments' intervals missed the truth at some look, and at how many that of one look at the end."""
    wrong = wrong_at_end = 0
    for part in chunks(experiments):
        looks = looked(kind.design, grams(kind.design, part, rng))
        wrong += int(looks.missed(kind.truth, kind.design.horizon).sum())
        wrong_at_end += int((np.abs(looks.difference - kind.truth)[:, -1] > 1.96 * looks.error[:, -1]).sum())
        progress(part)
    return wrong, wrong_at_end


def of_nothing(experiments: int, rng: Generator, progress: Progress) -> Iterator[Claim]:
    """A/A experiments: nothing is called; but the one-look test does, so that there was something to prevent."""
    for kind in NOTHINGS:
        found = called(kind, experiments, rng, progress)
        claim = at_most(ALPHA, f"A/A, {kind.words}", found["sequence"], experiments)
        early, one = found["early"] / experiments, found["one"] / experiments
        yield claim._replace(measured=f"{claim.measured}; without n0 {early:.1%}; one-look test {one:.1%}")
        if kind is NOTHINGS[0]:
            low, _ = limits(found["one"], experiments)
            yield Claim(
                low > 2 * ALPHA,
                "the same by the t-test at every look",
                f"{one:.1%}, lower limit {low:.1%}",
                "> 10 %: looking harms it",
            )


def of_effects(experiments: int, rng: Generator, progress: Progress) -> Iterator[Claim]:
    """Intervals of a true difference hold it at all looks together."""
    for kind in EFFECTS:
        wrong, at_end = missed(kind, experiments, rng, progress)
        claim = at_most(ALPHA, f"the truth is outside at some look: {kind.words}", wrong, experiments)
        yield claim._replace(measured=f"{claim.measured}; interval for one look, at the end {at_end / experiments:.1%}")


def of_health(experiments: int, rng: Generator, progress: Progress) -> Iterator[Claim]:
    """Sample ratio, several comparisons, guardrails."""
    for shares in (EQUAL, UNEQUAL):
        counts = health.split(rng, experiments, 100, shares)
        alarms = int(health.alarmed(counts, shares)[:, -1].sum())
        claim = at_most(LEVEL, f"sample ratio alarm, {len(shares)} variants as planned", alarms, experiments)
        other = health.alarmed_by_one_look(counts, shares)[:, -1].mean()
        yield claim._replace(measured=f"{claim.measured}; chi-square at every look {other:.1%}")
        progress(experiments)
    for words, one in (
        ("Holm, 5 variants × 3 metrics: any is called", health.several),
        ("guardrail: as much slower as allowed, yet stopped", health.breached),
    ):
        hits = 0
        for _ in range(experiments):
            hits += one(rng, 40, 50)
            progress(1)
        yield at_most(ALPHA, words, hits, experiments)


def of_broken_splits(experiments: int, rng: Generator, progress: Progress, seeds: int = SEEDS) -> Iterator[Claim]:
    """One variant loses 5 % of its exposures: the alarm is raised, and the verdict blocked."""
    kept = (1.0, 1 - health.LOST)
    alarms = health.alarmed(health.split(rng, experiments, 120, EQUAL, kept), EQUAL).mean(axis=0)
    told = ", ".join(
        f"{alarms[units // health.BATCH - 1]:.0%} by {units:,}" for units in (5000, 10_000, 20_000, 40_000, 60_000)
    )
    yield Claim(
        bool(alarms[-1] >= 0.95), "5 % of one of 2 variants' exposures lost: alarm by 60,000 units", told, "≥ 95 %"
    )
    progress(experiments)
    reports = []
    for _ in range(seeds):
        reports.append(health.watched(rng, 80_000, 2_000))
        progress(experiments // seeds)
    blocked = [report for report in reports if report.verdict.decision == "blocked" and report.sample_ratio is not None]
    counts = [report.units for report in blocked]
    measured = (
        f"{len(blocked)} of {seeds}, after {np.median(counts):,.0f} units (median), {max(counts, default=0):,} at most"
    )
    yield Claim(
        len(blocked) == seeds, "the same by whole reports, a look every 2,000: verdict blocked", measured, f"{seeds}"
    )


def main() -> int:
    """The command line."""
    parser = command_line("experiments.aa", __doc__)
    parser.add_argument("--experiments", type=int, default=4000, help="of every kind")
    parser.add_argument("--seed", type=int, default=0, help="of everything")
    options = parser.parse_args()
    count = options.experiments
    command = f"python -m benchmarks.experiments.aa --experiments {count} --seed {options.seed}"
    report = Report("A/A: nothing is called where nothing is", command, HEADER, options.out)
    rng, failed = np.random.default_rng(options.seed), 0
    with tqdm(total=count * (len(NOTHINGS) + len(EFFECTS) + 6), unit="experiment", file=sys.stderr) as progress:
        for study in (of_nothing, of_effects, of_health, of_broken_splits):
            for holds, claim, measured, allowed in study(count, rng, progress.update):
                report.add(MARKS[holds], claim, measured, allowed)
                failed += holds is not None and not holds  # numpy's False is not False
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
