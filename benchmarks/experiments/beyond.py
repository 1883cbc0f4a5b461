"""
Beyond A/B in the simulated shop: interleaving, off-policy estimates, tuning. Do they hold what they promise?

    python -m benchmarks.experiments.beyond --out docs/results/beyond.md

Lists are those of a stand-in for a model that learnt from clicks (benchmarks.experiments.world); visits are drawn from
the shop's laws, and the truth is their expectation. Intervals are those of every look, at α = 5 %. A rate that must not
exceed α passes if its lower 95 % limit (Clopper-Pearson) does not. One seed determines everything. Prints PASS or FAIL
per claim; exit status 1 after any FAIL.
"""

import sys
from collections.abc import Iterator
from itertools import chain

import numpy as np

from benchmarks.experiments.claims import Claim
from benchmarks.experiments.drawn import off_policy_holds
from benchmarks.experiments.interleaved import fair, powerful, sensitive
from benchmarks.experiments.tuned import returning_hold, tuning_holds
from benchmarks.experiments.world import World
from benchmarks.report import Report, command_line
from training.shop import ShopConfig

HEADER = ("", "claim", "measured", "allowed")
MARKS = {True: "PASS", False: "**FAIL**", None: ""}


def studies(world: World, size: float, seed: int) -> Iterator[Claim]:
    """All claims; `size` times the usual number of repetitions."""

    def times(usual: int) -> int:
        return max(10, round(usual * size))

    rng = np.random.default_rng(seed)
    return chain(
        fair(world, times(1000), 1000, rng),
        sensitive(world, times(40_000), rng),
        powerful(world, times(100), 3000, rng),
        off_policy_holds(world, times(500), 3000, rng),
        tuning_holds(world, times(200), 500, rng),
        returning_hold(times(300), 400, rng),
    )


def main() -> int:
    """The command line."""
    parser = command_line("experiments.beyond", __doc__)
    parser.add_argument("--seed", type=int, default=0, help="of everything")
    parser.add_argument("--size", type=float, default=1.0, help="times the usual number of repetitions")
    options = parser.parse_args()
    command = f"python -m benchmarks.experiments.beyond --seed {options.seed} --size {options.size:g}"
    report = Report("Beyond A/B", command, HEADER, options.out)
    world = World(ShopConfig(items=400), np.random.default_rng([options.seed, 1]))
    failed = 0
    for claim in studies(world, options.size, options.seed):
        report.add(MARKS[claim.holds], *claim[1:])
        failed += claim.failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
