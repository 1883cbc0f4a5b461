"""Team-draft interleaving in the simulated shop: is it fair, and how many fewer units than a split does it need?"""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.random import Generator
from scipy.stats import chi2

from benchmarks.experiments.claims import Claim, at_most
from benchmarks.experiments.world import Rows, World
from service.experiments.interleaving import preferences, team_draft
from service.experiments.intervals import LEAST_UNITS, factor
from service.experiments.report import Preference
from training.shop.traffic import expected_clicks_per_list, expected_purchases_per_list

ALPHA = 0.05
METRICS = ("clicks", "purchases")
PAIR = (0.0, 0.4)
"""The two λ2 compared: 0.4 sells more, 0 is clicked more."""
FEWER = 5


def drafted(world: World, first: Rows, second: Rows, users: Rows, salt: int, rng: Generator) -> pl.DataFrame:
    """One visit of each unit [n] to the list drafted of its two [n, k]: what it chose, by team."""
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    lists = [team_draft(a, b, len(a), f"{salt}\0{unit}".encode()) for unit, (a, b) in enumerate(pairs)]
    teams = np.array([list(letters) for _, letters in lists])
    acts = world.visited(users, np.array([rows for rows, _ in lists]), 1, rng)
    chosen = {"clicks": acts.clicks, "purchases": acts.purchases}
    return pl.DataFrame(
        {f"{name}_{team}": (chosen[name] * (teams == team)).sum(axis=1) for name in METRICS for team in "ab"}
    )


def found(units: pl.DataFrame, every: int) -> dict[str, int]:
    """Metric → the first of the looks after each `every` units at which its preference is significant."""
    first: dict[str, int] = {}
    for count in range(every, len(units) + 1, every):
        for each in preferences(units[:count], "a", "b", ALPHA, len(units)):
            if each.significant:
                first.setdefault(each.metric, count)
    return first


def fair(world: World, repetitions: int, units: int, rng: Generator) -> Iterator[Claim]:
    """Who begins; and how often two equally good rankings are told apart, looking all the time."""
    versions = np.stack([world.ranked(0.4, rng.standard_normal(world.shop.taste.shape)) for _ in range(2)])
    wrong = dict.fromkeys(METRICS, 0)
    for salt in range(repetitions):
        users, turned = rng.integers(world.users, size=units), rng.integers(2, size=units)
        mixed = drafted(world, versions[turned, users], versions[1 - turned, users], users, salt, rng)
        for name in found(mixed, 50):
            wrong[name] += 1
    disjoint = list(range(10)), list(range(10, 20))
    drafts = 20 * units
    begun = sum(team_draft(*disjoint, 10, f"{unit}".encode())[1][0] == "a" for unit in range(drafts))
    p = float(chi2.sf((2 * begun - drafts) ** 2 / drafts, 1))
    yield Claim(
        p > 0.001,
        "either team begins half of the time",
        f"{begun / drafts:.2%} of {drafts:,}, p = {p:.2f}",
        "p > 0.001",
    )
    looks = f"equally good rankings, {units:,} units, a look every 50 from n0 = {LEAST_UNITS} on"
    for name in METRICS:
        yield at_most(ALPHA, f"false preferences by {name}: {looks}", wrong[name], repetitions)
    same = drafted(world, versions[0], versions[0], np.arange(world.users), 0, rng)
    credited = float(same.sum().sum_horizontal()[0])
    yield Claim(credited == 0, "identical rankings: acts credited", f"{credited:.0f}", "0")


def sensitive(world: World, units: int, rng: Generator) -> Iterator[Claim]:
    """Units needed against a split: the squared z per unit of either."""
    everybody, users = np.arange(world.users), rng.integers(world.users, size=units)
    first, second = (world.ranked(at) for at in PAIR)
    visits = [world.visited(users, lists[users], 1, rng) for lists in (first, second)]
    mixed = preferences(drafted(world, first[users], second[users], users, 0, rng), "a", "b", ALPHA)
    truths = {"clicks": expected_clicks_per_list, "purchases": expected_purchases_per_list}
    for preference in mixed:
        name, z = preference.metric, z_score(preference)
        truth = [truths[name](world.shop, everybody, lists).mean() for lists in (first, second)]
        spread = sum(getattr(acts, name).sum(axis=1).var() for acts in visits)
        split = (truth[0] - truth[1]) ** 2 / (2 * spread)  # exact but for the variance
        ratios = [max(abs(z) + off, 0.0) ** 2 / units / split for off in (-1.96, 0, 1.96)]
        measured = f"{ratios[1]:.1f} times fewer ({ratios[0]:.1f} to {ratios[2]:.1f})"
        right = bool((z > 0) == (truth[0] > truth[1]) and ratios[0] >= FEWER)
        claim = f"units needed, λ2 {PAIR[0]} against {PAIR[1]}, by {name}"
        yield Claim(right, claim, measured, f"{FEWER} times fewer, the same sign")


def z_score(found: Preference) -> float:
    """Its value in standard errors; 0 where it has no interval."""
    value, high = found.preference.value, found.preference.high
    return 0.0 if value is None or high is None else value / (high - value) * float(factor(found.units, ALPHA))


def powerful(world: World, repetitions: int, units: int, rng: Generator) -> Iterator[Claim]:
    """How often `units` units decide, with looks on the way, beside a split of as many."""
    first, second = (world.ranked(at) for at in PAIR)
    when: dict[str, list[int]] = {name: [] for name in METRICS}
    split = dict.fromkeys(METRICS, 0)
    for salt in range(repetitions):
        users, half = rng.integers(world.users, size=units), units // 2
        for name, count in found(drafted(world, first[users], second[users], users, salt, rng), 50).items():
            when[name].append(count)
        arms = [
            world.visited(part, lists[part], 1, rng) for part, lists in ((users[:half], first), (users[half:], second))
        ]
        for name in METRICS:
            a, b = (getattr(acts, name).sum(axis=1) for acts in arms)
            error = np.sqrt(a.var(ddof=1) / half + b.var(ddof=1) / half)
            split[name] += bool(abs(a.mean() - b.mean()) > factor(units, ALPHA, units) * error)
    for name, counts in when.items():
        share = len(counts) / repetitions
        middle = f", the middle one after {np.median(counts):,.0f}" if counts else ""
        claim = f"experiments decided within {units:,} units by {name}"
        measured = f"{share:.0%}{middle}; of splits {split[name] / repetitions:.0%}"
        yield Claim(share >= 0.8, claim, measured, "80 %")
